/**
 * @file The fragment plan: which rows of which tensors are synchronised together. A pure function of the parameter
 * contract and P; it allocates no tensor, so the plan of the 16.55-billion-parameter model costs milliseconds.
 *
 * Every element of every `param` is in exactly one fragment, counted as float32. Tensors larger than 0.5 % of a
 * fragment are cut between rows of their first axis (an expert of a fused tensor is a row). Rows that are themselves
 * larger than that are dealt out first, the largest to the emptiest fragment; the rest fills all fragments to one
 * level in contract order, so that a fragment is mostly consecutive layers. `expert_bias` follows its router.
 * Constants and buffers are in no fragment.
 */
import { elementCount, type ParameterContract, type TensorContractEntry } from '../tensor/contract.ts';
import { PlanError } from './errors.ts';

/** Rows [from, to) of the first axis of one tensor. */
export interface TensorSlice {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  /** Shape of the slice: [to - from, ...rest]; [] for a scalar. */
  readonly shape: readonly number[];
  /** Elements before the slice in the whole tensor. */
  readonly tensorOffset: number;
  /** Elements before the slice in the packed fragment. */
  readonly offset: number;
  readonly length: number;
}

export interface Fragment {
  readonly id: number;
  /** Parts of params in contract order; `offset`s are consecutive. */
  readonly slices: readonly TensorSlice[];
  readonly elementCount: number;
  /** Whole selection biases; packed apart from the params. */
  readonly selectionBiases: readonly TensorSlice[];
  readonly selectionBiasCount: number;
}

export interface FragmentPlan {
  readonly fragments: readonly Fragment[];
  /** Elements of all params. */
  readonly elementCount: number;
  /** Greatest deviation of a fragment's size from the mean, as a part of the mean. */
  readonly imbalance: number;
}

/** The name under which a slice travels in a safetensors file. */
export const sliceName = ({ name, from, to }: TensorSlice): string => `${name}[${from}:${to}]`;

const maxFragments = 4096;
/** A cut is off by at most half a unit on either side of a fragment, far inside the 2 % that the protocol allows. */
const unitShare = 0.005;

interface Rows {
  readonly tensor: TensorContractEntry;
  readonly rowCount: number;
  readonly rowLength: number;
}

interface Cut {
  readonly tensorIndex: number;
  readonly from: number;
  readonly to: number;
}

/**
 * @throws PlanError BAD_FRAGMENT_COUNT; BAD_CONTRACT (a size of 0, a duplicate name); TOO_FEW_ROWS if a fragment would
 * stay empty; ROUTER_MISSING for a selection bias without its router
 */
export function planFragments(contract: ParameterContract, fragmentCount: number): FragmentPlan {
  if (!Number.isSafeInteger(fragmentCount) || fragmentCount < 1 || fragmentCount > maxFragments)
    throw new PlanError('BAD_FRAGMENT_COUNT', `P must be 1 to ${maxFragments}, got ${fragmentCount}`);
  checkContract(contract);
  const tensors = contract.filter(({ kind }) => kind === 'param').map(rowsOf);
  const total = tensors.reduce((sum, { rowCount, rowLength }) => sum + rowCount * rowLength, 0);
  const unit = (total / fragmentCount) * unitShare;
  const cuts: Cut[][] = Array.from({ length: fragmentCount }, () => []);
  const sizes = dealCoarseRows(tensors, unit, cuts);
  fillToLevel(tensors, unit, sizes, cuts);
  const slices = cuts.map((list) => slicesOf(list, tensors));
  const biases = placeSelectionBiases(contract, slices);
  const fragments = slices.map((list, id): Fragment => {
    const selectionBiases = biases[id]!;
    return {
      id,
      slices: list,
      elementCount: endOf(list),
      selectionBiases,
      selectionBiasCount: endOf(selectionBiases),
    };
  });
  const empty = fragments.find((fragment) => fragment.elementCount === 0);
  if (empty)
    throw new PlanError('TOO_FEW_ROWS', `${fragmentCount} fragments leave fragment ${empty.id} empty: lower P`);
  const mean = total / fragmentCount;
  const imbalance = Math.max(...fragments.map((fragment) => Math.abs(fragment.elementCount - mean) / mean));
  return { fragments, elementCount: total, imbalance };
}

function checkContract(contract: ParameterContract): void {
  const names = new Set<string>();
  for (const { name, shape } of contract) {
    if (names.has(name)) throw new PlanError('BAD_CONTRACT', `${name} is named twice`);
    names.add(name);
    if (!shape.every((size) => Number.isSafeInteger(size) && size > 0))
      throw new PlanError('BAD_CONTRACT', `${name}: sizes must be positive integers, got [${shape}]`);
  }
}

function rowsOf(tensor: TensorContractEntry): Rows {
  const rowCount = tensor.shape[0] ?? 1;
  return { tensor, rowCount, rowLength: elementCount(tensor.shape) / rowCount };
}

/** Rows above one unit, largest first (ties in contract order), each to the emptiest fragment. Returns the sizes. */
function dealCoarseRows(tensors: readonly Rows[], unit: number, cuts: Cut[][]): number[] {
  const sizes = cuts.map(() => 0);
  const coarse = tensors
    .map(({ rowLength }, tensorIndex) => ({ tensorIndex, rowLength }))
    .filter(({ rowLength }) => rowLength > unit)
    .sort((a, b) => b.rowLength - a.rowLength || a.tensorIndex - b.tensorIndex);
  for (const { tensorIndex, rowLength } of coarse) {
    for (let row = 0; row < tensors[tensorIndex]!.rowCount; row++) {
      const id = sizes.indexOf(Math.min(...sizes));
      sizes[id]! += rowLength;
      cuts[id]!.push({ tensorIndex, from: row, to: row + 1 });
    }
  }
  return sizes;
}

/** The rest, in contract order: fragment 0 up to the common level, then fragment 1, ... */
function fillToLevel(tensors: readonly Rows[], unit: number, sizes: number[], cuts: Cut[][]): void {
  const fine = tensors
    .map((rows, tensorIndex) => ({ ...rows, tensorIndex }))
    .filter(({ rowLength }) => rowLength <= unit);
  const amount = fine.reduce((sum, { rowCount, rowLength }) => sum + rowCount * rowLength, 0);
  const level = waterLevel(sizes, amount);
  let id = 0;
  let filled = 0; // fine elements placed so far
  let bound = Math.max(0, level - sizes[0]!); // fine elements that fragments 0..id take together
  for (const { tensorIndex, rowCount, rowLength } of fine) {
    const whole = rowCount * rowLength <= unit;
    for (let row = 0; row < rowCount; ) {
      // A small tensor is one piece, put where its middle falls; a large one is cut at the row nearest to the bound.
      while (id < sizes.length - 1 && Math.round((bound - filled) / (whole ? rowCount * rowLength : rowLength)) < 1)
        bound += Math.max(0, level - sizes[++id]!);
      const fits = id === sizes.length - 1 ? rowCount : Math.round((bound - filled) / rowLength);
      const to = whole ? rowCount : Math.min(rowCount, row + fits);
      cuts[id]!.push({ tensorIndex, from: row, to });
      filled += (to - row) * rowLength;
      row = to;
    }
  }
}

/** The level L with Σ max(0, L − size) = amount. */
function waterLevel(sizes: readonly number[], amount: number): number {
  const sorted = [...sizes].sort((a, b) => a - b);
  let sum = 0;
  for (let count = 1; count <= sorted.length; count++) {
    sum += sorted[count - 1]!;
    const level = (amount + sum) / count;
    if (count === sorted.length || level <= sorted[count]!) return level;
  }
  return 0;
}

/** In contract order, neighbouring rows joined. */
function slicesOf(cuts: readonly Cut[], tensors: readonly Rows[]): TensorSlice[] {
  const sorted = [...cuts].sort((a, b) => a.tensorIndex - b.tensorIndex || a.from - b.from);
  const joined: Cut[] = [];
  for (const cut of sorted) {
    const last = joined.at(-1);
    if (last && last.tensorIndex === cut.tensorIndex && last.to === cut.from)
      joined[joined.length - 1] = { ...last, to: cut.to };
    else joined.push(cut);
  }
  let offset = 0;
  return joined.map(({ tensorIndex, from, to }) => {
    const { tensor, rowLength } = tensors[tensorIndex]!;
    const slice = makeSlice(tensor, from, to, rowLength, offset);
    offset += slice.length;
    return slice;
  });
}

function makeSlice(tensor: TensorContractEntry, from: number, to: number, rowLength: number, offset: number) {
  const shape = tensor.shape.length === 0 ? [] : [to - from, ...tensor.shape.slice(1)];
  const tensorOffset = from * rowLength;
  return { name: tensor.name, from, to, shape, tensorOffset, offset, length: (to - from) * rowLength };
}

const endOf = (slices: readonly TensorSlice[]): number => slices.reduce((sum, { length }) => sum + length, 0);

/** `X.expert_bias` goes where row 0 of `X.weight` (its router) is. */
function placeSelectionBiases(contract: ParameterContract, slices: readonly TensorSlice[][]): TensorSlice[][] {
  const homes = new Map<string, number>();
  slices.forEach((list, id) => {
    for (const { name, from } of list) if (from === 0) homes.set(name, id);
  });
  const placed: TensorSlice[][] = slices.map(() => []);
  for (const tensor of contract) {
    if (tensor.kind !== 'selection-bias') continue;
    const router = tensor.name.replace(/[^.]*$/, 'weight');
    const id = homes.get(router);
    if (id === undefined) throw new PlanError('ROUTER_MISSING', `${tensor.name}: no trained tensor ${router}`);
    const list = placed[id]!;
    const { rowCount, rowLength } = rowsOf(tensor);
    list.push(makeSlice(tensor, 0, rowCount, rowLength, endOf(list)));
  }
  return placed;
}
