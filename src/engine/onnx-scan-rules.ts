/**
 * @file How the scans over chunks are written in ONNX: unrolled where the chunks are few, which is the fastest; as a
 * `Loop` where they are many, as the time to open a session grows faster than the number of its nodes.
 */
import { isStatic, type Shape } from '../tensor/shape.ts';
import type { EmitContext, EmitRule } from './emit-rule.ts';
import type { Node, Tensor } from './graph.ts';
import type { LoopTurn, OnnxWriter } from './onnx-writer.ts';
import type { DeltaScanInput } from './primitives.ts';

/** Chunks of one scan that are written out one by one. */
const maxUnrolled = 128;

/** The parts of x along axis 1, each of size 1 there. */
function chunksOf(w: OnnxWriter, x: string, tensor: Tensor, count: number): string[] {
  if (tensor.shape[1] !== count || count === 1) return new Array<string>(count).fill(x);
  const parts = Array.from({ length: count }, () => w.freshName());
  w.opInto('Split', [x], { axis: 1, num_outputs: count }, parts);
  return parts;
}

/** A zero tensor of the run-time shape of `like`. */
function zerosLike(w: OnnxWriter, like: string): string {
  return w.op('Expand', [w.scalar(0, 'f32'), w.op('Shape', [like])]);
}

interface ScanResult {
  /** State before each chunk, by chunk; null before the first in order: zero. */
  readonly states: (string | null)[];
  final: string;
}

/** Writes the outputs of a scan; `states[n]` has size 1 on axis 1. */
function emitStack(w: OnnxWriter, { states, final }: ScanResult, stackInto: string, finalInto: string): void {
  if (stackInto !== '') {
    const zero = states.includes(null) ? zerosLike(w, final) : '';
    w.op(
      'Concat',
      states.map((state) => state ?? zero),
      { axis: 1 },
      stackInto,
    );
  }
  if (finalInto !== '') w.op('Squeeze', [final, w.ints([1])], {}, finalInto);
}

const scanOrder = (count: number, reverse: boolean): number[] =>
  Array.from({ length: count }, (_, i) => (reverse ? count - 1 - i : i));

/** What turn n of a scan reads: chunk n of each input that there is, and the state before it, null for zero. */
type DeltaChunk = Readonly<Partial<Record<'U' | 'W' | 'K' | DeltaScanInput, string>>>;

interface DeltaTurn {
  readonly residual: string;
  readonly state: string;
}

function deltaTurn(
  w: OnnxWriter,
  { attrs: { alphaW, alphaK }, inputs: [U] }: Node<'deltaStateScan'>,
  chunk: DeltaChunk,
  state: string | null,
): DeltaTurn {
  const ranks = [U!.shape.length, U!.shape.length] as const;
  const read = state === null ? null : w.matmul(chunk.W!, state, ranks, { alpha: alphaW });
  const residual = read === null ? chunk.U! : w.op('Add', [chunk.U!, read]);
  let next = w.matmul(chunk.K!, residual, ranks, { transA: true, alpha: alphaK });
  if (state !== null) {
    const kept = chunk.keep === undefined ? state : w.op('Mul', [state, chunk.keep]);
    next = w.op('Add', [kept, next]);
  }
  return { residual, state: chunk.addend === undefined ? next : w.op('Add', [next, chunk.addend]) };
}

const diagonalTurn = (w: OnnxWriter, chunk: DiagonalChunk, state: string | null): string =>
  state === null ? chunk.update : w.op('Add', [w.op('Mul', [state, chunk.decay]), chunk.update]);

interface DiagonalChunk {
  readonly decay: string;
  readonly update: string;
}

export const deltaStateScan: EmitRule<'deltaStateScan'> = (context, node) => {
  const { w, inputs, outputs } = context;
  const { attrs, inputs: tensors } = node;
  const names = ['U', 'W', 'K', ...attrs.optional.filter((name) => name !== 'initial')] as const;
  const at = (name: (typeof names)[number] | 'initial'): number => {
    const place = attrs.optional.indexOf(name as DeltaScanInput);
    return place < 0 ? ['U', 'W', 'K'].indexOf(name) : 3 + place;
  };
  const count = Number(tensors[0]!.shape[1]);
  const initial = attrs.optional.includes('initial') ? w.op('Unsqueeze', [inputs[at('initial')]!, w.ints([1])]) : null;
  if (isLoop(w, count, tensors)) {
    const turn = (index: string, state: string) => {
      const chunk = Object.fromEntries(names.map((name) => [name, chunkAt(w, inputs[at(name)]!, index)]));
      const { residual, state: next } = deltaTurn(w, node, chunk, state);
      return { state: next, kept: [state, residual] };
    };
    emitLoop(context, { count, reverse: attrs.reverse, initial, shape: node.outputs[2]!.shape, turn });
    return;
  }
  const chunks = new Map(names.map((name) => [name, chunksOf(w, inputs[at(name)]!, tensors[at(name)]!, count)]));
  let state = initial;
  const states = new Array<string | null>(count).fill(null);
  const residuals = new Array<string>(count);
  for (const n of scanOrder(count, attrs.reverse)) {
    states[n] = state;
    const chunk = Object.fromEntries(names.map((name) => [name, chunks.get(name)![n]!]));
    const done = deltaTurn(w, node, chunk, state);
    [residuals[n], state] = [done.residual, done.state];
  }
  emitStack(w, { states, final: state! }, outputs[0]!, outputs[2]!);
  if (outputs[1] !== '') w.op('Concat', residuals, { axis: 1 }, outputs[1]);
};

export const diagonalStateScan: EmitRule<'diagonalStateScan'> = (context, node) => {
  const { w, inputs, outputs } = context;
  const { attrs, inputs: tensors } = node;
  const count = Number(tensors[1]!.shape[1]);
  const initial = attrs.hasInitial ? w.op('Unsqueeze', [inputs[2]!, w.ints([1])]) : null;
  if (isLoop(w, count, tensors)) {
    const turn = (index: string, state: string) => {
      const [decay, update] = [chunkAt(w, inputs[0]!, index), chunkAt(w, inputs[1]!, index)];
      return { state: diagonalTurn(w, { decay, update }, state), kept: [state] };
    };
    const [states, final] = outputs as [string, string];
    const all = { w, outputs: [states, '', final] };
    emitLoop(all, { count, reverse: attrs.reverse, initial, shape: node.outputs[1]!.shape, turn });
    return;
  }
  const [decay, update] = [0, 1].map((i) => chunksOf(w, inputs[i]!, tensors[i]!, count)) as [string[], string[]];
  let state = initial;
  const states = new Array<string | null>(count).fill(null);
  for (const n of scanOrder(count, attrs.reverse)) {
    states[n] = state;
    state = diagonalTurn(w, { decay: decay[n]!, update: update[n]! }, state);
  }
  emitStack(w, { states, final: state! }, outputs[0]!, outputs[1]!);
};

/** On the CPU only: a loop would bring every turn's state back from another device. */
const isLoop = (w: OnnxWriter, count: number, tensors: readonly Tensor[]): boolean =>
  w.device === 'cpu' && count > maxUnrolled && tensors.every(({ shape }) => isStatic(shape));

/** Chunk `index` ([1] i64) of x, keeping its axis. */
const chunkAt = (w: OnnxWriter, x: string, index: string): string => w.op('Gather', [x, index], { axis: 1 });

interface LoopScan {
  readonly count: number;
  readonly reverse: boolean;
  /** [B, 1, ...]; null: zero. */
  readonly initial: string | null;
  /** Of one state, [B, ...]. */
  readonly shape: Shape;
  readonly turn: (index: string, state: string) => LoopTurn;
}

/** Writes a scan as a loop; `outputs`: the stacks of what each turn keeps, at most two, then the last state. */
function emitLoop({ w, outputs }: Pick<EmitContext, 'w' | 'outputs'>, scan: LoopScan): void {
  const { count, reverse, shape } = scan;
  const zero = () =>
    w.op('Expand', [w.scalar(0, 'f32'), w.ints([shape[0] as number, 1, ...shape.slice(1).map(Number)])]);
  const { final, stacks } = w.loop(count, scan.initial ?? zero(), (turnIndex, state) => {
    const index = reverse ? w.op('Sub', [w.ints([count - 1]), turnIndex]) : turnIndex;
    return scan.turn(index, state);
  });
  for (const [i, stack] of stacks.entries()) {
    if (outputs[i] === '') continue;
    const ordered = reverse ? w.op('Gather', [stack, w.ints(scanOrder(count, true))], { axis: 0 }) : stack;
    const rest = Array.from({ length: shape.length - 1 }, (_, axis) => axis + 2);
    w.op('Transpose', [w.op('Squeeze', [ordered, w.ints([2])])], { perm: [1, 0, ...rest] }, outputs[i]);
  }
  if (outputs.at(-1) !== '') w.op('Squeeze', [final, w.ints([1])], {}, outputs.at(-1));
}
