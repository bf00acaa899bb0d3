/**
 * @file Tensors that a run leaves as its start checkpoint has them. They take no gradient, no moment and no place in a
 * fragment; stored as bfloat16 where the recipe says so (float32 rounded to nearest even) and widened to float32 where
 * something computes with them. As one safetensors file they are part of the start checkpoint. Version 1 of that file.
 */
import type { TensorSpec } from '../model/quasar-long/contract.ts';
import type { StoredFloat } from '../protocol/manifest.ts';
import { elementCount } from '../tensor/contract.ts';
import { bf16ToF32, f32ToBf16 } from '../tensor/half.ts';
import { asFloat32, encodeSafetensors, readSafetensors, SafetensorsError, tensorBytes } from '../tensor/safetensors.ts';
import { assert } from '../util/errors.ts';
import { TrainingError } from './errors.ts';

const format = 'accrete-frozen-1';

/** Greatest size of a file of the contract's frozen tensors, in either dtype; a bound before one is fetched. */
export function maxFrozenFileBytes(contract: readonly TensorSpec[]): number {
  const frozen = contract.filter(({ kind }) => kind === 'frozen');
  return frozen.reduce((sum, { name, shape }) => sum + 4 * elementCount(shape) + 2 * name.length + 512, 65_536);
}

export class FrozenTensors {
  readonly #specs: ReadonlyMap<string, TensorSpec>;
  readonly #stored: ReadonlyMap<string, Float32Array | Uint16Array>;

  /** Of the contract's tensors of kind `frozen`, zeroed. A selection bias is a buffer and stays float32. */
  constructor(contract: readonly TensorSpec[], dtype: StoredFloat) {
    const specs = contract.filter(({ kind }) => kind === 'frozen');
    this.#specs = new Map(specs.map((spec) => [spec.name, spec]));
    this.#stored = new Map(
      specs.map((spec) => {
        const length = elementCount(spec.shape);
        const isNarrow = dtype === 'bf16' && !spec.isBuffer;
        return [spec.name, isNarrow ? new Uint16Array(length) : new Float32Array(length)];
      }),
    );
  }

  /** Live buffers by name in the contract's order: bfloat16 words, or float32. */
  get stored(): ReadonlyMap<string, Float32Array | Uint16Array> {
    return this.#stored;
  }

  has(name: string): boolean {
    return this.#stored.has(name);
  }

  /** One as float32; null if it is not frozen. */
  floats(name: string): Float32Array | null {
    const values = this.#stored.get(name);
    if (values === undefined) return null;
    return values instanceof Uint16Array ? bf16ToF32(values) : values;
  }

  /** Keeps a tensor's values, rounded to nearest even where it is stored as bfloat16. */
  set(name: string, values: Float32Array): void {
    const home = this.#stored.get(name);
    assert(home?.length === values.length, `${name}: expected ${home?.length} numbers, got ${values.length}`);
    home.set(home instanceof Uint16Array ? f32ToBf16(values) : values);
  }

  /** All as float32: the live buffers, or of bfloat16 ones a copy made for this call. Widening is exact. */
  *widened(): Generator<readonly [spec: TensorSpec, values: Float32Array]> {
    for (const [name, values] of this.#stored)
      yield [this.#specs.get(name)!, values instanceof Uint16Array ? bf16ToF32(values) : values];
  }

  /** The same values give the same bytes. */
  encode(): Uint8Array {
    const tensors = [...this.#stored].map(
      ([name, values]) => [name, tensorBytes(values, this.#specs.get(name)!.shape)] as const,
    );
    return encodeSafetensors(new Map(tensors), { format });
  }

  /**
   * Takes in what `encode` wrote of tensors of the same names, shapes and dtypes.
   * @throws TrainingError BAD_CHECKPOINT; what was taken in before the fault stays
   */
  load(bytes: Uint8Array): void {
    const limit = maxFrozenFileBytes([...this.#specs.values()]);
    if (bytes.byteLength > limit) throw damaged(`${bytes.byteLength} bytes; at most ${limit} can be needed`);
    const { metadata, tensors } = read(bytes);
    if (metadata.format !== format) throw damaged(`expected format ${format}, got ${metadata.format?.slice(0, 40)}`);
    if (tensors.size !== this.#stored.size) throw damaged(`expected ${this.#stored.size} tensors, got ${tensors.size}`);
    for (const [name, home] of this.#stored) {
      const { shape } = this.#specs.get(name)!;
      const dtype = home instanceof Uint16Array ? 'BF16' : 'F32';
      const tensor = tensors.get(name);
      if (tensor?.dtype !== dtype || tensor.shape.join() !== shape.join())
        throw damaged(
          `${name}: expected ${dtype} [${shape}], got ${tensor ? `${tensor.dtype} [${tensor.shape}]` : 'none'}`,
        );
      const values = asFloat32(tensor);
      if (!values.every(Number.isFinite)) throw damaged(`${name}: holds a number that is not finite`);
      this.set(name, values);
    }
  }
}

function read(bytes: Uint8Array) {
  try {
    return readSafetensors(bytes);
  } catch (cause) {
    if (!(cause instanceof SafetensorsError)) throw cause;
    throw damaged(cause.message, cause);
  }
}

const damaged = (message: string, cause?: unknown) =>
  new TrainingError('BAD_CHECKPOINT', `frozen tensors of the start checkpoint: ${message}`, { cause });
