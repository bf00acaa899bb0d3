/**
 * @file Exact dispatch of tokens to experts: index tables computed in the graph, no token dropped, no float scatter.
 * Every expert gets `capacity` slots, the largest load of any expert in this run; surplus slots are masked.
 */
import type { Dim } from '../tensor/shape.ts';
import type { GraphBuilder, Tensor } from './graph.ts';

export interface DispatchTables {
  /** Slots per expert: a size known only at run time. Slot = expert · capacity + position in the expert. */
  readonly capacity: Dim;
  /** [E · capacity] i64: the token in each slot; 0 in a surplus slot. */
  readonly slotToken: Tensor;
  /** [E · capacity] bool: false in a surplus slot. */
  readonly slotMask: Tensor;
  /** [E · capacity] i64: which of the N · K assignments (token · K + choice) is in each slot; 0 in a surplus slot. */
  readonly slotAssignment: Tensor;
  /** [N, K] i64: the slot of each assignment. */
  readonly tokenSlots: Tensor;
  /** [E] i64: assignments of each expert. */
  readonly load: Tensor;
}

/** Tables for the chosen experts `choices` [N, K] i64, each below `expertCount`, none twice in a row. */
export function dispatchTables(b: GraphBuilder, choices: Tensor, expertCount: number): DispatchTables {
  const [tokens, perToken] = choices.shape as [Dim, number];
  const flat = b.reshape(choices, [-1]); // (N K)
  const column = b.reshape(flat, [flat.shape[0]!, 1]);
  // Running count of each expert along the assignments: the position of an assignment in its expert's slots.
  const chosen = b.oneHot(b.cast(flat, 'i32'), expertCount, 'i32'); // (N K, E)
  const counts = b.cumsum(chosen, 0);
  const load = b.cast(b.reshape(b.slice(counts, 0, -1), [expertCount]), 'i64');
  const position = b.sub(b.cast(b.gatherElements(counts, column, 1), 'i64'), 1); // (N K, 1)
  const size = b.reduceMax(load);
  const capacity = b.freshSymbol('capacity');
  const inExpert = b.range(size, capacity);
  const slots = b.add(b.mul(column, size), position); // (N K, 1)
  const assignments = b.sub(b.cumsum(b.expand(b.constant(1, [], 'i64'), [flat.shape[0]!]), 0), 1);
  // Surplus slots keep -1.
  const empty = b.reshape(b.expand(b.constant(-1, [], 'i64'), [expertCount, inExpert.shape[0]!]), [-1]);
  const filled = b.scatterElements(empty, b.reshape(slots, [-1]), assignments, 0);
  const slotMask = b.greaterEqual(filled, 0);
  const slotAssignment = b.maximum(filled, 0);
  return {
    capacity,
    slotToken: b.div(slotAssignment, perToken),
    slotMask,
    slotAssignment,
    tokenSlots: b.reshape(slots, [tokens, perToken]),
    load,
  };
}

/** The rows of x [N, h] in their slots, [E, capacity, h]. What stands in a surplus slot is not defined, but finite. */
export function dispatchRows(b: GraphBuilder, x: Tensor, tables: DispatchTables): Tensor {
  const rows = b.gatherRows(x, tables.slotToken, tables.tokenSlots); // (E capacity, h)
  const experts = Number(tables.load.shape[0]);
  return b.reshape(rows, [experts, tables.capacity, ...x.shape.slice(1)]);
}

/** The experts' results y [E, capacity, h] back at their assignments, [N, K, h]. */
export function collectRows(b: GraphBuilder, y: Tensor, tables: DispatchTables): Tensor {
  const rows = b.reshape(y, [-1, ...y.shape.slice(2)]); // (E capacity, h)
  const column = [rows.shape[0]!, 1];
  const inverse = b.reshape(tables.slotAssignment, column);
  // The mask keeps gradients out of surplus slots.
  return b.gatherRows(rows, tables.tokenSlots, inverse, b.reshape(tables.slotMask, column));
}
