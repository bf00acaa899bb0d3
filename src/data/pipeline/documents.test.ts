/** @file Every format, packed every way, gives the same documents; what is cut short or wrong is told with its place. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDocuments } from './documents.ts';
import type { Source } from './sources.ts';
import { sourceOf, textOf } from './test-support.ts';

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'accrete-documents-'));
});
afterAll(() => rm(dir, { recursive: true }));

const texts = [
  ...Array.from({ length: 40 }, (_, i) => textOf(i, 30 + 7 * i)),
  'Žluťoučký kůň \u{1F600} 漢字',
  'two\nlines',
];
const jsonl = Buffer.from(texts.map((text) => `${JSON.stringify({ text, n: 1 })}\n`).join(''));
const limits = { maxDocumentBytes: 1 << 16, skipBad: false };

async function read(name: string, bytes: Uint8Array, fields: Partial<Source> = {}, options = limits) {
  const path = join(dir, name);
  await writeFile(path, bytes);
  const found = [];
  for await (const document of readDocuments(path, sourceOf({ name: 'x', inputs: [{ path }], ...fields }), options))
    found.push(document?.text ?? null);
  return found;
}

/** `zstd -19` of the JSON lines of `vectors`, with a checksum, in two frames with a skippable one between. */
const vector = (name: string): Promise<Buffer> =>
  readFile(new URL(`../../../tests/vectors/zstd/${name}`, import.meta.url));

function table(columns: Record<string, unknown[]>, rowGroupSize = 10): Uint8Array {
  const columnData = Object.entries(columns).map(([name, data]) => ({ name, data, type: 'STRING' as const }));
  return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize }));
}

describe('readDocuments', () => {
  it('reads JSON lines plain and gzipped, in one member or several, with and without a last line end', async () => {
    expect(await read('a.jsonl', jsonl)).toEqual(texts);
    expect(await read('b.jsonl.gz', gzipSync(jsonl))).toEqual(texts);
    expect(
      await read('c.jsonl.gz', Buffer.concat([gzipSync(jsonl.subarray(0, 999)), gzipSync(jsonl.subarray(999))])),
    ).toEqual(texts);
    expect(await read('d.jsonl', Buffer.concat([Buffer.from('\uFEFF'), jsonl.subarray(0, -1)]))).toEqual(texts);
    expect(await read('e.jsonl', Buffer.from(jsonl.toString().replaceAll('\n', '\r\n\r\n')))).toEqual(texts);
  });

  it('reads Zstandard as its own program writes it: frames, checksums, skippable frames', async () => {
    const expected = (await vector('plain.jsonl'))
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).text);
    for (const name of ['one.jsonl.zst', 'frames.jsonl.zst'])
      expect(await read(name, await vector(name)), name).toEqual(expected);
  });

  it('reads a Parquet table by row groups, other columns aside', async () => {
    expect(
      await read('a.parquet', table({ text: texts, id: texts.map((_, i) => `${i}`) }), { format: 'parquet' }),
    ).toEqual(texts);
    const fields = { format: 'parquet', licenceField: 'lic', licence: undefined } as Partial<Source>;
    const path = join(dir, 'l.parquet');
    await writeFile(path, table({ text: ['a', 'b'], lic: ['MIT', 'CC0-1.0'] }));
    const licences = [];
    for await (const document of readDocuments(path, sourceOf({ name: 'x', inputs: [{ path }], ...fields }), limits))
      licences.push(document!.licence);
    expect(licences).toEqual(['MIT', 'CC0-1.0']);
  });

  it('reads text by file, paragraph and line', async () => {
    const text = Buffer.from('one\ntwo\n\n\nthree\n');
    const by = (unit: Source['unit']) => read('t.txt', text, { format: 'text', unit });
    expect(await by('file')).toEqual(['one\ntwo\n\n\nthree']);
    expect(await by('paragraph')).toEqual(['one\ntwo', 'three']);
    expect(await by('line')).toEqual(['one', 'two', 'three']);
  });

  it('finds fields in objects', async () => {
    const line = Buffer.from('{"a":{"b":"deep"},"text":"flat"}\n');
    expect(await read('f.jsonl', line, { textField: 'a.b' })).toEqual(['deep']);
  });

  it('refuses what is cut short anywhere', async () => {
    const gzip = gzipSync(jsonl);
    for (const cut of [3, 20, gzip.length >> 1, gzip.length - 1])
      await expect(read('cut.jsonl.gz', gzip.subarray(0, cut)), `gzip ${cut}`).rejects.toMatchObject({
        code: 'TRUNCATED',
      });
    const zstd = await vector('one.jsonl.zst');
    for (const cut of [5, 20, zstd.length >> 1, zstd.length - 5, zstd.length - 1])
      await expect(read('cut.jsonl.zst', zstd.subarray(0, cut)), `zstd ${cut}`).rejects.toMatchObject({
        code: 'TRUNCATED',
      });
    const parquet = table({ text: texts });
    for (const cut of [4, 11, parquet.length >> 1, parquet.length - 1])
      await expect(
        read('cut.parquet', parquet.subarray(0, cut), { format: 'parquet' }),
        `table ${cut}`,
      ).rejects.toMatchObject({
        code: 'TRUNCATED',
      });
  });

  it('refuses damaged packing: a checksum, a dictionary, a window beyond memory, a footer that lies', async () => {
    const zstd = await vector('one.jsonl.zst');
    const flipped = Buffer.from(zstd);
    flipped[flipped.length - 2]! ^= 1;
    await expect(read('x.jsonl.zst', flipped)).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringContaining('checksum'),
    });
    const gzip = gzipSync(jsonl);
    gzip[gzip.length - 6]! ^= 1;
    await expect(read('x.jsonl.gz', gzip)).rejects.toMatchObject({ code: 'DAMAGED' });
    const header = (descriptor: number, window: number): Buffer =>
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, descriptor, window, 0, 0, 0]);
    await expect(read('w.jsonl.zst', header(0, 0xf8))).rejects.toThrow(/window/);
    await expect(read('d.jsonl.zst', header(1, 0))).rejects.toThrow(/dictionary/);
    const parquet = Buffer.from(table({ text: texts }));
    parquet.writeUInt32LE(0x7fffffff, parquet.length - 8);
    await expect(read('x.parquet', parquet, { format: 'parquet' })).rejects.toMatchObject({ code: 'DAMAGED' });
  });

  it('tells file and line of a record that is wrong, or leaves it out where that is asked for', async () => {
    const bad = {
      'no UTF-8': Buffer.concat([Buffer.from('{"text":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
      'expected a JSON object': Buffer.from('{"text":'),
      'it is missing': Buffer.from('{"other":1}'),
      'got number': Buffer.from('{"text":5}'),
      'longer than': Buffer.from(JSON.stringify({ text: 'x'.repeat(70_000) })),
    };
    for (const [why, line] of Object.entries(bad)) {
      const bytes = Buffer.concat([Buffer.from('{"text":"a"}\n'), line, Buffer.from('\n{"text":"b"}\n')]);
      await expect(read('bad.jsonl', bytes), why).rejects.toThrow(new RegExp(`bad.jsonl:2.*${why}`));
      expect(await read('bad.jsonl', bytes, {}, { ...limits, skipBad: true }), why).toEqual(['a', null, 'b']);
    }
    const missing = read('l.jsonl', Buffer.from('{"text":"a"}\n'), { licenceField: 'lic', licence: undefined });
    await expect(missing).rejects.toThrow(/l.jsonl:1: field lic: .*missing/);
  });

  it('refuses columns that are not there, and a table where text was declared', async () => {
    await expect(read('a.parquet', table({ body: texts }), { format: 'parquet' })).rejects.toThrow(
      /no column text; it has body/,
    );
    await expect(read('b.jsonl', table({ text: texts }))).rejects.toThrow(/Parquet/);
    await expect(read('c.parquet', jsonl, { format: 'parquet' })).rejects.toThrow(/no Parquet/);
  });
});
