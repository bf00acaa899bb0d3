/**
 * @file The journal of a simulated fleet: one fold for everybody, who would all fold the same entries. Admission, fold, hash chain
 * and Merkle tree are the real ones. Entries are handed on and not kept, so that a day of ten thousand learners fits into memory.
 */
import { admit, applyEvent } from '../../journal/fold.ts';
import { newestTreeHead, runOf } from '../../journal/queries.ts';
import { emptyState, type RunState } from '../../journal/state.ts';
import type { Ed25519Equation } from '../../protocol/ed25519.ts';
import { runIdOf } from '../../protocol/hash.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import type { EventBody, EventKind } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import type { OpenedEntry, RunBinding } from '../../protocol/signing.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import type { EventQueue } from './event-queue.ts';
import { entryOf, type SignatureMode, type SimulatedKey } from './fleet-keys.ts';

export interface Submission {
  readonly outcome: 'accept' | 'ignore' | 'reject';
  readonly code: string;
  readonly id: Hash;
}

export interface FleetJournalOptions {
  readonly queue: EventQueue;
  readonly mode: SignatureMode;
  readonly equation: Ed25519Equation;
  readonly manifest: RunManifest;
  /** Each entry's canonical text, as a file of the journal has it. */
  readonly onLine?: (line: string) => void;
  /** Size of the entry's text with its line end. */
  readonly onBytes: (bytes: number) => void;
}

export class FleetJournal {
  readonly run: RunState = emptyState();
  /** By code: what was not let in. */
  readonly refusals = new Map<string, number>();
  readonly #options: FleetJournalOptions;
  readonly #binding: RunBinding;
  #handlers: ((opened: OpenedEntry) => void)[] = [];

  constructor(options: FleetJournalOptions) {
    this.#options = options;
    const { manifest } = options;
    const { chainId, netuid } = manifest.ledger;
    this.#binding = { chainId, netuid, run: runIdOf(manifest) };
  }

  /** After each entry is folded, in the order of subscription. */
  onEntry(handler: (opened: OpenedEntry) => void): void {
    this.#handlers = [...this.#handlers, handler];
  }

  submit<K extends EventKind>(key: SimulatedKey, kind: K, body: EventBody<K>): Submission {
    const { queue, mode, equation, onLine, onBytes } = this.#options;
    const { run } = this;
    const opened = entryOf(
      key,
      { kind, body },
      {
        ...{ seq: run.size, prevHash: run.headHash, timeMs: Math.max(Math.floor(queue.nowMs), run.lastTimeMs) },
        ...{ context: { ...this.#binding, seenHead: newestTreeHead(run) }, mode, equation },
      },
    );
    const { id } = opened.message;
    const admission = admit(run, opened);
    if (admission.outcome !== 'accept') {
      const { outcome, code } = admission;
      const label = `${kind} ${code}`;
      this.refusals.set(label, (this.refusals.get(label) ?? 0) + 1);
      return { outcome, code, id };
    }
    onBytes(applyEvent(run, opened) + 1);
    onLine?.(canonicalJson(opened.entry));
    for (const handler of this.#handlers) handler(opened);
    return { outcome: 'accept', code: 'OK', id };
  }

  get manifest(): RunManifest {
    return runOf(this.run).manifest;
  }
}
