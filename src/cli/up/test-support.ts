/** @file A network for the tests of the view. */
import type { NetworkView, ViewFrame } from './view.ts';

export function sampleNetwork(overrides: Partial<NetworkView> = {}): NetworkView {
  return {
    phase: {
      ...{ index: 0, count: 1, name: 'base', targetTokens: 1_000_000_000 },
      ...{ countedTokens: 1_234_567, sequenceLength: 128, gates: [] },
    },
    preset: 'nano',
    runId: 'ab'.repeat(32),
    parameters: 4_200_000,
    tokens: 1_234_567,
    tokensPerSecond: 6_543,
    innerSteps: 1_206,
    outerSteps: 13,
    rejected: 1,
    routers: { entropy: 0.972, imbalance: 1.31, deadExperts: 0 },
    miners: [1, 2, 3].map((i) => ({
      name: `miner-${i}`,
      present: true,
      innerSteps: 400 + i,
      tokensPerSecond: 2_181,
      loss: 4 + i / 10,
      accepted: 12,
      rejected: i === 3 ? 1 : 0,
      lastCode: 'OK',
      lastSentence: '',
      open: 1,
      share: 1 / 3,
      tokens: 411_522,
      paidRao: i === 1 ? 1_250_000_000 : 0,
    })),
    validators: [
      { name: 'validator-1', verdicts: 30 },
      { name: 'validator-2', verdicts: 28 },
    ],
    fragments: Array.from({ length: 6 }, (_, fragment) => ({
      fragment,
      version: 2,
      ageMs: fragment === 5 ? null : 4_000,
    })),
    merges: Array.from({ length: 8 }, (_, i) => ({
      outerStep: 12 - i,
      fragment: (12 - i) % 6,
      version: 2,
      learners: 3,
      tokens: 55_296,
      atMs: 1_000 * (12 - i),
    })),
    mergeCount: 13,
    releases: [
      { release: 2, tokens: 1_000_000, losses: {} },
      { release: 1, tokens: 500_000, losses: { 'held-out': 5.25, 'held-out-other': 5.75 } },
    ],
    releaseCount: 2,
    initialLosses: { 'held-out': 7.625, 'held-out-other': 7.63 },
    ...overrides,
  };
}

export const sampleFrame = (network = sampleNetwork()): ViewFrame => ({
  network,
  url: 'http://localhost:4680',
  processes: [{ name: 'miner-3', state: 'running', restarts: 2 }],
  trainingLosses: [7.6, 6.5, 5.5, 4.9, 4.2],
  elapsedMs: 75_000,
  limitMs: 600_000,
  limitTokens: null,
  lastEvent: 'outer step 12: fragment 0 is version 2',
});
