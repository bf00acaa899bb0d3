/**
 * @file A run file: what the owner of a run writes and reads before it is signed. Of a manifest it lacks what follows from keys,
 * text, chain and clock. Every fault says which field, its value, and why.
 */
import { z } from 'zod';
import { continuationTask } from '../evaluation/continuation.ts';
import { planFragments } from '../merge/fragment-plan.ts';
import { presetConfig, presetNames } from '../model/quasar-long/presets.ts';
import { manifestSchema, type Phase, phaseFaults, phaseSchema } from '../protocol/manifest.ts';
import { fromDecimal } from '../protocol/names.ts';
import { contractOf } from '../training/recipe.ts';
import type { RunSettings } from './run-presets.ts';

const { recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release } = manifestSchema.shape;

/** Without a mixture: that of the corpus. */
const phaseSettingsSchema = phaseSchema.partial({ mixture: true });

/** A checkpoint on a hub: its repository, and a branch, tag or commit of it. */
export const hubCheckpoint = /^hf:\/\/(\w[\w.-]{0,95}\/\w[\w.-]{0,95})(?:@(\S+))?$/i;

export const runFileSchema = z.strictObject({
  version: z.literal(1),
  /** What it was made from; says nothing more. */
  template: z.string().max(64),
  name: z.string().min(1).max(64),
  /** Initialisation and data order follow from it. */
  seed: z.string().min(1).max(200),
  model: z.strictObject({ preset: z.enum(presetNames) }),
  /** A checkpoint to start from: a folder, or hf://owner/name[@revision]. Absent: from the seed. */
  from: z
    .string()
    .min(1)
    .max(300)
    .refine((from) => !/^[a-z]+:\/\//i.test(from) || hubCheckpoint.test(from), {
      message: 'expected a checkpoint folder or hf://owner/name[@revision]',
    })
    .optional(),
  ledger: manifestSchema.shape.ledger.omit({ chainId: true, netuid: true }),
  phases: z.array(phaseSettingsSchema).min(1).max(64),
  ...{ recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release },
});
export type RunFile = z.infer<typeof runFileSchema>;

export interface RunFileFault {
  /** `phases.1.schedule.warmupTokens` */
  readonly field: string;
  readonly reason: string;
}

/** The run file, or everything that is wrong with it. `sources`: those of the corpus; null: not known yet. */
export function parseRunFile(
  value: unknown,
  sources: ReadonlySet<string> | null = null,
): { readonly file: RunFile } | { readonly faults: readonly RunFileFault[] } {
  const parsed = runFileSchema.safeParse(value);
  if (!parsed.success)
    return {
      faults: parsed.error.issues.map(({ path, message }) => ({
        field: path.join('.') || '(file)',
        reason: `${message.replace(/^Invalid (input|option): /, '')}${gotWord(valueAt(value, path), message)}`,
      })),
    };
  const faults = findFaults(parsed.data, sources);
  return faults.length === 0 ? { file: parsed.data } : { faults };
}

const valueAt = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce((at, name) => (at as Record<PropertyKey, unknown> | null | undefined)?.[name], value);

/** What stands there, where it is short and the message does not say. */
function gotWord(value: unknown, message: string): string {
  if (value === undefined || message.includes('received')) return '';
  const text = JSON.stringify(value);
  return text.length > 60 || typeof value === 'object' ? '' : `, got ${text}`;
}

/** What is well-formed and makes no sense. */
function findFaults(file: RunFile, sources: ReadonlySet<string> | null): RunFileFault[] {
  // A mixture says nothing of lengths and batches.
  const whole = file.phases.map((phase): Phase => ({ ...phase, mixture: phase.mixture ?? {} }));
  const crossed = phaseFaults(whole, file.recipe).map(({ path, message }) => ({
    field: ['phases', ...path].join('.'),
    reason: message,
  }));
  return [
    ...crossed,
    ...file.phases.flatMap((phase, i) => phaseFaultsOf(phase, `phases.${i}`, sources)),
    ...boundFaults(file),
    ...ruleFaults(file),
    ...modelFaults(file),
  ];
}

/** Decimals have no bounds of their own: least, most (`<`: below it), and what the number is. */
const bounds: readonly (readonly [field: string, least: string, most: string, what: string])[] = [
  ['recipe.beta1', '0', '<1', 'decay of the first moment'],
  ['recipe.beta2', '0', '<1', 'decay of the second moment'],
  ['recipe.epsilon', '>0', '1', 'what keeps a division from zero'],
  ['recipe.weightDecay', '0', '<1', 'decay of weights a step, over the learning rate'],
  ['recipe.clipNorm', '0', '1000000', 'clip of the gradient; 0 turns it off'],
  ['recipe.selectionBiasRate', '0', '1', 'step of a selection bias'],
  ['recipe.zLoss', '0', '1', 'coefficient of the z-loss'],
  ['recipe.momentum', '0', '<1', 'momentum of Muon'],
  ['sync.grace.gamma', '0', '1', 'part of the slack that is waited for'],
  ['merge.outerLearningRate', '>0', '10', 'outer learning rate'],
  ['merge.outerMomentum', '0', '<1', 'outer momentum'],
  ['merge.normClip', '>0', '1000000', 'multiple of the median norm'],
  ['evaluation.gainShare', '0', '1', 'share'],
  ['evaluation.recheckShare', '0', '1', 'share'],
  ['evaluation.harmMargin', '0', '100', 'margin in nats a token'],
  ['evaluation.normFloor', '0', '1', 'part of the median norm'],
  ['evaluation.normCeiling', '1', '1000000', 'multiple of the median norm'],
  ['audit.minCosine', '-1', '1', 'cosine'],
  ['audit.maxNormRatio', '1', '1000000', 'ratio of two norms, the larger over the smaller'],
  ['audit.copyResemblance', '0', '1', 'resemblance of two claims'],
  ['rewards.verdictShare', '0', '<1', 'share of the weights that goes to verdicts'],
  ['rewards.halfLifeTempos', '>0', '1000000', 'half-life of scores in tempos'],
];

function boundFaults(file: RunFile): RunFileFault[] {
  return bounds.flatMap(([field, least, most, what]) => {
    const said = valueAt(file, field.split('.'));
    if (typeof said !== 'string') return [];
    const value = Number(said);
    const [low, high] = [Number(least.replace('>', '')), Number(most.replace('<', ''))];
    const isLow = least.startsWith('>') ? value > low : value >= low;
    const isHigh = most.startsWith('<') ? value < high : value <= high;
    if (isLow && isHigh) return [];
    const range = `${least.startsWith('>') ? '(' : '['}${low}, ${high}${most.startsWith('<') ? ')' : ']'}`;
    return [{ field, reason: `${said} is not in ${range}: ${what}` }];
  });
}

/** What only the model's parameters tell. */
function modelFaults({ model, recipe: inner, fragments: { count } }: RunFile): RunFileFault[] {
  const config = presetConfig(model.preset);
  let contract: ReturnType<typeof contractOf>;
  try {
    contract = contractOf(config, inner);
  } catch (error) {
    return [{ field: 'recipe.frozen.tensors', reason: (error as Error).message }];
  }
  try {
    planFragments(contract, count);
    return [];
  } catch (error) {
    return [{ field: 'fragments.count', reason: (error as Error).message }];
  }
}

function phaseFaultsOf(
  { mixture, schedule, targetTokens, gates = [], context, batch }: RunFile['phases'][number],
  at: string,
  sources: ReadonlySet<string> | null,
): RunFileFault[] {
  const faults: RunFileFault[] = [];
  const fault = (field: string, reason: string): void => void faults.push({ field: `${at}.${field}`, reason });
  const { kind, warmupTokens, totalTokens, peakLearningRate, finalLearningRate, warmupFrom } = schedule;
  const [peak, final] = [fromDecimal(peakLearningRate), fromDecimal(finalLearningRate)];
  if (!(peak > 0 && peak <= 10)) fault('schedule.peakLearningRate', `${peak} is no learning rate in (0, 10]`);
  if (!(final >= 0 && final <= peak)) fault('schedule.finalLearningRate', `${final} is not in [0, ${peak}], the peak`);
  if (warmupFrom !== undefined && !(fromDecimal(warmupFrom) >= 0 && fromDecimal(warmupFrom) <= peak))
    fault('schedule.warmupFrom', `${warmupFrom} is not in [0, ${peak}], the peak`);
  if (warmupTokens > totalTokens)
    fault('schedule.warmupTokens', `${warmupTokens} are more than the schedule's ${totalTokens}`);
  if (kind !== 'constant' && totalTokens > 2 * targetTokens)
    fault(
      'schedule.totalTokens',
      `${totalTokens} are more than twice the target of ${targetTokens}: the rate would never fall`,
    );
  if (batch !== undefined && batch.rampTokens > targetTokens)
    fault(
      'batch.rampTokens',
      `${batch.rampTokens} are more than the target of ${targetTokens}: the batch would never be whole`,
    );
  if (context?.nopeAfterPosition !== undefined && context.useNope === false)
    fault('context.nopeAfterPosition', 'says nothing where useNope is false');
  for (const [i, { metric, atLeast }] of gates.entries()) {
    if (atLeast !== undefined && metric !== continuationTask)
      fault(`gates.${i}.atLeast`, `${metric} is a loss, which training lowers: a gate of it has atMost`);
    if (metric !== continuationTask && !/^(held-out|held-out-other)(\/[^/]{1,48})?$/.test(metric))
      fault(
        `gates.${i}.metric`,
        `${metric} is not held-out, held-out-other, one of these with /SOURCE, or ${continuationTask}`,
      );
  }
  if (mixture !== undefined && Object.keys(mixture).length === 0) fault('mixture', 'names no source');
  for (const source of Object.keys(mixture ?? {}))
    if (sources !== null && !sources.has(source))
      fault(`mixture.${source}`, `the corpus has no such source; it has ${[...sources].sort().join(', ')}`);
  return faults;
}

function ruleFaults({ recipe: { batchSequences }, sync: rules, phases }: RunFile): RunFileFault[] {
  const faults: RunFileFault[] = [];
  if (batchSequences > rules.leaseSequences)
    faults.push({
      field: 'sync.leaseSequences',
      reason: `a step reads ${batchSequences} sequences, more than a lease of ${rules.leaseSequences}`,
    });
  if (rules.grace.minMs > rules.grace.maxMs)
    faults.push({ field: 'sync.grace.minMs', reason: `${rules.grace.minMs} is more than maxMs, ${rules.grace.maxMs}` });
  const names = phases.map(({ name }) => name);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0)
    faults.push({ field: `phases.${twice}.name`, reason: `${names[twice]} is the name of an earlier phase` });
  return faults;
}

/** As a new run takes them. */
export function settingsOfRunFile({ phases, ledger, ...file }: RunFile): RunSettings {
  const { sequenceLength, targetTokens, schedule } = phases[0]!;
  const parts = { sequenceLength, targetTokens, schedule, phases, ledger };
  const { recipe: inner, fragments: plan, sync: rules, codec: code, merge: outer } = file;
  const rest = { evaluation: file.evaluation, audit: file.audit, rewards: file.rewards, release: file.release };
  return { ...parts, recipe: inner, fragments: plan, sync: rules, codec: code, merge: outer, ...rest };
}
