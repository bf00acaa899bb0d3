/** @file A ledger whose port is made of signed calls: what the embedded chain and its remote end have in common. */
import type { Hotkey } from '../protocol/names.ts';
import { fromHex, toHex } from '../util/bytes.ts';
import { type Call, type ChainBinding, maxCommitmentBytes, type SignedCall, signCall, toU16Weights } from './calls.ts';
import { LedgerError } from './errors.ts';
import type { Block, BlockRecord, CallPage, Ledger, LedgerSigner, Neuron } from './port.ts';

/** What a chain must offer below the port. */
export interface LedgerBackend {
  readonly chainId: string;
  readonly netuid: number;
  readonly tempoBlocks: number;
  head(): Promise<Block>;
  block(number: number): Promise<Block | null>;
  nonce(hotkey: Hotkey): Promise<number>;
  /**
   * The block that holds the call; the last accepted call of a hotkey, sent again, gives its block again (so two
   * processes that make the very same call with the same nonce make it once).
   */
  submit(call: SignedCall): Promise<{ readonly block: number }>;
  metagraph(): Promise<readonly Neuron[]>;
  weights(hotkey: Hotkey): Promise<ReadonlyMap<number, number>>;
  commitment(hotkey: Hotkey): Promise<{ readonly block: number; readonly data: string } | null>;
  blocks(from: number, limit: number): Promise<readonly BlockRecord[]>;
  calls(cursor: number, limit: number): Promise<CallPage>;
  close(): Promise<void>;
}

export class SigningLedger implements Ledger {
  readonly backend: LedgerBackend;
  readonly #sendAttempts: number;
  /** Calls of one hotkey go one after the other: each needs the nonce after the last. */
  readonly #sending = new Map<Hotkey, Promise<unknown>>();

  /** `sendAttempts`: how often one signed call is sent when the chain cannot be reached. */
  constructor(backend: LedgerBackend, options: { readonly sendAttempts: number }) {
    this.backend = backend;
    this.#sendAttempts = options.sendAttempts;
  }

  get chainId(): string {
    return this.backend.chainId;
  }

  get netuid(): number {
    return this.backend.netuid;
  }

  get tempoBlocks(): number {
    return this.backend.tempoBlocks;
  }

  head(): Promise<Block> {
    return this.backend.head();
  }

  block(number: number): Promise<Block | null> {
    return this.backend.block(number);
  }

  async register(signer: LedgerSigner, options: { readonly coldkey: Hotkey }): Promise<Neuron> {
    const present = await this.#neuron(signer.hotkey);
    if (present !== null) return present;
    await this.#call(signer, { name: 'burned_register', args: { coldkey: options.coldkey } });
    const neuron = await this.#neuron(signer.hotkey);
    if (neuron === null) throw new LedgerError('UNAVAILABLE', `${signer.hotkey} was registered but is not listed`);
    return neuron;
  }

  async addStake(signer: LedgerSigner, options: { readonly amountRao: number }): Promise<void> {
    await this.#call(signer, { name: 'add_stake', args: { amountRao: options.amountRao } });
  }

  async setWeights(signer: LedgerSigner, weights: ReadonlyMap<number, number>): Promise<void> {
    await this.#call(signer, { name: 'set_weights', args: toU16Weights(weights) });
  }

  async commit(signer: LedgerSigner, data: Uint8Array): Promise<{ readonly block: number }> {
    if (data.byteLength > maxCommitmentBytes) {
      throw new LedgerError(
        'TOO_LARGE',
        `a commitment holds ${maxCommitmentBytes} bytes, got ${data.byteLength}; commit to a hash of it`,
      );
    }
    return this.#call(signer, { name: 'set_commitment', args: { data: toHex(data) } });
  }

  async commitment(hotkey: Hotkey): Promise<{ readonly block: number; readonly data: Uint8Array } | null> {
    const found = await this.backend.commitment(hotkey);
    return found === null ? null : { block: found.block, data: fromHex(found.data) ?? new Uint8Array() };
  }

  metagraph(): Promise<readonly Neuron[]> {
    return this.backend.metagraph();
  }

  weights(hotkey: Hotkey): Promise<ReadonlyMap<number, number>> {
    return this.backend.weights(hotkey);
  }

  blocks(from: number, limit: number): Promise<readonly BlockRecord[]> {
    return this.backend.blocks(from, limit);
  }

  calls(cursor: number, limit: number): Promise<CallPage> {
    return this.backend.calls(cursor, limit);
  }

  close(): Promise<void> {
    return this.backend.close();
  }

  async #neuron(hotkey: Hotkey): Promise<Neuron | null> {
    return (await this.metagraph()).find((neuron) => neuron.hotkey === hotkey) ?? null;
  }

  async #call(signer: LedgerSigner, call: Call): Promise<{ readonly block: number }> {
    const before = this.#sending.get(signer.hotkey) ?? Promise.resolve();
    const sent = before.then(() => this.#signAndSend(signer, call));
    const settled = sent.catch(() => undefined);
    this.#sending.set(signer.hotkey, settled);
    void settled.then(() => {
      if (this.#sending.get(signer.hotkey) === settled) this.#sending.delete(signer.hotkey);
    });
    return sent;
  }

  /** Signs again when another process of the same hotkey was faster; sends again when the reply was lost. */
  async #signAndSend(signer: LedgerSigner, call: Call): Promise<{ readonly block: number }> {
    const chain: ChainBinding = this.backend;
    for (let signed = 1; ; signed++) {
      const message = signCall(chain, signer, await this.backend.nonce(signer.hotkey), call);
      for (let sent = 1; ; sent++) {
        try {
          return await this.backend.submit(message);
        } catch (error) {
          if (!(error instanceof LedgerError)) throw error;
          if (error.code === 'BAD_NONCE' && sent === 1 && signed < 4) break;
          if (error.code !== 'UNAVAILABLE' || !error.retryable || sent >= this.#sendAttempts) throw error;
        }
      }
    }
  }
}
