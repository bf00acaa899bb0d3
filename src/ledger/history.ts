/**
 * @file What the embedded chain paid and to whom, epoch by epoch, made again from its public calls with its own rules. Signatures
 * and hashes are not checked here: that is `verify`'s, and this only shows. Goes on where it stopped.
 */
import type { Hotkey } from '../protocol/names.ts';
import { endBlock, planCall } from './chain.ts';
import { LedgerError } from './errors.ts';
import type { ChainRules } from './genesis.ts';
import type { CallPage, Neuron, RecordedLedger } from './port.ts';
import { initialState, neuronsOf } from './state.ts';

export interface PaidEpoch {
  readonly block: number;
  readonly ownerRao: number;
  readonly minerRao: number;
  readonly validatorRao: number;
  readonly paid: ReadonlyMap<Hotkey, { readonly minerRao: number; readonly validatorRao: number }>;
}

export interface EpochNeuronView {
  readonly hotkey: Hotkey;
  readonly stakeRao: number;
  readonly consensus: number;
  readonly incentive: number;
  readonly dividends: number;
  readonly validatorTrust: number;
  readonly lastUpdateBlock: number | null;
  /** As they stood in the epoch. */
  readonly weights: readonly (readonly [uid: number, weight: number])[];
}

const pageSize = 1_000;
const keptEpochs = 512;
/** Blocks between two pauses: a long chain must not hold up the process. */
const blocksAtOnce = 20_000;

export class LedgerHistory {
  readonly #ledger: Pick<RecordedLedger, 'calls'>;
  readonly #rules: ChainRules;
  readonly #state = initialState();
  readonly #commitments = new Map<Hotkey, Set<string>>();
  #epochs: PaidEpoch[] = [];
  #newest: { readonly block: number; readonly neurons: readonly EpochNeuronView[] } | null = null;
  #block = 0;
  #cursor = 0;
  #calls: CallPage['calls'][number][] = [];
  #advancing: Promise<void> = Promise.resolve();

  constructor(ledger: Pick<RecordedLedger, 'calls'>, rules: ChainRules) {
    this.#ledger = ledger;
    this.#rules = rules;
  }

  /** Oldest first, the newest 512. */
  get epochs(): readonly PaidEpoch[] {
    return this.#epochs;
  }

  /** The newest epoch's neurons by uid; null before the first. */
  get newest(): { readonly block: number; readonly neurons: readonly EpochNeuronView[] } | null {
    return this.#newest;
  }

  /** As of the last block that was made. */
  get neurons(): readonly Neuron[] {
    return neuronsOf(this.#state, this.#rules);
  }

  /** What a hotkey committed last; null if nothing. */
  commitment(hotkey: Hotkey): { readonly block: number; readonly data: string } | null {
    return this.#state.commitments[hotkey] ?? null;
  }

  /** All that a hotkey ever committed, in hex. */
  commitmentsOf(hotkey: Hotkey): ReadonlySet<string> {
    return this.#commitments.get(hotkey) ?? new Set();
  }

  /** Makes all blocks up to the made block `block`. One after another. */
  advanceTo(block: number): Promise<void> {
    const advancing = this.#advancing.catch(() => {}).then(() => this.#advance(block));
    this.#advancing = advancing;
    return advancing;
  }

  async #advance(to: number): Promise<void> {
    while (this.#block < to) {
      const until = Math.min(to, this.#block + blocksAtOnce);
      while (this.#block < until) {
        const next = this.#calls[0] ?? (await this.#read());
        const quietUntil = Math.min(until, (next?.block ?? Number.POSITIVE_INFINITY) - 1);
        while (this.#block < quietUntil) this.#end(this.#block + 1);
        if (next !== undefined && next.block <= until) await this.#make(next.block);
      }
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  async #read(): Promise<CallPage['calls'][number] | undefined> {
    const { calls, next } = await this.#ledger.calls(this.#cursor, pageSize);
    this.#cursor = next;
    this.#calls = [...calls];
    return this.#calls[0];
  }

  /** A made block takes no more calls, so all of it can be read. */
  async #make(block: number): Promise<void> {
    for (
      let next = this.#calls[0];
      next !== undefined && next.block === block;
      next = this.#calls[0] ?? (await this.#read())
    ) {
      this.#calls.shift();
      this.#apply(next.signed.hotkey, next.signed.call, block);
    }
    this.#end(block);
  }

  #apply(hotkey: Hotkey, call: CallPage['calls'][number]['signed']['call'], block: number): void {
    try {
      planCall(this.#state, this.#rules, hotkey, call, block)();
    } catch (error) {
      // The chain took it: it then has rules that this program does not know. What is shown may be wrong, and is told so by `verify`.
      if (!(error instanceof LedgerError)) throw error;
    }
    if (call.name !== 'set_commitment') return;
    const all = this.#commitments.get(hotkey) ?? new Set();
    this.#commitments.set(hotkey, all.add(call.args.data));
  }

  #end(block: number): void {
    const epoch = endBlock(this.#state, this.#rules, block);
    this.#block = block;
    if (epoch === null) return;
    const { payment, weights } = epoch;
    const { neurons } = this.#state;
    const sum = (amounts: readonly bigint[]): number => Number(amounts.reduce((total, rao) => total + rao, 0n));
    const paid = neurons.map(({ hotkey }, uid) => {
      const amounts = { minerRao: Number(payment.serverRao[uid]!), validatorRao: Number(payment.validatorRao[uid]!) };
      return [hotkey, amounts] as const;
    });
    this.#epochs = [
      ...this.#epochs,
      {
        ...{ block, ownerRao: Number(payment.ownerRao) },
        ...{ minerRao: sum(payment.serverRao), validatorRao: sum(payment.validatorRao), paid: new Map(paid) },
      },
    ].slice(-keptEpochs);
    this.#newest = {
      block,
      neurons: neurons.map(
        ({ hotkey, stakeRao, consensus, incentive, dividends, validatorTrust, lastUpdateBlock }, uid) => ({
          ...{ hotkey, stakeRao: Number(stakeRao), consensus, incentive, dividends, validatorTrust, lastUpdateBlock },
          weights: weights[uid]!,
        }),
      ),
    };
  }
}
