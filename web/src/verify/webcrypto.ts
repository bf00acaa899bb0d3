/**
 * @file Ed25519 by the browser, where it is as strict as the project's rule: the strict checks of the protocol come first, and a
 * known hard case must be refused as the pure code refuses it. What the browser refuses is asked again of the pure code, whose
 * word counts. Several times faster than pure JavaScript.
 */
import { type Ed25519Equation, verifyEd25519 } from '../../../src/protocol/ed25519.ts';
import { fromHex, utf8 } from '../../../src/util/bytes.ts';

type Owned = Uint8Array<ArrayBuffer>;
const maxKeys = 4_096;

/**
 * One key and message: `good` is a signature; `cofactored` has a component of order 8 in R and holds only with the cofactor, so
 * that a verifier which takes it is laxer than the protocol. Made as in `protocol/ed25519.test.ts`.
 */
const hardCase = {
  publicKey: '17ffad8068dc0de9935d36636f3ad1b5de6de3413b12388e453b05f2a4c1d3db',
  message: 'accrete',
  good: '7db0dc9222f3c183457ddde4c708de8e5ea6bf3d5c4404cca14b32729a05c32a76c931e0403f4f509976fa8591ee394d615a646ebb68f67f23befb48f0d7730d',
  cofactored:
    '6999d5cb5126005c325892f1c6eab824b310708befff12fbaf45dda050cb12f03b3722a0c7e7a76f283f43b01e823346117dbc0148b3a5f7133a55896649980a',
};

interface Pending {
  readonly seq: number;
  readonly signature: Owned;
  readonly message: Owned;
  readonly publicKey: Owned;
}

/** Collects well-formed signatures of a page of entries, and checks them together. */
export class SignatureBatch {
  readonly #keys = new Map<string, Promise<CryptoKey>>();
  #pending: Pending[] = [];
  #seq = 0;
  readonly isFast: boolean;

  private constructor(isFast: boolean) {
    this.isFast = isFast;
  }

  static async open(): Promise<SignatureBatch> {
    const batch = new SignatureBatch(true);
    const ask = (signature: string) =>
      batch.#verify({
        seq: 0,
        signature: owned(signature),
        message: utf8(hardCase.message) as Owned,
        publicKey: owned(hardCase.publicKey),
      });
    try {
      if ((await ask(hardCase.good)) && !(await ask(hardCase.cofactored))) return batch;
    } catch {
      // No Ed25519, or no secure context.
    }
    return new SignatureBatch(false);
  }

  /** The entry that the next signature belongs to. */
  at(seq: number): void {
    this.#seq = seq;
  }

  /** For `RecordCheck`; undefined: the pure code answers at once. */
  get equation(): Ed25519Equation | undefined {
    if (!this.isFast) return undefined;
    return (signature, message, publicKey) => {
      const copy = (bytes: Uint8Array): Owned => new Uint8Array(bytes);
      this.#pending.push({
        seq: this.#seq,
        signature: copy(signature),
        message: copy(message),
        publicKey: copy(publicKey),
      });
      return true;
    };
  }

  /** The first entry whose signature is not its signer's; null if all are good. */
  async settle(): Promise<number | null> {
    const pending = this.#pending;
    this.#pending = [];
    const good = await Promise.all(pending.map((each) => this.#verify(each).catch(() => false)));
    for (const [i, { seq, signature, message, publicKey }] of pending.entries())
      if (!good[i] && !verifyEd25519(signature, message, publicKey)) return seq;
    return null;
  }

  async #verify({ signature, message, publicKey }: Pending): Promise<boolean> {
    return crypto.subtle.verify('Ed25519', await this.#keyOf(publicKey), signature, message);
  }

  #keyOf(publicKey: Owned): Promise<CryptoKey> {
    const name = String.fromCharCode(...publicKey);
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    if (this.#keys.size >= maxKeys) this.#keys.clear();
    const key = crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify']);
    this.#keys.set(name, key);
    return key;
  }
}

const owned = (hex: string): Owned => new Uint8Array(fromHex(hex)!);
