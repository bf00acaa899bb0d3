/** @file Does `accrete model count`. */
import type { Handler } from '../command.ts';
import { readConfigFile } from '../files.ts';
import { formatCount } from '../output.ts';
import { parseModelCountOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseModelCountOptions(settings);
  const { countParameters } = await import('../../model/quasar-long/contract.ts');
  const { presetConfig } = await import('../../model/quasar-long/presets.ts');
  const config = options.preset !== null ? presetConfig(options.preset) : await readConfigFile(options.config!);
  const { total, active } = countParameters(config);
  if (settings.switch('json')) io.out(JSON.stringify({ total, active }));
  else io.out(`total parameters   ${formatCount(total)}\nactive parameters  ${formatCount(active)} for each token`);
  return 0;
};
