/** @file A claim's way out, against a client that answers as a syncer does: lost replies, refusals, voids. */
import { describe, expect, it } from 'vitest';
import { emptyState } from '../../journal/state.ts';
import { artifactOf } from '../../protocol/artifact.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import { MemoryStore } from '../../store/memory.ts';
import { silentLog } from '../../util/clock.ts';
import { BaseError } from '../../util/errors.ts';
import type { RunClient, SubmitResult } from '../client.ts';
import { ClaimUploader, type Upload } from './claim-uploader.ts';

const claim = 'c1'.repeat(32) as Hash;
const bytes = Uint8Array.of(1, 2, 3);
const artifact = artifactOf(bytes);
const body = { outerStep: 3, fragment: 1, artifact } as EventBody<'claim-commit'>;
const uploads: Upload[] = [{ artifact, bytes, purpose: 'claim' }];
const answer = (outcome: SubmitResult['outcome'], code: string): SubmitResult => {
  return { outcome, code, sentence: `said ${code}`, id: claim, seq: outcome === 'accept' ? 9 : null };
};

/** A client with a scripted `submit`; grants fail `failures` times first. */
function open(options: { answers: SubmitResult[]; failures?: number; isJournaled?: boolean }) {
  const state = emptyState();
  if (options.isJournaled) state.claims.set(claim, {} as never);
  let failures = options.failures ?? 0;
  const sent: string[] = [];
  const store = new MemoryStore();
  const client = {
    ...{ state, store, log: silentLog, signal: new AbortController().signal },
    async submit(kind: string) {
      sent.push(kind);
      return options.answers.shift()!;
    },
    async requestGrant() {
      if (failures-- > 0) throw new BaseError('TIMEOUT', 'no answer', { retryable: true });
      return { artifact, token: '', expiresAtMs: 0 };
    },
  } as unknown as RunClient;
  const sleeps: number[] = [];
  const clock = { nowMs: () => 0, sleep: async (ms: number) => void sleeps.push(ms) };
  return { uploader: new ClaimUploader({ client, log: silentLog, clock }), sent, sleeps, store };
}

describe('ClaimUploader', () => {
  it('commits, uploads through failures of the network, reveals', async () => {
    const { uploader, sent, sleeps, store } = open({
      answers: [answer('accept', ''), answer('accept', '')],
      failures: 3,
    });
    expect(await uploader.commit(body)).toBe(claim);
    expect(await uploader.reveal(claim, uploads)).toBe(true);
    expect(sent).toEqual(['claim-commit', 'claim-reveal']);
    expect(sleeps).toEqual([400, 800, 1600]);
    expect(await store.stat(artifact.root)).toBe(3);
  });

  it('takes a commit for journaled whose first answer was lost', async () => {
    for (const code of ['DUPLICATE', 'WRONG_TRACE']) {
      const { uploader } = open({ answers: [answer('ignore', code)], isJournaled: true });
      expect(await uploader.commit(body), code).toBe(claim);
    }
  });

  it('gives a refused claim up, but does not go on beside another trace of the same learner', async () => {
    expect(await open({ answers: [answer('ignore', 'STALE')] }).uploader.commit(body)).toBeNull();
    const foreign = open({ answers: [answer('reject', 'WRONG_TRACE')] }).uploader.commit(body);
    await expect(foreign).rejects.toMatchObject({ code: 'REFUSED' });
  });

  it('neither uploads nor reveals what was voided meanwhile', async () => {
    const { uploader, sent } = open({ answers: [], failures: 5 });
    const revealing = uploader.reveal(claim, uploads);
    uploader.abandon(claim);
    expect(await revealing).toBe(false);
    expect(sent).toEqual([]);
  });
});
