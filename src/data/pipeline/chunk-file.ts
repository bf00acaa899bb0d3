/**
 * @file A chunk as bytes, little endian: `ACHK`, u32 length of the head, the head (JSON, padded with spaces to a multiple of
 * four), then u32 arrays (licence, bytes and tokens a document, hashes, bands), then the ids, then SHA-256 of all before.
 */
import { z } from 'zod';
import { nodeSha256 } from '../../util/node-sha256.ts';
import { type Chunk, chunkVersion, damagedChunk } from './chunk.ts';
import { minhashBands } from './minhash.ts';

const magic = Buffer.from('ACHK');
const hashBytes = 32;
const maxHeadBytes = 1 << 24;

const tallySchema = z.strictObject({ documents: z.int().min(0), bytes: z.int().min(0) });
const headSchema = z.strictObject({
  version: z.literal(chunkVersion),
  read: tallySchema,
  dropped: z.record(z.string(), tallySchema),
  licences: z.array(z.string()),
  kept: z.int().min(0),
  tokens: z.int().min(0),
  tokenBytes: z.union([z.literal(2), z.literal(4)]),
});

export function encodeChunk(chunk: Chunk): Uint8Array {
  const { read, dropped, licences, ids } = chunk;
  const tokenBytes = ids instanceof Uint16Array ? 2 : 4;
  const head = {
    version: chunkVersion,
    read,
    dropped,
    licences,
    kept: chunk.tokenCounts.length,
    tokens: ids.length,
    tokenBytes,
  };
  const text = Buffer.from(JSON.stringify(head));
  const padded = Buffer.concat([text, Buffer.alloc((4 - (text.length % 4)) % 4, ' ')]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(padded.length);
  const arrays = [chunk.licenceOf, chunk.textBytes, chunk.tokenCounts, chunk.hashes, chunk.bands, ids];
  const body = Buffer.concat([magic, length, padded, ...arrays.map(bytesOf)]);
  return Buffer.concat([body, nodeSha256(body)]);
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array | Uint32Array): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);

/** @throws DataError DAMAGED */
export function decodeChunk(bytes: Uint8Array, path: string): Chunk {
  const body = bytes.subarray(0, Math.max(0, bytes.length - hashBytes));
  const isWhole = Buffer.compare(nodeSha256(body), bytes.subarray(body.length)) === 0;
  if (!isWhole || Buffer.compare(body.subarray(0, 4), magic) !== 0) throw damagedChunk(path, 'its bytes are damaged');
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const headBytes = view.getUint32(4, true);
  if (headBytes > maxHeadBytes || 8 + headBytes > body.length) throw damagedChunk(path, 'its head is damaged');
  const parsed = headSchema.safeParse(JSON.parse(Buffer.from(body.subarray(8, 8 + headBytes)).toString('utf8')));
  if (!parsed.success) throw damagedChunk(path, 'it is of another version');
  const { kept, tokens, tokenBytes, read, dropped, licences } = parsed.data;
  const words = [kept, kept, kept, 4 * kept, 2 * minhashBands * kept];
  const expected = 8 + headBytes + 4 * words.reduce((sum, count) => sum + count, 0) + tokenBytes * tokens;
  if (expected !== body.length) throw damagedChunk(path, `${body.length} bytes, expected ${expected}`);
  let at = 8 + headBytes;
  const take = (length: number): ArrayBuffer => {
    // A copy: a view of typed numbers must begin at a multiple of their width.
    const part = new Uint8Array(body.subarray(at, at + length)).buffer;
    at += length;
    return part;
  };
  const [licenceOf, textBytes, tokenCounts, hashes, bands] = words.map((count) => new Uint32Array(take(4 * count)));
  const idBytes = take(tokenBytes * tokens);
  return {
    ...{ read, dropped, licences, licenceOf: licenceOf!, textBytes: textBytes!, tokenCounts: tokenCounts! },
    ...{ hashes: hashes!, bands: bands!, ids: tokenBytes === 2 ? new Uint16Array(idBytes) : new Uint32Array(idBytes) },
  };
}
