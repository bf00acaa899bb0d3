/**
 * @file Metrics for Prometheus behind the `Metrics` interface: counters, gauges and durations by their first use, with the
 * prefix `accrete_`; the process's own beside them. A metric whose labels take too many values is not kept further.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Metrics } from '../util/clock.ts';

type Labels = Readonly<Record<string, string>>;

const prefix = 'accrete_';
/** Values of one metric's labels together: a stranger must not fill our memory with new ones. */
const maxSeries = 500;
const buckets = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100];

interface Kept<M> {
  readonly metric: M;
  readonly labelNames: readonly string[];
  readonly seen: Set<string>;
}

export class PrometheusMetrics implements Metrics {
  readonly #registry = new Registry();
  readonly #counters = new Map<string, Kept<Counter>>();
  readonly #gauges = new Map<string, Kept<Gauge>>();
  readonly #durations = new Map<string, Kept<Histogram>>();
  readonly #next: Metrics | null;

  /** `next` is told the same: the log's counters. `isProcessTold`: memory, CPU and event loop of the process, too. */
  constructor(options: { readonly next?: Metrics; readonly isProcessTold?: boolean } = {}) {
    this.#next = options.next ?? null;
    if (options.isProcessTold === true) collectDefaultMetrics({ register: this.#registry, prefix });
  }

  count(name: string, by = 1, labels: Labels = {}): void {
    this.#next?.count(name, by, labels);
    const kept = this.#keep(this.#counters, name, labels, (options) => new Counter(options));
    if (this.#admits(kept, labels)) kept.metric.inc(this.#only(kept, labels), by);
  }

  gauge(name: string, value: number, labels: Labels = {}): void {
    this.#next?.gauge(name, value, labels);
    const kept = this.#keep(this.#gauges, name, labels, (options) => new Gauge(options));
    if (this.#admits(kept, labels)) kept.metric.set(this.#only(kept, labels), value);
  }

  observe(name: string, seconds: number, labels: Labels = {}): void {
    this.#next?.observe(name, seconds, labels);
    const kept = this.#keep(this.#durations, name, labels, (options) => new Histogram({ ...options, buckets }));
    if (this.#admits(kept, labels)) kept.metric.observe(this.#only(kept, labels), seconds);
  }

  /** In the text format; `contentType` names its version. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #keep<M>(
    all: Map<string, Kept<M>>,
    name: string,
    labels: Labels,
    make: (options: { name: string; help: string; labelNames: string[]; registers: Registry[] }) => M,
  ): Kept<M> {
    const known = all.get(name);
    if (known !== undefined) return known;
    const labelNames = Object.keys(labels).sort();
    const help = name.replaceAll('_', ' ');
    const metric = make({ name: `${prefix}${name}`, help, labelNames, registers: [this.#registry] });
    const kept = { metric, labelNames, seen: new Set<string>() };
    all.set(name, kept);
    return kept;
  }

  /** The labels of the first use are the metric's: others are left out. */
  #only({ labelNames }: Kept<unknown>, labels: Labels): Record<string, string> {
    return Object.fromEntries(labelNames.map((name) => [name, labels[name] ?? '']));
  }

  #admits({ seen, labelNames }: Kept<unknown>, labels: Labels): boolean {
    const key = labelNames.map((name) => labels[name] ?? '').join('\n');
    if (seen.has(key)) return true;
    if (seen.size >= maxSeries) return false;
    seen.add(key);
    return true;
  }
}
