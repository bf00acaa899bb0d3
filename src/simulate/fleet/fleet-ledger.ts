/**
 * @file The ledger of a simulated fleet: at the end of each of its tempos one unit is paid by the weights that validators set, u16
 * as the chain keeps them. Validators of one fold agree to the bit, so Yuma's consensus is the row that they all set, and it is
 * not computed again here.
 */
import type { Hotkey } from '../../protocol/names.ts';

export interface Payment {
  readonly epoch: number;
  readonly atMs: number;
  readonly shares: ReadonlyMap<Hotkey, number>;
}

const maxWeight = 65_535;

export class FleetLedger {
  readonly payments: Payment[] = [];
  #weights: ReadonlyMap<Hotkey, number> = new Map();

  setWeights(weights: ReadonlyMap<Hotkey, number>): void {
    this.#weights = weights;
  }

  /** A tempo of the ledger ends. Who is slower than 1/65,535 of the fastest rounds to nothing. */
  pay(epoch: number, atMs: number): void {
    const largest = Math.max(0, ...this.#weights.values());
    if (largest === 0) return;
    const rounded = [...this.#weights].map(
      ([hotkey, weight]) => [hotkey, Math.round((weight / largest) * maxWeight)] as const,
    );
    const total = rounded.reduce((sum, [, weight]) => sum + weight, 0);
    const shares = new Map(rounded.filter(([, w]) => w > 0).map(([hotkey, w]) => [hotkey, w / total]));
    this.payments.push({ epoch, atMs, shares });
  }
}
