/** @file Does `accrete orchestrate`: serves a run until a signal, then makes a last release and ends. */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BaseError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { openRoleKeys } from '../wallet-keys.ts';
import { openOrchestrator, type RunningOrchestrator } from './compose.ts';
import { parseOrchestrateOptions } from './options.ts';

/** The step gives up sooner; this is for a step that cannot run. */
const stopLimitMs = 55_000;
const releaseLimitMs = 5_000;
const lookEveryMs = 50;
const reopenMs = 1_000;

export const handle: Handler = async (settings, io) => {
  const options = parseOrchestrateOptions(settings, io);
  const environment = roleEnvironment(io, { role: 'orchestrator', json: options.json });
  const keys = settings.has('wallet') ? await openRoleKeys(join(options.dir, 'syncer'), settings, io) : null;
  // A syncer of two that lost the lead follows again; one that is alone ends, for its supervisor to look at.
  for (let hasLed = false; ; ) {
    const running = await openOrchestrator(options, environment, keys, io).catch(async (error) => {
      if (options.shared === null || !mayPass(error, hasLed)) throw error;
      environment.log.warn('this syncer opens the run again', { reason: (error as BaseError).message });
      await sleep(reopenMs, undefined, { signal: io.stop }).catch(() => {}); // a stop ends the loop
      return io.stop.aborted ? null : ('again' as const);
    });
    if (running === 'again') continue;
    if (running === null) return 0;
    hasLed = true;
    io.out(options.json ? JSON.stringify({ kind: 'ready', url: running.url }) : `ready at ${running.url}`);
    try {
      const error = await Promise.race([aborted(io.stop), running.lost]);
      if (error === undefined) {
        await finish(running, io.force);
        return 0;
      }
      // Nothing can be ended in order: another process writes here.
      if (options.shared === null) throw error;
      environment.log.warn('the lead is lost', { reason: error.message });
    } finally {
      await running.close();
    }
  }
};

/** The lead was lost while it was taken up; or a place or a bus is away, of which it is known that it was there. */
const mayPass = (error: unknown, hasLed: boolean): boolean =>
  error instanceof BaseError && (error.code === 'FENCED' || (hasLed && (error.retryable || error.code === 'TAKEN')));

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
    // Nothing else may keep the process alive while it waits for work.
    const timer = setInterval(() => {}, 60_000);
    signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  });

async function finish({ orchestrator }: RunningOrchestrator, force: AbortSignal): Promise<void> {
  orchestrator.requestStop();
  const isStopped = (): boolean => orchestrator.decisions.stop.state === 'stopped';
  await until(isStopped, stopLimitMs, force);
  const evaluated = orchestrator.run.evaluations.at(-1)?.release;
  if (evaluated !== undefined) await until(() => orchestrator.releaseFolders.has(evaluated), releaseLimitMs, force);
}

async function until(isTrue: () => boolean, limitMs: number, signal: AbortSignal): Promise<void> {
  const end = performance.now() + limitMs;
  while (!isTrue() && performance.now() < end && !signal.aborted) {
    await sleep(lookEveryMs, undefined, { signal }).catch(() => {}); // forced: the loop ends
  }
}
