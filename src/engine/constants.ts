/** @file When two nodes are the same node: the key under which the builder shares them, constants by their bytes. */
import { allocate, type DType, type TypedArray } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import { equalBytes } from '../util/bytes.ts';
import type { Primitive, PrimitiveAttrs } from './primitives.ts';

/** One element of `dtype`. */
export function constantData(value: number, dtype: DType): TypedArray {
  const data = allocate(dtype, 1);
  if (data instanceof BigInt64Array) data[0] = BigInt(value);
  else data[0] = value;
  return data;
}

const bytesOf = (data: TypedArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** FNV-1a: a filter only, equality is decided by the bytes. */
function hashBytes(bytes: Uint8Array): number {
  let hash = 2166136261;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619);
  return hash >>> 0;
}

/** What a key sees of an input: which output of which node. */
interface Source {
  readonly node: { readonly id: number };
  readonly output: number;
}

/** The key that equal nodes have in common, and the test that settles it. */
export function keyOfNode(
  op: Primitive,
  attrs: PrimitiveAttrs[Primitive],
  inputs: readonly Source[],
  types: readonly { readonly shape: Shape; readonly dtype: DType }[],
): { readonly key: string; readonly matches: (node: { readonly attrs: object }) => boolean } {
  if (op === 'constant') {
    const bytes = bytesOf((attrs as PrimitiveAttrs['constant']).data);
    return {
      key: `constant ${types[0]!.dtype} ${types[0]!.shape.join(',')} ${hashBytes(bytes)}`,
      matches: (node) => equalBytes(bytesOf((node.attrs as PrimitiveAttrs['constant']).data), bytes),
    };
  }
  const names = inputs.map(({ node, output }) => `${node.id}.${output}`);
  // JSON has no infinities, and they are ordinary bounds of a clamp.
  const text = JSON.stringify(attrs, (_, value) =>
    typeof value === 'number' && !Number.isFinite(value) ? `${value}` : value,
  );
  return { key: `${op} ${names.join(',')} ${text}`, matches: () => true };
}
