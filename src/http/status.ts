/** @file What `GET /status` says: the run as the orchestrator's fold and the last heartbeats have it, in plain numbers. */
import { z } from 'zod';
import { countSchema, hashSchema, hotkeySchema } from '../protocol/names.ts';

const number = z.number();
const share = z.number().min(0).max(1);
const name = z.string().max(64);
/** Nats a token, by held-out stage (`held-out`, `held-out-other`). */
const lossesSchema = z.record(z.string().max(64), number);

/** How routers share their tokens, the worst of all layers (`routersSchema` of the protocol, as numbers). */
const routersSchema = z.object({ entropy: share, imbalance: number, deadExperts: countSchema });

export const learnerStatusSchema = z.object({
  hotkey: hotkeySchema,
  name,
  /** Joined, and not left. */
  present: z.boolean(),
  /** Heard of lately. */
  alive: z.boolean(),
  innerSteps: countSchema,
  accepted: countSchema,
  rejected: countSchema,
  /** Claims on their way. */
  open: countSchema,
  countedTokens: number,
  /** Of all counted tokens. */
  share,
  /** Of its last heartbeat. */
  loss: number.nullable(),
  tokensPerSecond: number.nullable(),
  routers: routersSchema.nullable(),
  rssBytes: countSchema.nullable(),
  /** Of its last verdict, and what that means to it. */
  lastCode: z.string().max(64).nullable(),
  lastSentence: z.string().max(2_000).nullable(),
});

export const validatorStatusSchema = z.object({
  hotkey: hotkeySchema,
  name,
  alive: z.boolean(),
  verdicts: countSchema,
  /** Why it may no longer judge; null if it may. */
  barred: z.string().max(2_000).nullable(),
  rssBytes: countSchema.nullable(),
});

export const fragmentStatusSchema = z.object({
  id: countSchema,
  version: countSchema,
  /** Since its last merge; null before the first. */
  ageMs: number.nullable(),
  /** Learners in its last merge. */
  contributors: countSchema,
  /** Open for claims now. */
  due: z.boolean(),
});

export const mergeStatusSchema = z.object({
  outerStep: countSchema,
  fragment: countSchema,
  version: countSchema,
  learners: countSchema,
  tokens: number,
  atMs: countSchema,
});

export const releaseStatusSchema = z.object({
  release: countSchema,
  countedTokens: number,
  atMs: countSchema,
  /** Empty until a validator has evaluated it. */
  losses: lossesSchema,
  /** On held-out text. */
  routers: routersSchema.nullable(),
});

export const statusSchema = z.object({
  version: z.literal(1),
  run: z.object({ id: hashSchema, name, preset: name, parameters: countSchema }),
  /** `count`: phases of the run. */
  phase: z.object({
    ...{ index: countSchema, count: countSchema, name },
    ...{ targetTokens: countSchema, countedTokens: number, sequenceLength: countSchema },
    /** Each as a sentence, and whether it holds. */
    gates: z.array(z.object({ gate: z.string().max(200), isHeld: z.boolean(), found: z.string().max(200) })).max(16),
  }),
  countedTokens: number,
  innerSteps: countSchema,
  outerSteps: countSchema,
  /** Mean of the alive learners' last losses. */
  trainingLoss: number.nullable(),
  /** Of the start checkpoint, and of the newest evaluated release. */
  initialLosses: lossesSchema,
  heldOutLosses: lossesSchema,
  tokensPerSecond: number,
  /** Mean of the alive learners' entropy and imbalance, the most dead experts that one of them has; null before the first. */
  routers: routersSchema.nullable(),
  learners: z.array(learnerStatusSchema).max(65_536),
  validators: z.array(validatorStatusSchema).max(65_536),
  fragments: z.array(fragmentStatusSchema).max(4_096),
  /** The latest 20, newest first. */
  merges: z.array(mergeStatusSchema).max(20),
  mergeCount: countSchema,
  /** The latest 20, newest first. */
  releases: z.array(releaseStatusSchema).max(20),
  releaseCount: countSchema,
  ledger: z.object({
    block: countSchema,
    tempo: countSchema,
    /** Paid so far, in rao. */
    emissionRao: z.record(z.string(), number),
  }),
  /** Median time from a claim's reveal to the fragment that holds it; null before the first. */
  medians: z.object({ revealToPublishMs: number.nullable() }),
  /** Claims that are before all validators now. */
  openDisputes: countSchema,
  /** Replay audits of the run, by what came of them; `open`: those that wait for an answer or for verdicts. */
  audits: z.object({ open: countSchema, passed: countSchema, failed: countSchema }),
  journalEntries: countSchema,
  /** Of the orchestrator's process. */
  process: z.object({ startedAtMs: countSchema, rssBytes: countSchema }),
});
export type Status = z.infer<typeof statusSchema>;
export type RoutersStatus = z.infer<typeof routersSchema>;
export type LearnerStatus = z.infer<typeof learnerStatusSchema>;
export type ValidatorStatus = z.infer<typeof validatorStatusSchema>;
export type FragmentStatus = z.infer<typeof fragmentStatusSchema>;
export type MergeStatus = z.infer<typeof mergeStatusSchema>;
export type ReleaseStatus = z.infer<typeof releaseStatusSchema>;
