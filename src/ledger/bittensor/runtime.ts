/**
 * @file What a node's metadata says: how calls, storage keys, values and events are encoded in the runtime that runs now, and which
 * features it has. Nothing here assumes a version of the runtime; what a run needs and metadata lacks is told by name.
 */
import { getDynamicBuilder, getLookupFn, type LookupEntry } from '@polkadot-api/metadata-builders';
import { decAnyMetadata, unifyMetadata } from '@polkadot-api/substrate-bindings';
import { fromHex, toHex } from '../../util/bytes.ts';
import { LedgerError } from '../errors.ts';
import { badAnswer } from './errors.ts';

export interface RuntimeVersion {
  readonly specVersion: number;
  readonly transactionVersion: number;
}

/** What this runtime can do, by its metadata. */
export interface RuntimeFeatures {
  /** Several weight matrices a subnet. */
  readonly mechanisms: boolean;
  /** Weights by hash first (version 2). */
  readonly commitReveal: boolean;
  /** Weights encrypted to a drand round: version 3 or 4 of commit-reveal; 0: none. */
  readonly timelocked: 0 | 3 | 4;
  /** Registration with a ceiling of its price. */
  readonly registerLimit: boolean;
  /** Epochs are counted by the subnet; else they follow from the block number. */
  readonly storedEpochs: boolean;
}

export interface ChainCall {
  readonly pallet: string;
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** A signed extension and whether it has bytes of its own. */
export interface Extension {
  readonly identifier: string;
  readonly isValueEmpty: boolean;
  readonly isAdditionalEmpty: boolean;
}

type Builder = ReturnType<typeof getDynamicBuilder>;
type StorageCodec = ReturnType<Builder['buildStorage']>;
type CallCodec = ReturnType<Builder['buildCall']>;

/** Refuses larger metadata before it is decoded. */
const maxMetadataBytes = 8 << 20;

export class Runtime {
  readonly version: RuntimeVersion;
  readonly features: RuntimeFeatures;
  readonly extensions: readonly Extension[];
  readonly #metadata: ReturnType<typeof unifyMetadata>;
  readonly #lookup: ReturnType<typeof getLookupFn>;
  readonly #builder: Builder;
  readonly #storage = new Map<string, StorageCodec | null>();
  readonly #calls = new Map<string, CallCodec | null>();
  #events: { dec(bytes: Uint8Array): unknown } | null = null;

  /** @throws EndpointFault BAD_ANSWER if the bytes are no metadata of version 14 to 16 */
  constructor(metadata: Uint8Array, version: RuntimeVersion) {
    if (metadata.byteLength > maxMetadataBytes)
      throw badAnswer(`metadata of ${metadata.byteLength} bytes is too large`);
    this.version = version;
    try {
      this.#metadata = unifyMetadata(decAnyMetadata(metadata));
      this.#lookup = getLookupFn(this.#metadata);
      this.#builder = getDynamicBuilder(this.#lookup);
      this.extensions = this.#readExtensions();
    } catch (cause) {
      throw badAnswer('the metadata cannot be decoded', cause);
    }
    this.features = {
      mechanisms: this.hasCall('SubtensorModule', 'set_mechanism_weights'),
      commitReveal:
        this.hasCall('SubtensorModule', 'commit_weights') && this.hasCall('SubtensorModule', 'reveal_weights'),
      timelocked: this.hasCall('SubtensorModule', 'commit_timelocked_weights')
        ? 4
        : this.hasCall('SubtensorModule', 'commit_crv3_weights')
          ? 3
          : 0,
      registerLimit: this.hasCall('SubtensorModule', 'register_limit'),
      storedEpochs: this.hasStorage('SubtensorModule', 'LastEpochBlock'),
    };
  }

  hasCall(pallet: string, name: string): boolean {
    return this.#call(pallet, name) !== null;
  }

  hasStorage(pallet: string, item: string): boolean {
    return this.#storageOf(pallet, item) !== null;
  }

  /** @throws LedgerError UNSUPPORTED if the runtime has no such item */
  storageKey(pallet: string, item: string, args: readonly unknown[]): string {
    const codec = this.#storageOf(pallet, item);
    if (codec === null) throw this.#lacks(`storage ${pallet}.${item}`);
    return codec.keys.enc(...args);
  }

  /** The value, its default if there is none, or undefined. @throws EndpointFault BAD_ANSWER */
  storageValue(pallet: string, item: string, hex: string | null): unknown {
    const codec = this.#storageOf(pallet, item);
    if (codec === null) throw this.#lacks(`storage ${pallet}.${item}`);
    if (hex === null) return codec.fallback ?? undefined;
    try {
      return decodeWhole(codec.value, hexBytes(hex));
    } catch (cause) {
      throw badAnswer(`${pallet}.${item}: the value is not of its type`, cause);
    }
  }

  /** Bytes of a value as the chain stores it: what a scripted node answers with. */
  encodeStorage(pallet: string, item: string, value: unknown): Uint8Array {
    const codec = this.#storageOf(pallet, item);
    if (codec === null) throw this.#lacks(`storage ${pallet}.${item}`);
    return codec.value.enc(value);
  }

  /** Pallet index, call index, arguments. @throws LedgerError UNSUPPORTED */
  encodeCall({ pallet, name, args }: ChainCall): Uint8Array {
    const found = this.#call(pallet, name);
    if (found === null) throw this.#lacks(`call ${pallet}.${name}`);
    const encoded = found.codec.enc(args);
    const bytes = new Uint8Array(2 + encoded.byteLength);
    bytes.set(found.location);
    bytes.set(encoded, 2);
    return bytes;
  }

  /** The arguments, if the bytes are this call; else null. */
  decodeCall(pallet: string, name: string, bytes: Uint8Array): Readonly<Record<string, unknown>> | null {
    const found = this.#call(pallet, name);
    if (found === null || bytes[0] !== found.location[0] || bytes[1] !== found.location[1]) return null;
    try {
      return found.codec.dec(bytes.slice(2)) as Readonly<Record<string, unknown>>;
    } catch (cause) {
      throw badAnswer(`${pallet}.${name} in a block does not decode`, cause);
    }
  }

  /** `System.Events` of a block. */
  decodeEvents(hex: string | null): unknown {
    if (hex === null) return [];
    this.#events ??= this.#storageOf('System', 'Events')!.value;
    try {
      return this.#events.dec(hexBytes(hex));
    } catch (cause) {
      throw badAnswer('System.Events does not decode', cause);
    }
  }

  /** Pallet and error index: what a scripted node answers with. */
  errorLocation(pallet: string, name: string): readonly [number, number] {
    return this.#builder.buildError(pallet, name).location;
  }

  /** A constant of a pallet; undefined if there is none. */
  constant(pallet: string, name: string): unknown {
    const value = this.#metadata.pallets
      .find((each) => each.name === pallet)
      ?.constants.find((each) => each.name === name);
    if (value === undefined) return undefined;
    const bytes = typeof value.value === 'string' ? hexBytes(value.value) : value.value;
    return this.#builder.buildConstant(pallet, name).dec(bytes);
  }

  /** Where metadata knows versions of extrinsics: whether version 4 is taken, the one that is made here. */
  get takesVersion4(): boolean {
    return this.#metadata.extrinsic.version.includes(4);
  }

  #readExtensions(): readonly Extension[] {
    const lists = this.#metadata.extrinsic.signedExtensions as Record<number, readonly ExtensionDefinition[]>;
    return (lists[0] ?? []).map(({ identifier, type, additionalSigned }) => ({
      identifier,
      isValueEmpty: isEmptyType(this.#lookup(type)),
      isAdditionalEmpty: isEmptyType(this.#lookup(additionalSigned)),
    }));
  }

  #storageOf(pallet: string, item: string): StorageCodec | null {
    return cached(this.#storage, `${pallet}.${item}`, () => this.#builder.buildStorage(pallet, item));
  }

  #call(pallet: string, name: string): CallCodec | null {
    return cached(this.#calls, `${pallet}.${name}`, () => this.#builder.buildCall(pallet, name));
  }

  #lacks(what: string): LedgerError {
    return new LedgerError(
      'UNSUPPORTED',
      `the runtime (spec ${this.version.specVersion}) has no ${what}; use a node of Bittensor, or a newer Accrete`,
    );
  }
}

interface ExtensionDefinition {
  readonly identifier: string;
  readonly type: number;
  readonly additionalSigned: number;
}

/** The builder throws for what metadata does not have. */
function cached<T>(cache: Map<string, T | null>, key: string, build: () => T): T | null {
  const known = cache.get(key);
  if (known !== undefined) return known;
  let made: T | null = null;
  try {
    made = build();
  } catch {
    // Not in this runtime: remembered as such.
  }
  cache.set(key, made);
  return made;
}

function isEmptyType(entry: LookupEntry): boolean {
  switch (entry.type) {
    case 'void':
      return true;
    case 'tuple':
      return entry.value.every(isEmptyType);
    case 'struct':
      return Object.values(entry.value).every(isEmptyType);
    case 'array':
      return entry.len === 0 || isEmptyType(entry.value);
    default:
      return false;
  }
}

interface ValueCodec {
  enc(value: unknown): Uint8Array;
  dec(bytes: Uint8Array): unknown;
}

/** Bytes that are left over mean another type than metadata's: the codec alone would not notice. */
function decodeWhole(codec: ValueCodec, bytes: Uint8Array): unknown {
  const value = codec.dec(bytes);
  const again = codec.enc(value);
  if (again.byteLength !== bytes.byteLength)
    throw new RangeError(`${bytes.byteLength} bytes, the type has ${again.byteLength}`);
  return value;
}

/** @throws EndpointFault BAD_ANSWER */
export function hexBytes(hex: unknown): Uint8Array {
  const bytes = typeof hex === 'string' && hex.startsWith('0x') ? fromHex(hex.slice(2)) : null;
  if (bytes === null) throw badAnswer('expected bytes as hex');
  return bytes;
}

export const hexOf = (bytes: Uint8Array): string => `0x${toHex(bytes)}`;
