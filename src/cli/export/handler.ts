/** @file Does `accrete export`. */
import type { Handler } from '../command.ts';
import { typedPath } from '../paths.ts';
import { parseExportOptions } from './options.ts';
import type { ExportTarget, ExportTargetName } from './targets.ts';

const targets: { readonly [N in ExportTargetName]: () => Promise<ExportTarget> } = {
  gguf: async () => (await import('./to-gguf.ts')).toGguf,
};

export const handle: Handler = async (settings, io) => {
  const options = parseExportOptions(settings);
  const target = await targets[options.to]();
  const { fields, sentence } = await target(options);
  if (settings.switch('json')) io.out(JSON.stringify({ file: options.out, ...fields }));
  else io.out(`${typedPath(options.out, io.cwd)}: ${sentence}`);
  return 0;
};
