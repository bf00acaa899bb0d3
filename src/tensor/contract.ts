/**
 * @file The parameter contract: which tensors a model has, in one fixed order. The order, names and shapes decide the
 * fragment plan, so that every role of a run derives the same plan from the manifest alone. Holds no values.
 */

export type ContractDtype = 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'U8' | 'BOOL';

/**
 * - `param`: trained by gradients, averaged through pseudo-gradients.
 * - `selection-bias`: the router's `expert_bias`; moved by its own rule, merged dense, never encoded or clipped.
 * - `frozen`: a parameter, or its router's selection bias, that the run leaves as the start checkpoint has it.
 * - `constant`: fixed numbers that a checkpoint carries (GLA's `slope`, `inv_freq`, hash seeds).
 * - `buffer`: state of the model that is neither trained nor exchanged.
 */
export type ContractKind = 'param' | 'selection-bias' | 'frozen' | 'constant' | 'buffer';

export interface TensorContractEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: ContractDtype;
  readonly kind: ContractKind;
}

export type ParameterContract = readonly TensorContractEntry[];

/** Product of the sizes; 1 for a scalar. Exact below 2^53. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
