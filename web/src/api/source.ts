/**
 * @file Finds out where the data comes from: a live server (it answers `run`), or the files of a snapshot beside the page. Asked
 * in this order so that a live page asks nothing in vain.
 */
import { signal } from '@preact/signals';
import { apiBase } from '../../../src/protocol/api/routes.ts';
import { type ApiSnapshot, snapshotSchema } from '../../../src/protocol/api/snapshot.ts';
import { refreshAll } from './answers.ts';
import { ask, baseUrl, readJson } from './client.ts';
import { freezeClock } from './clock.ts';
import { ApiFault } from './errors.ts';
import { connectLive, showSnapshot } from './live.ts';
import { sourceKind } from './source-kind.ts';

export const snapshot = signal<ApiSnapshot | null>(null);
export const snapshotMadeAtMs = signal<number | null>(null);

export async function startSource(): Promise<void> {
  const found = await findSnapshot();
  if (found === null) {
    sourceKind.value = 'live';
    connectLive();
  } else {
    snapshot.value = found;
    snapshotMadeAtMs.value = found.madeAtMs;
    freezeClock(found.madeAtMs);
    sourceKind.value = 'snapshot';
    showSnapshot();
  }
  refreshAll();
}

/** A server that is away, or has no run yet, is a live one that will come: only "no such path" means files. */
async function findSnapshot(): Promise<ApiSnapshot | null> {
  try {
    await ask({ name: 'run' }, { isSnapshot: false });
    return null;
  } catch (error) {
    if (!(error instanceof ApiFault) || error.code === 'UNREACHABLE' || error.code === 'NO_RUN') return null;
  }
  const url = new URL(`${apiBase.slice(1)}/snapshot.json`, baseUrl());
  try {
    const response = await fetch(url);
    if (!response.ok) return null;
    return snapshotSchema.parse(await readJson(response, url));
  } catch {
    return null; // the pages' own questions then say what is wrong
  }
}
