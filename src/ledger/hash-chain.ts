/**
 * @file Block hashes of the embedded chain. A hash follows from the block's salt, the parent hash, the number and the calls
 * of the block. The salt follows from the genesis' secret, so nobody without it knows a hash before its time; once the block
 * is made its salt is public, and anybody can recompute the hash. Blocks without calls are not stored but derived, from
 * marks at every 4,096th block.
 */
import { concatBytes, fromHex, toHex, utf8 } from '../util/bytes.ts';
import { AssertionError, assert } from '../util/errors.ts';

export type HashFunction = (bytes: Uint8Array) => Uint8Array;

export interface HashChainJson {
  readonly number: number;
  readonly hash: string;
  readonly marks: readonly string[];
  readonly digests: readonly (readonly [block: number, digest: string])[];
}

const markEvery = 4_096;
const recentCount = 4_096;
const domain = utf8('accrete/ledger-block/2');
const saltDomain = utf8('accrete/ledger-salt/2');
const noCalls = new Uint8Array(32);

const u64 = (number: number): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number), false);
  return bytes;
};

/** SHA-256(domain ‖ secret ‖ number (u64, big-endian)): secret until the block is made. */
export const saltOf = (sha256: HashFunction, secret: Uint8Array, number: number): Uint8Array =>
  sha256(concatBytes(saltDomain, secret, u64(number)));

/** What a block's hash is of. */
export interface BlockParts {
  readonly salt: Uint8Array;
  readonly parent: Uint8Array;
  readonly number: number;
  /** Of its calls (`addToDigest`); null without any. */
  readonly digest: Uint8Array | null;
}

/** SHA-256(domain ‖ salt (32) ‖ parent (32) ‖ number (u64, big-endian) ‖ digest of the calls (32, zeros without any)). */
export const blockHashOf = (sha256: HashFunction, { salt, parent, number, digest }: BlockParts): Uint8Array =>
  sha256(concatBytes(domain, salt, parent, u64(number), digest ?? noCalls));

/** The digest of a block's calls, call by call: SHA-256(digest so far (zeros at first) ‖ SHA-256 of the call). */
export const addToDigest = (sha256: HashFunction, digest: Uint8Array | null, callHash: Uint8Array): Uint8Array =>
  sha256(concatBytes(digest ?? noCalls, callHash));

export class HashChain {
  readonly #sha256: HashFunction;
  readonly #secret: Uint8Array;
  /** Hash of block i·4,096. */
  readonly #marks: string[] = [];
  /** Digests of the blocks that have calls. */
  readonly #digests = new Map<number, string>();
  readonly #recent: (string | undefined)[] = new Array(recentCount);
  #number = 0;
  #hash: Uint8Array;

  constructor(sha256: HashFunction, secret: Uint8Array, genesisHash: Uint8Array) {
    this.#sha256 = sha256;
    this.#secret = secret;
    this.#hash = genesisHash;
    this.#keep();
  }

  get number(): number {
    return this.#number;
  }

  get hash(): string {
    return toHex(this.#hash);
  }

  /** Ends the next block; `digest` is of its calls, null if it has none. */
  seal(digest: Uint8Array | null): void {
    this.#number++;
    if (digest !== null) this.#digests.set(this.#number, toHex(digest));
    this.#hash = this.#next(this.#hash, this.#number, digest);
    this.#keep();
  }

  /** Null if the block is not made yet. */
  hashAt(number: number): string | null {
    if (!Number.isSafeInteger(number) || number < 0 || number > this.#number) return null;
    if (this.#number - number < recentCount) {
      const recent = this.#recent[number % recentCount];
      if (recent !== undefined) return recent;
    }
    const mark = Math.floor(number / markEvery);
    let hash = bytesOf(this.#marks[mark]!);
    for (let n = mark * markEvery + 1; n <= number; n++) hash = this.#next(hash, n, this.#digestOf(n));
    return toHex(hash);
  }

  /** Numbers, hashes and salts of the blocks [from, to), as far as they are made. */
  blocks(from: number, to: number): { readonly number: number; readonly hash: string; readonly salt: string }[] {
    const blocks: { readonly number: number; readonly hash: string; readonly salt: string }[] = [];
    const end = Math.min(to, this.#number + 1);
    let hash = from < end ? bytesOf(this.hashAt(from)!) : new Uint8Array();
    for (let number = from; number < end; number++) {
      if (number > from) hash = this.#next(hash, number, this.#digestOf(number));
      const salt = saltOf(this.#sha256, this.#secret, number);
      blocks.push({ number, hash: toHex(hash), salt: toHex(salt) });
    }
    return blocks;
  }

  toJson(): HashChainJson {
    return { number: this.#number, hash: this.hash, marks: [...this.#marks], digests: [...this.#digests] };
  }

  /** Continues from a snapshot of the same chain. */
  restore(json: HashChainJson): void {
    assert(
      json.marks.length === Math.floor(json.number / markEvery) + 1,
      'a snapshot holds one mark every 4,096 blocks',
    );
    this.#number = json.number;
    this.#hash = bytesOf(json.hash);
    this.#marks.splice(0, this.#marks.length, ...json.marks);
    this.#digests.clear();
    for (const [block, digest] of json.digests) this.#digests.set(block, digest);
    this.#recent.fill(undefined);
  }

  #digestOf(number: number): Uint8Array | null {
    const digest = this.#digests.get(number);
    return digest === undefined ? null : bytesOf(digest);
  }

  #next(parent: Uint8Array, number: number, digest: Uint8Array | null): Uint8Array {
    const salt = saltOf(this.#sha256, this.#secret, number);
    return blockHashOf(this.#sha256, { salt, parent, number, digest });
  }

  #keep(): void {
    const hash = this.hash;
    if (this.#number % markEvery === 0) this.#marks.push(hash);
    this.#recent[this.#number % recentCount] = hash;
  }
}

function bytesOf(hex: string): Uint8Array {
  const bytes = fromHex(hex);
  if (bytes === null) throw new AssertionError(`expected hex, got ${hex.length} characters`);
  return bytes;
}
