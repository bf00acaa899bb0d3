/**
 * @file The embedded chain made again from its public genesis, salts and calls, block by block beside the journal: hashes,
 * signatures, nonces and rules of every call, stake and weights. Memory holds the chain's state and the newest hashes.
 */

import { callBytes, type SignedCall } from '../ledger/calls.ts';
import { endBlock, planCall } from '../ledger/chain.ts';
import { LedgerError } from '../ledger/errors.ts';
import { addToDigest, blockHashOf } from '../ledger/hash-chain.ts';
import type { CallPage } from '../ledger/port.ts';
import { type ChainState, initialState } from '../ledger/state.ts';
import type { Ed25519Equation } from '../protocol/ed25519.ts';
import { verifySignature } from '../protocol/keys.ts';
import type { Hash, Hotkey } from '../protocol/names.ts';
import { fromHex, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import type { Findings } from './findings.ts';
import type { LedgerRecord } from './record.ts';

type HashFunction = (bytes: Uint8Array) => Uint8Array;

/** A call and the block that holds it, told before its block ends. */
export type CallListener = (call: SignedCall, block: number, state: ChainState) => void;

const pageSize = 1_000;
/** Blocks that an entry may look back. */
const keptHashes = 65_536;

export interface LedgerReplayOptions {
  readonly record: LedgerRecord;
  readonly findings: Findings;
  readonly sha256: HashFunction;
  readonly equation?: Ed25519Equation;
  readonly onCall: CallListener;
}

export class LedgerReplay {
  readonly state: ChainState = initialState();
  readonly #options: LedgerReplayOptions;
  readonly #hashes = new Map<number, string>();
  /** Stakes (rao) that a hotkey ever had, and since which block. */
  readonly #stakes = new Map<Hotkey, Map<number, number>>();
  #block = 0;
  #hash: Uint8Array;
  #calls: CallPage['calls'][number][] = [];
  #cursor = 0;
  #isBroken = false;

  constructor(options: LedgerReplayOptions) {
    this.#options = options;
    this.#hash = options.sha256(utf8(canonicalJson(options.record.genesis)));
    this.#hashes.set(0, toHex(this.#hash));
  }

  /** False once the chain could not be made further. */
  get isWhole(): boolean {
    return !this.#isBroken;
  }

  get block(): number {
    return this.#block;
  }

  /** Makes all blocks up to `block`. */
  async advanceTo(block: number): Promise<void> {
    await this.tryAdvanceTo(block);
    if (this.#block < block && !this.#isBroken)
      this.#fail(`block ${this.#block + 1}`, `a block: the journal knows block ${block}`, 'none');
  }

  /** As far as the record has blocks. */
  async tryAdvanceTo(block: number): Promise<void> {
    const { record } = this.#options;
    while (this.#block < block && !this.#isBroken) {
      const page = await record.blocks(this.#block + 1, Math.min(pageSize, block - this.#block));
      if (page.length === 0) return;
      for (const each of page) {
        if (this.#isBroken) return;
        await this.#make(each);
      }
    }
  }

  /** Goes on to the last call of the record. */
  async finish(): Promise<void> {
    for (;;) {
      const next = await this.#nextCall();
      if (next === undefined || this.#isBroken) return;
      await this.tryAdvanceTo(next.block);
      if (this.#block < next.block) return; // a running chain has not ended that block yet
    }
  }

  /** Null for a block that is not made, or too old to be known still. */
  hashAt(block: number): string | null {
    return this.#hashes.get(block) ?? null;
  }

  /** Whether the hotkey had exactly this stake at some block up to now. */
  hadStake(hotkey: Hotkey, stakeRao: number): boolean {
    return this.#stakes.get(hotkey)?.has(stakeRao) ?? false;
  }

  async #make({ number, salt, hash }: { number: number; salt: Hash; hash: Hash | null }): Promise<void> {
    const { sha256, record, findings } = this.#options;
    if (number !== this.#block + 1) return this.#fail(`block ${number}`, `block ${this.#block + 1}`, `block ${number}`);
    let digest: Uint8Array | null = null;
    const parent = toHex(this.#hash);
    for (let next = await this.#nextCall(); next !== undefined && next.block <= number; next = await this.#nextCall()) {
      this.#calls.shift();
      if (next.block < number || next.parent !== parent)
        return this.#fail(
          `${next.signed.call.name} in block ${next.block}`,
          `a call in block ${number} after ${parent}`,
          `one in block ${next.block} after ${next.parent}`,
        );
      if (!this.#apply(next.signed, number)) return;
      digest = addToDigest(sha256, digest, sha256(utf8(canonicalJson(next.signed))));
      findings.count('ledger', 'calls');
    }
    this.#hash = blockHashOf(sha256, { salt: fromHex(salt)!, parent: this.#hash, number, digest });
    const made = toHex(this.#hash);
    if (hash !== null && hash !== made) return this.#fail(`block ${number}`, `hash ${made}`, hash);
    this.#block = number;
    this.#hashes.set(number, made);
    this.#hashes.delete(number - keptHashes);
    endBlock(this.state, record.genesis, number);
    this.#noteStakes(number, digest !== null);
    findings.count('ledger', 'blocks');
  }

  #apply(signed: SignedCall, block: number): boolean {
    const { record, equation, onCall } = this.#options;
    const { hotkey, scheme, nonce, call } = signed;
    const what = `${call.name} of ${hotkey} in block ${block}`;
    const signer = { kind: 'hotkey', scheme, hotkey } as const;
    const bytes = callBytes(record.genesis, hotkey, nonce, call);
    if (!verifySignature(signer, bytes, fromHex(signed.signature)!, equation)) {
      this.#fail(what, `a signature of ${hotkey} over call ${nonce}`, 'another one');
      return false;
    }
    const account = this.state.accounts[hotkey];
    if (nonce !== (account?.nonce ?? 0)) {
      this.#fail(what, `nonce ${account?.nonce ?? 0}`, `nonce ${nonce}`);
      return false;
    }
    try {
      planCall(this.state, record.genesis, hotkey, call, block)();
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error;
      this.#fail(what, 'a call that the chain takes', `${error.code}: ${error.message}`);
      return false;
    }
    this.state.accounts[hotkey] = { nonce: nonce + 1, lastCall: '' as Hash, block };
    onCall(signed, block, this.state);
    return true;
  }

  #noteStakes(block: number, hadCalls: boolean): void {
    if (!hadCalls && this.state.lastEpochBlock !== block) return;
    for (const { hotkey, stakeRao } of this.state.neurons) {
      const stakes = this.#stakes.get(hotkey) ?? new Map<number, number>();
      this.#stakes.set(hotkey, stakes);
      if (!stakes.has(Number(stakeRao))) stakes.set(Number(stakeRao), block);
      // Bounded: an orchestrator asks every two seconds.
      if (stakes.size > 64) stakes.delete(stakes.keys().next().value!);
    }
  }

  async #nextCall(): Promise<CallPage['calls'][number] | undefined> {
    if (this.#calls.length === 0) {
      const { calls, next } = await this.#options.record.calls(this.#cursor, pageSize);
      this.#calls = [...calls];
      this.#cursor = next;
    }
    return this.#calls[0];
  }

  #fail(event: string, expected: string, found: string): void {
    this.#isBroken = true;
    this.#options.findings.fail({ check: 'ledger', seq: null, event, expected, found });
    this.#options.findings.unchecked('weights', `the ledger cannot be followed past block ${this.#block}`);
  }
}
