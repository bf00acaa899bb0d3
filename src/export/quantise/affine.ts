/**
 * @file MLX's affine quantisation: for each group of a row a scale and a bias, and codes of 4 or 8 bits packed into 32-bit
 * words, the lowest bits first. Every step is rounded to float32, as MLX computes.
 */
import { assert } from '../../util/errors.ts';

export interface AffineOptions {
  readonly bits: 4 | 8;
  /** Consecutive elements of a row with one scale and bias; divides the row. */
  readonly group: number;
}

export interface AffineTensor {
  /** elements · bits / 32. */
  readonly words: Uint32Array;
  /** elements / group. */
  readonly scales: Float32Array;
  readonly biases: Float32Array;
}

const { fround, abs } = Math;

/** value ≈ scale·code + bias. `values`: whole rows. */
export function quantiseAffine(values: Float32Array, options: AffineOptions): AffineTensor {
  const { bits, group } = options;
  const { scales, biases } = affineLines(values, options);
  const top = 2 ** bits - 1;
  const perWord = 32 / bits;
  const words = new Uint32Array((values.length * bits) / 32);
  for (let g = 0; g < scales.length; g++) {
    const [scale, bias] = [scales[g]!, biases[g]!];
    for (let i = g * group; i < (g + 1) * group; i++) {
      const ideal = roundHalfEven(fround(fround(values[i]! - bias) / scale));
      const code = ideal < 0 ? 0 : ideal > top ? top : ideal;
      words[Math.floor(i / perWord)]! |= code << (bits * (i % perWord));
    }
  }
  return { words, scales, biases };
}

/** Of each group, without the codes. */
export function affineLines(values: Float32Array, { bits, group }: AffineOptions): Omit<AffineTensor, 'words'> {
  assert(values.length % group === 0 && (group * bits) % 32 === 0, `${values.length} values in groups of ${group}`);
  const groups = values.length / group;
  const [scales, biases] = [new Float32Array(groups), new Float32Array(groups)];
  for (let g = 0; g < groups; g++) {
    const { scale, bias } = lineOf(values, g * group, group, 2 ** bits - 1);
    scales[g] = scale;
    biases[g] = bias;
  }
  return { scales, biases };
}

/** The edge with the larger magnitude gets a whole code, so that zero has one too. */
function lineOf(values: Float32Array, from: number, group: number, top: number) {
  let [low, high] = [values[from]!, values[from]!];
  for (let i = from + 1; i < from + group; i++) {
    const value = values[i]!;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const isLow = abs(low) > abs(high);
  let scale = Math.max(fround(fround(high - low) / top), fround(1e-7));
  if (!isLow) scale = -scale;
  const edge = isLow ? low : high;
  const steps = roundHalfEven(fround(edge / scale));
  return steps === 0 ? { scale, bias: 0 } : { scale: fround(edge / steps), bias: edge };
}

export function dequantiseAffine(
  { words, scales, biases }: AffineTensor,
  { bits, group }: AffineOptions,
): Float32Array {
  const perWord = 32 / bits;
  const mask = 2 ** bits - 1;
  const out = new Float32Array(words.length * perWord);
  for (let i = 0; i < out.length; i++) {
    const code = (words[Math.floor(i / perWord)]! >>> (bits * (i % perWord))) & mask;
    const g = Math.floor(i / group);
    out[i] = fround(scales[g]! * code) + biases[g]!;
  }
  return out;
}

function roundHalfEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 === 0 ? down : down + 1;
}
