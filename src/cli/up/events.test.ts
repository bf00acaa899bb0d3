/** @file Events between two looks, and the sum at the end. */
import { describe, expect, it } from 'vitest';
import { eventsBetween, formatEvent } from './events.ts';
import { formatSummary, summarize } from './summary.ts';
import { sampleNetwork } from './test-support.ts';

describe('events', () => {
  it('tell the run first, then nothing where nothing changed', () => {
    expect(eventsBetween(null, sampleNetwork()).map((event) => event.event)).toEqual(['run']);
    expect(eventsBetween(sampleNetwork(), sampleNetwork())).toEqual([]);
  });

  it('tell each merge, release, evaluation, refusal and absence once, oldest first', () => {
    const before = sampleNetwork();
    const miners = before.miners.map((miner, i) => ({
      ...miner,
      present: i !== 0,
      ...(i === 1 ? { rejected: miner.rejected + 2, lastCode: 'STALE', lastSentence: 'it came too late' } : {}),
      ...(i === 2 ? { paidRao: 500_000_000 } : {}),
    }));
    const newest = before.merges[0]!;
    const after = sampleNetwork({
      miners,
      merges: [{ ...newest, outerStep: 18, version: 4 }, { ...newest, outerStep: 13, version: 3 }, ...before.merges],
      releases: [
        { release: 3, tokens: 1_200_000, losses: {} },
        { ...before.releases[0]!, losses: { 'held-out': 5, 'held-out-other': 5.5 } },
        before.releases[1]!,
      ],
    });
    const lines = eventsBetween(before, after).map(formatEvent);
    expect(lines).toEqual([
      'miner-1 is away',
      'miner-2: 2 claims rejected, STALE: it came too late',
      'miner-3 is paid 0.5 TAO',
      'outer step 13: fragment 0 is version 3, from 3 learners over 55,296 tokens',
      'outer step 18: fragment 0 is version 4, from 3 learners over 55,296 tokens',
      'release 2: held-out loss 5.000, another source 5.500',
      'release 3 at 1,200,000 tokens',
    ]);
  });
});

describe('summary', () => {
  const options = { elapsedMs: 600_000, checkpoint: '/run/releases/release-2', failure: null };

  it('is good when the loss fell, there is a release and every miner has accepted work', () => {
    const summary = summarize(sampleNetwork(), options);
    expect(summary.problems).toEqual([]);
    expect(summary.heldOut).toEqual({ before: 7.625, after: 5.25 });
    const text = formatSummary(summary, ['./bin/accrete generate …']).join('\n');
    expect(text).toContain('7.625 → 5.250 (-2.375)');
    expect(text).toContain('./bin/accrete generate …');
  });

  it('names each thing that is not so', () => {
    const problems = (network: ReturnType<typeof sampleNetwork>, more: Partial<typeof options> = {}) =>
      summarize(network, { ...options, ...more }).problems.join('\n');
    const miners = sampleNetwork().miners.map((miner, i) => (i === 2 ? { ...miner, accepted: 0 } : miner));
    expect(problems(sampleNetwork({ miners }))).toContain('no accepted work from miner-3');
    expect(problems(sampleNetwork({ releases: [], releaseCount: 0 }))).toContain('no release yet');
    expect(problems(sampleNetwork({ initialLosses: { 'held-out': 5 } }))).toContain('did not fall (5.000 → 5.250)');
    expect(problems(sampleNetwork({ initialLosses: {}, releases: [sampleNetwork().releases[0]!] }))).toContain(
      'not measured',
    );
    expect(summarize(sampleNetwork(), { ...options, failure: 'the syncer cannot go on' }).problems).toEqual([
      'the syncer cannot go on',
    ]);
  });
});
