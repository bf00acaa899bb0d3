/** @file A ledger whose port is made of signed calls: what the embedded chain and its remote end have in common. */
import type { Hotkey } from '../protocol/names.ts';
import { fromHex, toHex } from '../util/bytes.ts';
import { type Call, type ChainBinding, maxCommitmentBytes, type SignedCall, signCall, toU16Weights } from './calls.ts';
import { weightsCommitHash } from './committed-weights.ts';
import { LedgerError, refused } from './errors.ts';
import type {
  Anchor,
  Axon,
  Block,
  BlockRecord,
  CallPage,
  CommittedWeights,
  Identity,
  LedgerSigner,
  Neuron,
  RecordedLedger,
  RegisterOptions,
  StakeOptions,
  Subnet,
} from './port.ts';

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
  subnet(): Promise<Subnet>;
  balance(account: Hotkey): Promise<bigint>;
  identity(coldkey: Hotkey): Promise<Identity | null>;
  weights(hotkey: Hotkey): Promise<ReadonlyMap<number, number>>;
  commitment(hotkey: Hotkey): Promise<{ readonly block: number; readonly data: string } | null>;
  blocks(from: number, limit: number): Promise<readonly BlockRecord[]>;
  calls(cursor: number, limit: number): Promise<CallPage>;
  close(): Promise<void>;
}

/** Calls that are read at once when anchors are looked for. */
const callsAtOnce = 1_000;

export class SigningLedger implements RecordedLedger {
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

  async register(signer: LedgerSigner, options: RegisterOptions): Promise<Neuron> {
    const hotkey = options.hotkey ?? signer.hotkey;
    const present = await this.#neuron(hotkey);
    if (present !== null) return present;
    const isByColdkey = hotkey !== signer.hotkey;
    if (isByColdkey && options.coldkey !== signer.hotkey)
      throw refused(
        'NOT_ASSOCIATED',
        'NonAssociatedColdKey',
        `${signer.hotkey} cannot register for ${options.coldkey}`,
      );
    if (options.maxBurnRao !== undefined) {
      const { burnRao } = await this.subnet();
      if (burnRao > options.maxBurnRao)
        throw refused(
          'BALANCE',
          'RegistrationPriceLimitExceeded',
          `registration costs ${burnRao} rao, at most ${options.maxBurnRao} were meant; look at the price again`,
        );
    }
    const args = isByColdkey ? { hotkey } : { coldkey: options.coldkey };
    await this.#call(signer, { name: 'burned_register', args });
    const neuron = await this.#neuron(hotkey);
    if (neuron === null) throw new LedgerError('UNAVAILABLE', `${hotkey} was registered but is not listed`);
    return neuron;
  }

  async addStake(signer: LedgerSigner, { amountRao, hotkey }: StakeOptions): Promise<void> {
    const args = hotkey === undefined ? { amountRao } : { amountRao, hotkey };
    await this.#call(signer, { name: 'add_stake', args });
  }

  async removeStake(signer: LedgerSigner, { amountRao, hotkey }: StakeOptions): Promise<void> {
    const args = hotkey === undefined ? { amountRao } : { amountRao, hotkey };
    await this.#call(signer, { name: 'remove_stake', args });
  }

  async transfer(signer: LedgerSigner, options: { readonly to: Hotkey; readonly amountRao: number }): Promise<void> {
    await this.#call(signer, { name: 'transfer', args: { to: options.to, amountRao: options.amountRao } });
  }

  async setWeights(
    signer: LedgerSigner,
    weights: ReadonlyMap<number, number>,
    { versionKey }: { readonly versionKey?: number } = {},
  ): Promise<void> {
    const args = { ...toU16Weights(weights), ...(versionKey === undefined ? {} : { versionKey }) };
    await this.#call(signer, { name: 'set_weights', args });
  }

  commitWeights(signer: LedgerSigner, weights: CommittedWeights): Promise<{ readonly block: number }> {
    const hash = weightsCommitHash(signer.hotkey, this.netuid, weights);
    return this.#call(signer, { name: 'commit_weights', args: { hash } });
  }

  async revealWeights(signer: LedgerSigner, { uids, values, salt, versionKey }: CommittedWeights): Promise<void> {
    const args = { uids: [...uids], values: [...values], salt: [...salt], versionKey };
    await this.#call(signer, { name: 'reveal_weights', args });
  }

  async serveAxon(signer: LedgerSigner, axon: Axon): Promise<void> {
    await this.#call(signer, { name: 'serve_axon', args: axon });
  }

  async setIdentity(signer: LedgerSigner, identity: Identity): Promise<void> {
    await this.#call(signer, { name: 'set_identity', args: identity });
  }

  identity(coldkey: Hotkey): Promise<Identity | null> {
    return this.backend.identity(coldkey);
  }

  subnet(): Promise<Subnet> {
    return this.backend.subnet();
  }

  balance(account: Hotkey): Promise<bigint> {
    return this.backend.balance(account);
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

  async anchors(range: { readonly fromBlock: number; readonly toBlock: number }): Promise<readonly Anchor[]> {
    const anchors: Anchor[] = [];
    for (let cursor = 0; ; ) {
      const { calls, next } = await this.backend.calls(cursor, callsAtOnce);
      for (const { block, signed } of calls) {
        if (block > range.toBlock) return anchors;
        if (block >= range.fromBlock && signed.call.name === 'set_commitment')
          anchors.push({ block, hotkey: signed.hotkey, data: signed.call.args.data });
      }
      if (next === cursor) return anchors;
      cursor = next;
    }
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
