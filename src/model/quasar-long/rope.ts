/**
 * @file Partial rotary embedding and the rule `rope_short_nope_long`. The first r channels of a head are rotated in
 * pairs (j, j + r/2) by pos·ω_j; a token at position `nope_after_position` or later is not rotated, query or key,
 * each by its own position. cos and sin are computed once for all layers.
 */
import type { GraphBuilder, Tensor } from '../../engine/graph.ts';
import { type QuasarLongConfig, rotaryWidth } from './config.ts';
import { inverseFrequencies } from './init.ts';

/** u ↦ u ⊙ cos + (u Q) ⊙ sin, where Q takes each rotated channel to its signed partner. */
export interface Rotation {
  /** (batch, time, 1, headDim); 1 beyond the rotary width. */
  readonly cos: Tensor;
  /** (batch, time, 1, headDim); 0 beyond it. */
  readonly sin: Tensor;
  /** (headDim, headDim), entries 0 and ±1. */
  readonly partner: Tensor;
  /** (1, 1, headDim, headDim), where there is one token alone: u ↦ u R is the same in one product. */
  readonly matrix: Tensor | null;
}

/** Null where the config rotates nothing anywhere. */
export function buildRotation(g: GraphBuilder, config: QuasarLongConfig, positions: Tensor): Rotation | null {
  const isShortRope = config.long_context_mode === 'rope_short_nope_long';
  if (config.use_nope && !isShortRope) return null;
  const [batch, time] = positions.shape as [number, number];
  const D = config.head_dim;
  const half = rotaryWidth(config) / 2;
  if (half === 0) return null;
  const frequencies = g.constant(Float32Array.from(inverseFrequencies(config)), [half]);
  let turns = g.reshape(g.cast(positions, 'f32'), [batch, time, 1, 1]);
  if (config.use_nope) turns = g.where(g.less(turns, config.nope_after_position), turns, 0);
  const angle = g.mul(turns, frequencies); // (batch, time, 1, r/2)
  const fill = (value: number): Tensor[] => (D === 2 * half ? [] : [g.constant(value, [batch, time, 1, D - 2 * half])]);
  const double = (x: Tensor, rest: number): Tensor => g.concat([x, x, ...fill(rest)], 3);
  const [cos, sin] = [double(g.cos(angle), 1), double(g.sin(angle), 0)];
  const partner = partnerMatrix(g, D, half);
  const matrix =
    batch * time === 1 ? g.add(g.mul(identity(g, D), cos), g.mul(g.reshape(partner, [1, 1, D, D]), sin)) : null;
  return { cos, sin, partner, matrix };
}

/** x (batch, time, heads, headDim). */
export function rotate(g: GraphBuilder, rotation: Rotation | null, x: Tensor): Tensor {
  if (rotation === null) return x;
  if (rotation.matrix !== null) return g.matmul(x, rotation.matrix);
  return g.add(g.mul(x, rotation.cos), g.mul(g.matmul(x, rotation.partner), rotation.sin));
}

function identity(g: GraphBuilder, D: number): Tensor {
  const values = Float32Array.from({ length: D * D }, (_, i) => Number(i % (D + 1) === 0));
  return g.constant(values, [D, D]);
}

/** (u Q)_j = −u_{j+half}, (u Q)_{j+half} = u_j. */
function partnerMatrix(g: GraphBuilder, D: number, half: number): Tensor {
  const values = new Float32Array(D * D);
  for (let j = 0; j < half; j++) {
    values[(j + half) * D + j] = -1;
    values[j * D + j + half] = 1;
  }
  return g.constant(values, [D, D]);
}
