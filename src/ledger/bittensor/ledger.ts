/**
 * @file Bittensor behind the ledger's port. Coldkeys register and stake, hotkeys serve, weigh and commit; nothing is paid without
 * being asked for. Blocks are the finalised ones, so that a beacon is never taken back; state is read at the best block.
 */
import type { Hash, Hotkey } from '../../protocol/names.ts';
import { fromHex, fromUtf8, utf8 } from '../../util/bytes.ts';
import { silentLog } from '../../util/clock.ts';
import { type Axon, type Identity, type LedgerSigner, maxCommitmentBytes, toU16Weights } from '../calls.ts';
import { type CommittedWeights, weightsCommitHash } from '../committed-weights.ts';
import { LedgerError, refused } from '../errors.ts';
import type { Anchor, Block, Ledger, Neuron, RegisterOptions, StakeOptions, Subnet } from '../port.ts';
import { readAnchors, timeOf } from './blocks.ts';
import { ChainClient, type View } from './chain.ts';
import { chainRefusal } from './chain-errors.ts';
import { fieldsData, rawField } from './commitment-fields.ts';
import { type EndpointOptions, Endpoints } from './endpoints.ts';
import { badAnswer } from './errors.ts';
import { commitmentLimit, type RateLimit, servingLimit, weightsLimit } from './limits.ts';
import { isRecord } from './rpc.ts';
import type { ChainCall, RuntimeFeatures } from './runtime.ts';
import { type Included, TransactionSender, waitForBlock } from './sender.ts';
import { parseIp, readClock, readExists, readMetagraph, readSubnet, readUid, readWeights } from './subnet.ts';

export interface BittensorOptions extends EndpointOptions {
  readonly netuid: number;
  /** When a call counts as done; a call that is answered on `inclusion` can still be undone by a reorganisation. */
  readonly waitFor?: 'inclusion' | 'finality';
  /** Blocks that a call waits for a rate limit; one that is further away is refused with the block from which it is free. */
  readonly maxWaitBlocks?: number;
  readonly pollMs?: number;
  readonly giveUpMs?: number;
}

/** What a chain is called in manifests: its genesis is what tells it from others. */
export const bittensorChainId = (genesis: string): string => `bittensor:${genesis}`;

/** The genesis in such a name; null for another kind of ledger. */
export const genesisOfChainId = (chainId: string): string | null =>
  /^bittensor:([0-9a-f]{64})$/.exec(chainId)?.[1] ?? null;

const module = 'SubtensorModule';
/** A registration is given up when its price rises by more than this between look and inclusion. */
const priceSlackPercent = 110n;
const anchorBlocksAtOnce = 7_200;

/** @throws LedgerError UNAVAILABLE, WRONG_NETWORK, BAD_CALL (no such subnet), UNSUPPORTED */
export async function openBittensorLedger(options: BittensorOptions): Promise<BittensorLedger> {
  const endpoints = new Endpoints(options);
  try {
    const chain = new ChainClient(endpoints);
    const opened = await chain.read(async (view) => {
      if (!(await readExists(view, options.netuid))) throw chainRefusal('SubnetNotExists', `subnet ${options.netuid}`);
      return { clock: await readClock(view, options.netuid), features: view.runtime.features };
    });
    return new BittensorLedger(chain, options, { tempoBlocks: opened.clock.tempoBlocks, features: opened.features });
  } catch (error) {
    endpoints.close();
    throw error;
  }
}

export class BittensorLedger implements Ledger {
  readonly chainId: string;
  readonly netuid: number;
  readonly tempoBlocks: number;
  /** Of the runtime at the start. */
  readonly features: RuntimeFeatures;
  readonly #chain: ChainClient;
  readonly #sender: TransactionSender;
  readonly #pollMs: number;
  readonly #maxWaitBlocks: number;
  #head: { readonly atMs: number; readonly block: Promise<Block> } | null = null;
  #metagraph: { readonly hash: string; readonly neurons: readonly Neuron[] } | null = null;

  constructor(
    chain: ChainClient,
    options: BittensorOptions,
    known: { readonly tempoBlocks: number; readonly features: RuntimeFeatures },
  ) {
    this.#chain = chain;
    this.chainId = bittensorChainId(chain.endpoints.genesis!);
    this.netuid = options.netuid;
    ({ tempoBlocks: this.tempoBlocks, features: this.features } = known);
    this.#pollMs = options.pollMs ?? 3_000;
    this.#maxWaitBlocks = options.maxWaitBlocks ?? 0;
    this.#sender = new TransactionSender({
      chain,
      waitFor: options.waitFor ?? 'finality',
      pollMs: this.#pollMs,
      giveUpMs: options.giveUpMs ?? 600_000,
      log: options.log ?? silentLog,
    });
  }

  /** The newest finalised block; asked for at most once a third of a poll. */
  head(): Promise<Block> {
    const nowMs = performance.now();
    if (this.#head === null || nowMs - this.#head.atMs > this.#pollMs / 3) {
      const block = this.#readHead();
      this.#head = { atMs: nowMs, block };
      block.catch(() => {
        this.#head = null; // A failure is told to who asked, and not remembered.
      });
    }
    return this.#head.block;
  }

  async block(number: number): Promise<Block | null> {
    const head = await this.head();
    if (number > head.number) return null;
    if (number === head.number) return head;
    return this.#chain.endpoints.use(async (connection) => {
      const hash = await this.#chain.blockHash(connection, number);
      if (hash === null) throw badAnswer(`${connection.url}: does not have block ${number}`);
      const body = await this.#chain.body(connection, { number, hash });
      const runtime = await this.#chain.runtimeAt(connection, `${head.hash}`);
      return { number, hash: hash as Hash, timeMs: timeOf(runtime, body) };
    });
  }

  subnet(): Promise<Subnet> {
    return this.#chain.read((view) => readSubnet(view, this.chainId, this.netuid));
  }

  balance(account: Hotkey): Promise<bigint> {
    return this.#chain.read((view) => freeRao(view, account));
  }

  async register(signer: LedgerSigner, options: RegisterOptions): Promise<Neuron> {
    const hotkey = options.hotkey ?? signer.hotkey;
    const present = await this.#neuron(hotkey);
    if (present !== null) return present;
    if (hotkey === signer.hotkey) throw this.#mustRegister(hotkey);
    if (options.coldkey !== signer.hotkey)
      throw refused(
        'NOT_ASSOCIATED',
        'NonAssociatedColdKey',
        `${signer.hotkey} cannot register for ${options.coldkey}`,
      );
    const { netuid } = this;
    const limit = await this.#chain.read(async (view) => {
      if ((await view.get(module, 'NetworkRegistrationAllowed', netuid)) === false)
        throw chainRefusal('SubNetRegistrationDisabled', `subnet ${netuid}`);
      const price = BigInt((await view.get(module, 'Burn', netuid)) as bigint);
      requireRao(await freeRao(view, signer.hotkey), price, signer.hotkey);
      const most = options.maxBurnRao === undefined ? (price * priceSlackPercent) / 100n : BigInt(options.maxBurnRao);
      if (price > most)
        throw chainRefusal(
          'RegistrationPriceLimitExceeded',
          `registration costs ${price} rao, at most ${most} were meant`,
        );
      return most;
    });
    const isLimited = this.features.registerLimit;
    const args = isLimited ? { netuid, hotkey, limit_price: limit } : { netuid, hotkey };
    await this.#send(signer, isLimited ? 'register_limit' : 'burned_register', args);
    const neuron = await this.#neuron(hotkey);
    if (neuron === null) throw new LedgerError('UNAVAILABLE', `${hotkey} was registered but is not listed`);
    return neuron;
  }

  async addStake(signer: LedgerSigner, { amountRao, hotkey = signer.hotkey }: StakeOptions): Promise<void> {
    await this.#chain.read(async (view) => {
      await this.#requireUid(view, hotkey);
      requireRao(await freeRao(view, signer.hotkey), BigInt(amountRao), signer.hotkey);
    });
    const args = { hotkey, netuid: this.netuid, amount_staked: BigInt(amountRao) };
    await this.#send(signer, 'add_stake', args);
  }

  async removeStake(signer: LedgerSigner, { amountRao, hotkey = signer.hotkey }: StakeOptions): Promise<void> {
    const args = { hotkey, netuid: this.netuid, amount_unstaked: BigInt(amountRao) };
    await this.#send(signer, 'remove_stake', args);
  }

  async transfer(signer: LedgerSigner, options: { readonly to: Hotkey; readonly amountRao: number }): Promise<void> {
    const value = BigInt(options.amountRao);
    await this.#chain.read(async (view) => requireRao(await freeRao(view, signer.hotkey), value, signer.hotkey));
    const args = { dest: { type: 'Id', value: options.to }, value };
    await this.#sender.send(signer, { pallet: 'Balances', name: 'transfer_keep_alive', args });
  }

  async setWeights(
    signer: LedgerSigner,
    weights: ReadonlyMap<number, number>,
    { versionKey }: { readonly versionKey?: number } = {},
  ): Promise<void> {
    const { uids, values } = toU16Weights(weights);
    const { hotkey } = signer;
    const key = await this.#chain.read(async (view) => {
      const subnet = await readSubnet(view, this.chainId, this.netuid);
      if (subnet.isCommitReveal) throw chainRefusal('CommitRevealEnabled', `weights of ${hotkey}`);
      return this.#requireWeights(view, { hotkey, uids, subnet, versionKey: versionKey ?? subnet.weightsVersionKey });
    });
    await this.#waitFor((view) => weightsLimit(view, this.netuid, hotkey, 'SettingWeightsTooFast'));
    const args = { netuid: this.netuid, dests: uids, weights: values, version_key: BigInt(key) };
    await this.#send(signer, 'set_weights', args);
  }

  async commitWeights(signer: LedgerSigner, weights: CommittedWeights): Promise<{ readonly block: number }> {
    const { hotkey } = signer;
    this.#requireCommitReveal();
    await this.#chain.read(async (view) => {
      const subnet = await readSubnet(view, this.chainId, this.netuid);
      if (!subnet.isCommitReveal) throw chainRefusal('CommitRevealDisabled', `weights of ${hotkey}`);
      const { uids, versionKey } = weights;
      await this.#requireWeights(view, { hotkey, uids, subnet, versionKey });
    });
    await this.#waitFor((view) => weightsLimit(view, this.netuid, hotkey, 'CommittingWeightsTooFast'));
    const hash = weightsCommitHash(hotkey, this.netuid, weights);
    const { number } = await this.#send(signer, 'commit_weights', { netuid: this.netuid, commit_hash: `0x${hash}` });
    return { block: number };
  }

  async revealWeights(signer: LedgerSigner, weights: CommittedWeights): Promise<void> {
    this.#requireCommitReveal();
    const { uids, values, salt, versionKey } = weights;
    const args = {
      netuid: this.netuid,
      uids: [...uids],
      values: [...values],
      salt: [...salt],
      version_key: BigInt(versionKey),
    };
    await this.#send(signer, 'reveal_weights', args);
  }

  async serveAxon(signer: LedgerSigner, axon: Axon): Promise<void> {
    const { hotkey } = signer;
    await this.#chain.read((view) => this.#requireUid(view, hotkey));
    await this.#waitFor((view) => servingLimit(view, this.netuid, hotkey));
    const { ip, family } = parseIp(axon.ip);
    const { version, port, protocol } = axon;
    await this.#send(signer, 'serve_axon', {
      ...{ netuid: this.netuid, version, ip, port, ip_type: family, protocol, placeholder1: 0, placeholder2: 0 },
    });
  }

  async setIdentity(signer: LedgerSigner, identity: Identity): Promise<void> {
    const bytes = (text: string): Uint8Array => utf8(text);
    await this.#send(signer, 'set_identity', {
      ...{ name: bytes(identity.name), url: bytes(identity.url), github_repo: bytes(identity.githubRepo) },
      ...{ image: bytes(identity.image), discord: bytes(identity.discord) },
      ...{ description: bytes(identity.description), additional: bytes(identity.additional) },
    });
  }

  identity(coldkey: Hotkey): Promise<Identity | null> {
    return this.#chain.read(async (view) => {
      const found = await view.get(module, 'IdentitiesV2', coldkey);
      if (!isRecord(found)) return null;
      const text = (name: string): string => textOf(found[name]);
      return {
        ...{ name: text('name'), url: text('url'), githubRepo: text('github_repo'), image: text('image') },
        ...{ discord: text('discord'), description: text('description'), additional: text('additional') },
      };
    });
  }

  async commit(signer: LedgerSigner, data: Uint8Array): Promise<{ readonly block: number }> {
    const { hotkey } = signer;
    const sizeBytes = data.byteLength;
    if (sizeBytes > maxCommitmentBytes)
      throw new LedgerError(
        'TOO_LARGE',
        `a commitment holds ${maxCommitmentBytes} bytes, got ${sizeBytes}; commit to a hash of it`,
      );
    await this.#chain.read((view) => this.#requireUid(view, hotkey));
    await this.#waitFor((view) => commitmentLimit(view, this.netuid, { hotkey, sizeBytes }));
    const args = { netuid: this.netuid, info: [rawField(data)] };
    const { number } = await this.#sender.send(signer, { pallet: 'Commitments', name: 'set_commitment', args });
    return { block: number };
  }

  commitment(hotkey: Hotkey): Promise<{ readonly block: number; readonly data: Uint8Array } | null> {
    return this.#chain.read(async (view) => {
      const found = await view.get('Commitments', 'CommitmentOf', this.netuid, hotkey);
      if (!isRecord(found)) return null;
      return { block: Number(found.block), data: fieldsData(found.info) };
    });
  }

  async anchors({
    fromBlock,
    toBlock,
  }: {
    readonly fromBlock: number;
    readonly toBlock: number;
  }): Promise<readonly Anchor[]> {
    const last = Math.min(toBlock, (await this.head()).number);
    if (last - fromBlock >= anchorBlocksAtOnce)
      throw new LedgerError('BAD_CALL', `at most ${anchorBlocksAtOnce} blocks are searched at once; ask for fewer`);
    return readAnchors(this.#chain, this.netuid, { fromBlock, toBlock: last });
  }

  async metagraph(): Promise<readonly Neuron[]> {
    return this.#chain.read(async (view) => {
      const { hash } = view.head;
      if (this.#metagraph?.hash === hash) return this.#metagraph.neurons;
      const neurons = await readMetagraph(view, this.netuid);
      this.#metagraph = { hash, neurons };
      return neurons;
    });
  }

  weights(hotkey: Hotkey): Promise<ReadonlyMap<number, number>> {
    return this.#chain.read((view) => readWeights(view, this.netuid, hotkey));
  }

  async close(): Promise<void> {
    this.#chain.endpoints.close();
  }

  async #readHead(): Promise<Block> {
    return this.#chain.endpoints.use(async (connection) => {
      const head = await this.#chain.finalizedHead(connection);
      const runtime = await this.#chain.runtimeAt(connection, head.hash);
      const body = await this.#chain.body(connection, head);
      return { number: head.number, hash: head.hash as Hash, timeMs: timeOf(runtime, body) };
    });
  }

  #send(signer: LedgerSigner, name: string, args: ChainCall['args']): Promise<Included> {
    return this.#sender.send(signer, { pallet: module, name, args });
  }

  async #neuron(hotkey: Hotkey): Promise<Neuron | null> {
    return (await this.metagraph()).find((neuron) => neuron.hotkey === hotkey) ?? null;
  }

  async #requireUid(view: View, hotkey: Hotkey): Promise<number> {
    const uid = await readUid(view, this.netuid, hotkey);
    if (uid === null) throw this.#mustRegister(hotkey);
    return uid;
  }

  /** What the chain would refuse, before a transaction is made of it. */
  async #requireWeights(
    view: View,
    wanted: { hotkey: Hotkey; uids: readonly number[]; subnet: Subnet; versionKey: number },
  ): Promise<number> {
    const { hotkey, uids, subnet, versionKey } = wanted;
    const what = `weights of ${hotkey}`;
    if (uids.length > subnet.neuronCount) throw chainRefusal('UidsLengthExceedUidsInSubNet', what);
    const own = await this.#requireUid(view, hotkey);
    if (subnet.weightsVersionKey !== 0 && versionKey < subnet.weightsVersionKey)
      throw chainRefusal(
        'IncorrectWeightVersionKey',
        `${what}: the subnet's key is ${subnet.weightsVersionKey}, got ${versionKey}`,
      );
    const permits = await view.get(module, 'ValidatorPermit', this.netuid);
    const isSelf = uids.length === 1 && uids[0] === own;
    const ownerHotkey = view.has(module, 'SubnetOwnerHotkey')
      ? await view.get(module, 'SubnetOwnerHotkey', this.netuid)
      : null;
    if (!isSelf && hotkey !== ownerHotkey && !(Array.isArray(permits) && permits[own] === true))
      throw chainRefusal('NeuronNoValidatorPermit', what);
    if (uids.some((uid) => uid >= subnet.neuronCount)) throw chainRefusal('UidVecContainInvalidOne', what);
    return versionKey;
  }

  #requireCommitReveal(): void {
    if (this.features.commitReveal) return;
    throw refused(
      'COMMIT_REVEAL',
      'IncorrectCommitRevealVersion',
      'this runtime takes hidden weights only as timelocked ciphertexts, which this program does not make; see "Which subnets" in docs/ledger.md',
    );
  }

  #mustRegister(hotkey: Hotkey): LedgerError {
    return refused(
      'NOT_REGISTERED',
      'HotKeyNotRegisteredInSubNet',
      `${hotkey} is no neuron of subnet ${this.netuid}, and nothing is paid without being asked: type accrete ledger register --ledger bittensor --endpoint … --netuid ${this.netuid} --wallet NAME`,
    );
  }

  /** Waits for the block from which a call is taken. @throws LedgerError RATE_LIMIT if that is too far away */
  async #waitFor(limitOf: (view: View) => Promise<RateLimit>): Promise<void> {
    const { limit, block } = await this.#chain.read(async (view) => ({
      limit: await limitOf(view),
      block: view.head.number,
    }));
    // A call sent now is included in the next block at the earliest.
    const waitBlocks = limit.fromBlock - (block + 1);
    if (waitBlocks <= 0) return;
    if (waitBlocks > this.#maxWaitBlocks) {
      const sentence = `the chain takes the next one in block ${limit.fromBlock}, this is ${block}; try again in ${waitBlocks} blocks`;
      throw refused('RATE_LIMIT', limit.chainError, sentence, { nextBlock: limit.fromBlock, block });
    }
    await waitForBlock(this.#chain, limit.fromBlock - 1, this.#pollMs);
  }
}

async function freeRao(view: View, account: Hotkey): Promise<bigint> {
  const found = await view.get('System', 'Account', account);
  const data = isRecord(found) && isRecord(found.data) ? found.data : null;
  return data === null ? 0n : BigInt(data.free as bigint);
}

function requireRao(balanceRao: bigint, amountRao: bigint, account: Hotkey): void {
  if (balanceRao >= amountRao) return;
  const sentence = `${account} holds ${balanceRao} rao, needs ${amountRao} and a fee; transfer some to it`;
  throw refused('BALANCE', 'NotEnoughBalanceToStake', sentence);
}

/** Text of strangers: bytes that are no UTF-8 are left out. */
function textOf(value: unknown): string {
  const bytes =
    value instanceof Uint8Array ? value : typeof value === 'string' ? fromHex(value.replace(/^0x/, '')) : null;
  try {
    return bytes === null ? '' : fromUtf8(bytes).slice(0, 2_048);
  } catch {
    return '';
  }
}
