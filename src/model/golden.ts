/**
 * @file Runs a golden case: a folder with a config, weights, inputs and the logits, loss and gradients that an
 * independent float64 implementation computed (`tests/vectors/quasar_long/README.md`). Does file I/O; writes nothing.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openSession } from '../engine/session.ts';
import { asFloat32, asInt32, readSafetensors, type TensorBytes } from '../tensor/safetensors.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { ModelError } from './errors.ts';
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
  /** Greatest |logit − reference| where compare_mask is 1, and what is allowed. */
  readonly logitError: number;
  readonly logitTolerance: number;
  readonly loss: number;
  readonly lossError: number;
  readonly lossTolerance: number;
  readonly gradients: readonly GradientError[];
  /** Norms of all gradients against `grad_l2_norms`: the worst |norm − ref|, over what the case allows. */
  readonly worstNorm: GradientError;
}

interface Expected {
  readonly case: string;
  readonly loss: number;
  readonly grad_total_norm: number;
  readonly grad_l2_norms: Readonly<Record<string, number>>;
  readonly suggested_tolerance: { readonly logits_abs: number; readonly loss_abs: number };
}

/**
 * Computes logits, loss and gradients of the case in `folder` and compares them with what is stored there.
 * @throws ModelError CHECKPOINT_UNREADABLE, CHECKPOINT_MISMATCH, BAD_CONFIG, UNSUPPORTED_VARIANT
 */
export async function checkGoldenCase(
  folder: string,
  options: { readonly threads?: number } = {},
): Promise<GoldenReport> {
  const { config, params } = await loadCheckpoint(folder);
  const expected = JSON.parse(await readText(join(folder, 'expected.json'))) as Expected;
  const io = await readTensors(join(folder, 'io.safetensors'));
  const [batch, time] = tensorOf(io, 'input_ids').shape as [number, number];
  const row = (name: string) => feedTokens(asInt32(tensorOf(io, name)), [batch, time]);
  const { graph, gradientNames } = buildLossGraph(config, {
    batch,
    seqLen: time,
    packed: io.has('attention_mask'),
    gradients: true,
    logits: true,
  });
  const session = await openSession(graph, { threads: options.threads ?? 1 });
  try {
    const names = ['loss', 'logits', ...gradientNames.map((name) => `grad:${name}`)];
    const feeds = {
      ...feedParams(config, params),
      input_ids: row('input_ids'),
      position_ids: row('position_ids'),
      labels: row('labels'),
    };
    const results = await session.run(feeds, names);
    const values = (name: string) => results[name]?.data as Float32Array | undefined;
    const stored = await readTensors(join(folder, 'grads.safetensors'));
    return report(expected, io, stored, values);
  } finally {
    await session.release();
  }
}

function report(
  expected: Expected,
  io: ReadonlyMap<string, TensorBytes>,
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
    return compare(name, distanceOf(got, reference), distanceOf(reference));
  });
  const norms = Object.entries(expected.grad_l2_norms).map(([name, norm]) =>
    compare(name, Math.abs(distanceOf(values(`grad:${name}`) ?? new Float32Array(0)) - norm), norm),
  );
  const worstNorm = norms.reduce((worst, error) => (error.ofTolerance > worst.ofTolerance ? error : worst));
  const logitError = greatestLogitError(values('logits')!, io);
  const loss = values('loss')![0]!;
  const lossError = Math.abs(loss - expected.loss);
  const passes = [...gradients, worstNorm].every(({ ofTolerance }) => ofTolerance <= 1);
  return {
    caseName: expected.case,
    ok: logitError <= logitTolerance && lossError <= lossTolerance && passes,
    ...{ logitError, logitTolerance, loss, lossError, lossTolerance, gradients, worstNorm },
  };
}

/** NaN anywhere gives infinity. */
function greatestLogitError(logits: Float32Array, io: ReadonlyMap<string, TensorBytes>): number {
  const reference = asFloat32(tensorOf(io, 'logits'));
  const mask = asInt32(tensorOf(io, 'compare_mask'));
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
