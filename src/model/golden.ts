/**
 * @file Runs a golden case: a folder with a config, weights, inputs and the logits, loss and gradients that an
 * independent float64 implementation computed (`tests/vectors/quasar_long/README.md`). Does file I/O; writes nothing.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { openSession, type SessionOptions } from '../engine/session.ts';
import { asFloat32, readSafetensors, SafetensorsError } from '../tensor/safetensors.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { ModelError } from './errors.ts';
import { type ExpertTensor, expertTensors, unstackExpert } from './expert-layout.ts';
import { readInputs, readLogits, type Tensors } from './golden-inputs.ts';
import type { QuasarLongConfig } from './quasar-long/config.ts';
import { buildContract } from './quasar-long/contract.ts';
import { feedParams, feedTokens } from './quasar-long/feeds.ts';
import { buildLossGraph } from './quasar-long/graphs.ts';

export interface GradientError {
  readonly name: string;
  /** ‖g − ref‖ / ‖ref‖; infinite where ref is zero and g is not. */
  readonly relative: number;
  /** ‖g − ref‖ over what the case allows: at most 1 passes. */
  readonly ofTolerance: number;
}

export interface GoldenReport {
  readonly caseName: string;
  readonly ok: boolean;
  /** Greatest |logit − reference| where compare_mask is 1, those of MTP layers included, and what is allowed. */
  readonly logitError: number;
  readonly logitTolerance: number;
  readonly loss: number;
  readonly lossError: number;
  readonly lossTolerance: number;
  readonly gradients: readonly GradientError[];
  /** Norms of all gradients against `grad_l2_norms`: the worst |norm − ref|, over what the case allows. */
  readonly worstNorm: GradientError;
}

const expectedSchema = z.object({
  case: z.string(),
  loss: z.number(),
  grad_total_norm: z.number().nonnegative(),
  grad_l2_norms: z.record(z.string(), z.number().nonnegative()),
  suggested_tolerance: z.object({ logits_abs: z.number().positive(), loss_abs: z.number().positive() }),
});

type Expected = Readonly<z.output<typeof expectedSchema>>;

/**
 * Computes logits, loss and gradients of the case in `folder` and compares them with what is stored there.
 * @throws ModelError CHECKPOINT_UNREADABLE, CHECKPOINT_MISMATCH, CHECKPOINT_VALUES, BAD_INPUT, BAD_CONFIG,
 * UNSUPPORTED_VARIANT
 */
export async function checkGoldenCase(
  folder: string,
  options: Pick<SessionOptions, 'threads' | 'device'> = {},
): Promise<GoldenReport> {
  const { config, params } = await loadCheckpoint(folder);
  const expected = parseExpected(await readText(join(folder, 'expected.json')));
  const io = await readTensors(join(folder, 'io.safetensors'));
  const stored = await readTensors(join(folder, 'grads.safetensors'));
  const experts = expertsByName(config);
  checkGradientNames(config, experts, [...stored.keys(), ...Object.keys(expected.grad_l2_norms)]);
  const inputs = readInputs(io, config);
  const [batch, time] = inputs.shape;
  const { graph, gradientNames } = buildLossGraph(config, {
    batch,
    seqLen: time,
    packed: !isCountedFromZero(inputs.positionIds, time),
    gradients: true,
    logits: true,
  });
  const session = await openSession(graph, options);
  try {
    const tables = logitNames(config);
    const names = ['loss', ...tables, ...gradientNames.map((name) => `grad:${name}`)];
    const feeds = {
      ...feedParams(config, params),
      input_ids: feedTokens(inputs.inputIds, inputs.shape),
      position_ids: feedTokens(inputs.positionIds, inputs.shape),
      labels: feedTokens(inputs.labels, inputs.shape),
    };
    const results = await session.run(feeds, names);
    const values = (name: string) => results[name]?.data as Float32Array | undefined;
    const errors = tables.map((name) =>
      greatestError(values(name)!, readLogits(io, name, inputs, config), inputs.compareMask),
    );
    // A tensor whose gradient is zero in every variant built has no output.
    const gradient = (name: string): Float32Array | undefined => {
      const { stacked, tensor } = experts.get(name) ?? {};
      const whole = values(`grad:${stacked ?? name}`);
      return whole && tensor ? unstackExpert(whole, tensor) : whole;
    };
    return report(expected, Math.max(...errors), values('loss')![0]!, stored, gradient);
  } finally {
    await session.release();
  }
}

const logitNames = ({ num_nextn_predict_layers: count }: QuasarLongConfig): string[] => [
  'logits',
  ...Array.from({ length: count }, (_, j) => `mtp_logits.${j}`),
];

/** Is every row one document, its tokens at 0, 1, ..? */
function isCountedFromZero(positions: Int32Array, time: number): boolean {
  return positions.every((position, i) => position === i % time);
}

function parseExpected(text: string): Expected {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ModelError('CHECKPOINT_UNREADABLE', 'expected.json: not JSON', { cause });
  }
  const parsed = expectedSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new ModelError('CHECKPOINT_MISMATCH', `expected.json: ${issue.path.join('.')}: ${issue.message}`);
}

type Experts = ReadonlyMap<string, { readonly stacked: string; readonly tensor: ExpertTensor }>;

/** Gradients, too, may be given for one expert at a time, as in Ling's layout. */
function expertsByName(config: QuasarLongConfig): Experts {
  return new Map(
    buildContract(config)
      .filter(({ isRouted }) => isRouted)
      .flatMap(({ name: stacked }) =>
        expertTensors(config, stacked).map((tensor) => [tensor.name, { stacked, tensor }] as const),
      ),
  );
}

function checkGradientNames(config: QuasarLongConfig, experts: Experts, names: readonly string[]): void {
  const known = new Set(buildContract(config).map(({ name }) => name));
  const stranger = names.find((name) => !known.has(name) && !experts.has(name));
  if (stranger !== undefined)
    throw new ModelError('CHECKPOINT_MISMATCH', `a gradient of ${stranger} is given; the model has no such tensor`);
}

function report(
  expected: Expected,
  logitError: number,
  loss: number,
  stored: Tensors,
  gradient: (name: string) => Float32Array | undefined,
): GoldenReport {
  const { logits_abs: logitTolerance, loss_abs: lossTolerance } = expected.suggested_tolerance;
  const allowed = (norm: number) => 2e-3 * norm + 1e-5 * expected.grad_total_norm;
  const compare = (name: string, distance: number, norm: number): GradientError => ({
    name,
    relative: distance === 0 ? 0 : distance / norm,
    ofTolerance: distance / allowed(norm),
  });
  const gradients = [...stored].map(([name, tensor]) => {
    const reference = asFloat32(tensor);
    const got = gradient(name) ?? new Float32Array(reference.length);
    if (got.length !== reference.length)
      throw new ModelError(
        'CHECKPOINT_MISMATCH',
        `grads.safetensors: ${name} is [${tensor.shape}], not of that tensor`,
      );
    return compare(name, distanceOf(got, reference), distanceOf(reference));
  });
  const norms = Object.entries(expected.grad_l2_norms).map(([name, norm]) =>
    compare(name, Math.abs(distanceOf(gradient(name) ?? new Float32Array(0)) - norm), norm),
  );
  const worstNorm = norms.reduce((worst, error) => (error.ofTolerance <= worst.ofTolerance ? worst : error), {
    name: '',
    relative: 0,
    ofTolerance: 0,
  });
  const lossError = Math.abs(loss - expected.loss);
  const passes = [...gradients, worstNorm].every(({ ofTolerance }) => ofTolerance <= 1);
  return {
    caseName: expected.case,
    ok: logitError <= logitTolerance && lossError <= lossTolerance && passes,
    ...{ logitError, logitTolerance, loss, lossError, lossTolerance, gradients, worstNorm },
  };
}

/** Rows of (rows, vocab) where the mask is not 0; NaN anywhere gives infinity. */
function greatestError(logits: Float32Array, reference: Float32Array, mask: Int32Array): number {
  const vocab = reference.length / mask.length;
  let greatest = 0;
  for (let i = 0; i < reference.length; i++) {
    if (mask[Math.floor(i / vocab)] === 0) continue;
    const error = Math.abs(logits[i]! - reference[i]!);
    if (!(error <= greatest)) greatest = Number.isNaN(error) ? Infinity : error;
  }
  return greatest;
}

/** ‖a − b‖, or ‖a‖. */
function distanceOf(a: Float32Array, b?: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - (b ? b[i]! : 0)) ** 2;
  return Math.sqrt(sum);
}

async function readTensors(file: string): Promise<Tensors> {
  const bytes = await readOrExplain(file);
  try {
    return readSafetensors(new Uint8Array(bytes)).tensors;
  } catch (cause) {
    if (!(cause instanceof SafetensorsError)) throw cause;
    throw new ModelError('CHECKPOINT_UNREADABLE', `${file}: damaged safetensors file: ${cause.message}`, { cause });
  }
}

async function readText(file: string): Promise<string> {
  return (await readOrExplain(file)).toString('utf8');
}

async function readOrExplain(file: string): Promise<Buffer> {
  return await readFile(file).catch((cause: unknown) => {
    throw new ModelError('CHECKPOINT_UNREADABLE', `${file}: not found; is this the folder of a golden case?`, {
      cause,
    });
  });
}
