/**
 * @file Training on one machine without a network: the same model, data order and inner loop as a miner's, at the
 * schedule position that the network's counted tokens would have. Readers, writers and the clock are handed in.
 */
import type { Sequence } from '../data/shards.ts';
import type { Clock } from '../util/clock.ts';
import type { InnerLoop, InnerStepResult } from './inner-loop.ts';
import type { RouterHealth } from './router-health.ts';
import { learningRateAt, type Schedule } from './schedule.ts';

export interface TrainLocalOptions {
  /** Sequences of one inner step. */
  readonly batch: number;
  readonly schedule: Schedule;
  /** Ends after any of these; null: no such end. */
  readonly steps: number | null;
  readonly tokens: number | null;
  readonly minutes: number | null;
  /** Where a resumed run goes on; `steps`, `tokens` above count from the very start. */
  readonly start?: { readonly steps: number; readonly tokens: number };
  /** Steps between two saves; 0: only at the end. */
  readonly saveEverySteps?: number;
  /** Steps between two progress events. */
  readonly reportEverySteps: number;
}

export interface TrainLocalParts {
  readonly loop: InnerLoop;
  /** The sequence at a position of the data order. */
  readonly readSequence: (position: number) => Sequence;
  /** Loss by stage of text that is never trained on. */
  readonly heldOut: () => Promise<Readonly<Record<string, number>>>;
  /** Keeps the learner's state after this many steps and tokens; called at the end too, aborted or not. */
  readonly save?: (done: { readonly steps: number; readonly tokens: number }) => Promise<void>;
  readonly clock: Clock;
  /** An abort ends training after the running step; the summary is returned as ever. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: TrainLocalEvent) => void;
}

export type TrainLocalEvent =
  | { readonly kind: 'held-out'; readonly when: 'start' | 'end'; readonly losses: Readonly<Record<string, number>> }
  | {
      readonly kind: 'progress';
      readonly step: number;
      readonly tokens: number;
      /** Mean over the steps since the last progress event. */
      readonly loss: number;
      readonly gradNorm: number;
      readonly learningRate: number;
      readonly imbalance: number;
      /** At the last step, by layer. */
      readonly routers: readonly RouterHealth[];
      readonly tokensPerSecond: number;
      readonly elapsedMs: number;
    };

export interface TrainLocalSummary {
  readonly steps: number;
  readonly tokens: number;
  /** Time inside inner steps, evaluation not included. */
  readonly trainingMs: number;
  readonly tokensPerSecond: number;
  readonly heldOutBefore: Readonly<Record<string, number>>;
  readonly heldOutAfter: Readonly<Record<string, number>>;
  readonly lastLoss: number;
  readonly isAborted: boolean;
}

/** @throws TrainingError DIVERGED; EngineError */
export async function trainLocal(options: TrainLocalOptions, parts: TrainLocalParts): Promise<TrainLocalSummary> {
  const { loop, clock, signal, onEvent } = parts;
  const heldOutBefore = await parts.heldOut();
  onEvent({ kind: 'held-out', when: 'start', losses: heldOutBefore });
  const meter = new Meter(clock.nowMs());
  const start = options.start ?? { steps: 0, tokens: 0 };
  let [steps, tokens, lastLoss] = [start.steps, start.tokens, Number.NaN];
  let savedSteps = -1;
  while (!signal.aborted && !isDone(options, { steps, tokens, elapsedMs: meter.elapsedMs(clock.nowMs()) })) {
    const first = steps * options.batch;
    const sequences = Array.from({ length: options.batch }, (_, i) => parts.readSequence(first + i));
    const learningRate = learningRateAt(options.schedule, tokens);
    const result = await loop.step(sequences, learningRate);
    steps++;
    tokens += result.tokens;
    lastLoss = result.loss;
    meter.add(result);
    if (steps % options.reportEverySteps === 0)
      onEvent({ kind: 'progress', step: steps, tokens, learningRate, ...meter.take(clock.nowMs()) });
    if (parts.save && options.saveEverySteps && steps % options.saveEverySteps === 0) {
      await parts.save({ steps, tokens });
      savedSteps = steps;
    }
    // A run of the session holds the thread; signals and timers get their turn here.
    await new Promise((resume) => setImmediate(resume));
  }
  const trainingMs = meter.elapsedMs(clock.nowMs());
  if (savedSteps !== steps) await parts.save?.({ steps, tokens });
  const heldOutAfter = steps === start.steps ? heldOutBefore : await parts.heldOut();
  onEvent({ kind: 'held-out', when: 'end', losses: heldOutAfter });
  const tokensPerSecond = trainingMs === 0 ? 0 : ((tokens - start.tokens) / trainingMs) * 1000;
  return {
    steps,
    tokens,
    trainingMs,
    tokensPerSecond,
    heldOutBefore,
    heldOutAfter,
    lastLoss,
    isAborted: signal.aborted,
  };
}

function isDone(
  { steps, tokens, minutes }: TrainLocalOptions,
  done: { readonly steps: number; readonly tokens: number; readonly elapsedMs: number },
): boolean {
  return (
    (steps !== null && done.steps >= steps) ||
    (tokens !== null && done.tokens >= tokens) ||
    (minutes !== null && done.elapsedMs >= minutes * 60_000)
  );
}

/** Means between two reports. */
class Meter {
  readonly #startMs: number;
  #sinceMs: number;
  #steps = 0;
  #tokens = 0;
  #loss = 0;
  #gradNorm = 0;
  #imbalance = 1;
  #routers: readonly RouterHealth[] = [];

  constructor(nowMs: number) {
    this.#startMs = nowMs;
    this.#sinceMs = nowMs;
  }

  add(result: InnerStepResult): void {
    this.#steps++;
    this.#tokens += result.tokens;
    this.#loss += result.loss;
    this.#gradNorm += result.gradNorm;
    this.#imbalance = result.imbalance;
    this.#routers = result.routers;
  }

  elapsedMs(nowMs: number): number {
    return nowMs - this.#startMs;
  }

  take(nowMs: number) {
    const spanMs = Math.max(1, nowMs - this.#sinceMs);
    const means = {
      loss: this.#loss / this.#steps,
      gradNorm: this.#gradNorm / this.#steps,
      imbalance: this.#imbalance,
      routers: this.#routers,
      tokensPerSecond: (this.#tokens / spanMs) * 1000,
      elapsedMs: nowMs - this.#startMs,
    };
    this.#sinceMs = nowMs;
    [this.#steps, this.#tokens, this.#loss, this.#gradNorm] = [0, 0, 0, 0];
    return means;
  }
}
