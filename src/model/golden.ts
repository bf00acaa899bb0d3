/**
 * @file Runs a golden case: a folder with a config, weights, inputs and the logits, loss and gradients that an
 * independent float64 implementation computed (`tests/vectors/quasar_long/README.md`). Does file I/O; writes nothing.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { openSession, type SessionOptions } from '../engine/session.ts';
import { asFloat32, asInt32, readSafetensors, type TensorBytes } from '../tensor/safetensors.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { ModelError } from './errors.ts';
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
 * @throws ModelError CHECKPOINT_UNREADABLE, CHECKPOINT_MISMATCH, CHECKPOINT_VALUES, BAD_CONFIG, UNSUPPORTED_VARIANT
 */
export async function checkGoldenCase(
  folder: string,
  options: Pick<SessionOptions, 'threads' | 'device'> = {},
): Promise<GoldenReport> {
  const { config, params } = await loadCheckpoint(folder);
  const expected = parseExpected(await readText(join(folder, 'expected.json')));
  const io = await readTensors(join(folder, 'io.safetensors'));
  const stored = await readTensors(join(folder, 'grads.safetensors'));
  checkGradientNames(config, [...stored.keys(), ...Object.keys(expected.grad_l2_norms)]);
  const [batch, time] = tensorOf(io, 'input_ids').shape as [number, number];
  const row = (name: string) => feedTokens(asInt32(tensorOf(io, name)), [batch, time]);
  const { graph, gradientNames } = buildLossGraph(config, {
    batch,
    seqLen: time,
    packed: !isCountedFromZero(asInt32(tensorOf(io, 'position_ids')), time),
    gradients: true,
    logits: true,
  });
  const session = await openSession(graph, options);
  try {
    const tables = logitNames(config);
    const names = ['loss', ...tables, ...gradientNames.map((name) => `grad:${name}`)];
    const feeds = {
      ...feedParams(config, params),
      input_ids: row('input_ids'),
      position_ids: row('position_ids'),
      labels: row('labels'),
    };
    const results = await session.run(feeds, names);
    const values = (name: string) => results[name]?.data as Float32Array | undefined;
    const mask = asInt32(tensorOf(io, 'compare_mask'));
    const errors = tables.map((name) =>
      greatestError(values(name)!, referenceOf(io, name, [batch, time, config]), mask),
    );
    return report(expected, Math.max(...errors), stored, values);
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
  const parsed = expectedSchema.safeParse(JSON.parse(text));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new ModelError('CHECKPOINT_MISMATCH', `expected.json: ${issue.path.join('.')}: ${issue.message}`);
}

function checkGradientNames(config: QuasarLongConfig, names: readonly string[]): void {
  const known = new Set(buildContract(config).map(({ name }) => name));
  const stranger = names.find((name) => !known.has(name));
  if (stranger !== undefined)
    throw new ModelError('CHECKPOINT_MISMATCH', `a gradient of ${stranger} is given; the model has no such tensor`);
}

function report(
  expected: Expected,
  logitError: number,
  stored: ReadonlyMap<string, TensorBytes>,
  values: (name: string) => Float32Array | undefined,
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
    // A tensor whose gradient is zero in every variant built has no output.
    const got = values(`grad:${name}`) ?? new Float32Array(reference.length);
    if (got.length !== reference.length)
      throw new ModelError(
        'CHECKPOINT_MISMATCH',
        `grads.safetensors: ${name} is [${tensor.shape}], not of that tensor`,
      );
    return compare(name, distanceOf(got, reference), distanceOf(reference));
  });
  const norms = Object.entries(expected.grad_l2_norms).map(([name, norm]) =>
    compare(name, Math.abs(distanceOf(values(`grad:${name}`) ?? new Float32Array(0)) - norm), norm),
  );
  const worstNorm = norms.reduce((worst, error) => (error.ofTolerance <= worst.ofTolerance ? worst : error), {
    name: '',
    relative: 0,
    ofTolerance: 0,
  });
  const loss = values('loss')![0]!;
  const lossError = Math.abs(loss - expected.loss);
  const passes = [...gradients, worstNorm].every(({ ofTolerance }) => ofTolerance <= 1);
  return {
    caseName: expected.case,
    ok: logitError <= logitTolerance && lossError <= lossTolerance && passes,
    ...{ logitError, logitTolerance, loss, lossError, lossTolerance, gradients, worstNorm },
  };
}

function referenceOf(
  io: ReadonlyMap<string, TensorBytes>,
  name: string,
  [batch, time, { vocab_size: vocab }]: readonly [batch: number, time: number, QuasarLongConfig],
): Float32Array {
  const tensor = tensorOf(io, name);
  if (tensor.shape.join() !== `${batch},${time},${vocab}`)
    throw new ModelError(
      'CHECKPOINT_MISMATCH',
      `io.safetensors: ${name} is [${tensor.shape}], expected [${batch},${time},${vocab}]`,
    );
  return asFloat32(tensor);
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

async function readTensors(file: string): Promise<ReadonlyMap<string, TensorBytes>> {
  return readSafetensors(new Uint8Array(await readOrExplain(file))).tensors;
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

function tensorOf(tensors: ReadonlyMap<string, TensorBytes>, name: string): TensorBytes {
  const tensor = tensors.get(name);
  if (!tensor) throw new ModelError('CHECKPOINT_MISMATCH', `io.safetensors lacks ${name}`);
  return tensor;
}
