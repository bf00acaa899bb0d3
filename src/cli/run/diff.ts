/** @file Does `accrete run diff`: exit code 1 where the two differ, as diff has it. */
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { formatTable } from '../table.ts';
import { differencesBetween } from './differences.ts';
import { openPlace, partsBeside, stateAt } from './place.ts';

export const handle: Handler = async (settings, io) => {
  const [a, b] = [settings.argument, settings.secondArgument];
  if (a === null || b === null) throw new UsageError('say which two runs: ./bin/accrete run diff A B');
  const [one, other] = [await openPlace(a, io), await openPlace(b, io)];
  const state = stateAt(one);
  const differences = differencesBetween(
    partsBeside(one, other),
    partsBeside(other, one),
    state === null ? 0 : state.phase + 1,
  );
  if (settings.switch('json')) for (const difference of differences) io.out(JSON.stringify(difference));
  else if (differences.length === 0) io.out('no difference');
  else {
    const text = (value: unknown): string => (value === undefined ? '-' : JSON.stringify(value).slice(0, 60));
    const rows = differences.map(({ field, before, after, refusal }) => [
      field,
      text(before),
      text(after),
      refusal ?? 'yes',
    ]);
    for (const line of formatTable(['field', 'A', 'B', 'amendable'], rows)) io.out(line);
  }
  return differences.length === 0 ? 0 : 1;
};
