/** @file Does `accrete run show`. */
import { outlineOf } from '../../roles/run-outline.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { describeOutline, describeProgress } from './describe.ts';
import { configAt, openPlace, stateAt } from './place.ts';

export const handle: Handler = async (settings, io) => {
  if (settings.argument === null) throw new UsageError('say which run: a run file, the folder of a run, or its URL');
  const run = await openPlace(settings.argument, io);
  const parts = run.kind === 'file' ? run.file : run.manifest;
  const outline = outlineOf(parts, configAt(run));
  const state = stateAt(run);
  if (settings.switch('json')) {
    const progress = state === null ? null : { phase: state.phase, phases: state.phases, amendments: state.amendments };
    io.out(JSON.stringify({ run: parts, outline, progress }));
    return 0;
  }
  io.out(
    run.kind === 'file'
      ? `${parts.name}, preset ${parts.model.preset}, from ${startWord(run.file.from)}`
      : `${parts.name}, run ${run.state.run!.id}`,
  );
  for (const line of describeOutline(outline, parts, io.terminal?.stream.columns ?? 100)) io.out(line);
  if (state !== null) for (const line of ['', ...describeProgress(state)]) io.out(line);
  return 0;
};

const startWord = (from: string | undefined): string => (from === undefined ? 'its seed' : from);
