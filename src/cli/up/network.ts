/** @file Looks at a network: `GET /status` as the view wants it. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchStatus } from '../../http/client.ts';
import { HttpError } from '../../http/errors.ts';
import { type Status, statusSchema } from '../../http/status.ts';
import { finalStatusFile } from '../paths.ts';
import type { NetworkView } from './view.ts';

const timeoutMs = 3_000;

/** Null while nothing answers. */
export async function readNetwork(url: string): Promise<NetworkView | null> {
  try {
    return networkOf(await fetchStatus(url, { timeoutMs }));
  } catch (error) {
    if (error instanceof HttpError && error.retryable) return null;
    throw error;
  }
}

/** What the orchestrator left in the run's folder when it ended after `sinceMs`; null if it ended another way. */
export async function readFinalNetwork(dir: string, sinceMs: number): Promise<NetworkView | null> {
  const path = join(dir, finalStatusFile);
  const info = await stat(path).catch(() => null);
  if (info === null || info.mtimeMs < sinceMs) return null;
  const parsed = statusSchema.safeParse(JSON.parse(await readFile(path, 'utf8')));
  return parsed.success ? networkOf(parsed.data) : null;
}

/** Release 0 is the start checkpoint: not counted as one, but its losses are where the run began. */
export function networkOf(status: Status): NetworkView {
  const { learners, validators, fragments, releases, ledger } = status;
  return {
    phase: status.phase,
    preset: status.run.preset,
    runId: status.run.id,
    parameters: status.run.parameters,
    tokens: status.countedTokens,
    tokensPerSecond: status.tokensPerSecond,
    innerSteps: status.innerSteps,
    outerSteps: status.outerSteps,
    rejected: learners.reduce((sum, learner) => sum + learner.rejected, 0),
    routers: status.routers,
    miners: [...learners]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((learner) => ({
        name: learner.name,
        present: learner.alive,
        innerSteps: learner.innerSteps,
        tokensPerSecond: learner.tokensPerSecond ?? 0,
        loss: learner.loss,
        accepted: learner.accepted,
        rejected: learner.rejected,
        lastCode: learner.lastCode,
        lastSentence: learner.lastSentence,
        open: learner.open,
        share: learner.share,
        tokens: learner.countedTokens,
        paidRao: ledger.emissionRao[learner.hotkey] ?? 0,
      })),
    validators: [...validators]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, verdicts }) => ({ name, verdicts })),
    fragments: fragments.map(({ id: fragment, version, ageMs }) => ({ fragment, version, ageMs })),
    merges: status.merges,
    mergeCount: status.mergeCount,
    releases: releases
      .filter(({ release }) => release > 0)
      .map(({ release, countedTokens, losses }) => ({ release, tokens: countedTokens, losses })),
    releaseCount: Math.max(0, status.releaseCount - 1),
    initialLosses: status.initialLosses,
  };
}
