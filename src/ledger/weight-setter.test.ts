/** @file Weights as a subnet wants them, over the embedded chain in both of its modes; restarts and crashes between commit and reveal. */
import { describe, expect, it } from 'vitest';
import { signerOf } from '../../tests/contracts/ledger.ts';
import { ManualBlockClock } from './block-clock.ts';
import { openEmbeddedLedger } from './embedded.ts';
import { chainErrorOf, LedgerError } from './errors.ts';
import type { Ledger } from './port.ts';
import { LedgerWeightSetter, type PendingReveal, type RevealStore } from './weight-setter.ts';

const owner = signerOf(9);
const validator = signerOf(1);

async function start(isCommitReveal: boolean) {
  const clock = new ManualBlockClock({ blockMs: 100 });
  const ledger = await openEmbeddedLedger({
    genesis: { chainId: 'test', netuid: 1, tempoBlocks: 10, blockMs: 100, owner: owner.hotkey, isCommitReveal },
    clock,
  });
  for (const n of [1, 2]) await ledger.register(signerOf(n), { coldkey: signerOf(n).hotkey });
  await ledger.addStake(validator, { amountRao: 5_000_000_000 });
  clock.advance(10);
  const stored: PendingReveal[][] = [];
  const store: RevealStore = {
    load: async () => stored.at(-1) ?? [],
    save: async (reveals) => void stored.push([...reveals]),
  };
  let salt = 0;
  const setterOf = (over: Ledger = ledger) =>
    new LedgerWeightSetter({ ledger: over, signer: validator, store, makeSalt: () => [++salt, 7] });
  return { clock, ledger, stored, setterOf };
}

const weights = new Map([[1, 1]]);
const rowOf = async (ledger: Ledger) => [...(await ledger.weights(validator.hotkey))];

describe('setting weights as the subnet requires', () => {
  it('sets plain ones where it takes plain ones', async () => {
    const { ledger, stored, setterOf } = await start(false);
    expect(await setterOf().set(weights)).toBe('set');
    expect(await rowOf(ledger)).toEqual([[1, 65_535]]);
    expect(stored).toEqual([]);
  });

  it('commits and reveals where it hides them, one epoch later and once', async () => {
    const { clock, ledger, stored, setterOf } = await start(true);
    const setter = setterOf();
    expect(await setter.set(weights)).toBe('committed');
    expect(await rowOf(ledger)).toEqual([]);
    expect(stored.at(-1)).toHaveLength(1);
    expect(await setter.revealDue()).toBe(0);
    clock.advance(10);
    expect(await setter.revealDue()).toBe(1);
    expect(await rowOf(ledger)).toEqual([[1, 65_535]]);
    expect(stored.at(-1)).toEqual([]);
    expect(await setter.revealDue()).toBe(0);
  });

  it('reveals after a restart what was committed before', async () => {
    const { clock, ledger, setterOf } = await start(true);
    await setterOf().set(weights);
    clock.advance(10);
    expect(await setterOf().revealDue()).toBe(1);
    expect(await rowOf(ledger)).toEqual([[1, 65_535]]);
  });

  it('reveals after a crash between commit and answer, and forgets a commit that never came', async () => {
    for (const isTaken of [true, false]) {
      const { clock, ledger, stored, setterOf } = await start(true);
      const dies: Ledger = Object.create(ledger, {
        commitWeights: {
          value: async (...args: Parameters<Ledger['commitWeights']>) => {
            if (isTaken) await ledger.commitWeights(...args);
            throw new LedgerError('UNAVAILABLE', 'the process died');
          },
        },
        ...Object.fromEntries(
          (['subnet', 'chainId', 'netuid'] as const).map((name) => [
            name,
            { value: typeof ledger[name] === 'function' ? (ledger.subnet.bind(ledger) as unknown) : ledger[name] },
          ]),
        ),
      });
      await expect(setterOf(dies).set(weights)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(stored.at(-1)).toHaveLength(1); // written before the commit was sent
      clock.advance(10);
      expect(await setterOf().revealDue(), `taken: ${isTaken}`).toBe(isTaken ? 1 : 0);
      expect(await rowOf(ledger)).toEqual(isTaken ? [[1, 65_535]] : []);
      expect(stored.at(-1)).toEqual([]);
    }
  });

  it('forgets what the chain refused, and what came too late', async () => {
    const { clock, ledger, stored, setterOf } = await start(true);
    const setter = setterOf();
    await setter.set(weights);
    const again = await setter.set(weights).then(() => null, chainErrorOf);
    expect(again).toBe('CommittingWeightsTooFast');
    expect(stored.at(-1)).toHaveLength(1);
    clock.advance(40);
    expect(await setter.revealDue()).toBe(0);
    expect(await rowOf(ledger)).toEqual([]);
    expect(stored.at(-1)).toEqual([]);
  });
});
