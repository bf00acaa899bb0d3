/**
 * @file Many sequences on one model, fairly: each in turn reads one slice of its prompt or draws one token, so that a long
 * prompt or answer delays the others by no more than a slice. What finds no place waits in order; what finds no place in
 * the queue is refused. A sequence draws the same tokens whoever runs beside it.
 */
import type { DecodeModel, Decoder } from '../model/quasar-long/decode-model.ts';
import { sliceTokens } from '../model/quasar-long/generate.ts';
import { Channel } from './channel.ts';
import { InferenceError } from './errors.ts';
import { logprobsOf, type TokenLogprobs } from './logprobs.ts';
import { Sampler, type SamplerOptions } from './sampler.ts';

export interface SequenceRequest {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly sampling: SamplerOptions;
  /** The sequence ends with such a token, which is drawn but is not part of the text. */
  readonly stopIds: readonly number[];
  /** So many of the likeliest tokens are told with each; null: no log-probabilities at all. */
  readonly logprobs?: number | null;
  readonly signal?: AbortSignal;
}

export type SequenceEvent =
  | { readonly kind: 'token'; readonly id: number; readonly logprobs: TokenLogprobs | null }
  | { readonly kind: 'end'; readonly reason: 'stop' | 'length' };

export interface SchedulerOptions {
  /** Sequences that are decoded at a time. */
  readonly concurrent: number;
  /** Further sequences that may wait. */
  readonly queue: number;
}

/** Tokens that a reader may be behind before its sequence pauses. */
const maxUnread = 64;

interface Running {
  readonly request: SequenceRequest;
  readonly channel: Channel<SequenceEvent>;
  sequence: Decoder | null;
  sampler: Sampler | null;
  /** Prompt tokens that have been read. */
  read: number;
  drawn: number;
  /** The token that was drawn last. */
  last: number;
}

export class Scheduler {
  readonly #model: DecodeModel;
  readonly options: SchedulerOptions;
  readonly #active: Running[] = [];
  readonly #waiting: Running[] = [];
  #loop: Promise<void> | null = null;
  #wake: (() => void) | null = null;
  #isClosed = false;

  constructor(model: DecodeModel, options: SchedulerOptions) {
    this.#model = model;
    this.options = options;
  }

  get activeCount(): number {
    return this.#active.length;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Whether so many more sequences would find a place, running or waiting. */
  hasRoomFor(count: number): boolean {
    const { concurrent, queue } = this.options;
    return this.#active.length + this.#waiting.length + count <= concurrent + queue;
  }

  /**
   * Takes a sequence in; its tokens are read from the answer, which fails with the signal's reason when that aborts.
   * @throws InferenceError QUEUE_FULL, CLOSED
   */
  submit(request: SequenceRequest): AsyncIterable<SequenceEvent> {
    if (this.#isClosed) throw new InferenceError('CLOSED', 'the model is being closed');
    if (!this.hasRoomFor(1))
      throw new InferenceError(
        'QUEUE_FULL',
        `${this.#active.length} sequences run and ${this.#waiting.length} wait; try again later`,
        { retryable: true },
      );
    request.signal?.throwIfAborted();
    const channel = new Channel<SequenceEvent>(maxUnread, () => this.#wake?.());
    const running: Running = { request, channel, sequence: null, sampler: null, read: 0, drawn: 0, last: -1 };
    this.#waiting.push(running);
    request.signal?.addEventListener('abort', () => this.#abandon(running), { once: true });
    this.#loop ??= this.#run();
    this.#wake?.();
    return channel;
  }

  /** Ends all sequences. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { channel } of [...this.#active, ...this.#waiting])
      channel.end(new InferenceError('CLOSED', 'the model is being closed'));
    this.#waiting.length = 0;
    this.#wake?.();
    await this.#loop;
  }

  #abandon(running: Running): void {
    running.channel.end(running.request.signal!.reason);
    const at = this.#waiting.indexOf(running);
    if (at >= 0) this.#waiting.splice(at, 1);
    this.#wake?.();
  }

  async #run(): Promise<void> {
    // Those who submit in one turn of the event loop begin together.
    await Promise.resolve();
    for (;;) {
      await this.#dropEnded();
      while (this.#active.length < this.options.concurrent && this.#waiting.length > 0)
        this.#active.push(this.#waiting.shift()!);
      if (this.#active.length === 0) {
        // In the same turn as the look at the queue: who submits after it begins a new loop.
        this.#loop = null;
        return;
      }
      const ready = this.#active.filter(({ channel }) => !channel.isFull);
      if (ready.length === 0) await new Promise<void>((resolve) => void (this.#wake = resolve));
      this.#wake = null;
      for (const running of ready) await this.#turn(running);
      // Runs may resolve without the event loop coming round: sockets and signals need it.
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
  }

  async #dropEnded(): Promise<void> {
    for (const running of this.#active.filter(({ channel }) => channel.isEnded)) await this.#drop(running);
  }

  async #turn(running: Running): Promise<void> {
    if (running.channel.isEnded) return;
    try {
      await this.#step(running);
    } catch (error) {
      // Told to the reader of this sequence; the others go on.
      await this.#drop(running);
      running.channel.end(error);
    }
  }

  /** Its place is free before its reader hears of the end. */
  async #drop(running: Running): Promise<void> {
    const at = this.#active.indexOf(running);
    if (at >= 0) this.#active.splice(at, 1);
    await running.sequence?.release();
  }

  /** A slice of the prompt, or the token that was drawn before; then, once there are logits, the next token. */
  async #step(running: Running): Promise<void> {
    const { prompt, sampling } = running.request;
    running.sequence ??= this.#model.begin();
    running.sampler ??= new Sampler(sampling, prompt);
    const isPrompt = running.read < prompt.length;
    const ids = isPrompt ? prompt.slice(running.read, running.read + sliceTokens) : [running.last];
    const logits = await running.sequence.feedLast(ids);
    if (isPrompt) running.read += ids.length;
    const reason = running.read < prompt.length ? null : draw(running, running.sampler, logits);
    if (reason === null) return;
    await this.#drop(running);
    running.channel.push({ kind: 'end', reason });
    running.channel.end();
  }
}

/** Why the sequence ends with this token; null: it goes on. */
function draw(running: Running, sampler: Sampler, logits: Float32Array): 'stop' | 'length' | null {
  const { channel, request } = running;
  const id = sampler.draw(logits);
  const isStop = request.stopIds.includes(id);
  if (!isStop) {
    const { logprobs = null } = request;
    channel.push({ kind: 'token', id, logprobs: logprobs === null ? null : logprobsOf(logits, id, logprobs) });
    running.last = id;
    running.drawn++;
  }
  if (isStop) return 'stop';
  return running.drawn < request.maxTokens ? null : 'length';
}
