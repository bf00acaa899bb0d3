/**
 * @file Zstandard as a stream (RFC 8878), by `fzstd`. The frames are walked here first: `fzstd` checks neither the content
 * checksum nor that the last frame is whole, and takes as much memory for the window as a header asks for.
 */
import { Decompress } from 'fzstd';
import { createXXHash64, type IHasher } from 'hash-wasm';
import { assert } from '../../util/errors.ts';

const frameMagic = 0xfd2fb528;
const skippableMagic = 0x184d2a50;
/** `zstd --long=27`; what asks for more wants `--ultra` machines. */
const maxWindowBytes = 1 << 27;
const maxBlockBytes = 1 << 21;
/** Magic, descriptor, window, dictionary, size: the longest header. */
const maxHeaderBytes = 18;

type Part = 'header' | 'block' | 'body' | 'checksum' | 'skip';

/** Feeds whole parts of frames to one decompressor a frame. Throws Error with a reason for what is no Zstandard. */
export class ZstdStream {
  readonly #give: (bytes: Uint8Array) => void;
  readonly #hasher: IHasher;
  #rest: Uint8Array = new Uint8Array(0);
  #part: Part = 'header';
  /** Bytes of the block's body or of a skippable frame that are still to come. */
  #left = 0;
  #isLastBlock = false;
  #hasChecksum = false;
  #frame: Decompress | null = null;

  private constructor(give: (bytes: Uint8Array) => void, hasher: IHasher) {
    this.#give = give;
    this.#hasher = hasher;
  }

  /** `give` gets decompressed bytes; they are its to keep. */
  static async open(give: (bytes: Uint8Array) => void): Promise<ZstdStream> {
    return new ZstdStream(give, await createXXHash64());
  }

  push(chunk: Uint8Array): void {
    let bytes = this.#rest.length === 0 ? chunk : concat(this.#rest, chunk);
    for (;;) {
      const taken = this.#take(bytes);
      if (taken === 0) break;
      bytes = bytes.subarray(taken);
    }
    this.#rest = bytes.slice();
  }

  /** To be called once all bytes are pushed. */
  end(): void {
    if (this.#part !== 'header' || this.#rest.length > 0) throw new Error('it ends in the middle of a frame');
  }

  /** How many of the bytes are one whole part, which is done; 0: more are needed. */
  #take(bytes: Uint8Array): number {
    if (bytes.length === 0) return 0;
    switch (this.#part) {
      case 'header':
        return this.#takeHeader(bytes);
      case 'block':
        return this.#takeBlockHeader(bytes);
      case 'checksum':
        return this.#takeChecksum(bytes);
      case 'body':
      case 'skip':
        return this.#takeBody(bytes);
    }
  }

  #takeHeader(bytes: Uint8Array): number {
    if (bytes.length < 8) return 0;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const magic = view.getUint32(0, true);
    if ((magic & 0xfffffff0) >>> 0 === skippableMagic) {
      this.#left = view.getUint32(4, true);
      this.#part = this.#left === 0 ? 'header' : 'skip';
      return 8;
    }
    if (magic !== frameMagic) throw new Error('a frame begins with other bytes than Zstandard has');
    const header = headerOf(bytes);
    if (bytes.length < header.length) return 0;
    const windowBytes = header.windowBytes(bytes);
    if (windowBytes > maxWindowBytes)
      throw new Error(`its window is ${windowBytes} bytes, of ${maxWindowBytes} that are allowed`);
    this.#hasChecksum = header.hasChecksum;
    this.#hasher.init();
    this.#frame = new Decompress((out) => {
      this.#hasher.update(out);
      if (out.length > 0) this.#give(out.slice());
    });
    this.#frame.push(bytes.slice(0, header.length));
    this.#part = 'block';
    return header.length;
  }

  #takeBlockHeader(bytes: Uint8Array): number {
    if (bytes.length < 3) return 0;
    const word = bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16);
    const kind = (word >> 1) & 3;
    const size = word >> 3;
    if (kind === 3 || size > maxBlockBytes) throw new Error('a block is of no kind that there is');
    this.#isLastBlock = (word & 1) === 1;
    this.#left = kind === 1 ? 1 : size;
    this.#frame!.push(bytes.slice(0, 3));
    this.#afterBlockPart();
    return 3;
  }

  #takeBody(bytes: Uint8Array): number {
    const taken = Math.min(this.#left, bytes.length);
    if (this.#part === 'body') this.#frame!.push(bytes.slice(0, taken));
    this.#left -= taken;
    if (this.#part === 'body') this.#afterBlockPart();
    else if (this.#left === 0) this.#part = 'header';
    return taken;
  }

  #afterBlockPart(): void {
    if (this.#left > 0) this.#part = 'body';
    else if (!this.#isLastBlock) this.#part = 'block';
    else this.#part = this.#hasChecksum ? 'checksum' : this.#endFrame();
  }

  #takeChecksum(bytes: Uint8Array): number {
    if (bytes.length < 4) return 0;
    this.#frame!.push(bytes.slice(0, 4));
    const digest = this.#hasher.digest('binary');
    // The low four bytes of a big-endian digest, as little endian.
    for (let i = 0; i < 4; i++) if (bytes[i] !== digest[7 - i]) throw new Error('a frame has another checksum');
    this.#part = this.#endFrame();
    return 4;
  }

  #endFrame(): Part {
    assert(this.#frame !== null, 'a frame ends that began');
    this.#frame = null;
    return 'header';
  }
}

/** RFC 8878, section 3.1.1.1. */
function headerOf(bytes: Uint8Array): {
  readonly length: number;
  readonly hasChecksum: boolean;
  readonly windowBytes: (bytes: Uint8Array) => number;
} {
  const descriptor = bytes[4]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 2 ** sizeFlag;
  if (dictionaryBytes !== 0) throw new Error('it was compressed with a dictionary');
  const sizeAt = 5 + (isSingleSegment ? 0 : 1);
  assert(sizeAt + sizeBytes <= maxHeaderBytes, 'a header has 18 bytes at most');
  const windowBytes = (all: Uint8Array): number => {
    if (!isSingleSegment) {
      const base = 2 ** (10 + (all[5]! >> 3));
      return base + (base / 8) * (all[5]! & 7);
    }
    let size = sizeBytes === 2 ? 256 : 0;
    for (let i = 0; i < sizeBytes; i++) size += all[sizeAt + i]! * 256 ** i;
    return size;
  };
  return { length: sizeAt + sizeBytes, hasChecksum: (descriptor & 4) !== 0, windowBytes };
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
