/** @file Does `accrete orchestrate`: serves a run until a signal, then makes a last release and ends. */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { openRoleKeys } from '../wallet-keys.ts';
import { openOrchestrator, type RunningOrchestrator } from './compose.ts';
import { parseOrchestrateOptions } from './options.ts';

/** The step gives up sooner; this is for a step that cannot run. */
const stopLimitMs = 55_000;
const releaseLimitMs = 5_000;
const lookEveryMs = 50;

export const handle: Handler = async (settings, io) => {
  const options = parseOrchestrateOptions(settings, io);
  const environment = roleEnvironment(io, { role: 'orchestrator', json: options.json });
  const keys = settings.has('wallet') ? await openRoleKeys(join(options.dir, 'syncer'), settings, io) : null;
  const running = await openOrchestrator(options, environment, keys, io);
  io.out(options.json ? JSON.stringify({ kind: 'ready', url: running.url }) : `ready at ${running.url}`);
  try {
    const error = await Promise.race([aborted(io.stop), running.orchestrator.lost]);
    // Nothing can be ended in order: another process writes here.
    if (error !== undefined) throw error;
    await finish(running, io.force);
  } finally {
    await running.close();
  }
  return 0;
};

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
