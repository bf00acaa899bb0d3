/** @file `accrete export --to gguf`. */
import { ggufFileTypeNames } from '../../export/gguf/mixture.ts';
import { writeGguf } from '../../export/gguf/write.ts';
import { openCheckpoint } from '../../model/checkpoint.ts';
import { UsageError } from '../../util/errors.ts';
import { readTokenizerFiles } from '../checkpoint-tokenizer.ts';
import { formatBytes } from '../output.ts';
import type { ExportTarget } from './targets.ts';

export const toGguf: ExportTarget = async (options) => {
  const type = ggufFileTypeNames.find((name) => name === options.type);
  if (type === undefined)
    throw new UsageError(`--type: expected ${ggufFileTypeNames.join(' or ')} for gguf, got '${options.type}'`);
  const checkpoint = await openCheckpoint(options.checkpoint);
  try {
    const { architecture, tensorCount, sizeBytes } = await writeGguf(options.out, {
      config: checkpoint.config,
      read: (name) => checkpoint.read(name),
      tokenizer: await readTokenizerFiles(options.checkpoint),
      ...{ type, name: options.name },
      ...(options.context === null ? {} : { contextLength: options.context }),
    });
    return {
      fields: { architecture, type, tensorCount, sizeBytes },
      sentence: `${tensorCount} tensors, ${formatBytes(sizeBytes)}, ${type}, architecture ${architecture}`,
    };
  } finally {
    await checkpoint.close();
  }
};
