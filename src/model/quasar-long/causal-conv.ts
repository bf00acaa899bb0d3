/** @file A causal depthwise convolution along time, of few taps, with or without regard to document boundaries. */
import type { Tensor } from '../../engine/graph.ts';
import type { Scope } from './scope.ts';

export interface CausalConvOptions {
  /** Tokens between two taps. */
  readonly dilation: number;
  /** Does a document's start hide what came before it? */
  readonly restarts: boolean;
  /** Under this name the last frames are carried from run to run. */
  readonly stateName: string;
}

/**
 * y_t = Σ_i weight[.., i] ⊙ x_{t − (taps − 1 − i)·dilation}, zero before the start; x (batch, time, width), weight
 * (width, 1, taps) → (batch, time, width).
 */
export function causalConv(scope: Scope, x: Tensor, weight: Tensor, options: CausalConvOptions): Tensor {
  const { g, batch, time, carry } = scope;
  const [, , width] = x.shape as [number, number, number];
  const taps = weight.shape[2] as number;
  const reach = (taps - 1) * options.dilation;
  const past = carry?.read(options.stateName, [batch, reach, width]);
  const padded = past ? g.concat([past, x], 1) : g.pad(x, 1, reach, 0);
  carry?.write(options.stateName, g.slice(padded, 1, time));
  const byTap = g.split(g.reshape(weight, [width, taps]), 1, taps).map((tap) => g.reshape(tap, [width]));
  return byTap
    .map((tap, i) => {
      const back = reach - i * options.dilation;
      const shifted = g.slice(padded, 1, reach - back, reach - back + time);
      return g.mul(options.restarts ? hideEarlier(scope, shifted, back) : shifted, tap);
    })
    .reduce((sum, part) => g.add(sum, part));
}

/** Zero where the token `back` places ago is of another document. */
function hideEarlier({ g, batch, time, documents }: Scope, shifted: Tensor, back: number): Tensor {
  if (documents === null || back === 0) return shifted;
  const earlier = g.slice(g.pad(documents.ids, 1, back, 0), 1, 0, time);
  return g.mul(shifted, g.reshape(g.cast(g.equal(earlier, documents.ids), 'f32'), [batch, time, 1]));
}
