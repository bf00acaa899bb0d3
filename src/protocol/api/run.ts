/** @file `run` and `overview`: what a run is, and how it goes. */
import { z } from 'zod';
import { asOf, count, hash, hotkey, losses, name, number, routers, sentence } from './common.ts';

export const runSchema = z.object({
  id: hash,
  name,
  preset: name,
  owner: hotkey,
  createdAtMs: count,
  startedAtMs: count,
  model: z.object({
    paramsTotal: count,
    /** Of one token. */
    paramsActive: count,
    layers: count,
    experts: count,
    expertsPerToken: count,
    vocabSize: count,
  }),
  /** P. */
  fragments: count,
  codec: name,
  mergeRule: name,
  quorum: count,
  innerStepsPerOuterStep: count,
  maxStaleness: count,
  ledger: z.object({ chainId: z.string().max(128), netuid: count, tempoBlocks: count, blockMs: count }),
  verdictShare: number,
  halfLifeTempos: number,
  targetTokens: count,
  phases: z.array(
    z.object({
      index: count,
      name,
      targetTokens: count,
      /** Where it begins and ends, in counted tokens of the whole run. */
      fromTokens: count,
      toTokens: count,
      sequenceLength: count,
      mixture: z.record(z.string().max(64), z.number()),
      /** Null until it began. */
      startedAtMs: count.nullable(),
      /** Merged tokens when it began. */
      startedAtTokens: number.nullable(),
    }),
  ),
  /** By source and stage (`train`, `held-out`, `held-out-other`). */
  sources: z.array(z.object({ source: name, stage: name, tokens: count, licence: z.string().max(200) })),
  join: z.object({
    /** To be typed by a miner and by a validator; `{url}` stands for the address that the page came from. */
    mineCommand: z.string().max(500),
    validateCommand: z.string().max(500),
    verifyCommand: z.string().max(500),
    /** Estimates of one learner: parameters, gradients, two moments, states kept for audits. */
    memoryBytes: count,
    diskBytes: count,
    minThreads: count,
    /** Bytes that a joiner fetches before its first step: the fragments and the tokens of a lease. */
    downloadBytes: count,
    /** Of one claim's artifact, about. */
    uploadBytesPerClaim: count,
    machineNeeds: z.array(z.string().max(300)),
  }),
});
export type ApiRun = z.infer<typeof runSchema>;

/**
 * `starting`: nobody trains yet; `healthy`; `degraded`: it goes on, something is missing; `stalled`: nothing was merged for
 * long; `ended`: stopped on purpose. A page whose connection is gone adds its own word.
 */
export const healthWord = z.enum(['starting', 'healthy', 'degraded', 'stalled', 'ended']);
export const healthSchema = z.object({ word: healthWord, reason: sentence, sinceMs: count });

export const overviewSchema = z.object({
  asOf,
  /** The orchestrator's clock when it answered; the page shows ages against it. */
  nowMs: count,
  health: healthSchema,
  countedTokens: number,
  targetTokens: count,
  /** Merged tokens a second: over the last five minutes of merges, and over the run. */
  tokensPerSecond: number,
  tokensPerSecondOverRun: number,
  /** Sum of the learners' own numbers in their heartbeats; null without any. */
  trainedTokensPerSecond: number.nullable(),
  /** To the target, at `tokensPerSecond`; null while nothing is merged. */
  etaMs: number.nullable(),
  phase: z.object({
    ...{ index: count, name, targetTokens: count, countedTokens: number },
    /** What releases of the phase must show before it ends, each as a sentence. */
    gates: z.array(z.object({ gate: z.string().max(200), isHeld: z.boolean(), found: z.string().max(200) })).max(16),
  }),
  /** What the owner has changed of the manifest, or will, by outer step. */
  amendments: z
    .array(z.object({ amendment: count, atOuterStep: count, isInForce: z.boolean(), reason: z.string().max(500) }))
    .max(64),
  /** Mean of the alive learners' last losses; null without heartbeats (a snapshot of an ended run). */
  trainingLoss: number.nullable(),
  initialLosses: losses,
  heldOutLosses: losses,
  routers: routers.nullable(),
  miners: z.object({ active: count, known: count }),
  learners: z.object({ active: count, present: count, known: count }),
  validators: z.object({ active: count, known: count, barred: count }),
  innerSteps: count,
  outerSteps: count,
  merges: count,
  claims: z.object({ committed: count, open: count, accepted: count, refused: count, voided: count, merged: count }),
  audits: z.object({ open: count, passed: count, failed: count }),
  openDisputes: count,
  latestRelease: z.object({ release: count, atMs: count, countedTokens: number, id: hash }).nullable(),
  /** Newest head of the journal that the syncer put on the ledger. */
  lastAnchor: z.object({ size: count, root: hash, block: count, atMs: count }).nullable(),
  ledger: z.object({ block: count, tempo: count, blocksToNextTempo: count }),
  medians: z.object({
    revealToPublishMs: number.nullable(),
    commitToRevealMs: number.nullable(),
    mergeDurationMs: number.nullable(),
    staleness: number.nullable(),
  }),
});
export type ApiOverview = z.infer<typeof overviewSchema>;
export type ApiHealth = z.infer<typeof healthSchema>;
