/** @file Does `accrete model count`. */

import type { InferenceMemory } from '../../model/quasar-long/inference-memory.ts';
import type { Handler } from '../command.ts';
import { readConfigFile } from '../files.ts';
import { formatBytes, formatCount } from '../output.ts';
import { parseModelCountOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseModelCountOptions(settings);
  const { countParameters } = await import('../../model/quasar-long/contract.ts');
  const { presetConfig } = await import('../../model/quasar-long/presets.ts');
  const config = options.preset !== null ? presetConfig(options.preset) : await readConfigFile(options.config!);
  const { inferenceMemory } = await import('../../model/quasar-long/inference-memory.ts');
  const { total, active } = countParameters(config);
  const memory = options.context === null ? null : inferenceMemory(config, options.context);
  if (settings.switch('json')) {
    io.out(JSON.stringify({ total, active, ...(memory ? { context: options.context, memory } : {}) }));
    return 0;
  }
  io.out(`total parameters   ${formatCount(total)}\nactive parameters  ${formatCount(active)} for each token`);
  if (memory) io.out(describeMemory(memory, options.context!));
  return 0;
};

function describeMemory(memory: InferenceMemory, contextTokens: number): string {
  const states = Object.entries(memory.stateBytes).filter(([, bytes]) => bytes > 0);
  return [
    `keys and values    ${formatBytes(memory.cacheBytes)} in bfloat16, ${formatBytes(memory.cacheBytesPerToken)} a token x ${formatCount(contextTokens)}`,
    ...states.map(
      ([branch, bytes]) => `${`${branch} states`.padEnd(18)} ${formatBytes(bytes)} in float32, at any length`,
    ),
    ...(memory.frameBytes > 0 ? [`last frames        ${formatBytes(memory.frameBytes)} in float32`] : []),
    `one sequence       ${formatBytes(memory.totalBytes)} beside the parameters`,
  ].join('\n');
}
