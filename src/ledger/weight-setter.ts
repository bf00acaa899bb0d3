/**
 * @file Sets weights as the subnet requires, never both ways: plain, or committed to and revealed `revealPeriodEpochs` later. What is
 * to be revealed is stored before the commit is sent, so that a crash at any moment loses no reveal.
 */
import { z } from 'zod';
import { countSchema, hotkeySchema } from '../protocol/names.ts';
import { type Log, silentLog } from '../util/clock.ts';
import { toU16Weights } from './calls.ts';
import { chainErrorOf, LedgerError, refused } from './errors.ts';
import type { Ledger, LedgerSigner, Subnet, WeightSetter } from './port.ts';

const u16s = z.array(countSchema.max(65_535)).max(65_536);
export const pendingRevealSchema = z.strictObject({
  chainId: z.string().max(128),
  netuid: countSchema.max(65_535),
  hotkey: hotkeySchema,
  /** Epoch of the subnet in which it was committed, or was about to be. */
  epoch: countSchema,
  weights: z.strictObject({ uids: u16s, values: u16s, salt: u16s, versionKey: countSchema }),
});
export type PendingReveal = z.infer<typeof pendingRevealSchema>;

/** Keeps reveals over a restart. `save` is durable when it resolves. */
export interface RevealStore {
  load(): Promise<readonly PendingReveal[]>;
  save(reveals: readonly PendingReveal[]): Promise<void>;
}

export interface WeightSetterOptions {
  readonly ledger: Ledger;
  readonly signer: LedgerSigner;
  readonly store: RevealStore;
  /** Random u16s, new each time. */
  readonly makeSalt: () => readonly number[];
  readonly log?: Log;
}

/** The chain takes no more unrevealed commits of a hotkey. */
const maxPending = 10;
/** Answers that mean that this reveal has no future. */
const hopeless = new Set([
  'NoWeightsCommitFound',
  'ExpiredWeightCommit',
  'InvalidRevealCommitHashNotMatch',
  'CommitRevealDisabled',
  'HotKeyNotRegisteredInSubNet',
]);

export class LedgerWeightSetter implements WeightSetter {
  readonly #options: WeightSetterOptions;
  readonly #log: Log;
  #pending: readonly PendingReveal[] | null = null;
  /** Of another hotkey or subnet in the same store: kept as they are. */
  #others: readonly PendingReveal[] = [];
  /** One thing after the other: set and reveal share the file and the hotkey's nonce. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: WeightSetterOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
  }

  set(weights: ReadonlyMap<number, number>): Promise<'set' | 'committed'> {
    return this.#inTurn(async () => {
      const { ledger, signer } = this.#options;
      const subnet = await ledger.subnet();
      if (subnet.isCommitReveal) return this.#commit(weights, subnet);
      await ledger.setWeights(signer, weights, { versionKey: subnet.weightsVersionKey });
      return 'set';
    });
  }

  revealDue(): Promise<number> {
    return this.#inTurn(async () => {
      const pending = await this.#load();
      if (pending.length === 0) return 0;
      const subnet = await this.#options.ledger.subnet();
      let revealed = 0;
      for (const reveal of pending) if (await this.#tryReveal(reveal, subnet)) revealed++;
      return revealed;
    });
  }

  async #commit(weights: ReadonlyMap<number, number>, subnet: Subnet): Promise<'committed'> {
    const { ledger, signer, makeSalt } = this.#options;
    const { hotkey } = signer;
    const { uids, values } = toU16Weights(weights);
    const pending = await this.#load();
    if (pending.length >= maxPending)
      throw refused(
        'RATE_LIMIT',
        'TooManyUnrevealedCommits',
        `${pending.length} commits of ${hotkey} wait to be revealed`,
      );
    const reveal: PendingReveal = {
      ...{ chainId: ledger.chainId, netuid: ledger.netuid, hotkey, epoch: subnet.epochIndex },
      weights: { uids, values, salt: [...makeSalt()], versionKey: subnet.weightsVersionKey },
    };
    await this.#save([...pending, reveal]);
    try {
      const { block } = await ledger.commitWeights(signer, reveal.weights);
      const after = await ledger.subnet();
      // It may have been included an epoch later than it was made in.
      const epoch = after.epochIndex - (block <= after.lastEpochBlock ? 1 : 0);
      if (epoch !== reveal.epoch) await this.#save([...pending, { ...reveal, epoch }]);
    } catch (error) {
      // Refused: there is nothing to reveal. If that is not known, the reveal will find out.
      if (error instanceof LedgerError && error.code !== 'UNAVAILABLE') await this.#save(pending);
      throw error;
    }
    return 'committed';
  }

  async #tryReveal(reveal: PendingReveal, subnet: Subnet): Promise<boolean> {
    const { ledger, signer } = this.#options;
    const dueEpoch = reveal.epoch + subnet.revealPeriodEpochs;
    if (subnet.epochIndex < dueEpoch) return false;
    try {
      await ledger.revealWeights(signer, reveal.weights);
      await this.#forget(reveal);
      return true;
    } catch (error) {
      const name = chainErrorOf(error);
      if (name === null) throw error;
      if (hopeless.has(name)) {
        this.#log.warn('weights cannot be revealed any more', { epoch: reveal.epoch, why: String(error) });
        await this.#forget(reveal);
      }
      return false; // Too early, or something to be mended: tried again.
    }
  }

  async #forget(reveal: PendingReveal): Promise<void> {
    await this.#save((await this.#load()).filter((each) => each !== reveal));
  }

  async #load(): Promise<readonly PendingReveal[]> {
    const { ledger, signer, store } = this.#options;
    if (this.#pending === null) {
      const isOurs = ({ chainId, netuid, hotkey }: PendingReveal): boolean =>
        chainId === ledger.chainId && netuid === ledger.netuid && hotkey === signer.hotkey;
      const all = await store.load();
      this.#others = all.filter((reveal) => !isOurs(reveal));
      this.#pending = all.filter(isOurs);
    }
    return this.#pending;
  }

  async #save(pending: readonly PendingReveal[]): Promise<void> {
    await this.#options.store.save([...this.#others, ...pending]);
    this.#pending = pending;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }
}
