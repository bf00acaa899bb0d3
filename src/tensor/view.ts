/** @file A typed array with a dtype and a shape. The array may be a view of any memory (also WASM's); nobody copies it here. */
import { allocate, type DType, dtypeOfArray, type TypedArray, type TypedArrayOf } from './dtype.ts';
import { sizeOfShape } from './shape.ts';

export interface TensorView<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: TypedArrayOf[D];
}

/** Wraps `data` without a copy. The caller keeps data.length = product of `shape`; sessions check it. */
export function viewOf(data: TypedArray, shape: readonly number[]): TensorView {
  return { dtype: dtypeOfArray(data), shape, data } as TensorView;
}

export function zeros<D extends DType>(dtype: D, shape: readonly number[]): TensorView<D> {
  return { dtype, shape, data: allocate(dtype, sizeOfShape(shape)) };
}
