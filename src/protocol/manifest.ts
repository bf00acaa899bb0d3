/**
 * @file The run manifest: what all participants must agree on. Signed by the owner; its hash is the run id.
 * Numbers that are not integers are decimal text (see `names.ts`).
 */
import { z } from 'zod';
import { countSchema, decimalSchema, hashSchema, hotkeySchema } from './names.ts';

const positive = countSchema.min(1);

/** A blob named by the Merkle root of its pieces (`artifact.ts`). */
export const artifactRefSchema = z.strictObject({ root: hashSchema, sizeBytes: countSchema });
export type ArtifactRef = z.infer<typeof artifactRefSchema>;

export const shardSchema = z.strictObject({
  source: z.string().min(1).max(64),
  artifact: artifactRefSchema,
  tokens: countSchema,
  licence: z.string().min(1).max(200),
  /** What the shard may be used for; `held-out`: documents of training sources, `held-out-other`: another source. */
  stage: z.enum(['train', 'held-out', 'held-out-other']),
});
export type Shard = z.infer<typeof shardSchema>;

/** What an evaluated release must show before a phase may end: a held-out loss, or a task's result. */
export const gateSchema = z
  .strictObject({
    /** As evaluations name it: `held-out`, `held-out-other`, `held-out/SOURCE`, `task/NAME`. */
    metric: z.string().min(1).max(64),
    atMost: decimalSchema.optional(),
    atLeast: decimalSchema.optional(),
  })
  .refine(({ atMost, atLeast }) => (atMost === undefined) !== (atLeast === undefined), 'expected atMost or atLeast');
export type Gate = z.infer<typeof gateSchema>;

/** Of what the model's config says of positions; absent: as the config has it. The parameters are the same. */
export const contextSchema = z.strictObject({
  useNope: z.boolean().optional(),
  /** Positions from here on are not rotated (`rope_short_nope_long`). */
  nopeAfterPosition: countSchema.max(2 ** 31).optional(),
});
export type PhaseContext = z.infer<typeof contextSchema>;

export const phaseSchema = z.strictObject({
  name: z.string().min(1).max(64),
  targetTokens: positive,
  sequenceLength: positive.max(1 << 20),
  /** Source name → integer share of the mixture. */
  mixture: z.record(z.string().min(1).max(64), positive.max(1_000_000)),
  schedule: z.strictObject({
    kind: z.enum(['constant', 'linear', 'cosine', 'wsd']),
    peakLearningRate: decimalSchema,
    finalLearningRate: decimalSchema,
    /** Warm-up and total length in counted tokens. */
    warmupTokens: countSchema,
    totalTokens: positive,
    /** Where the warm-up begins: a phase that re-warms goes on from the last one's final rate. Absent: 0. */
    warmupFrom: decimalSchema.optional(),
    /** Of `wsd`: how many of the total decay. Absent: a fifth of what follows the warm-up. */
    decayTokens: positive.optional(),
  }),
  /** The batch rises from `startSequences` to the recipe's over so many tokens of the phase; absent: the recipe's. */
  batch: z.strictObject({ startSequences: positive.max(65_536), rampTokens: positive }).optional(),
  context: contextSchema.optional(),
  /** All must hold, on the verdict quorum, before the phase ends. */
  gates: z.array(gateSchema).min(1).max(16).optional(),
  /** In place of the run's own cadence. */
  release: z.strictObject({ everyMerges: positive }).optional(),
});
export type Phase = z.infer<typeof phaseSchema>;

/** How floats are stored: `bf16` rounds float32 to nearest even. What computes is always float32. */
export const storedFloatSchema = z.enum(['f32', 'bf16']);
export type StoredFloat = z.infer<typeof storedFloatSchema>;

/** A name of the model's contract; each `*` stands for any text, dots included, or none. */
export const namePatternSchema = z
  .string()
  .regex(/^[A-Za-z0-9_.*]{1,200}$/, 'expected a tensor name of A-Z, a-z, 0-9, _ and ., with * for any text')
  .refine((pattern) => pattern.split('*').length <= 9, 'at most 8 * in one pattern');
export const maxFrozenPatterns = 64;

/** Tensors that training leaves as the start checkpoint has them. */
export const frozenSchema = z.strictObject({
  /** Each must name a tensor; together they must leave one to train. A router takes its selection bias along. */
  tensors: z.array(namePatternSchema).min(1).max(maxFrozenPatterns),
  /** How they are stored: in the start checkpoint, in memory and in releases. */
  dtype: storedFloatSchema,
});
export type Frozen = z.infer<typeof frozenSchema>;

/** Of every inner optimiser. Fields that may be absent came later: a recipe without them keeps its bytes. */
const recipeFields = {
  beta1: decimalSchema,
  beta2: decimalSchema,
  epsilon: decimalSchema,
  weightDecay: decimalSchema,
  /** Global-norm clip of the inner gradient; 0 turns it off. */
  clipNorm: decimalSchema,
  /** u of b_e += u·sign(mean load − load_e). */
  selectionBiasRate: decimalSchema,
  /** Sequences of one inner step. */
  batchSequences: positive.max(65_536),
  /** Parts in which a step's sequences are read, their gradients averaged by counted tokens; absent: 1. */
  microBatches: positive.max(65_536).optional(),
  /** Coefficient of the mean of logsumexp(logits)² in the loss; absent: 0. */
  zLoss: decimalSchema.optional(),
  /** A joiner's own inner steps over which its learning rate rises from 0. */
  joinWarmupSteps: countSchema,
  /** Of computation, trained parameters, gradients and moments. */
  precision: z.literal('f32'),
  /** Absent: every parameter is trained. */
  frozen: frozenSchema.optional(),
};

export const recipeSchema = z
  .discriminatedUnion('optimizer', [
    z.strictObject({ optimizer: z.literal('adamw'), ...recipeFields }),
    /** Matrices by Muon; embedding, head, router and all that is no matrix by AdamW with the fields above. */
    z.strictObject({
      optimizer: z.literal('muon'),
      ...recipeFields,
      /** Nesterov momentum of the matrices. */
      momentum: decimalSchema,
      newtonSchulzSteps: positive.max(16),
    }),
  ])
  .refine(({ batchSequences, microBatches = 1 }) => batchSequences % microBatches === 0, {
    path: ['microBatches'],
    message: 'must divide batchSequences',
  });
export type Recipe = z.infer<typeof recipeSchema>;

/** Tokens of the spans in which a run lays out its text: every phase's sequences are whole parts of one. */
export const spanTokensOf = (phases: readonly Phase[]): number =>
  Math.max(...phases.map(({ sequenceLength }) => sequenceLength));

/** What one phase says against another or the recipe; a manifest and an amendment are checked alike. */
export function phaseFaults(
  phases: readonly Phase[],
  { batchSequences, microBatches = 1 }: Pick<Recipe, 'batchSequences' | 'microBatches'>,
): { readonly path: readonly (string | number)[]; readonly message: string }[] {
  const longest = spanTokensOf(phases);
  const rows = batchSequences / microBatches;
  return phases.flatMap(({ sequenceLength, batch, schedule }, i) => [
    ...(longest % sequenceLength === 0
      ? []
      : [
          {
            path: [i, 'sequenceLength'],
            message: `${sequenceLength} must divide the longest of all phases, ${longest}`,
          },
        ]),
    ...(batch === undefined || (batch.startSequences % rows === 0 && batch.startSequences <= batchSequences)
      ? []
      : [
          {
            path: [i, 'batch', 'startSequences'],
            message: `${batch.startSequences} must be whole micro-batches of ${rows} sequences, at most ${batchSequences}`,
          },
        ]),
    ...(schedule.decayTokens === undefined ||
    (schedule.kind === 'wsd' && schedule.decayTokens <= schedule.totalTokens - schedule.warmupTokens)
      ? []
      : [
          {
            path: [i, 'schedule', 'decayTokens'],
            message: 'belongs to wsd, and fits between the warm-up and the total',
          },
        ]),
  ]);
}

/**
 * Version of the rules by which a journal is folded and judged. It changes with every rule: a record is recomputed by its own
 * rules or not at all (`src/journal/rules-version.test.ts`).
 */
export const rulesVersion = 4;

export const stateFormats = ['exact', 'rounded'] as const;
export type StateFormat = (typeof stateFormats)[number];

/** Of pseudo-gradients; fragments travel in f32. */
export const codecNames = ['f32', 'bf16', 'int8', 'int4', 'topk'] as const;

const manifestObject = z.strictObject({
  version: z.literal(rulesVersion, {
    error: ({ input }) =>
      `the run has rules of version ${String(input)}, this program knows version ${rulesVersion}: use the program that the run was made with`,
  }),
  name: z.string().min(1).max(64),
  /** Ledger binding: what signatures and anchors refer to. */
  ledger: z.strictObject({
    chainId: z.string().min(1).max(128),
    netuid: countSchema.max(65_535),
    tempoBlocks: positive,
    blockMs: positive,
    /** The ledger's epochs end in this block and every `tempoBlocks` after it; absent: `tempoBlocks`. */
    firstEpochBlock: positive.optional(),
  }),
  owner: hotkeySchema,
  createdAtMs: countSchema,
  /** Seed of initialisation, data order and plans: 32 bytes of hex. */
  seed: hashSchema,
  model: z.strictObject({
    preset: z.string().max(64),
    /** The Hugging Face config.json as canonical JSON text (it may hold floats, which signed bodies do not). */
    config: z.string().min(2).max(65_536),
    /** SHA-256 of the canonical JSON of the parameter contract (name, shape, dtype, kind of every tensor). */
    contractHash: hashSchema,
  }),
  /** A checkpoint of others that the run starts from; absent: the seed gives the parameters. */
  start: z
    .strictObject({
      /** As the owner named it: a folder's name, or `hf://owner/name@revision`. */
      source: z.string().min(1).max(300),
      files: z
        .array(z.strictObject({ name: z.string().min(1).max(128), artifact: artifactRefSchema }))
        .min(1)
        .max(10_000),
    })
    .optional(),
  tokenizer: z.strictObject({ artifact: artifactRefSchema, configArtifact: artifactRefSchema, vocabSize: positive }),
  data: z.strictObject({
    shards: z.array(shardSchema).min(1).max(100_000),
    /** Of the large shards: their pages' roots and tables, so that parts of them can be read and proved. */
    pages: artifactRefSchema.optional(),
  }),
  phases: z.array(phaseSchema).min(1).max(64),
  recipe: recipeSchema,
  fragments: z.strictObject({ count: positive.max(4096) }),
  sync: z.strictObject({
    /** Inner steps that a learner does between two of its claims, at least. */
    innerStepsPerOuterStep: positive,
    /** K: accepted claims that start the grace window. */
    quorum: positive,
    grace: z.strictObject({ gamma: decimalSchema, minMs: countSchema, maxMs: countSchema }),
    /** After this an outer step closes with what it has. */
    deadlineMs: positive,
    /** Greatest staleness (in versions of the fragment) that is still merged. */
    maxStaleness: countSchema,
    /** Sequences of one lease, and how long it may stay silent. */
    leaseSequences: positive,
    leaseMs: positive,
    /** S: a trace has a state root after every S-th step of the learner's count; between two of them lies a segment. */
    stateRootEverySteps: positive,
    /** From a claim's commit to its bytes; absent: 30,000. As long as a learner's upload of one fragment may take. */
    revealMs: positive.optional(),
    /** From the bytes to a committee's verdicts, after which it is drawn again; absent: 20,000. */
    verdictMs: positive.optional(),
  }),
  codec: z.enum(codecNames),
  merge: z
    .strictObject({
      rule: z.enum(['mean', 'rda', 'trimmed-mean', 'median', 'centred-clip']),
      /** Share of the weight that `trimmed-mean` cuts off on either side, below 0.5; no other rule has it. */
      trim: decimalSchema.optional(),
      outerLearningRate: decimalSchema,
      outerMomentum: decimalSchema,
      /** Norms are clipped to this multiple of the token-weighted median norm. */
      normClip: decimalSchema,
    })
    .refine(({ rule, trim }) => (rule === 'trimmed-mean') === (trim !== undefined), {
      path: ['trim'],
      message: 'belongs to trimmed-mean, and only to it',
    })
    .refine(({ trim }) => trim === undefined || (Number(trim) >= 0 && Number(trim) < 0.5), {
      path: ['trim'],
      message: 'must be in [0, 0.5)',
    }),
  evaluation: z.strictObject({
    /** g: share of claims whose gain is tested, drawn by the beacon. */
    gainShare: decimalSchema,
    /** A hotkey's first claims are all tested. */
    gainFirstClaims: countSchema,
    /** Sequences of one gain test. */
    gainSequences: positive.max(4096),
    /** A claim is HARMFUL if its gain is proven to lie below minus this many nats a token. */
    harmMargin: decimalSchema,
    /** Norm per √(inner steps) over the fragment's recent median must lie in [floor, ceiling]. */
    normFloor: decimalSchema,
    normCeiling: decimalSchema,
    committee: positive.max(64),
    /** Share of claims that one more validator checks again once they are accepted, drawn by the beacon. */
    recheckShare: decimalSchema,
    /** Sequences of the held-out evaluation of a release, for each stage. */
    heldOutSequences: positive,
  }),
  /** Replay audits (DESIGN section 4, check 5). */
  audit: z.strictObject({
    /** Segments drawn for each hotkey and tempo; 0 turns audits off, and all merged work is paid. */
    perTempo: countSchema.max(64),
    /** W: newest segments of a learner that may be drawn, and whose start states it keeps. */
    window: positive.max(1024),
    /** Time to put the states into the store. */
    answerMs: positive,
    /** How learners name and show their states: as they have them, or rounded to a byte a number, and gone on from. Absent: exact. */
    stateFormat: z.enum(stateFormats).optional(),
    /** Between machines of different classes: cosine of a fragment's two updates, and ratio of their norms either way. */
    minCosine: decimalSchema,
    maxNormRatio: decimalSchema,
    /** A claim that resembles another's earlier commit more than this draws a replay. */
    copyResemblance: decimalSchema,
  }),
  rewards: z.strictObject({
    /** Share of the weights that goes to verdict work. */
    verdictShare: decimalSchema,
    /** Half-life of scores, in tempos. */
    halfLifeTempos: decimalSchema,
  }),
  release: z.strictObject({
    /** Every fragment must have been merged at least this often since the last release. */
    everyMerges: positive,
    /** Superseded fragments and settled claims are kept in the store for this many releases. */
    keepReleases: positive,
    /** V: claims of a segment are kept until so many validators have attested its recomputation. */
    attestations: countSchema.max(64),
    /** Of a release's parameters; buffers stay float32. Absent: f32. */
    dtype: storedFloatSchema.optional(),
  }),
});

export const manifestSchema = manifestObject.superRefine(({ phases, recipe }, { addIssue }) => {
  for (const { path, message } of phaseFaults(phases, recipe))
    addIssue({ code: 'custom', path: ['phases', ...path], message });
});
export type RunManifest = z.infer<typeof manifestSchema>;
