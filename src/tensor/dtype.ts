/** @file Element types of tensors and the typed array that holds each. `f64` exists for the reference interpreter only. */

export type DType = 'f32' | 'f64' | 'i64' | 'i32' | 'bool';

export interface TypedArrayOf {
  f32: Float32Array;
  f64: Float64Array;
  i64: BigInt64Array;
  i32: Int32Array;
  bool: Uint8Array;
}

export type TypedArray = TypedArrayOf[DType];

const bytesPerElement: { readonly [D in DType]: number } = { f32: 4, f64: 8, i64: 8, i32: 4, bool: 1 };

export const sizeOfDType = (dtype: DType): number => bytesPerElement[dtype];

export const isFloat = (dtype: DType): boolean => dtype === 'f32' || dtype === 'f64';

/** A zero-filled array of `length` elements. */
export function allocate<D extends DType>(dtype: D, length: number): TypedArrayOf[D] {
  const make: { readonly [K in DType]: (n: number) => TypedArrayOf[K] } = {
    f32: (n) => new Float32Array(n),
    f64: (n) => new Float64Array(n),
    i64: (n) => new BigInt64Array(n),
    i32: (n) => new Int32Array(n),
    bool: (n) => new Uint8Array(n),
  };
  return make[dtype](length);
}

/** The dtype whose elements `data` holds. */
export function dtypeOfArray(data: TypedArray): DType {
  if (data instanceof Float32Array) return 'f32';
  if (data instanceof Float64Array) return 'f64';
  if (data instanceof BigInt64Array) return 'i64';
  return data instanceof Int32Array ? 'i32' : 'bool';
}
