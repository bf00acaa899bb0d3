/**
 * @file The embedded chain: blocks by the clock, calls that are durable once answered, state that its file makes again.
 * Only blocks with calls are written; the head is derived when somebody asks, so an idle chain costs nothing.
 * While the program is down longer than `maxCatchUpBlocks` the chain stands still, and nothing is emitted for that time.
 */
import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Ed25519EquationAsync } from '../protocol/ed25519.ts';
import { verifyHotkeySignature, verifySignature } from '../protocol/keys.ts';
import { countSchema, type Hash, type Hotkey, hashSchema } from '../protocol/names.ts';
import { fromHex, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import { type LedgerBackend, SigningLedger } from './backend.ts';
import { type BlockClock, systemBlockClock } from './block-clock.ts';
import { callBytes, type SignedCall, signedCallSchema } from './calls.ts';
import { endBlock, nextEpochBlock, planCall } from './chain.ts';
import { LedgerError } from './errors.ts';
import { FileLedgerStorage, type LedgerLine, type LedgerStorage, MemoryLedgerStorage } from './file.ts';
import { type Genesis, type GenesisOptions, makeGenesis, type PublicGenesis, publicGenesisOf } from './genesis.ts';
import { addToDigest, HashChain } from './hash-chain.ts';
import { lineSchema } from './lines.ts';
import type { Block, BlockRecord, CallPage, Identity, Neuron, Subnet } from './port.ts';
import { burnPriceRao } from './rules/registration.ts';
import { balanceOf, type ChainState, chainStateSchema, initialState, neuronsOf, stateToJson, uidOf } from './state.ts';

export interface EmbeddedLedgerOptions {
  /** For a new chain; of an old one `chainId`, `netuid`, `tempoBlocks` and `blockMs` must be the same. */
  readonly genesis: GenesisOptions;
  /** Folder of its files, or a storage; memory if left out. */
  readonly dir?: string;
  readonly storage?: LedgerStorage;
  readonly clock?: BlockClock;
  /** Blocks between two snapshots: what a restart has to derive again, at most. */
  readonly snapshotEveryBlocks?: number;
  /** Blocks that are made after the fact when the clock has run on without the program. */
  readonly maxCatchUpBlocks?: number;
  /** A quicker check of ed25519's equation, on other cores, where there is one. */
  readonly equation?: Ed25519EquationAsync;
}

interface WaitingCall {
  readonly signed: SignedCall;
  readonly isSigned: Promise<boolean>;
  resolve(included: { readonly block: number }): void;
  reject(error: unknown): void;
}

/** Calls that share one flush to disk, at most. */
const maxBatch = 1_024;

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

const snapshotSchema = z.strictObject({
  version: z.literal(2),
  genesisHash: hashSchema,
  /** Lines of the file that are in the snapshot. */
  sizeBytes: countSchema,
  hashes: z.strictObject({
    number: countSchema,
    hash: hashSchema,
    marks: z.array(hashSchema),
    digests: z.array(z.tuple([countSchema, hashSchema])),
  }),
  /** Digest of the calls in the block that is being made. */
  pendingDigest: hashSchema.nullable(),
  anchors: z.array(z.strictObject({ block: countSchema, timeMs: countSchema })).min(1),
  /** Saved by a clean close: no later block has been seen by anybody. */
  closed: z.boolean(),
  state: chainStateSchema,
});

/** Opens the chain, or makes it; `DAMAGED` if its file does not make the state that it says. */
export async function openEmbeddedLedger(options: EmbeddedLedgerOptions): Promise<SigningLedger> {
  return new SigningLedger(await EmbeddedChain.open(options), { sendAttempts: 1 });
}

export class EmbeddedChain implements LedgerBackend {
  readonly genesis: Genesis;
  readonly publicGenesis: PublicGenesis;
  readonly #storage: LedgerStorage;
  readonly #clock: BlockClock;
  readonly #genesisHash: Uint8Array;
  #hashes: HashChain;
  readonly #equation: Ed25519EquationAsync | undefined;
  readonly #snapshotEveryBlocks: number;
  readonly #maxCatchUpBlocks: number;
  #state: ChainState = initialState();
  #pendingDigest: Uint8Array | null = null;
  /** Blocks after an anchor are counted from its time; there is one for each time that the chain stood still. */
  #anchors: { readonly block: number; readonly timeMs: number }[];
  #snapshotBlock = 0;
  #waiting: WaitingCall[] = [];
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(genesis: Genesis, storage: LedgerStorage, options: EmbeddedLedgerOptions) {
    this.genesis = genesis;
    this.#storage = storage;
    this.#clock = options.clock ?? systemBlockClock;
    this.publicGenesis = publicGenesisOf(genesis, sha256);
    this.#genesisHash = sha256(utf8(canonicalJson(this.publicGenesis)));
    this.#hashes = this.#emptyHashes();
    this.#equation = options.equation;
    this.#snapshotEveryBlocks = options.snapshotEveryBlocks ?? 1_200;
    this.#maxCatchUpBlocks = options.maxCatchUpBlocks ?? 10_000;
    this.#anchors = [{ block: 0, timeMs: genesis.startMs }];
  }

  static async open(options: EmbeddedLedgerOptions): Promise<EmbeddedChain> {
    const storage =
      options.storage ??
      (options.dir === undefined ? new MemoryLedgerStorage() : await FileLedgerStorage.open(options.dir));
    try {
      const chain = new EmbeddedChain(await openGenesis(storage, options), storage, options);
      await chain.#load();
      return chain;
    } catch (error) {
      await storage.close();
      throw error;
    }
  }

  get chainId(): string {
    return this.genesis.chainId;
  }

  get netuid(): number {
    return this.genesis.netuid;
  }

  get tempoBlocks(): number {
    return this.genesis.tempoBlocks;
  }

  head(): Promise<Block> {
    return this.#exclusive(async () => this.#blockAt(this.#hashes.number)!);
  }

  block(number: number): Promise<Block | null> {
    return this.#exclusive(async () => this.#blockAt(number));
  }

  nonce(hotkey: Hotkey): Promise<number> {
    return this.#exclusive(async () => this.#state.accounts[hotkey]?.nonce ?? 0);
  }

  submit(message: SignedCall): Promise<{ readonly block: number }> {
    const parsed = signedCallSchema.safeParse(message);
    if (!parsed.success) {
      const fault = z.prettifyError(parsed.error).slice(0, 300);
      return Promise.reject(new LedgerError('BAD_CALL', `expected a signed call: ${fault}`));
    }
    const signed = parsed.data;
    // Checked elsewhere while it waits; in the order of submission, for an account's nonces follow one another.
    const isSigned = this.#isSigned(signed);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ signed, isSigned, resolve, reject });
      if (this.#waiting.length === 1) this.#scheduleBatch();
    });
  }

  async #isSigned({ hotkey, scheme, nonce, call, signature }: SignedCall): Promise<boolean> {
    const signer = { kind: 'hotkey', scheme, hotkey } as const;
    const bytes = callBytes(this, hotkey, nonce, call);
    return this.#equation === undefined
      ? verifySignature(signer, bytes, fromHex(signature)!)
      : verifyHotkeySignature(signer, bytes, fromHex(signature)!, this.#equation);
  }

  metagraph(): Promise<readonly Neuron[]> {
    return this.#exclusive(async () => neuronsOf(this.#state, this.genesis));
  }

  subnet(): Promise<Subnet> {
    return this.#exclusive(async () => {
      const { genesis } = this;
      const state = this.#state;
      const block = this.#hashes.number;
      return {
        ...{ chainId: genesis.chainId, netuid: genesis.netuid, owner: genesis.owner, block },
        tempoBlocks: genesis.tempoBlocks,
        lastEpochBlock: state.lastEpochBlock,
        nextEpochBlock: nextEpochBlock(state, genesis),
        epochIndex: state.epochIndex,
        neuronCount: state.neurons.length,
        maxUids: genesis.maxUids,
        maxValidators: genesis.maxValidators,
        burnRao: Number(burnPriceRao(state, genesis, block + 1)),
        minStakeRao: genesis.minStakeRao,
        emissionPerBlockRao: genesis.emissionPerBlockRao,
        issuedRao: Number(state.issuedRao),
        burnedRao: Number(state.burnedRao),
        weightsRateLimitBlocks: genesis.weightsRateLimitBlocks,
        weightsVersionKey: genesis.weightsVersionKey,
        isCommitReveal: genesis.isCommitReveal,
        revealPeriodEpochs: genesis.revealPeriodEpochs,
        yumaVersion: genesis.yumaVersion,
        isLiquidAlpha: genesis.isLiquidAlpha,
      };
    });
  }

  balance(account: Hotkey): Promise<bigint> {
    return this.#exclusive(async () => balanceOf(this.#state, this.genesis, account));
  }

  identity(coldkey: Hotkey): Promise<Identity | null> {
    return this.#exclusive(async () => this.#state.identities[coldkey] ?? null);
  }

  weights(hotkey: Hotkey): Promise<ReadonlyMap<number, number>> {
    return this.#exclusive(async () => new Map(this.#state.neurons[uidOf(this.#state, hotkey)]?.weights ?? []));
  }

  commitment(hotkey: Hotkey): Promise<{ readonly block: number; readonly data: string } | null> {
    return this.#exclusive(async () => this.#state.commitments[hotkey] ?? null);
  }

  blocks(from: number, limit: number): Promise<readonly BlockRecord[]> {
    return this.#exclusive(async () => this.#hashes.blocks(from, from + limit) as BlockRecord[]);
  }

  calls(cursor: number, limit: number): Promise<CallPage> {
    return this.#exclusive(async () => {
      const calls: CallPage['calls'][number][] = [];
      let next = cursor;
      if (cursor > this.#storage.sizeBytes) throw badCursor(cursor);
      for await (const { text, endByte } of this.#storage.lines(cursor)) {
        const line = lineSchema.safeParse(parseJson(text));
        if (!line.success) throw badCursor(cursor);
        next = endByte;
        if (line.data.kind === 'call') {
          const { block, parent, signed } = line.data;
          calls.push({ block, parent, signed });
        }
        if (calls.length >= limit) break;
      }
      return { calls, next };
    });
  }

  /** Free balance of an account in rao, and all rao ever emitted. */
  balances(coldkey: Hotkey): Promise<{ readonly freeRao: bigint; readonly issuedRao: bigint }> {
    return this.#exclusive(async () => ({
      freeRao: balanceOf(this.#state, this.genesis, coldkey),
      issuedRao: this.#state.issuedRao,
    }));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#exclusive(async () => {
      this.#closed = true;
      await this.#saveSnapshot(true);
    });
    await this.#storage.close();
  }

  /** One at a time, with the head brought up to the clock first. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(async () => {
      if (this.#closed) throw new LedgerError('UNAVAILABLE', 'the ledger is closed');
      await this.#followClock();
      return work();
    });
    this.#queue = done.catch(() => undefined);
    return done;
  }

  #blockAt(number: number): Block | null {
    const hash = this.#hashes.hashAt(number);
    return hash === null ? null : { number, hash: hash as Hash, timeMs: this.#timeOf(number) };
  }

  #timeOf(number: number): number {
    const anchor = this.#anchors.findLast(({ block }) => block < number) ?? this.#anchors[0]!;
    return anchor.timeMs + (number - anchor.block) * this.genesis.blockMs;
  }

  async #followClock(): Promise<void> {
    const due = this.#dueBlock();
    if (due - this.#hashes.number > this.#maxCatchUpBlocks) await this.#resumeAt(this.#hashes.number);
    else this.#sealUpTo(due);
    if (this.#hashes.number - this.#snapshotBlock >= this.#snapshotEveryBlocks) await this.#saveSnapshot(false);
  }

  /** The number that the clock asks for; it never takes a block back. */
  #dueBlock(): number {
    const { block, timeMs } = this.#anchors.at(-1)!;
    return block + Math.floor((this.#clock.nowMs() - timeMs) / this.genesis.blockMs);
  }

  #sealUpTo(number: number): void {
    while (this.#hashes.number < number) {
      this.#hashes.seal(this.#pendingDigest);
      this.#pendingDigest = null;
      endBlock(this.#state, this.genesis, this.#hashes.number);
    }
  }

  /** Lets the time that nobody was here for pass without blocks. */
  async #resumeAt(block: number): Promise<void> {
    const anchor = { block, timeMs: Math.max(0, Math.floor(this.#clock.nowMs())) };
    await this.#storage.append(canonicalJson({ kind: 'resume', ...anchor }));
    this.#sealUpTo(block);
    this.#anchors.push(anchor);
  }

  #scheduleBatch(): void {
    this.#exclusive(() => this.#includeWaiting()).catch((error) => {
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    });
  }

  /** Calls that came meanwhile are judged one after the other, written together, and answered once that is durable. */
  async #includeWaiting(): Promise<void> {
    const batch = this.#waiting.splice(0, maxBatch);
    if (this.#waiting.length > 0) this.#scheduleBatch();
    const areSigned = await Promise.all(batch.map(({ isSigned }) => isSigned));
    const head = this.#hashes.number;
    const lines: string[] = [];
    const answers = batch.map(({ signed, resolve, reject }, i): (() => void) => {
      try {
        if (!areSigned[i]) throw notSigned(signed);
        const included = this.#include(signed, lines);
        return () => resolve(included);
      } catch (error) {
        return () => reject(error);
      }
    });
    try {
      if (lines.length > 0) await this.#storage.append(...lines);
    } catch (error) {
      try {
        await this.#forgetUnwritten(head);
      } finally {
        for (const { reject } of batch) reject(error);
      }
      return;
    }
    for (const answer of answers) answer();
  }

  /** Judges a call, changes the state by it, and adds its line to those to be written. */
  #include(signed: SignedCall, lines: string[]): { readonly block: number } {
    const { hotkey, nonce, call } = signed;
    const account = this.#state.accounts[hotkey];
    const text = canonicalJson(signed);
    const callHash = hashOfCallText(text);
    if (account !== undefined && nonce === account.nonce - 1 && account.lastCall === callHash) {
      return { block: account.block };
    }
    if (nonce !== (account?.nonce ?? 0)) {
      throw new LedgerError('BAD_NONCE', `${hotkey}: expected nonce ${account?.nonce ?? 0}, got ${nonce}`);
    }
    const block = this.#hashes.number + 1;
    const change = planCall(this.#state, this.genesis, hotkey, call, block);
    // Canonical JSON of the line: its keys are in order, and the call's text is made once.
    lines.push(`{"block":${block},"kind":"call","parent":"${this.#hashes.hash}","signed":${text}}`);
    change();
    this.#record(signed, callHash, block);
    return { block };
  }

  /** Back to what is on disk, at the same head. If that cannot be read either, the chain is closed. */
  async #forgetUnwritten(head: number): Promise<void> {
    try {
      this.#hashes = this.#emptyHashes();
      this.#state = initialState();
      this.#pendingDigest = null;
      this.#anchors = [{ block: 0, timeMs: this.genesis.startMs }];
      const { sizeBytes } = await this.#loadSnapshot();
      for await (const line of this.#storage.lines(sizeBytes)) this.#replay(line);
      this.#sealUpTo(head);
    } catch (error) {
      this.#closed = true;
      throw error;
    }
  }

  #emptyHashes(): HashChain {
    return new HashChain(sha256, fromHex(this.genesis.secret)!, this.#genesisHash);
  }

  #record(signed: SignedCall, callHash: Hash, block: number): void {
    this.#state.accounts[signed.hotkey] = { nonce: signed.nonce + 1, lastCall: callHash, block };
    this.#pendingDigest = addToDigest(sha256, this.#pendingDigest, fromHex(callHash)!);
  }

  async #load(): Promise<void> {
    const { sizeBytes, closed } = await this.#loadSnapshot();
    for await (const line of this.#storage.lines(sizeBytes)) this.#replay(line);
    const due = this.#dueBlock();
    if (due - this.#hashes.number <= this.#maxCatchUpBlocks) {
      this.#sealUpTo(due);
    } else {
      // A crash forgets empty blocks after the last snapshot, but they may have been seen: the chain goes on after them.
      const seen = closed ? 0 : this.#snapshotBlock + this.#snapshotEveryBlocks;
      await this.#resumeAt(Math.max(this.#hashes.number, seen));
    }
    await this.#saveSnapshot(false);
  }

  async #loadSnapshot(): Promise<{ readonly sizeBytes: number; readonly closed: boolean }> {
    const none = { sizeBytes: 0, closed: false };
    const text = await this.#storage.snapshot();
    if (text === null) return none;
    const snapshot = snapshotSchema.safeParse(parseJson(text));
    // Only a shortcut: without it the file is read from its beginning.
    if (!snapshot.success || snapshot.data.genesisHash !== toHex(this.#genesisHash)) return none;
    const { hashes, state, anchors, pendingDigest, sizeBytes } = snapshot.data;
    if (sizeBytes > this.#storage.sizeBytes) return none;
    this.#hashes.restore(hashes);
    this.#state = state;
    this.#anchors = anchors;
    this.#pendingDigest = pendingDigest === null ? null : fromHex(pendingDigest);
    this.#snapshotBlock = hashes.number;
    return { sizeBytes, closed: snapshot.data.closed && sizeBytes === this.#storage.sizeBytes };
  }

  #replay({ text, endByte }: LedgerLine): void {
    const damaged = (why: string) =>
      new LedgerError('DAMAGED', `the ledger's file is damaged before byte ${endByte}: ${why}; restore it from a copy`);
    const parsed = lineSchema.safeParse(parseJson(text));
    if (!parsed.success) throw damaged(z.prettifyError(parsed.error).slice(0, 200));
    const line = parsed.data;
    if (line.kind === 'genesis') return;
    if (line.kind === 'resume') {
      if (line.block < this.#hashes.number) throw damaged(`block ${line.block} comes after ${this.#hashes.number}`);
      this.#sealUpTo(line.block);
      this.#anchors.push({ block: line.block, timeMs: line.timeMs });
      return;
    }
    if (line.block <= this.#hashes.number) throw damaged(`a call in block ${line.block}, which has ended`);
    this.#sealUpTo(line.block - 1);
    if (this.#hashes.hash !== line.parent) throw damaged(`block ${line.block} does not follow from the calls before`);
    const { signed } = line;
    if (signed.nonce !== (this.#state.accounts[signed.hotkey]?.nonce ?? 0)) throw damaged('a nonce out of turn');
    planCall(this.#state, this.genesis, signed.hotkey, signed.call, line.block)();
    this.#record(signed, hashOfCall(signed), line.block);
  }

  async #saveSnapshot(closed: boolean): Promise<void> {
    const snapshot: z.input<typeof snapshotSchema> = {
      version: 2,
      genesisHash: toHex(this.#genesisHash) as Hash,
      sizeBytes: this.#storage.sizeBytes,
      hashes: this.#hashes.toJson() as z.input<typeof snapshotSchema>['hashes'],
      pendingDigest: this.#pendingDigest === null ? null : (toHex(this.#pendingDigest) as Hash),
      anchors: this.#anchors,
      closed,
      state: stateToJson(this.#state) as z.input<typeof chainStateSchema>,
    };
    await this.#storage.saveSnapshot(JSON.stringify(snapshot));
    this.#snapshotBlock = this.#hashes.number;
  }
}

const badCursor = (cursor: number) =>
  new LedgerError('BAD_CALL', `no call begins at ${cursor}; go on from the cursor of the page before`);

const notSigned = ({ call, hotkey }: SignedCall) =>
  new LedgerError('BAD_SIGNATURE', `${call.name}: the signature is not ${hotkey}'s for this call, nonce and chain`);

/** Names a call; the digest of its block is made of these. */
export const hashOfCall = (signed: SignedCall): Hash => hashOfCallText(canonicalJson(signed));

const hashOfCallText = (text: string): Hash => toHex(sha256(utf8(text))) as Hash;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema says what is wrong.
  }
}

/** The genesis in the file, if it is of the chain asked for; else a new one, written first. */
async function openGenesis(storage: LedgerStorage, options: EmbeddedLedgerOptions): Promise<Genesis> {
  for await (const { text } of storage.lines(0)) {
    const line = lineSchema.safeParse(parseJson(text));
    if (!line.success || line.data.kind !== 'genesis') {
      const old = /"version":([12])[,}]/.exec(text.slice(0, 10_000))?.[1];
      if (old !== undefined)
        throw new LedgerError(
          'DAMAGED',
          `the ledger here is of version ${old}, which this program does not read; use another folder`,
        );
      throw new LedgerError('DAMAGED', "the ledger's file does not begin with a genesis; restore it from a copy");
    }
    const { genesis } = line.data;
    for (const key of ['chainId', 'netuid', 'tempoBlocks', 'blockMs', 'firstEpochBlock'] as const) {
      if (genesis[key] === options.genesis[key]) continue;
      throw new LedgerError(
        'DAMAGED',
        `the ledger here has ${key} ${genesis[key]}, but the run wants ${options.genesis[key]}; use another folder`,
      );
    }
    return genesis;
  }
  const startMs = Math.max(0, Math.floor((options.clock ?? systemBlockClock).nowMs()));
  const secret = toHex(randomBytes(32)) as Hash;
  const genesis = makeGenesis({ startMs, secret, ...options.genesis });
  await storage.append(canonicalJson({ kind: 'genesis', genesis }));
  return genesis;
}
