/**
 * @file An amendment: what the owner of a run may change of its manifest while it goes on, from a stated future outer step. Only what
 * the fold reads at an event, or what a phase that has not begun will be; nothing by which work that is done is judged.
 */
import { z } from 'zod';
import { gateSchema, type Phase, phaseSchema, type RunManifest } from './manifest.ts';
import { countSchema, decimalSchema } from './names.ts';

const positive = countSchema.min(1);

export const amendmentChangesSchema = z.strictObject({
  /** Every phase from index `from` on. Those that have begun when it takes effect cannot be among them. */
  phases: z.strictObject({ from: positive.max(63), list: z.array(phaseSchema).max(63) }).optional(),
  /** Of the phase that is going on then. */
  current: z
    .strictObject({
      targetTokens: positive.optional(),
      gates: z.array(gateSchema).max(16).optional(),
      release: z.strictObject({ everyMerges: positive }).optional(),
    })
    .optional(),
  sync: z
    .strictObject({ quorum: positive.optional(), deadlineMs: positive.optional(), leaseMs: positive.optional() })
    .optional(),
  evaluation: z
    .strictObject({
      gainShare: decimalSchema.optional(),
      recheckShare: decimalSchema.optional(),
      committee: positive.max(64).optional(),
    })
    .optional(),
  audit: z.strictObject({ perTempo: countSchema.max(64).optional() }).optional(),
  release: z
    .strictObject({
      everyMerges: positive.optional(),
      keepReleases: positive.optional(),
      attestations: countSchema.max(64).optional(),
    })
    .optional(),
});
export type AmendmentChanges = z.infer<typeof amendmentChangesSchema>;

/** Why everything else of a manifest stays as it is; `accrete run amend` says it to whoever asks. */
export const unamendable: Readonly<Record<string, string>> = {
  ...{
    version: 'a record is judged by one set of rules',
    name: 'releases carry it',
    ledger: 'signatures are bound to it',
  },
  ...{ owner: 'who may amend is not amended', createdAtMs: 'it is past', seed: 'order and start follow from it' },
  ...{ model: 'the parameters are those of one contract', tokenizer: 'text is tokenised already' },
  data: 'the order counts its sequences: other shards would move them all',
  recipe: 'replays redo steps of the past by it',
  fragments: 'claims, versions and learners are laid out by it',
  codec: 'claims under way are encoded by it',
  merge: 'merges of the past are recomputed by it',
  rewards: 'work is paid as it was promised',
};

/**
 * The manifest with the changes, while `phase` goes on. What was not checked before gives nonsense, never an exception.
 */
export function amendedManifest(manifest: RunManifest, changes: AmendmentChanges, phase: number): RunManifest {
  const { phases, current, sync, evaluation, audit, release } = changes;
  const kept = phases === undefined ? manifest.phases : [...manifest.phases.slice(0, phases.from), ...phases.list];
  return {
    ...manifest,
    phases: current === undefined ? kept : kept.map((each, i) => (i === phase ? amendedPhase(each, current) : each)),
    sync: { ...manifest.sync, ...given(sync) },
    evaluation: { ...manifest.evaluation, ...given(evaluation) },
    audit: { ...manifest.audit, ...given(audit) },
    release: { ...manifest.release, ...given(release) },
  };
}

function amendedPhase(phase: Phase, { gates, ...rest }: NonNullable<AmendmentChanges['current']>): Phase {
  const { gates: before, ...others } = phase;
  const after = gates ?? before ?? [];
  // An empty list lifts all gates.
  return { ...others, ...given(rest), ...(after.length === 0 ? {} : { gates: after }) };
}

/** Without the members that are undefined: they would hide what they are spread over. */
function given<T extends object>(value: T | undefined): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(value ?? {}).filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
