/** @file Does `accrete model check`. */
import type { GoldenReport } from '../../model/golden.ts';
import type { Handler } from '../command.ts';
import { parseDevice } from '../device.ts';
import { formatTable } from '../table.ts';

export const handle: Handler = async (settings, io) => {
  const { checkGoldenCase } = await import('../../model/golden.ts');
  const report = await checkGoldenCase(settings.argumentPath(), { device: parseDevice(settings) });
  if (settings.switch('json')) io.out(JSON.stringify(report));
  else for (const line of formatReport(report)) io.out(line);
  return report.ok ? 0 : 1;
};

function formatReport(report: GoldenReport): string[] {
  const verdict = (isWithin: boolean): string => (isWithin ? 'ok' : 'OVER');
  const short = (value: number): string => value.toExponential(2);
  const { logitError, logitTolerance, lossError, lossTolerance, worstNorm } = report;
  const rows = report.gradients.map(({ name, relative, ofTolerance }) => [
    name,
    short(relative),
    verdict(ofTolerance <= 1),
  ]);
  return [
    `case ${report.caseName}`,
    `greatest logit error  ${short(logitError)}  allowed ${short(logitTolerance)}  ${verdict(logitError <= logitTolerance)}`,
    `loss error            ${short(lossError)}  allowed ${short(lossTolerance)}  ${verdict(lossError <= lossTolerance)}  (loss ${report.loss.toFixed(6)})`,
    `worst gradient norm   ${short(worstNorm.relative)}  ${verdict(worstNorm.ofTolerance <= 1)}  (${worstNorm.name})`,
    '',
    ...formatTable(['gradient', '>relative error', ''], rows),
    '',
    report.ok ? 'All within the tolerances of expected.json.' : 'Over the tolerances of expected.json.',
  ];
}
