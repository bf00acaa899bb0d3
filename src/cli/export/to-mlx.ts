/** @file `accrete export --to mlx`. */
import { readFileSync } from 'node:fs';
import { mlxFolder } from '../../export/mlx/folder.ts';
import { sizeOf, writeStaged } from '../../export/staged.ts';
import { formatBytes } from '../output.ts';
import { typedPath } from '../paths.ts';
import { typeOf } from './options.ts';
import type { ExportTarget } from './targets.ts';

export const toMlx: ExportTarget = async (options, { view }, run) => {
  const type = typeOf(options, ['F32', 'BF16', 'F16'], 'BF16');
  const { bits, group, maxShardBytes } = options;
  const isHybrid = view.config.hybrid_attention_layers.length > 0;
  const files = mlxFolder(view, {
    ...{ dtype: type, maxShardBytes },
    quantisation: bits === null ? null : { bits, group },
    contextLength: options.context ?? view.config.max_position_embeddings,
    modelFile: readFileSync(new URL('../../export/mlx/quasar_long.py', import.meta.url), 'utf8'),
  });
  await writeStaged({ target: options.out, kind: 'folder', files, source: view.source, ...run });
  const sizeBytes = sizeOf(files);
  const how = bits === null ? type : `${bits} bits in groups of ${group}, ${type}`;
  return {
    fields: { type, ...(bits === null ? {} : { bits, group }), fileCount: files.length, sizeBytes },
    sentence: `${files.length} files, ${formatBytes(sizeBytes)}, ${how}`,
    next: (cwd) => [
      `mlx_lm.generate --model ${typedPath(options.out, cwd)}${isHybrid ? ' --trust-remote-code' : ''} --prompt "The people of"`,
    ],
  };
};
