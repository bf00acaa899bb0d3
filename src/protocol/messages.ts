/**
 * @file Every message that changes a run: its body's schema, who signs it, and what it means. The journal holds these
 * bodies as events; heartbeats and requests are signed the same way and not journaled. Parsed at the edge, bounded.
 *
 * Life of a claim: `claim-commit` (hash of the compressed pseudo-gradient) → `claim-beacon` (a later block's hash draws
 * committee and tests) → upload and `claim-reveal` → `verdict` of each committee member → `merge` → `fragment-published`.
 */
import { z } from 'zod';
import { amendmentChangesSchema } from './amendment.ts';
import { artifactRefSchema, manifestSchema } from './manifest.ts';
import {
  countSchema,
  decimalSchema,
  fromDecimal,
  type Hash,
  hashSchema,
  hotkeySchema,
  learnerNameSchema,
  rangeSchema,
  sessionKeySchema,
} from './names.ts';

export const roleSchema = z.enum(['syncer', 'miner', 'validator']);
export type Role = z.infer<typeof roleSchema>;

/** Stable codes of verdicts; `docs/protocol.md` says what each means and what a miner can do. */
export const verdictCodeSchema = z.enum([
  'OK',
  'MALFORMED',
  'OVERSIZED',
  'HEADER',
  'NOT_FINITE',
  'NORM_LOW',
  'NORM_HIGH',
  'HARMFUL',
  'TRACE',
  'MISSING',
  'STALE',
  'LOST',
  'FORFEITED',
]);
export type VerdictCode = z.infer<typeof verdictCodeSchema>;

/** Stable codes of replay audits. */
export const auditCodeSchema = z.enum([
  'OK',
  /** The bytes that were answered are not the states that the trace names. */
  'STATE',
  /** The first state is not what the published fragments give. */
  'START',
  /** Redoing the steps leads elsewhere. */
  'REPLAY',
  /** A claim made in the segment is not the pseudo-gradient of the redone state. */
  'CLAIM',
  'UNANSWERED',
  'UNCHECKED',
]);
export type AuditCode = z.infer<typeof auditCodeSchema>;

const claimId = hashSchema;
const measurements = z
  .record(z.string().regex(/^[a-z][a-zA-Z0-9_]{0,47}$/), decimalSchema)
  .refine((m) => Object.keys(m).length <= 32, 'at most 32 measurements');

const candidates = z.array(z.strictObject({ hotkey: hotkeySchema, stakeRao: countSchema })).max(4096);
const committee = z.array(hotkeySchema).max(4096);
const decimalWithin = (min: number, max: number) =>
  decimalSchema.refine((text) => fromDecimal(text) >= min && fromDecimal(text) <= max, `expected ${min} to ${max}`);

/** How routers share their tokens, the worst of all layers; a model without experts has none to tell of. */
export const routersSchema = z.strictObject({
  /** Entropy of an expert layer's load over ln(experts): 1 where all are used alike, 0 where one takes all. */
  entropy: decimalWithin(0, 1),
  /** Greatest load over the mean: 1 is balance. */
  imbalance: decimalWithin(1, 1e6),
  /** Of all layers together. */
  deadExperts: countSchema,
});

/** Bodies of journaled events. The signer's role is checked by the fold's admission rules. */
export const eventSchemas = {
  /** seq 0. Signer: the owner's hotkey. */
  run: z.strictObject({
    manifest: manifestSchema,
    /** The start checkpoint: one artifact a fragment, and the recipe's frozen tensors where there are any. */
    start: z.array(artifactRefSchema).min(1).max(4096),
    frozen: artifactRefSchema.optional(),
  }),
  /** This session key acts as my `role` under `name`. Signer: the hotkey. A later one replaces an earlier one. */
  delegate: z.strictObject({
    hotkey: hotkeySchema,
    role: roleSchema,
    name: learnerNameSchema,
    sessionKey: sessionKeySchema,
    /** Greater than in the delegation that it replaces, so that an old one cannot be replayed. */
    issuedAtMs: countSchema,
    /** At or before `issuedAtMs` it revokes. */
    expiresAtMs: countSchema,
  }),
  /**
   * A learner enters the run, or enters it again after a restart: its trace goes on from its committed head, and every
   * fragment's next claim starts there. Signer: its session key. Capabilities are rounded; no addresses or host names.
   */
  join: z.strictObject({
    /** The learner's own clock; greater than in its last `join` or `leave`, so that neither can be replayed. */
    atMs: countSchema,
    threads: countSchema.max(4096),
    memoryGib: countSchema.max(1 << 20),
    machineClass: z.string().max(64),
  }),
  /** A clean goodbye. Signer: session key. */
  leave: z.strictObject({ atMs: countSchema }),
  /** Sequences [from, to) of the phase's order for one learner. Signer: syncer. */
  lease: z.strictObject({
    lease: countSchema,
    hotkey: hotkeySchema,
    name: learnerNameSchema,
    phase: countSchema,
    range: rangeSchema,
    /** Position in the learning-rate schedule (tokens) at the lease's start and end; linear between. */
    scheduleTokens: z.tuple([countSchema, countSchema]).readonly(),
    deadlineMs: countSchema,
  }),
  /** What no committed trace line covers goes back to the pool. Signer: the learner (return) or the syncer (expiry). */
  'lease-return': z.strictObject({ lease: countSchema, reason: z.enum(['returned', 'expired', 'left']) }),
  /** Outer step t, fragment t mod P, is open for claims. Signer: syncer. */
  'fragment-due': z.strictObject({ outerStep: countSchema, fragment: countSchema, deadlineMs: countSchema }),
  /**
   * A learner's signed statement of work. Its claim id is the hash of the journal message. Signer: session key.
   * `steps` is the trace interval [from, to) of the learner's life-long inner-step count that this fragment has not been
   * claimed for; `sequences` are the order positions that these steps trained on, sorted and disjoint.
   */
  'claim-commit': z.strictObject({
    outerStep: countSchema,
    fragment: countSchema,
    /** Version of the fragment last taken in before the interval's end. */
    baseVersion: countSchema,
    steps: rangeSchema,
    phase: countSchema,
    sequences: z.array(rangeSchema).min(1).max(4096),
    artifact: artifactRefSchema,
    trace: z.strictObject({
      /** The lines [from, to) as an artifact; `from` is where the learner's last committed line ended. */
      artifact: artifactRefSchema,
      lines: rangeSchema,
      previousHead: hashSchema,
      head: hashSchema,
    }),
  }),
  /** The artifact and the trace lie in the store. Signer: session key. */
  'claim-reveal': z.strictObject({ claim: claimId }),
  /**
   * Randomness for one claim: `blockHash` of the first block after the block that follows the commit. `candidates` are the
   * validators with a fresh heartbeat and their stake in rao; committee and test follow from it (`draw.ts`). Signer: syncer.
   */
  'claim-beacon': z.strictObject({
    claim: claimId,
    commitBlock: countSchema,
    block: countSchema,
    blockHash: hashSchema,
    candidates,
    committee,
    /** Who checks again once the claim is accepted; null where it was not drawn or nobody is left. */
    recheck: hotkeySchema.nullable(),
    gainTested: z.boolean(),
  }),
  /**
   * The claim's bytes never came (`MISSING`), its fragment moved on past the bound (`STALE`), or bytes that a merge needs
   * are gone (`LOST`). Signer: syncer.
   */
  'claim-void': z.strictObject({ claim: claimId, code: verdictCodeSchema, sentence: z.string().max(500) }),
  /**
   * A validator's signed judgement. `committee`: one of those drawn first; `recheck`: the one drawn to check an accepted
   * claim again; `ruling`: anyone, in a dispute. Signer: a validator's session key.
   */
  verdict: z.strictObject({
    claim: claimId,
    round: z.enum(['committee', 'recheck', 'ruling']),
    outcome: z.enum(['accept', 'ignore', 'reject']),
    code: verdictCodeSchema,
    sentence: z.string().max(500),
    measurements,
    /** Sequences and losses of the gain test (`details.ts`), in the store; null without a gain test. */
    details: artifactRefSchema.nullable(),
    /** Validators whose published numbers this one computed otherwise. */
    accused: z.array(hotkeySchema).max(64),
  }),
  /** A miner asks all validators about his refused claim. Signer: the claim's learner. */
  appeal: z.strictObject({ claim: claimId }),
  /** The rulings that are in decide a dispute whose jury is not complete in time. Signer: syncer. */
  'dispute-close': z.strictObject({ claim: claimId }),
  /** A validator is there, or there again. Signer: its session key. */
  serve: z.strictObject({ atMs: countSchema, threads: countSchema.max(4096), machineClass: z.string().max(64) }),
  /**
   * The learner must show the states at both ends of the trace segment `steps`, and validators redo it. `drawn`: number
   * `slot` of the hotkey's audits in `tempo`; the other reasons follow from verdicts, on the segments of `claim`.
   * Segment and committee follow from the block (`draw.ts`). Signer: syncer.
   */
  'audit-challenge': z.strictObject({
    audit: countSchema,
    hotkey: hotkeySchema,
    name: learnerNameSchema,
    steps: rangeSchema,
    reason: z.enum(['drawn', 'resemblance', 'no-gain']),
    tempo: countSchema,
    slot: countSchema,
    claim: claimId.nullable(),
    block: countSchema,
    blockHash: hashSchema,
    candidates,
    /** In the order of their turns: the second repeats what the first found wrong, the third decides between them. */
    committee,
    deadlineMs: countSchema,
  }),
  /** The states lie in the store; `start` is null where the segment begins with a join. Signer: the learner. */
  'audit-answer': z.strictObject({ audit: countSchema, start: artifactRefSchema.nullable(), end: artifactRefSchema }),
  /** Signer: session key of a validator of the audit's committee. */
  'audit-verdict': z.strictObject({
    audit: countSchema,
    outcome: z.enum(['pass', 'fail']),
    code: auditCodeSchema,
    sentence: z.string().max(500),
    measurements,
  }),
  /** No answer came in time (`UNANSWERED`: a failure), or no verdicts did (`UNCHECKED`: nothing). Signer: syncer. */
  'audit-close': z.strictObject({ audit: countSchema, code: z.enum(['UNANSWERED', 'UNCHECKED']) }),
  /** Exactly the claims accepted before this event, unmerged and within the bound. Signer: syncer. */
  merge: z.strictObject({
    outerStep: countSchema,
    fragment: countSchema,
    fromVersion: countSchema,
    claims: z.array(z.strictObject({ claim: claimId, tokens: decimalSchema, staleness: countSchema })).max(65_536),
  }),
  /** The result of the merge with the same outer step. Signer: syncer. */
  'fragment-published': z.strictObject({
    outerStep: countSchema,
    fragment: countSchema,
    version: countSchema,
    /** Absolute parameters (float32 safetensors) and the outer momentum. */
    artifact: artifactRefSchema,
    momentum: artifactRefSchema,
    /** Per merged claim, in merge order. */
    shares: z.array(
      z.strictObject({ claim: claimId, share: decimalSchema, norm: decimalSchema, clippedNorm: decimalSchema }),
    ),
    durationMs: countSchema,
  }),
  /** A checkpoint of absolute fragment states. Signer: syncer. */
  release: z.strictObject({
    release: countSchema,
    parent: hashSchema.nullable(),
    versions: z.array(countSchema).min(1).max(4096),
    countedTokens: decimalSchema,
    tokensBySource: z.record(z.string().max(64), countSchema),
    treeHead: hashSchema,
    /** `segmentHash` of the fold before this event: where verifiers and joiners may begin. */
    stateHash: hashSchema,
  }),
  /** The files of a release's folder, each named by its bytes. Signer: syncer. */
  'release-published': z.strictObject({
    release: countSchema,
    files: z
      .array(
        z.strictObject({ name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$/), artifact: artifactRefSchema }),
      )
      .min(1)
      .max(4096),
  }),
  /** A validator has redone every merge between the last release and this one, and got the same bytes. */
  'segment-attested': z.strictObject({ release: countSchema, stateHash: hashSchema, merges: countSchema }),
  /** Losses (nats a token) of a release on the held-out stages. Signer: a validator's session key. */
  evaluation: z.strictObject({
    release: countSchema,
    losses: z.record(z.string().max(64), decimalSchema),
    sequences: countSchema,
    /** On the same sequences; dead: without a single token of them. */
    routers: routersSchema.optional(),
  }),
  /**
   * The next phase begins: every lease after this event is of it, from outer step `outerStep` on, the next to be opened. The phase
   * before has drawn `cursor` positions of its order, where the text of the next begins. Signer: syncer.
   */
  'phase-change': z.strictObject({ phase: countSchema, outerStep: countSchema, cursor: countSchema }),
  /** The owner changes what of the manifest may change, from an outer step on that is not open yet. Signer: the owner's hotkey. */
  amendment: z.strictObject({
    amendment: countSchema,
    atOuterStep: countSchema,
    changes: amendmentChangesSchema,
    reason: z.string().min(1).max(500),
  }),
  /** The ledger entered tempo `tempo` at `block`; scores of the last one are closed. Signer: syncer. */
  tempo: z.strictObject({ tempo: countSchema, block: countSchema, blockHash: hashSchema }),
  /** RFC 6962 head over the first `size` events. Signer: syncer; anchored on the ledger. */
  'tree-head': z.strictObject({ size: countSchema, root: hashSchema, block: countSchema }),
} as const;

export type EventKind = keyof typeof eventSchemas;
export type EventBody<K extends EventKind> = z.infer<(typeof eventSchemas)[K]>;
/** Any journaled event's kind and body. */
export type RunEvent = { [K in EventKind]: { readonly kind: K; readonly body: EventBody<K> } }[EventKind];

/** What is uploaded at once, where a store takes uploads in parts. */
export const uploadPartBytes = 64 * 1024 ** 2;
const maxUploadParts = 1_024;

/** What the answer to a grant-request is sealed under (`sealed.ts`). */
export const grantContext = (run: Hash, root: Hash): string => `grant ${run} ${root}`;

/** Signed like events, never journaled. */
export const wireSchemas = {
  heartbeat: z.strictObject({
    role: roleSchema,
    innerSteps: countSchema,
    loss: decimalSchema.nullable(),
    tokensPerSecond: decimalSchema.nullable(),
    rssBytes: countSchema,
    /** Of a miner: means over its steps since the last heartbeat; dead: without a token for 50 steps. */
    routers: routersSchema.optional(),
    atMs: countSchema,
  }),
  'lease-request': z.strictObject({ nonce: countSchema }),
  /** Asks for permission to store exactly these bytes. */
  'grant-request': z.strictObject({
    artifact: artifactRefSchema,
    purpose: z.enum(['claim', 'trace', 'details', 'state']),
    /** SHA-256 of each `uploadPartBytes` of the bytes: stores that check nothing else of an upload bind it to them. */
    parts: z.array(hashSchema).min(1).max(maxUploadParts).optional(),
  }),
  /** Asks for credentials of the run's bus. What comes back is of use only to who holds the session key. */
  'bus-access': z.strictObject({}),
} as const;
export type WireKind = keyof typeof wireSchemas;
export type WireBody<K extends WireKind> = z.infer<(typeof wireSchemas)[K]>;

export type MessageKind = EventKind | WireKind;

/** A signed message as it crosses the wire. */
export const envelopeSchema = z.strictObject({
  version: z.literal(1),
  kind: z.string().max(32),
  /** Run id: hash of the manifest. */
  run: hashSchema,
  /** `ed25519:<hex>` for session keys; `hotkey:<sr25519|ed25519>:<ss58>` for what hotkeys sign (`run`, `delegate`, `amendment`). */
  signer: z.string().max(80),
  /** The newest tree head that the signer has seen (null before the first). */
  seenHead: z.strictObject({ size: countSchema, root: hashSchema }).nullable(),
  body: z.unknown(),
  /** Lower-case hex of 64 bytes. */
  signature: z.string().regex(/^[0-9a-f]{128}$/),
});
export type Envelope = z.infer<typeof envelopeSchema>;

/** One line of the journal: a signed message with its place and time. */
export const journalEntrySchema = z.strictObject({
  seq: countSchema,
  prevHash: hashSchema,
  timeMs: countSchema,
  message: envelopeSchema,
});
export type JournalEntry = z.infer<typeof journalEntrySchema>;

/** What a peer's message is worth: `ignore` costs nothing (late, duplicate), `reject` costs the sender. */
export type Admission =
  | { readonly outcome: 'accept' }
  | { readonly outcome: 'ignore' | 'reject'; readonly code: string; readonly sentence: string };
