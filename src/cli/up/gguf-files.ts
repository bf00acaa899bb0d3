/** @file The newest release of a run of preset `nano-gguf` as GGUF files for llama.cpp and Ollama, with their Modelfiles. */
import { existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openSource } from '../export/source.ts';
import type { ExportCommandOptions } from '../export/targets.ts';
import { toGguf } from '../export/to-gguf.ts';

/** Exact, next to exact, and small. */
const types = ['F32', 'Q8_0', 'Q4_K_M'] as const;

/** Writes those that are not there yet into `DIR/gguf`; gives their paths. */
export async function writeGgufFiles(dir: string, release: string, signal: AbortSignal): Promise<readonly string[]> {
  const folder = join(dir, 'gguf');
  mkdirSync(folder, { recursive: true });
  const source = await openSource(release, `accrete-nano-gguf-${basename(release)}`);
  try {
    const files = types.map((type) => ({ type, out: join(folder, `${basename(release)}-${type}.gguf`) }));
    for (const { type, out } of files)
      if (!existsSync(out))
        await toGguf(optionsFor(release, type, out), source, { signal, onProgress: () => {}, say: () => {} });
    return files.map(({ out }) => out);
  } finally {
    await source.close();
  }
}

function optionsFor(checkpoint: string, type: string, out: string): ExportCommandOptions {
  return {
    ...{ checkpoint, to: 'gguf', out, type, bits: null, group: 64, layout: null, maxShardBytes: 5e9, context: null },
    ...{ name: `accrete-nano-gguf-${basename(checkpoint)}`, heldOut: null, maxGap: 0, threads: 1 },
  };
}
