/**
 * @file A learner's whole state as one safetensors file, so that a run goes on with the bits that it would have had
 * without the stop: parameters, selection biases, constants, the optimiser's state, and the counts of steps, tokens and
 * skipped steps. Taken between steps, so no micro-batch is half summed; the place in the data follows from the steps.
 * Everything float is float32, but frozen tensors that the recipe stores as bfloat16. A Merkle root over the counts and every buffer stands in the header and is checked.
 * Version 1 is the only one; a reader refuses others.
 */
import { z } from 'zod';
import type { Sha256 } from '../protocol/merkle.ts';
import { f32ToBf16 } from '../tensor/half.ts';
import {
  asFloat32,
  asInt64,
  encodeSafetensors,
  readSafetensors,
  SafetensorsError,
  type TensorBytes,
  tensorBytes,
} from '../tensor/safetensors.ts';
import { TrainingError } from './errors.ts';
import type { ModelState } from './model-state.ts';
import type { InnerOptimizer } from './optimizer.ts';
import { stateRootOf } from './state-root.ts';

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const progressSchema = z.strictObject({
  /** Inner steps taken; step n reads the n-th batch of the data order. */
  steps: count,
  tokens: count,
  /** Steps in a row that changed nothing. */
  skippedInARow: count,
  optimizerSteps: count.max(2 ** 32),
});
export type LearnerProgress = Omit<z.infer<typeof progressSchema>, 'optimizerSteps'>;

/** What the run was started with; a checkpoint goes on only where all of it is the same. */
export type LearnerIdentity = Readonly<Record<string, string>>;

const headerSchema = z.object({
  version: z.literal('accrete-learner-1'),
  root: z.string().regex(/^[0-9a-f]{64}$/),
  progress: z.string().max(4096),
  identity: z.string().max(1 << 20),
});

export interface LearnerParts {
  readonly model: ModelState;
  readonly optimizer: InnerOptimizer;
  readonly identity: LearnerIdentity;
  readonly hash: Sha256;
}

/** Greatest size of a file of this learner, for a bound before it is read. */
export function learnerCheckpointBytes(parts: LearnerParts): number {
  const buffers = [...buffersOf(parts).values()];
  return buffers.reduce((sum, { byteLength }) => sum + byteLength, 0) + (2 << 20) + 256 * buffers.length;
}

export function encodeLearner(parts: LearnerParts, { steps, tokens, skippedInARow }: LearnerProgress): Uint8Array {
  const buffers = buffersOf(parts);
  const progress = JSON.stringify({ steps, tokens, skippedInARow, optimizerSteps: parts.optimizer.stepCount });
  const identity = JSON.stringify(parts.identity);
  const root = rootOf(parts.hash, progress, identity, [...buffers.values()]);
  const tensors = new Map([...buffers].map(([name, values]) => [name, tensorBytes(values, [values.length])]));
  return encodeSafetensors(tensors, { version: 'accrete-learner-1', root, progress, identity });
}

/**
 * Puts a saved state into a learner of the same identity; nothing is changed where it fails.
 * @throws TrainingError BAD_CHECKPOINT, OTHER_RUN
 */
export function restoreLearner(parts: LearnerParts, bytes: Uint8Array): LearnerProgress {
  const { metadata, tensors } = read(bytes);
  const header = headerSchema.safeParse(metadata);
  if (!header.success) throw damaged(`header: ${header.error.issues[0]?.path.join('.')}: not a learner's state`);
  const { root, progress, identity } = header.data;
  checkIdentity(parts.identity, identity);
  const targets = buffersOf(parts);
  if (tensors.size !== targets.size) throw damaged(`expected ${targets.size} buffers, got ${tensors.size}`);
  const saved = [...targets].map(([name, target]) => valuesOf(name, tensors.get(name), target));
  if (rootOf(parts.hash, progress, identity, saved) !== root) throw damaged('its hash is not that of its contents');
  const parsed = progressSchema.safeParse(parseJson(progress));
  if (!parsed.success) throw damaged(`progress: ${parsed.error.issues[0]?.message}`);
  const { optimizerSteps, ...rest } = parsed.data;
  [...targets.values()].forEach((target, i) => {
    (target as { set(values: unknown): void }).set(saved[i]);
  });
  parts.optimizer.restore(optimizerSteps, parts.optimizer.state());
  return rest;
}

type Values = Float32Array | BigInt64Array | Uint16Array;

/** In one fixed order; live views. */
function buffersOf({ model, optimizer }: LearnerParts): ReadonlyMap<string, Values> {
  const buffers = new Map<string, Values>([
    ['params', model.params.flat()],
    ['biases', model.biases.flat()],
  ]);
  optimizer.state().forEach((state, i) => void buffers.set(`optimizer.${i}`, state));
  for (const [name, values] of model.tensors)
    if (!model.params.has(name) && !model.biases.has(name)) buffers.set(`constant.${name}`, values);
  for (const [name, values] of model.frozen.stored) buffers.set(`frozen.${name}`, values);
  return buffers;
}

function rootOf(hash: Sha256, progress: string, identity: string, buffers: readonly Values[]): string {
  return stateRootOf([new TextEncoder().encode(`${progress}\n${identity}`), ...buffers], hash);
}

function read(bytes: Uint8Array) {
  try {
    return readSafetensors(bytes);
  } catch (cause) {
    if (!(cause instanceof SafetensorsError)) throw cause;
    throw damaged(cause.message, cause);
  }
}

function valuesOf(name: string, tensor: TensorBytes | undefined, target: Values): Values {
  const dtype = target instanceof Float32Array ? 'F32' : target instanceof Uint16Array ? 'BF16' : 'I64';
  if (tensor?.dtype !== dtype || tensor.bytes.byteLength !== target.byteLength)
    throw damaged(`${name}: expected ${target.length} numbers of ${dtype}, got ${tensor ? tensor.dtype : 'none'}`);
  if (dtype === 'BF16') return f32ToBf16(asFloat32(tensor)); // widening is exact, so the words come back
  return dtype === 'F32' ? asFloat32(tensor) : asInt64(tensor);
}

function checkIdentity(mine: LearnerIdentity, text: string): void {
  const parsed = z.record(z.string(), z.string()).safeParse(parseJson(text));
  if (!parsed.success) throw damaged('identity: not a record of text');
  for (const field of new Set([...Object.keys(mine), ...Object.keys(parsed.data)]))
    if (mine[field] !== parsed.data[field])
      throw new TrainingError(
        'OTHER_RUN',
        `the saved run has ${field} ${short(parsed.data[field])}, this one ${short(mine[field])}; give the same options to go on`,
      );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const short = (text: string | undefined): string => (text === undefined ? 'none' : text.slice(0, 120));

const damaged = (message: string, cause?: unknown) =>
  new TrainingError('BAD_CHECKPOINT', `learner's state: ${message}; use an older one or start anew`, { cause });
