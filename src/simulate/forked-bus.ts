/**
 * @file The bus as an equivocating syncer shows it to some: from a place on its journal leaves one miner's claims out, is linked
 * anew and has tree heads of its own, all truly signed by the syncer. What others signed it cannot change: who has seen a
 * head of one history fits into no other.
 */
import type { Bus, Responder, Subscription } from '../bus/port.ts';
import { admit, applyEvent } from '../journal/fold.ts';
import type { Journal } from '../journal/port.ts';
import { newestTreeHead, treeHeadOf } from '../journal/queries.ts';
import { emptyState, type RunState } from '../journal/state.ts';
import type { Ed25519Equation } from '../protocol/ed25519.ts';
import type { SessionSigner } from '../protocol/keys.ts';
import type { EventBody, JournalEntry } from '../protocol/messages.ts';
import { openEntry, signMessage } from '../protocol/signing.ts';
import { bindingOf, type SubmitResult, topics } from '../roles/client.ts';

/** Somebody's message did not fit into a history that was shown to him, or to others. */
export interface Notice {
  readonly by: string;
  readonly kind: string;
  /** Entries of the true journal between the first difference and this. */
  readonly afterEvents: number;
}

export interface ForkOptions {
  readonly inner: Bus;
  readonly journal: Journal;
  readonly syncer: SessionSigner;
  readonly equation: Ed25519Equation;
  /** The histories differ from this signer's first claim on that comes after so many tree heads. */
  readonly leavesOut: string;
  readonly afterHeads: number;
}

export class ForkedBus implements Bus {
  readonly notices: Notice[] = [];
  readonly #options: ForkOptions;
  readonly #state: RunState = emptyState();
  readonly #shown: JournalEntry[] = [];
  /** True place of an entry → shown place, or null where it is not shown. */
  readonly #placeOf = new Map<number, number | null>();
  readonly #handlers = new Set<(payload: string) => void>();
  #taken = 0;
  #forkedAt: number | null = null;

  private constructor(options: ForkOptions) {
    this.#options = options;
  }

  static async open(options: ForkOptions): Promise<ForkedBus> {
    const bus = new ForkedBus(options);
    for (const entry of await options.journal.read(0, Number.MAX_SAFE_INTEGER)) bus.#take(entry);
    await options.inner.subscribe(topics.journal, (payload) => bus.#take(JSON.parse(payload) as JournalEntry));
    return bus;
  }

  get connected(): boolean {
    return this.#options.inner.connected;
  }

  publish(topic: string, payload: string): Promise<void> {
    return this.#options.inner.publish(topic, payload);
  }

  async subscribe(topic: string, handler: (payload: string) => void): Promise<Subscription> {
    if (topic !== topics.journal) return this.#options.inner.subscribe(topic, handler);
    this.#handlers.add(handler);
    return {
      close: async () => {
        this.#handlers.delete(handler);
      },
    };
  }

  async request(
    topic: string,
    payload: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<string> {
    if (topic === topics.journalRead) {
      const { from, limit } = JSON.parse(payload) as { readonly from: number; readonly limit: number };
      return JSON.stringify(this.#shown.slice(from, from + limit));
    }
    const reply = await this.#options.inner.request(topic, payload, options);
    if (topic !== topics.submit && topic !== topics.lease) return reply;
    const result = JSON.parse(reply) as SubmitResult;
    if (result.code === 'OTHER_HISTORY') {
      const { kind, signer } = JSON.parse(payload) as { readonly kind: string; readonly signer: string };
      this.#notice(signer, kind);
    }
    const seq = result.seq === null ? null : (this.#placeOf.get(result.seq) ?? null);
    return JSON.stringify({ ...result, seq });
  }

  respond(topic: string, responder: Responder): Promise<Subscription> {
    return this.#options.inner.respond(topic, responder);
  }

  async close(): Promise<void> {
    this.#handlers.clear();
  }

  #notice(by: string, kind: string): void {
    if (this.#forkedAt !== null) this.notices.push({ by, kind, afterEvents: this.#taken - this.#forkedAt });
  }

  #take(entry: JournalEntry): void {
    if (entry.seq !== this.#taken) return;
    this.#taken++;
    this.#placeOf.set(entry.seq, null);
    if (this.#isLeftOut(entry)) {
      this.#forkedAt ??= entry.seq;
      return;
    }
    const message = this.#forkedAt === null ? entry.message : this.#signedAnew(entry.message);
    const raw = { seq: this.#state.size, prevHash: this.#state.headHash, timeMs: entry.timeMs, message };
    const binding = bindingOf(this.#state);
    const opened = openEntry(raw, this.#state.headHash, binding && { ...binding, equation: this.#options.equation });
    if (!opened.ok) return;
    const admission = admit(this.#state, opened);
    if (admission.outcome !== 'accept') {
      if (admission.code === 'OTHER_HISTORY') this.#notice(message.signer, message.kind);
      return;
    }
    applyEvent(this.#state, opened);
    this.#placeOf.set(entry.seq, raw.seq);
    this.#shown.push(opened.entry);
    for (const handler of this.#handlers) handler(JSON.stringify(opened.entry));
  }

  #isLeftOut({ message }: JournalEntry): boolean {
    if (message.kind !== 'claim-commit' || this.#state.treeHeads.length < this.#options.afterHeads) return false;
    return message.signer === this.#options.leavesOut;
  }

  /** What the syncer says itself it can say of either history. */
  #signedAnew(message: JournalEntry['message']): JournalEntry['message'] {
    const { syncer } = this.#options;
    if (message.signer !== syncer.signer) return message;
    const body =
      message.kind === 'tree-head'
        ? { ...(message.body as EventBody<'tree-head'>), ...treeHeadOf(this.#state) }
        : message.body;
    const context = { ...bindingOf(this.#state)!, seenHead: newestTreeHead(this.#state) };
    return signMessage(syncer, message.kind as 'tree-head', body, context);
  }
}
