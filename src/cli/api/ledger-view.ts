/** @file What the read API says of the ledger: looked up at most once a second, whoever asks. */
import type { LedgerView } from '../../http/api/sources.ts';
import { tempoAt } from '../../journal/queries.ts';
import { LedgerError } from '../../ledger/errors.ts';
import type { ChainRules } from '../../ledger/genesis.ts';
import { LedgerHistory } from '../../ledger/history.ts';
import { ObservedEpochs } from '../../ledger/observed-epochs.ts';
import type { Ledger, RecordedLedger } from '../../ledger/port.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { toHex } from '../../util/bytes.ts';
import type { Clock } from '../../util/clock.ts';

export interface LedgerReaderOptions {
  readonly ledger: Pick<Ledger, 'head' | 'metagraph' | 'commitment'>;
  /** Makes epochs again from the chain's calls. */
  readonly recorded?: { readonly ledger: Pick<RecordedLedger, 'calls'>; readonly rules: ChainRules };
  /** Where they cannot be made again: epochs are taken down as they come. */
  readonly observed?: Pick<Ledger, 'subnet' | 'metagraph' | 'weights'>;
  readonly manifest: RunManifest;
  readonly clock: Clock;
}

const freshMs = 1_000;

export class LedgerReader {
  readonly #options: LedgerReaderOptions;
  readonly #history: LedgerHistory | null;
  readonly #observed: ObservedEpochs | null;
  #reading: Promise<LedgerView | null> | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #last: LedgerView | null = null;

  constructor(options: LedgerReaderOptions) {
    this.#options = options;
    const { recorded, observed } = options;
    this.#history = recorded === undefined ? null : new LedgerHistory(recorded.ledger, recorded.rules);
    this.#observed = observed === undefined ? null : new ObservedEpochs(observed);
  }

  /** As it was when it answered last, while it is away; null before that. */
  readonly view = (): Promise<LedgerView | null> => {
    const nowMs = this.#options.clock.nowMs();
    if (this.#reading === null || nowMs - this.#readAtMs >= freshMs) {
      this.#readAtMs = nowMs;
      this.#reading = this.#readOrLast();
      // A failure is told to who asked, and not remembered.
      this.#reading.catch(() => {
        this.#reading = null;
      });
    }
    return this.#reading;
  };

  async #readOrLast(): Promise<LedgerView | null> {
    try {
      this.#last = await this.#read();
    } catch (error) {
      if (!(error instanceof LedgerError) || error.code !== 'UNAVAILABLE') throw error;
    }
    return this.#last;
  }

  async #read(): Promise<LedgerView> {
    const { ledger, manifest } = this.#options;
    const head = await ledger.head();
    await this.#history?.advanceTo(head.number);
    await this.#observed?.look();
    const commitment = await ledger.commitment(manifest.owner);
    return {
      block: head.number,
      neurons: await ledger.metagraph(),
      epochs: this.#epochs(),
      matrix: this.#matrix(),
      commitment:
        commitment === null ? null : { hotkey: manifest.owner, block: commitment.block, data: toHex(commitment.data) },
      anchored:
        this.#history?.commitmentsOf(manifest.owner) ?? new Set(commitment === null ? [] : [toHex(commitment.data)]),
    };
  }

  #epochs(): LedgerView['epochs'] {
    return ((this.#history ?? this.#observed)?.epochs ?? []).map((epoch) => ({
      ...epoch,
      tempo: this.#tempoOf(epoch.block),
    }));
  }

  /** What an epoch pays is the journal's tempo before; the first epoch of all may have none. */
  #tempoOf(block: number): number {
    return Math.max(0, tempoAt(this.#options.manifest.ledger, block) - 1);
  }

  #matrix(): LedgerView['matrix'] {
    const newest = (this.#history ?? this.#observed)?.newest ?? null;
    if (newest === null) return null;
    return {
      ...{ block: newest.block, tempo: this.#tempoOf(newest.block) },
      neurons: newest.neurons.map(({ lastUpdateBlock, ...neuron }) => ({ ...neuron, setAtBlock: lastUpdateBlock })),
    };
  }
}
