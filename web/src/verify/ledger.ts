/**
 * @file The ledger's part: its hash chain made again from public salts and calls, the signature and order of every call, and the
 * heads that the run's owner anchored beside those of the journal. What stake and weights follow is `accrete verify`'s to check.
 */
import { z } from 'zod';
import { callBytes, type SignedCall, signedCallSchema } from '../../../src/ledger/calls.ts';
import { publicGenesisSchema } from '../../../src/ledger/genesis.ts';
import { addToDigest, blockHashOf } from '../../../src/ledger/hash-chain.ts';
import { snapshotLedgerPath } from '../../../src/protocol/api/snapshot.ts';
import { sha256 } from '../../../src/protocol/hash.ts';
import { verifySignature } from '../../../src/protocol/keys.ts';
import { countSchema, hashSchema } from '../../../src/protocol/names.ts';
import type { RecordCheck } from '../../../src/protocol/record-check.ts';
import { fromHex, toHex, utf8 } from '../../../src/util/bytes.ts';
import { canonicalJson } from '../../../src/util/canonical-json.ts';
import { fetchJson, Unreadable } from './fetching.ts';
import type { StepFault } from './progress.ts';

/** A snapshot's files tell no hashes: they are made here, and what calls say of them is compared. */
const blocksSchema = z
  .array(z.strictObject({ number: countSchema, hash: hashSchema.nullable(), salt: hashSchema }))
  .max(1_000);
const callsSchema = z.strictObject({
  calls: z.array(z.strictObject({ block: countSchema, parent: hashSchema, signed: signedCallSchema })).max(1_000),
  next: countSchema,
});
type Call = z.infer<typeof callsSchema>['calls'][number];

export interface LedgerResult {
  readonly blocks: number;
  readonly calls: number;
  readonly ledgerFault: StepFault | null;
  readonly anchors: number;
  readonly anchoredEntries: number;
  readonly anchorFault: StepFault | null;
}

export interface LedgerPlace {
  readonly base: URL;
  /** A snapshot's files, not a server's answers. */
  readonly isFiles: boolean;
}

/** Null: the record has no ledger. */
export async function checkLedger(
  place: LedgerPlace,
  record: RecordCheck,
  onProgress: (blocks: number, calls: number) => void,
): Promise<LedgerResult | null> {
  const raw = await fetchJson(new URL(place.isFiles ? snapshotLedgerPath('genesis') : 'ledger/genesis', place.base));
  if (raw === null) return null;
  const genesis = publicGenesisSchema.safeParse(raw);
  if (!genesis.success) throw new Unreadable('the genesis of the ledger is not in its form');
  const { chainId, netuid } = record.manifest!.ledger;
  const walk = new LedgerWalk(place, record, genesis.data, onProgress);
  if (genesis.data.chainId !== chainId || genesis.data.netuid !== netuid)
    return walk.failed(
      'genesis',
      `ledger ${chainId}, subnet ${netuid}`,
      `${genesis.data.chainId}, ${genesis.data.netuid}`,
    );
  return walk.run();
}

class LedgerWalk {
  readonly #place: LedgerPlace;
  readonly #record: RecordCheck;
  readonly #genesis: z.infer<typeof publicGenesisSchema>;
  readonly #onProgress: (blocks: number, calls: number) => void;
  readonly #nonces = new Map<string, number>();
  #hash: Uint8Array;
  #block = 0;
  #callCount = 0;
  #waiting: Call[] = [];
  #cursor = 0;
  #anchors = 0;
  #anchoredEntries = 0;
  #anchorFault: StepFault | null = null;

  constructor(
    place: LedgerPlace,
    record: RecordCheck,
    genesis: z.infer<typeof publicGenesisSchema>,
    onProgress: (blocks: number, calls: number) => void,
  ) {
    this.#place = place;
    this.#record = record;
    this.#genesis = genesis;
    this.#onProgress = onProgress;
    this.#hash = sha256(utf8(canonicalJson(genesis)));
  }

  async run(): Promise<LedgerResult> {
    for (;;) {
      const page = await this.#page('blocks', this.#block + 1, blocksSchema);
      if (page.length === 0) break;
      for (const block of page) {
        const fault = await this.#make(block);
        if (fault !== null) return this.#result(fault);
      }
      this.#onProgress(this.#block, this.#callCount);
    }
    const left = await this.#nextCall();
    // A call in a block that has not ended yet is no fault.
    if (left !== undefined && left.block <= this.#block)
      return this.failed(`block ${left.block}`, 'its calls in order', 'a call after its block');
    return this.#result(null);
  }

  failed(event: string, expected: string, found: string): LedgerResult {
    return this.#result({ seq: null, event, expected, found });
  }

  #result(ledgerFault: StepFault | null): LedgerResult {
    return {
      ...{ blocks: this.#block, calls: this.#callCount, ledgerFault },
      ...{ anchors: this.#anchors, anchoredEntries: this.#anchoredEntries, anchorFault: this.#anchorFault },
    };
  }

  async #make({ number, hash, salt }: z.infer<typeof blocksSchema>[number]): Promise<StepFault | null> {
    const fault = (event: string, expected: string, found: string) => ({ seq: null, event, expected, found });
    if (number !== this.#block + 1) return fault(`block ${number}`, `block ${this.#block + 1}`, `block ${number}`);
    const parent = toHex(this.#hash);
    let digest: Uint8Array | null = null;
    for (let next = await this.#nextCall(); next !== undefined && next.block <= number; next = await this.#nextCall()) {
      this.#waiting.shift();
      const what = `${next.signed.call.name} in block ${next.block}`;
      if (next.block < number || next.parent !== parent)
        return fault(what, `a call in block ${number} after ${parent}`, `one after ${next.parent}`);
      const wrong = this.#checkCall(next.signed);
      if (wrong !== null) return { ...wrong, event: what };
      digest = addToDigest(sha256, digest, sha256(utf8(canonicalJson(next.signed))));
      this.#noteAnchor(next.signed, number);
    }
    this.#hash = blockHashOf(sha256, { salt: fromHex(salt)!, parent: this.#hash, number, digest });
    if (hash !== null && toHex(this.#hash) !== hash) return fault(`block ${number}`, `hash ${toHex(this.#hash)}`, hash);
    this.#block = number;
    return null;
  }

  #checkCall({ hotkey, scheme, nonce, call, signature }: SignedCall): StepFault | null {
    this.#callCount++;
    const bytes = callBytes(this.#genesis, hotkey, nonce, call);
    const wrong = (expected: string, found: string) => ({ seq: null, event: call.name, expected, found });
    if (!verifySignature({ kind: 'hotkey', scheme, hotkey }, bytes, fromHex(signature)!))
      return wrong(`a signature of ${hotkey}`, 'another one');
    const due = this.#nonces.get(hotkey) ?? 0;
    if (nonce !== due) return wrong(`call ${due} of ${hotkey}`, `call ${nonce}`);
    this.#nonces.set(hotkey, due + 1);
    return null;
  }

  #noteAnchor({ hotkey, call }: SignedCall, block: number): void {
    if (call.name !== 'set_commitment' || hotkey !== this.#record.manifest!.owner || this.#anchorFault !== null) return;
    const size = this.#record.sizeOfHead(call.args.data);
    const covered = this.#anchoredEntries;
    if (size !== null && size >= covered) {
      this.#anchoredEntries = size;
      this.#anchors++;
      return;
    }
    const event = `set_commitment in block ${block}`;
    const cut = {
      expected: `a tree head of this journal of ${this.#record.size} entries`,
      found: `${call.args.data}: the journal was cut, or another one was anchored`,
    };
    const back = { expected: `a head of ${covered} entries or more`, found: `one of ${size}` };
    this.#anchorFault = { seq: null, event, ...(size === null ? cut : back) };
  }

  async #nextCall(): Promise<Call | undefined> {
    if (this.#waiting.length === 0) {
      const { calls, next } = await this.#page('calls', this.#cursor, callsSchema);
      this.#waiting = [...calls];
      this.#cursor = next;
    }
    return this.#waiting[0];
  }

  async #page<T>(what: 'blocks' | 'calls', from: number, schema: z.ZodType<T>): Promise<T> {
    const { base, isFiles } = this.#place;
    const path = isFiles ? snapshotLedgerPath(what, from) : `ledger/${what}?from=${from}&limit=1000`;
    const value = await fetchJson(new URL(path, base));
    const parsed = schema.safeParse(value);
    if (!parsed.success) throw new Unreadable(`${path} does not answer in its form`);
    return parsed.data;
  }
}
