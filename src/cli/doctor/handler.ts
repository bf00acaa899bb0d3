/** @file Does `accrete doctor`. */
import type { Handler } from '../command.ts';
import { examine } from './checks.ts';
import { parseDoctorOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const findings = await examine(parseDoctorOptions(settings));
  const isWell = findings.every((finding) => finding.state !== 'missing');
  if (settings.switch('json')) {
    for (const finding of findings) io.out(JSON.stringify(finding));
    return isWell ? 0 : 1;
  }
  for (const { name, state, found, advice } of findings) {
    io.out(`${state.padEnd(8)} ${name.padEnd(14)} ${found}`);
    if (advice !== '') io.out(`${' '.repeat(24)}→ ${advice}`);
  }
  io.out(
    isWell
      ? '\nAll that is needed is here. Type: npm start'
      : '\nSomething is missing: do what the arrows say, then type accrete doctor again.',
  );
  return isWell ? 0 : 1;
};
