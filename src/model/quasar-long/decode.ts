/**
 * @file The graph of cached decoding: `time` tokens of one sequence after any number of earlier ones. States of the
 * branches come in as `state:NAME` and go out as `next:NAME`. Keys and values of earlier tokens come in as they lie in
 * their caches, `cache:NAME#SEGMENT.PART` (rows, width); out goes only what the run adds, `fresh:NAME` (parts, time, width).
 */
import { type Graph, GraphBuilder, type Tensor } from '../../engine/graph.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { QuasarLongConfig } from './config.ts';
import { logits } from './embedding.ts';
import { forward } from './forward.ts';
import type { RowCacheOptions } from './row-cache.ts';
import type { CachedRows, CacheSegment } from './scope.ts';

export interface DecodeGraph {
  /** Output `logits` (1, time or 1, vocab); feeds as for a forward graph, the states, and the caches' views. */
  readonly graph: Graph;
  /** All start as zeros. */
  readonly states: readonly { readonly name: string; readonly shape: readonly number[] }[];
  readonly caches: readonly ({ readonly name: string; readonly segments: number } & RowCacheOptions)[];
}

/** Tokens of a chunk of the recurrent branches where several make up a run. */
const prefillChunk = 32;

export interface DecodeGraphOptions {
  readonly time: number;
  /** Logits of the last token alone: the head costs more than a small model's layers. */
  readonly lastOnly?: boolean;
  /** So many views make up the rows of a cache (one where it keeps only the last rows); 1 by default. */
  readonly segments?: number;
  /** One operator for a layer's routed experts: for a session whose params are constants, on the CPU. */
  readonly fusesExperts?: boolean;
  /** The params keep every attention score small (`score-bound.ts`), so that no maximum is taken; false by default. */
  readonly hasSmallScores?: boolean;
}

export const cacheInput = (name: string, segment: number, part: number): string => `cache:${name}#${segment}.${part}`;

export function buildDecodeGraph(config: QuasarLongConfig, options: DecodeGraphOptions): DecodeGraph {
  const { time, lastOnly = false, fusesExperts = false } = options;
  const g = new GraphBuilder();
  const states: DecodeGraph['states'][number][] = [];
  const caches: DecodeGraph['caches'][number][] = [];
  const carry = {
    read(name: string, shape: Shape): Tensor {
      states.push({ name, shape: shape.map(Number) });
      return g.input(`state:${name}`, shape);
    },
    write: (name: string, tensor: Tensor): void => void g.output(`next:${name}`, tensor),
    hasSmallScores: options.hasSmallScores ?? false,
    cache(name: string, { fresh, keep }: CachedRows): CacheSegment[] {
      const [parts, , width] = fresh.shape as [number, number, number];
      const segments = Number.isFinite(keep) ? 1 : (options.segments ?? 1);
      caches.push({ name, segments, parts, width, keep });
      g.output(`fresh:${name}`, fresh);
      return Array.from({ length: segments }, (_, segment) => {
        const rows = Number.isFinite(keep) ? `last${keep}` : `past${segment}`;
        return Array.from({ length: parts }, (_, part) => g.input(cacheInput(name, segment, part), [rows, width]));
      });
    },
  };
  // Chunks without filling, which would decay the states.
  const chunk = time % prefillChunk === 0 ? prefillChunk : time;
  const run = forward(g, config, { batch: 1, time, packed: false, chunk, carry, fusesExperts });
  const rows = lastOnly ? 1 : time;
  const hidden = g.slice(run.hidden, 0, time - rows);
  g.output('logits', g.reshape(logits(run.scope, hidden), [1, rows, config.vocab_size]));
  return { graph: g.build(), states, caches };
}
