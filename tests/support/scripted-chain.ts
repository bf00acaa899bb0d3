/**
 * @file A chain as a Bittensor node would serve it: true metadata, blocks with true header hashes, storage encoded by that metadata,
 * and the embedded ledger's rules for what calls do. Blocks come when the test says so, can be replaced, and are final when it says so.
 */
import { fieldsData, rawField } from '../../src/ledger/bittensor/commitment-fields.ts';
import { compact } from '../../src/ledger/bittensor/extrinsic.ts';
import { Runtime } from '../../src/ledger/bittensor/runtime.ts';
import { formatIp, parseIp } from '../../src/ledger/bittensor/subnet.ts';
import type { Call } from '../../src/ledger/calls.ts';
import { endBlock, planCall } from '../../src/ledger/chain.ts';
import { chainErrorOf } from '../../src/ledger/errors.ts';
import { type Genesis, makeGenesis } from '../../src/ledger/genesis.ts';
import { burnPriceRao } from '../../src/ledger/rules/registration.ts';
import { balanceOf, type ChainState, initialState } from '../../src/ledger/state.ts';
import { blake2b256 } from '../../src/protocol/hash.ts';
import { verifySignature } from '../../src/protocol/keys.ts';
import type { Hash, Hotkey } from '../../src/protocol/names.ts';
import { decodeSs58, encodeSs58 } from '../../src/protocol/ss58.ts';
import { concatBytes, fromHex, fromUtf8, toHex, utf8 } from '../../src/util/bytes.ts';
import { chainMetadata } from './chain-metadata.ts';

/** Empty where it is not at hand; then nobody makes a chain. */
export const metadataBytes = chainMetadata ?? new Uint8Array();
export const specVersion = 424;
const transactionVersion = 1;
const blockMs = 12_000;
const module = 'SubtensorModule';

let decoded: Runtime | null = null;
/** Decoded once for all tests of a file. */
export function trueRuntime(): Runtime {
  decoded ??= new Runtime(metadataBytes, { specVersion, transactionVersion });
  return decoded;
}

export interface ScriptedBlock {
  readonly number: number;
  readonly hash: string;
  readonly header: Readonly<Record<string, unknown>>;
  readonly extrinsics: readonly string[];
  readonly storage: ReadonlyMap<string, string>;
  readonly state: ChainState;
  readonly nonces: ReadonlyMap<Hotkey, number>;
}

interface PoolEntry {
  readonly hex: string;
  readonly signer: Hotkey;
  readonly nonce: number;
}

/** What the pool answers; null: taken. */
export type PoolAnswer = { readonly code: number; readonly message: string; readonly data?: unknown } | null;

export interface ScriptedChainOptions {
  readonly netuid?: number;
  readonly name?: string;
  readonly owner: Hotkey;
  readonly rules?: Partial<Genesis>;
}

export class ScriptedChain {
  readonly runtime = trueRuntime();
  readonly netuid: number;
  readonly rules: Genesis;
  readonly #byHash = new Map<string, ScriptedBlock>();
  #best: ScriptedBlock[] = [];
  #finalized = 0;
  #salt = 0;
  pool: PoolEntry[] = [];
  /** Every extrinsic that was ever offered, in order, also those refused. */
  readonly offered: string[] = [];
  readonly onBlock = new Set<(block: ScriptedBlock) => void>();

  constructor(options: ScriptedChainOptions) {
    this.netuid = options.netuid ?? 7;
    this.rules = makeGenesis({
      ...{ chainId: options.name ?? 'scripted', netuid: this.netuid, tempoBlocks: 10, blockMs, owner: options.owner },
      ...{ startMs: 0, secret: '0'.repeat(64) as Hash, isCommitReveal: false, burnRao: 500_000, minBurnRao: 500_000 },
      ...options.rules,
    });
    this.#push(null, [], initialState(), new Map(), utf8(options.name ?? 'scripted'));
  }

  get genesis(): string {
    return this.#best[0]!.hash;
  }

  get best(): ScriptedBlock {
    return this.#best.at(-1)!;
  }

  get finalized(): ScriptedBlock {
    return this.#best[this.#finalized]!;
  }

  /** Of the best chain. */
  at(number: number): ScriptedBlock | undefined {
    return this.#best[number];
  }

  byHash(hash: string): ScriptedBlock | undefined {
    return this.#byHash.get(hash);
  }

  /** Makes blocks with what the pool has; final at once unless told otherwise. */
  mine(blocks = 1, { isFinal = true, isEmpty = false } = {}): void {
    for (let i = 0; i < blocks; i++) {
      const entries = isEmpty ? [] : this.#ready();
      this.pool = this.pool.filter((entry) => !entries.includes(entry));
      this.#make(entries);
      if (isFinal) this.finalize();
      for (const handler of this.onBlock) handler(this.best);
    }
  }

  finalize(number = this.best.number): void {
    this.#finalized = Math.max(this.#finalized, number);
  }

  /** Takes the newest blocks back and makes one more than that, empty; their extrinsics return to the pool, or are lost. */
  reorganize(depth: number, { isLost = false } = {}): void {
    if (this.best.number - depth < this.#finalized) throw new Error('a finalised block stays');
    const removed = this.#best.splice(-depth);
    if (!isLost)
      for (const { extrinsics } of removed)
        for (const hex of extrinsics.slice(1)) this.pool.push({ hex, ...this.#parse(hex)! });
    this.mine(depth + 1, { isFinal: false, isEmpty: true });
  }

  nonceOf(account: Hotkey): number {
    const pending = this.pool.filter(({ signer }) => signer === account).length;
    return (this.best.nonces.get(account) ?? 0) + pending;
  }

  /** As a node's pool judges: form, signature, nonce, address. */
  offer(hex: string): PoolAnswer {
    this.offered.push(hex);
    if (this.pool.some((entry) => entry.hex === hex))
      return { code: 1013, message: 'Transaction Already Imported', data: 'already imported' };
    const parsed = this.#parse(hex);
    if (parsed === null) return { code: 1002, message: 'Verification Error', data: 'undecodable' };
    if (!this.#isSigned(hex, parsed.signer))
      return { code: 1010, message: 'Invalid Transaction', data: 'Transaction has a bad signature' };
    if (parsed.nonce < (this.best.nonces.get(parsed.signer) ?? 0))
      return { code: 1010, message: 'Invalid Transaction', data: 'Transaction is outdated' };
    if (this.pool.some(({ signer, nonce }) => signer === parsed.signer && nonce === parsed.nonce))
      return { code: 1014, message: 'Priority is too low', data: 'too low' };
    const call = this.#callOf(parsed.call);
    if (call?.name === 'serve_axon' && /^127\./.test(call.args.ip))
      return { code: 1010, message: 'Invalid Transaction', data: 'Custom error: 11' };
    if (call?.name === 'add_stake' && call.args.amountRao < this.rules.minStakeRao)
      return { code: 1010, message: 'Invalid Transaction', data: { invalid: { custom: 1 } } };
    this.pool.push({ hex, signer: parsed.signer, nonce: parsed.nonce });
    return null;
  }

  #ready(): PoolEntry[] {
    const next = new Map(this.best.nonces);
    const ready: PoolEntry[] = [];
    for (const entry of [...this.pool].sort((a, b) => a.nonce - b.nonce)) {
      if (entry.nonce !== (next.get(entry.signer) ?? 0)) continue;
      next.set(entry.signer, entry.nonce + 1);
      ready.push(entry);
    }
    return ready;
  }

  #make(entries: readonly PoolEntry[]): void {
    const parent = this.best;
    const number = parent.number + 1;
    const state = structuredClone(parent.state);
    const nonces = new Map(parent.nonces);
    const set = this.runtime.encodeCall({ pallet: 'Timestamp', name: 'set', args: { now: BigInt(number * blockMs) } });
    const inherent = concatBytes(compact(set.byteLength + 1), Uint8Array.of(4), set);
    const events = [eventHex(0, null)];
    for (const [i, { hex, signer, nonce }] of entries.entries()) {
      nonces.set(signer, nonce + 1);
      events.push(eventHex(i + 1, this.#apply(state, hex, signer, number)));
    }
    endBlock(state, this.rules, number);
    const extrinsics = [`0x${toHex(inherent)}`, ...entries.map(({ hex }) => hex)];
    this.#push(parent, extrinsics, state, nonces, utf8(`salt ${this.#salt++}`), events);
  }

  /** What it did to the state, or the error's place. */
  #apply(state: ChainState, hex: string, signer: Hotkey, block: number): readonly [number, number] | null {
    const call = this.#callOf(this.#parse(hex)!.call);
    if (call === null) return this.#error('SubnetNotExists');
    try {
      planCall(state, this.rules, signer, call, block)();
      return null;
    } catch (error) {
      const name = chainErrorOf(error);
      if (name === null) throw error;
      return call.name === 'set_commitment' && name === 'HotKeyNotRegisteredInSubNet'
        ? this.runtime.errorLocation('Commitments', 'AccountNotAllowedCommit')
        : this.#error(name);
    }
  }

  #error(name: string): readonly [number, number] {
    const known = name === 'StakeAmountTooLow' ? 'AmountTooLow' : name;
    return this.runtime.errorLocation(name === 'SpaceLimitExceeded' ? 'Commitments' : module, known);
  }

  // Arguments as metadata has them: what they are is known by the call's name.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  #args(name: string, pallet: string, bytes: Uint8Array): Record<string, any> | null {
    const args = this.runtime.decodeCall(pallet, name, bytes);
    return args !== null && (args.netuid === undefined || args.netuid === this.netuid) ? args : null;
  }

  #callOf(bytes: Uint8Array): Call | null {
    const of = (name: string, pallet = module) => this.#args(name, pallet, bytes);
    const register = of('burned_register') ?? of('register_limit');
    if (register !== null) return { name: 'burned_register', args: { hotkey: register.hotkey } };
    const add = of('add_stake');
    if (add !== null) return { name: 'add_stake', args: { hotkey: add.hotkey, amountRao: Number(add.amount_staked) } };
    const remove = of('remove_stake');
    if (remove !== null)
      return { name: 'remove_stake', args: { hotkey: remove.hotkey, amountRao: Number(remove.amount_unstaked) } };
    const weigh = of('set_weights');
    if (weigh !== null)
      return {
        name: 'set_weights',
        args: { uids: weigh.dests, values: weigh.weights, versionKey: Number(weigh.version_key) },
      };
    const commit = of('commit_weights');
    if (commit !== null) return { name: 'commit_weights', args: { hash: commit.commit_hash.slice(2) } };
    const reveal = of('reveal_weights');
    if (reveal !== null) {
      const { uids, values, salt, version_key } = reveal;
      return { name: 'reveal_weights', args: { uids, values, salt, versionKey: Number(version_key) } };
    }
    const axon = of('serve_axon');
    if (axon !== null) {
      const { ip, ip_type, port, protocol, version } = axon;
      return { name: 'serve_axon', args: { ip: formatIp(ip, ip_type), port, protocol, version } };
    }
    const commitment = of('set_commitment', 'Commitments');
    if (commitment !== null) return { name: 'set_commitment', args: { data: toHex(fieldsData(commitment.info)) } };
    const identity = of('set_identity');
    if (identity !== null) {
      const text = (name: string): string => fromUtf8(asBytes(identity[name]));
      return {
        name: 'set_identity',
        args: {
          ...{ name: text('name'), url: text('url'), githubRepo: text('github_repo'), image: text('image') },
          ...{ discord: text('discord'), description: text('description'), additional: text('additional') },
        },
      };
    }
    const transfer = of('transfer_keep_alive', 'Balances');
    if (transfer !== null)
      return { name: 'transfer', args: { to: transfer.dest.value, amountRao: Number(transfer.value) } };
    return null;
  }

  /** Read with other code than the adapter's: offsets of a mortal extrinsic of version 4. */
  #parse(hex: string): { signer: Hotkey; nonce: number; call: Uint8Array } | null {
    const bytes = fromHex(hex.slice(2));
    if (bytes === null || bytes.byteLength < 110) return null;
    const start = 1 << (bytes[0]! & 3);
    if (bytes[start] !== 0x84 || bytes[start + 1] !== 0) return null;
    const signer = encodeSs58(bytes.slice(start + 2, start + 34));
    let at = start + 35 + 64 + 2;
    const size = 1 << (bytes[at]! & 3);
    const nonce = bytes.slice(at, at + size).reduce((sum, byte, i) => sum + byte * 256 ** i, 0) >>> 2;
    at += size + 1 + 1; // tip, metadata hash
    return { signer, nonce, call: bytes.slice(at) };
  }

  #isSigned(hex: string, signer: Hotkey): boolean {
    const bytes = fromHex(hex.slice(2))!;
    const start = 1 << (bytes[0]! & 3);
    const scheme = bytes[start + 34] === 1 ? 'sr25519' : 'ed25519';
    const signature = bytes.slice(start + 35, start + 99);
    const extra = bytes.slice(start + 99, bytes.byteLength - this.#parse(hex)!.call.byteLength);
    const phase = (bytes[start + 99]! >> 4) | (bytes[start + 100]! << 4);
    const period = 2 << (bytes[start + 99]! & 15);
    const best = this.best.number;
    const birth = best - ((((best - phase) % period) + period) % period);
    const u32 = (value: number) => Uint8Array.of(value & 255, (value >> 8) & 255, 0, 0);
    const additional = concatBytes(
      ...[u32(specVersion), u32(transactionVersion), fromHex(this.genesis)!, fromHex(this.#best[birth]!.hash)!],
      Uint8Array.of(0),
    );
    const payload = concatBytes(this.#parse(hex)!.call, extra, additional);
    const signed = payload.byteLength > 256 ? blake2b256(payload) : payload;
    return verifySignature({ kind: 'hotkey', scheme, hotkey: signer }, signed, signature);
  }

  #push(
    parent: ScriptedBlock | null,
    extrinsics: readonly string[],
    state: ChainState,
    nonces: ReadonlyMap<Hotkey, number>,
    salt: Uint8Array,
    events: readonly string[] = [],
  ): void {
    const number = parent === null ? 0 : parent.number + 1;
    const log = concatBytes(Uint8Array.of(0), utf8('salt'), compact(salt.byteLength), salt);
    const roots = [toHex(blake2b256(utf8(`state ${number}`))), toHex(blake2b256(utf8(extrinsics.join())))];
    const parentHash = parent?.hash ?? '0'.repeat(64);
    const bytes = concatBytes(
      ...[fromHex(parentHash)!, compact(number), fromHex(roots[0]!)!, fromHex(roots[1]!)!, compact(1), log],
    );
    const header = {
      ...{ parentHash: `0x${parentHash}`, number: `0x${number.toString(16)}`, stateRoot: `0x${roots[0]}` },
      ...{ extrinsicsRoot: `0x${roots[1]}`, digest: { logs: [`0x${toHex(log)}`] } },
    };
    const storage = this.#storageOf(state, nonces, number);
    const list = `0x${toHex(compact(events.length))}${events.join('')}`;
    storage.set(this.runtime.storageKey('System', 'Events', []), list);
    const hash = toHex(blake2b256(bytes));
    const block: ScriptedBlock = { number, hash, header, extrinsics, storage, state, nonces };
    this.#best.push(block);
    this.#byHash.set(hash, block);
  }

  #storageOf(state: ChainState, nonces: ReadonlyMap<Hotkey, number>, block: number): Map<string, string> {
    const { runtime, rules, netuid } = this;
    const storage = new Map<string, string>();
    const put = (pallet: string, item: string, keys: readonly unknown[], value: unknown): void => {
      storage.set(runtime.storageKey(pallet, item, keys), `0x${toHex(runtime.encodeStorage(pallet, item, value))}`);
    };
    const subnet = (item: string, value: unknown): void => put(module, item, [netuid], value);
    const { neurons } = state;
    const u16 = (share: number): number => Math.min(65_535, Math.round(share * 65_535));
    subnet('NetworksAdded', true);
    subnet('NetworkRegistrationAllowed', rules.isRegistrationOpen);
    subnet('Tempo', rules.tempoBlocks);
    subnet('LastEpochBlock', BigInt(state.lastEpochBlock));
    subnet('SubnetEpochIndex', BigInt(state.epochIndex));
    subnet('SubnetOwner', rules.owner);
    subnet('SubnetworkN', neurons.length);
    subnet('Burn', burnPriceRao(state, rules, block + 1));
    subnet('SubnetAlphaOutEmission', BigInt(rules.emissionPerBlockRao));
    subnet('WeightsSetRateLimit', BigInt(rules.weightsRateLimitBlocks));
    subnet('WeightsVersionKey', BigInt(rules.weightsVersionKey));
    subnet('CommitRevealWeightsEnabled', rules.isCommitReveal);
    subnet('RevealPeriodEpochs', BigInt(rules.revealPeriodEpochs));
    subnet(
      'Incentive',
      neurons.map(({ incentive }) => u16(incentive)),
    );
    subnet(
      'Dividends',
      neurons.map(({ dividends }) => u16(dividends)),
    );
    subnet(
      'Consensus',
      neurons.map(({ consensus }) => u16(consensus)),
    );
    subnet(
      'ValidatorTrust',
      neurons.map(({ validatorTrust }) => u16(validatorTrust)),
    );
    subnet(
      'ValidatorPermit',
      neurons.map(({ validatorPermit }) => validatorPermit),
    );
    subnet(
      'Emission',
      neurons.map(({ lastEmissionRao }) => lastEmissionRao),
    );
    subnet('LastUpdate', neurons.map(({ lastUpdateBlock }) => BigInt(lastUpdateBlock ?? 0))); // biome-ignore format: one line an item
    for (const [uid, neuron] of neurons.entries()) {
      put(module, 'Keys', [netuid, uid], neuron.hotkey);
      put(module, 'Uids', [netuid, neuron.hotkey], uid);
      put(module, 'BlockAtRegistration', [netuid, uid], BigInt(neuron.registeredAtBlock));
      put(module, 'Owner', [neuron.hotkey], neuron.coldkey);
      put(module, 'TotalHotkeyAlpha', [neuron.hotkey, netuid], neuron.stakeRao);
      put(module, 'Weights', [netuid, uid], neuron.weights);
    }
    for (const [hotkey, { block: at, axon }] of Object.entries(state.axons)) {
      const { ip, family } = parseIp(axon.ip);
      const { version, port, protocol } = axon;
      const rest = { port, ip_type: family, protocol, placeholder1: 0, placeholder2: 0 };
      put(module, 'Axons', [netuid, hotkey], { block: BigInt(at), version, ip, ...rest });
    }
    for (const [hotkey, { block: at, data }] of Object.entries(state.commitments))
      put('Commitments', 'CommitmentOf', [netuid, hotkey], {
        deposit: 0n,
        block: at,
        info: [rawField(fromHex(data)!)],
      });
    put('Commitments', 'MaxSpace', [], rules.commitmentSpaceBytes);
    for (const [hotkey, { tempo, usedBytes }] of Object.entries(state.commitmentSpace))
      put('Commitments', 'UsedSpaceOf', [netuid, hotkey], { last_epoch: BigInt(tempo), used_space: BigInt(usedBytes) });
    for (const [coldkey, identity] of Object.entries(state.identities)) {
      const { githubRepo, ...texts } = identity;
      const bytes = Object.entries({ ...texts, github_repo: githubRepo }).map(([name, text]) => [name, utf8(text)]);
      put(module, 'IdentitiesV2', [coldkey], Object.fromEntries(bytes));
    }
    const accounts = new Set([...Object.keys(state.balances), ...nonces.keys(), ...this.#funded] as Hotkey[]);
    for (const account of accounts) {
      const data = { free: balanceOf(state, rules, account), reserved: 0n, frozen: 0n, flags: 0n };
      const counts = { nonce: nonces.get(account) ?? 0, consumers: 0, providers: 1, sufficients: 0 };
      put('System', 'Account', [account], { ...counts, data });
    }
    return storage;
  }

  readonly #funded = new Set<Hotkey>();

  /** Accounts that hold the endowment; the rest have nothing that a node would list. */
  fund(...accounts: readonly Hotkey[]): void {
    for (const account of accounts) if (decodeSs58(account) !== null) this.#funded.add(account);
    this.mine();
  }
}

/** An event of System for an extrinsic, byte by byte: success, or a module's error. */
function eventHex(index: number, error: readonly [number, number] | null): string {
  const phase = `00${toHex(Uint8Array.of(index, 0, 0, 0))}`;
  if (error === null) return `${phase}00000000000000`;
  return `${phase}000103${toHex(Uint8Array.of(...error))}0000000000000000`;
}

const asBytes = (value: unknown): Uint8Array =>
  value instanceof Uint8Array ? value : fromHex(String(value).slice(2))!;
