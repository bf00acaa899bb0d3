/** @file `accrete export --to hf`. */
import { lingFolder, quasarLongFolder } from '../../export/hf-folder.ts';
import { sizeOf, writeStaged } from '../../export/staged.ts';
import { formatBytes } from '../output.ts';
import { typedPath } from '../paths.ts';
import { typeOf } from './options.ts';
import type { ExportTarget } from './targets.ts';

export const toHf: ExportTarget = async (options, { view }, run) => {
  const type = typeOf(options, ['F32', 'BF16'], 'F32');
  const layout = options.layout ?? 'quasar_long';
  const { maxShardBytes } = options;
  const contextLength = options.context ?? view.config.max_position_embeddings;
  const files =
    layout === 'quasar_long'
      ? quasarLongFolder(view, { dtype: type, maxShardBytes })
      : lingFolder(view, { dtype: type, maxShardBytes, contextLength });
  await writeStaged({ target: options.out, kind: 'folder', files, source: view.source, ...run });
  const sizeBytes = sizeOf(files);
  return {
    fields: { layout, type, fileCount: files.length, sizeBytes },
    sentence: `${files.length} files, ${formatBytes(sizeBytes)}, ${type}, layout ${layout}`,
    next: (cwd) => {
      const path = typedPath(options.out, cwd);
      return layout === 'quasar_long'
        ? [`./bin/accrete generate --checkpoint ${path} --prompt "The people of"`]
        : [`vllm serve ${path} --trust-remote-code`];
    },
  };
};
