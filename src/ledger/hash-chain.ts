/**
 * @file Block hashes of the embedded chain. A hash follows from the genesis' secret, the parent hash, the number and the
 * calls of the block; blocks without calls are not stored but derived, from marks at every 4,096th block.
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
const domain = utf8('accrete/ledger-block/1');
const noCalls = new Uint8Array(32);

export class HashChain {
  readonly #sha256: HashFunction;
  /** domain ‖ secret ‖ parent (32) ‖ number (u64, big-endian) ‖ digest of the calls (32). */
  readonly #input: Uint8Array;
  readonly #view: DataView;
  readonly #at: number;
  /** Hash of block i·4,096. */
  readonly #marks: string[] = [];
  /** Digests of the blocks that have calls. */
  readonly #digests = new Map<number, string>();
  readonly #recent: (string | undefined)[] = new Array(recentCount);
  #number = 0;
  #hash: Uint8Array;

  constructor(sha256: HashFunction, secret: Uint8Array, genesisHash: Uint8Array) {
    this.#sha256 = sha256;
    this.#input = concatBytes(domain, secret, genesisHash, new Uint8Array(8), noCalls);
    this.#view = new DataView(this.#input.buffer);
    this.#at = domain.byteLength + secret.byteLength;
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
    this.#hash = this.#next(this.#hash, this.#number, digest ?? noCalls);
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
    for (let n = mark * markEvery + 1; n <= number; n++) {
      const digest = this.#digests.get(n);
      hash = this.#next(hash, n, digest === undefined ? noCalls : bytesOf(digest));
    }
    return toHex(hash);
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

  #next(parent: Uint8Array, number: number, digest: Uint8Array): Uint8Array {
    this.#input.set(parent, this.#at);
    this.#view.setBigUint64(this.#at + 32, BigInt(number), false);
    this.#input.set(digest, this.#at + 40);
    return this.#sha256(this.#input);
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
