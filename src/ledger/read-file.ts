/**
 * @file The history of an embedded chain from its file, for whoever only reads: never written, locked or cut, also while
 * the chain's owner appends to it. A half-written last line is left out.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Hash } from '../protocol/names.ts';
import { fromHex, toHex } from '../util/bytes.ts';
import { LedgerError } from './errors.ts';
import { ledgerFileName } from './file.ts';
import { type Genesis, type PublicGenesis, publicGenesisOf } from './genesis.ts';
import { saltOf } from './hash-chain.ts';
import { lineSchema } from './lines.ts';
import type { CallPage } from './port.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const chunkBytes = 1 << 20;
/** Weights of 65,536 uids fit. */
const maxLineBytes = 4 << 20;

export class LedgerFile {
  readonly genesis: PublicGenesis;
  readonly #file: FileHandle;
  readonly #secret: Uint8Array;

  private constructor(file: FileHandle, genesis: Genesis) {
    this.#file = file;
    this.#secret = fromHex(genesis.secret)!;
    this.genesis = publicGenesisOf(genesis, sha256);
  }

  /** Null if there is no such file. @throws LedgerError DAMAGED */
  static async open(dir: string): Promise<LedgerFile | null> {
    const file = await open(join(dir, ledgerFileName), 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (file === null) return null;
    try {
      for await (const { line } of linesFrom(file, 0)) {
        const first = parseLine(line, 0);
        if (first.kind === 'genesis') return new LedgerFile(file, first.genesis);
        break;
      }
      throw damaged(0, 'it does not begin with a genesis');
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The salt of any block: who has the file has the secret. */
  salt(number: number): Hash {
    return toHex(saltOf(sha256, this.#secret, number)) as Hash;
  }

  /** As the port's `calls`. @throws LedgerError DAMAGED */
  async calls(cursor: number, limit: number): Promise<CallPage> {
    const calls: CallPage['calls'][number][] = [];
    let next = cursor;
    for await (const { line, endByte } of linesFrom(this.#file, cursor)) {
      const parsed = parseLine(line, next);
      next = endByte;
      if (parsed.kind === 'call') calls.push({ block: parsed.block, parent: parsed.parent, signed: parsed.signed });
      if (calls.length >= limit) break;
    }
    return { calls, next };
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function parseLine(line: Buffer, atByte: number) {
  let json: unknown;
  try {
    json = JSON.parse(line.toString('utf8'));
  } catch {
    throw damaged(atByte, 'a line is no JSON');
  }
  const parsed = lineSchema.safeParse(json);
  if (!parsed.success) throw damaged(atByte, 'a line is no genesis, call or resume of version 3');
  return parsed.data;
}

const damaged = (atByte: number, why: string) =>
  new LedgerError('DAMAGED', `the ledger's file is damaged after byte ${atByte}: ${why}`, { context: { atByte } });

/** Whole lines without their ends. */
async function* linesFrom(file: FileHandle, from: number): AsyncGenerator<{ line: Buffer; endByte: number }> {
  let rest = Buffer.alloc(0);
  let endByte = from;
  for (let at = from; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    if (rest.byteLength > maxLineBytes && rest.indexOf(10) < 0) throw damaged(endByte, 'a line is too long');
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      endByte += end + 1;
      const line = rest.subarray(0, end);
      rest = rest.subarray(end + 1);
      yield { line, endByte };
    }
  }
}
