/**
 * @file Sends transactions, each at most once. What was signed is kept as bytes: when it is not known whether a node took them, blocks
 * are searched for them and the same bytes are offered again, which a chain includes once; another signature for the same
 * wish is made only after the chain has shown that the first can never be included.
 */
import type { Hotkey } from '../../protocol/names.ts';
import { type Log, silentLog } from '../../util/clock.ts';
import type { LedgerSigner } from '../calls.ts';
import { LedgerError } from '../errors.ts';
import { type ChainClient, extrinsicHash, type Head, View } from './chain.ts';
import { dispatchRefusal, poolRefusalOf } from './chain-errors.ts';
import { pause } from './endpoints.ts';
import { badAnswer, EndpointFault, RpcRefusal } from './errors.ts';
import { mortalBlocks, signExtrinsic } from './extrinsic.ts';
import { isRecord, type RpcConnection } from './rpc.ts';
import { type ChainCall, hexOf, type Runtime } from './runtime.ts';

export interface SenderOptions {
  readonly chain: ChainClient;
  /** When a transaction counts as done: in a block of the best chain, or in one that can never be taken back. */
  readonly waitFor: 'inclusion' | 'finality';
  /** How often is looked when no block is announced. */
  readonly pollMs: number;
  /** How long endpoints may be away while it is not known what became of a transaction. */
  readonly giveUpMs: number;
  readonly log?: Log;
}

export interface Included extends Head {
  readonly index: number;
}

interface Transaction {
  readonly what: string;
  readonly account: Hotkey;
  readonly nonce: number;
  readonly hex: string;
  readonly hash: string;
  readonly birth: Head;
}

/** What is known of a transaction that was offered. */
interface Watch {
  readonly tx: Transaction;
  /** Blocks that were looked into: hash by number. */
  readonly seen: Map<number, string>;
  found: Included | null;
  /** Rounds since it was offered last. */
  rounds: number;
  /** What a node said to the same bytes, offered again. */
  refusal: LedgerError | null;
  isNonceUsed: boolean;
}

/** Another transaction of the account was faster so often. */
const maxSigned = 5;
/** Rounds without a sign of it before it is offered again. */
const offerAfterRounds = 3;

export class TransactionSender {
  readonly #options: SenderOptions;
  readonly #log: Log;
  readonly #turns = new Map<Hotkey, Promise<unknown>>();
  /** Nonce after the last one that was offered, while nothing says otherwise. */
  readonly #nextNonce = new Map<Hotkey, number>();

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
  }

  /** Where the call was included and succeeded. @throws LedgerError with the chain's name; UNAVAILABLE */
  async send(signer: LedgerSigner, call: ChainCall): Promise<Included> {
    // Transactions of an account are signed and offered one after the other, then waited for together.
    const watch = await this.#inTurn(signer.hotkey, () => this.#offerNew(signer, call));
    return this.#follow(watch);
  }

  #inTurn<T>(account: Hotkey, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(account) ?? Promise.resolve();
    const done = before.then(work);
    const settled = done.catch(() => undefined);
    this.#turns.set(account, settled);
    void settled.then(() => {
      if (this.#turns.get(account) === settled) this.#turns.delete(account);
    });
    return done;
  }

  async #offerNew(signer: LedgerSigner, call: ChainCall): Promise<Watch> {
    for (let signed = 1; ; signed++) {
      const tx = await this.#sign(signer, call);
      const watch: Watch = { tx, seen: new Map(), found: null, rounds: 0, refusal: null, isNonceUsed: false };
      const outcome = await this.#offerFirst(watch);
      if (outcome === 'offered') {
        this.#nextNonce.set(signer.hotkey, tx.nonce + 1);
        return watch;
      }
      // A node refused these very bytes for their nonce before anybody took them: they are dead, others may be made.
      this.#nextNonce.delete(signer.hotkey);
      if (signed >= maxSigned) {
        const sentence = `${tx.what}: other transactions of ${signer.hotkey} came first ${maxSigned} times; does another program sign for it?`;
        throw new LedgerError('BAD_NONCE', sentence, { retryable: true });
      }
    }
  }

  async #sign(signer: LedgerSigner, call: ChainCall): Promise<Transaction> {
    const { chain } = this.#options;
    return chain.endpoints.use(async (connection) => {
      const birth = await chain.finalizedHead(connection);
      const best = await chain.bestHead(connection);
      const runtime = await chain.runtimeAt(connection, best.hash);
      const told = await connection.request('system_accountNextIndex', [signer.hotkey]);
      if (!Number.isSafeInteger(told) || (told as number) < 0) throw badAnswer(`${connection.url}: gave no nonce`);
      const nonce = Math.max(told as number, this.#nextNonce.get(signer.hotkey) ?? 0);
      const genesis = chain.endpoints.genesis!;
      const bytes = signExtrinsic({ runtime, genesis, nonce, birth }, signer, runtime.encodeCall(call));
      const what = `${call.name} of ${signer.hotkey}`;
      return { what, account: signer.hotkey, nonce, hex: hexOf(bytes), hash: extrinsicHash(bytes), birth };
    });
  }

  /** @throws LedgerError if the pool refuses it for good, or if nobody could be asked at all */
  async #offerFirst({ tx }: Watch): Promise<'offered' | 'dead'> {
    const { endpoints } = this.#options.chain;
    // Nothing has left this machine until there is a connection, so this may be repeated.
    const connection = await endpoints.use(async (open) => open);
    try {
      await connection.request('author_submitExtrinsic', [tx.hex]);
      this.#log.info('transaction sent', { call: tx.what, hash: tx.hash, nonce: tx.nonce });
    } catch (error) {
      if (error instanceof EndpointFault) {
        endpoints.leave(connection, error);
        this.#log.warn('it is not known whether a transaction was taken', { hash: tx.hash, why: error.message });
        return 'offered';
      }
      const refusal = poolRefusalOf(error, tx.what);
      if (refusal === null && !(error instanceof RpcRefusal)) throw error;
      if (refusal?.kind === 'refused') throw refusal.error;
      if (refusal?.kind === 'nonce') return 'dead';
      if (error instanceof RpcRefusal && error.rpcCode === -32601)
        throw new LedgerError(
          'UNSUPPORTED',
          `${connection.url} takes no transactions (${error.message}); use another --endpoint`,
        );
    }
    return 'offered';
  }

  /** Looks block by block until it is included (and final), or can never be. */
  async #follow(watch: Watch): Promise<Included> {
    const { chain, pollMs, giveUpMs } = this.#options;
    const { tx } = watch;
    let silentSinceMs: number | null = null;
    for (;;) {
      try {
        const included = await chain.endpoints.use((connection) => this.#look(connection, watch));
        silentSinceMs = null;
        if (included !== null) return included;
      } catch (error) {
        if (chain.endpoints.signal.aborted) throw this.#unknown(tx, error);
        if (
          !(error instanceof LedgerError) ||
          error.code !== 'UNAVAILABLE' ||
          !error.retryable ||
          error.context.isFinal === true
        ) {
          this.#nextNonce.delete(tx.account);
          throw error;
        }
        silentSinceMs ??= performance.now();
        if (performance.now() - silentSinceMs > giveUpMs) throw this.#unknown(tx, error);
      }
      await chain.nextBlock(pollMs); // Closed meanwhile: the next look says so.
    }
  }

  /** One look: null while nothing is decided. */
  async #look(connection: RpcConnection, watch: Watch): Promise<Included | null> {
    const { chain, waitFor } = this.#options;
    const { tx } = watch;
    const finalized = await chain.finalizedHead(connection);
    const best = await chain.bestHead(connection);
    await this.#search(connection, watch, best.number);
    const { found } = watch;
    if (found !== null) {
      if (waitFor === 'finality' && finalized.number < found.number) return null;
      await this.#requireSuccess(connection, found, tx);
      return found;
    }
    if (finalized.number > tx.birth.number + mortalBlocks) throw this.#expired(watch);
    if (watch.isNonceUsed && (await this.#finalNonce(connection, finalized, tx.account)) > tx.nonce)
      throw this.#replaced(tx);
    if (++watch.rounds >= offerAfterRounds) await this.#offerAgain(connection, watch);
    return null;
  }

  /** Finds it in the best chain; a block that was replaced is forgotten. */
  async #search(connection: RpcConnection, watch: Watch, best: number): Promise<void> {
    const { chain } = this.#options;
    const { tx, seen } = watch;
    if (watch.found !== null) {
      if ((await chain.blockHash(connection, watch.found.number)) === watch.found.hash) return;
      this.#log.warn('a block with a transaction was replaced', { hash: tx.hash, block: watch.found.number });
      watch.found = null;
    }
    const last = Math.min(best, tx.birth.number + mortalBlocks + 1);
    for (let number = tx.birth.number + 1; number <= last; number++) {
      const hash = await chain.blockHash(connection, number);
      if (hash === null) return;
      if (seen.get(number) === hash) continue;
      const { extrinsics } = await chain.body(connection, { number, hash });
      seen.set(number, hash);
      const index = extrinsics.indexOf(tx.hex);
      if (index < 0) continue;
      watch.found = { number, hash, index };
      return;
    }
  }

  async #requireSuccess(connection: RpcConnection, found: Included, tx: Transaction): Promise<void> {
    const runtime = await this.#options.chain.runtimeAt(connection, found.hash);
    const outcome = (await outcomesOf(runtime, connection, found.hash))(found.index);
    if (outcome === null)
      throw badAnswer(`${connection.url}: block ${found.number} does not tell what became of ${tx.hash}`);
    if (outcome !== 'success') throw dispatchRefusal(outcome.error, tx.what);
  }

  /** The same bytes once more, if the node does not have them: it may have lost them, or never got them. */
  async #offerAgain(connection: RpcConnection, watch: Watch): Promise<void> {
    const { tx } = watch;
    watch.rounds = 0;
    const pending = await connection.request('author_pendingExtrinsics', []).catch((error) => {
      if (error instanceof RpcRefusal) return []; // Not told by this node: it knows the bytes when it gets them again.
      throw error;
    });
    if (Array.isArray(pending) && pending.includes(tx.hex)) return;
    this.#log.info('a transaction is offered again', { call: tx.what, hash: tx.hash });
    try {
      await connection.request('author_submitExtrinsic', [tx.hex]);
    } catch (error) {
      const refusal = poolRefusalOf(error, tx.what);
      if (refusal === null) throw error;
      // Included meanwhile, or replaced: the blocks will tell.
      if (refusal.kind === 'nonce') watch.isNonceUsed = true;
      if (refusal.kind === 'refused') watch.refusal = refusal.error;
    }
  }

  async #finalNonce(connection: RpcConnection, finalized: Head, account: Hotkey): Promise<number> {
    const runtime = await this.#options.chain.runtimeAt(connection, finalized.hash);
    const stored = await new View(connection, finalized, runtime).get('System', 'Account', account);
    return isRecord(stored) ? Number(stored.nonce) : 0;
  }

  #expired({ tx, refusal }: Watch): LedgerError {
    if (refusal !== null) return refusal;
    const sentence = `${tx.what} was not included before it expired in block ${tx.birth.number + mortalBlocks}; nothing was done: try again`;
    return new LedgerError('UNAVAILABLE', sentence, { retryable: true, context: { isFinal: true, hash: tx.hash } });
  }

  #replaced(tx: Transaction): LedgerError {
    const sentence = `${tx.what}: another transaction with nonce ${tx.nonce} was included instead; nothing of this one was done: try again`;
    return new LedgerError('UNAVAILABLE', sentence, { retryable: true, context: { isFinal: true, hash: tx.hash } });
  }

  #unknown(tx: Transaction, cause: unknown): LedgerError {
    const until = tx.birth.number + mortalBlocks;
    const sentence = `it is not known whether ${tx.what} was included: look for ${tx.hash} up to block ${until} before you try again`;
    return new LedgerError('UNAVAILABLE', sentence, { cause, context: { hash: tx.hash } });
  }
}

/** What became of each extrinsic of a block. */
export async function outcomesOf(runtime: Runtime, connection: RpcConnection, hash: string) {
  const answer = await connection.request('state_getStorage', [
    runtime.storageKey('System', 'Events', []),
    `0x${hash}`,
  ]);
  const events = runtime.decodeEvents(typeof answer === 'string' ? answer : null);
  return (index: number) => outcomeOf(events, index);
}

/** What `System.Events` says of the extrinsic at `index`; null if nothing. */
function outcomeOf(events: unknown, index: number): 'success' | { readonly error: unknown } | null {
  if (!Array.isArray(events)) return null;
  for (const record of events) {
    if (!isRecord(record) || !isRecord(record.phase) || !isRecord(record.event)) continue;
    const { phase, event } = record;
    if (phase.type !== 'ApplyExtrinsic' || phase.value !== index || event.type !== 'System') continue;
    if (!isRecord(event.value)) continue;
    if (event.value.type === 'ExtrinsicSuccess') return 'success';
    if (event.value.type !== 'ExtrinsicFailed') continue;
    const details = event.value.value;
    return { error: isRecord(details) ? details.dispatch_error : null };
  }
  return null;
}

/** Lets a number of blocks pass. @throws LedgerError UNAVAILABLE when closed */
export async function waitForBlock(chain: ChainClient, number: number, pollMs: number): Promise<void> {
  for (;;) {
    const best = await chain.endpoints.use((connection) => chain.bestHead(connection));
    if (best.number >= number) return;
    await chain.nextBlock(pollMs);
    if (chain.endpoints.signal.aborted) await pause(0, chain.endpoints.signal);
  }
}
