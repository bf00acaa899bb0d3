/**
 * @file The mixture of experts. Router: s = σ(W x); the choice goes by b = s + expert_bias, first among groups of experts
 * (by the sum of a group's two best b), then among the experts of the groups kept; weights are s of the chosen experts,
 * normalised and scaled. Exact: no assignment is dropped. Gradients flow through the weights, not through the choice.
 */
import type { Tensor } from '../../engine/graph.ts';
import { collectRows, dispatchRows, dispatchTables } from '../../engine/moe-dispatch.ts';
import { mlp } from './mlp.ts';
import { linear, type Scope } from './scope.ts';

export interface Routing {
  /** (rows, K) i64. */
  readonly experts: Tensor;
  /** (rows, K). */
  readonly weights: Tensor;
  /** (rows, E): σ of the logits. */
  readonly scores: Tensor;
}

/** x (rows, hidden) → (rows, hidden). Reports the routing under the name of the selection bias. */
export function moe(scope: Scope, x: Tensor, prefix: string): Tensor {
  const { g, config } = scope;
  const routing = route(scope, x, prefix);
  // Below this many rows the dispatch would read mostly matrices of experts that nobody chose.
  const isFew = scope.batch * scope.time * config.num_experts_per_tok < config.num_experts;
  const byProducts = isFew ? routedByGather : routedByDispatch;
  const routed = (scope.fusesExperts ? routedAsOne : byProducts)(scope, x, routing, prefix);
  return config.num_shared_experts === 0 ? routed : g.add(routed, mlp(scope, x, `${prefix}.shared_experts`));
}

function route(scope: Scope, x: Tensor, prefix: string): Routing {
  const { g, config } = scope;
  const { num_experts: E, num_experts_per_tok: K, n_group: groups, topk_group: kept } = config;
  const rows = x.shape[0]!;
  const scores = g.sigmoid(linear(scope, x, `${prefix}.gate`));
  let biased = g.stopGradient(g.add(scores, scope.param(`${prefix}.gate.expert_bias`)));
  if (kept < groups) {
    const grouped = g.reshape(biased, [rows, groups, E / groups]);
    const best = g.topK(grouped, Math.min(2, E / groups), { sorted: false }).values;
    const chosen = g.topK(g.reduceSum(best, 2), kept, { sorted: false }).indices; // (rows, kept)
    biased = g.reshape(keepGroups(scope, grouped, chosen), [rows, E]);
  }
  const experts = g.topK(biased, K, { sorted: false }).indices;
  const chosen = g.gatherElements(scores, experts, 1);
  const shares = K === 1 ? chosen : g.div(chosen, g.add(g.reduceSum(chosen, 1, true), 1e-20));
  return { experts, weights: g.mul(shares, config.routed_scaling_factor), scores };
}

/** grouped (rows, groups, E / groups), with −1e30 in the groups that are not `chosen` (rows, kept). */
function keepGroups({ g, fusesExperts }: Scope, grouped: Tensor, chosen: Tensor): Tensor {
  const [rows, groups] = grouped.shape as [number, number, number];
  if (fusesExperts) {
    // Fewer operators; a scatter is slow on other devices.
    const [none, kept] = [g.constant(-1e30, [rows, groups]), g.constant(0, chosen.shape)];
    return g.add(grouped, g.reshape(g.scatterElements(none, chosen, kept, 1), [rows, groups, 1]));
  }
  const isKept = g.greater(g.reduceSum(g.oneHot(chosen, groups), 1), 0); // (rows, groups)
  return g.where(g.reshape(isKept, [rows, groups, 1]), grouped, -1e30);
}

function report({ g, report }: Scope, prefix: string, load: Tensor, { scores }: Routing): void {
  const total = g.maximum(g.reduceSum(scores, 1, true), 1e-20);
  report(`${prefix}.gate.expert_bias`, { load, shares: g.reduceSum(g.stopGradient(g.div(scores, total)), 0) });
}

/**
 * The operator takes the k best of some scores, and their softmax as weights: with the logarithms of the chosen experts'
 * scores, and next to nothing for the others, these are the chosen experts and their shares.
 */
function routedAsOne(scope: Scope, x: Tensor, { experts, scores }: Routing, prefix: string): Tensor {
  const { g, config, param } = scope;
  const chosen = g.log(g.maximum(g.gatherElements(scores, experts, 1), 1e-30));
  const none = g.constant(-1e30, scores.shape);
  const ranked = g.scatterElements(none, experts, chosen, 1);
  const [W12, W3] = [param(`${prefix}.experts_w12`), param(`${prefix}.experts_w3`)];
  const { num_experts_per_tok: K, routed_scaling_factor: scale } = config;
  const y = g.mul(g.mixtureOfExperts(x, ranked, W12, W3, K), scale);
  // A single expert's weight is its score.
  return K === 1 ? g.mul(y, g.gatherElements(scores, experts, 1)) : y;
}

/** One product per assignment with gathered expert matrices: for few rows, where most experts are not needed. */
function routedByGather(scope: Scope, x: Tensor, routing: Routing, prefix: string): Tensor {
  const { g, config } = scope;
  const { experts, weights } = routing;
  const { hidden_size: h, num_experts_per_tok: K } = config;
  const rows = x.shape[0]!;
  report(scope, prefix, g.reduceSum(g.oneHot(experts, config.num_experts), [0, 1]), routing);
  const wide = g.expand(g.reshape(x, [rows, 1, 1, h]), [rows, K, 1, h]);
  const y = expertMlp(
    scope,
    wide,
    g.gather(scope.param(`${prefix}.experts_w12`), experts),
    g.gather(scope.param(`${prefix}.experts_w3`), experts),
    (a, w) => g.matmul(a, w),
  );
  return g.reduceSum(g.mul(g.reshape(y, [rows, K, h]), g.reshape(weights, [rows, K, 1])), 1);
}

/** Tokens sorted by expert: each expert multiplies the rows that chose it. */
function routedByDispatch(scope: Scope, x: Tensor, routing: Routing, prefix: string): Tensor {
  const { g, config } = scope;
  const { experts, weights } = routing;
  const tables = dispatchTables(g, experts, config.num_experts);
  report(scope, prefix, g.cast(tables.load, 'f32'), routing);
  const y = expertMlp(
    scope,
    dispatchRows(g, x, tables), // (rows·K, hidden)
    scope.param(`${prefix}.experts_w12`),
    scope.param(`${prefix}.experts_w3`),
    (a, w) => g.groupedMatmul(a, w, tables.load),
  );
  const collected = collectRows(g, y, tables); // (rows, K, hidden)
  return g.reduceSum(g.mul(collected, g.reshape(weights, [...weights.shape, 1])), 1);
}

type Product = (a: Tensor, w: Tensor) => Tensor;

/** Rows of width hidden by experts_w12 (.., hidden, 2I) and experts_w3 (.., I, hidden): gate and up side by side. */
function expertMlp({ g }: Scope, x: Tensor, w12: Tensor, w3: Tensor, product: Product): Tensor {
  const [gate, up] = g.split(product(x, w12), -1, 2);
  return product(g.mul(g.silu(gate!), up!), w3);
}
