/**
 * @file What a chain paid and to whom, epoch by epoch, as it was seen to: for a chain whose calls cannot all be read again. An epoch
 * is seen when somebody looks between it and the next one; there are none from before the first look.
 */
import type { Hotkey } from '../protocol/names.ts';
import type { EpochNeuronView, PaidEpoch } from './history.ts';
import type { Ledger, Neuron } from './port.ts';

const keptEpochs = 512;

export class ObservedEpochs {
  readonly #ledger: Pick<Ledger, 'subnet' | 'metagraph' | 'weights'>;
  #epochs: readonly PaidEpoch[] = [];
  #newest: { readonly block: number; readonly neurons: readonly EpochNeuronView[] } | null = null;

  constructor(ledger: Pick<Ledger, 'subnet' | 'metagraph' | 'weights'>) {
    this.#ledger = ledger;
  }

  /** Oldest first, the newest 512. */
  get epochs(): readonly PaidEpoch[] {
    return this.#epochs;
  }

  get newest(): { readonly block: number; readonly neurons: readonly EpochNeuronView[] } | null {
    return this.#newest;
  }

  /** Takes down the last epoch, if it has not been yet. */
  async look(): Promise<void> {
    const { lastEpochBlock } = await this.#ledger.subnet();
    if (lastEpochBlock === 0 || lastEpochBlock <= (this.#newest?.block ?? 0)) return;
    const neurons = await this.#ledger.metagraph();
    const rows = await Promise.all(
      neurons.map(async ({ hotkey, validatorPermit }) =>
        validatorPermit ? [...(await this.#ledger.weights(hotkey))] : [],
      ),
    );
    this.#epochs = [...this.#epochs, paidIn(lastEpochBlock, neurons)].slice(-keptEpochs);
    this.#newest = {
      block: lastEpochBlock,
      neurons: neurons.map(
        ({ hotkey, stakeRao, consensus, incentive, dividends, validatorTrust, lastUpdateBlock }, uid) => ({
          ...{ hotkey, stakeRao, consensus, incentive, dividends, validatorTrust, lastUpdateBlock },
          weights: rows[uid]!,
        }),
      ),
    };
  }
}

/**
 * A neuron's emission is (incentive + dividends) / 2 of the whole (Yuma: both sides get one half), so its part for serving follows from
 * these two. The owner's cut is not in the chain's list of emissions.
 */
function paidIn(block: number, neurons: readonly Neuron[]): PaidEpoch {
  const paid = new Map<Hotkey, { minerRao: number; validatorRao: number }>();
  let [minerRao, validatorRao] = [0, 0];
  for (const { hotkey, emissionRao, incentive, dividends } of neurons) {
    const both = incentive + dividends;
    const served = both === 0 ? 0 : Math.round((emissionRao * incentive) / both);
    paid.set(hotkey, { minerRao: served, validatorRao: emissionRao - served });
    minerRao += served;
    validatorRao += emissionRao - served;
  }
  return { block, ownerRao: 0, minerRao, validatorRao, paid };
}
