/** @file Sources to a catalog: what is dropped and why, shards of one size, the same bytes after a crash, nothing half. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadCatalog } from '../prepared.ts';
import { decodeShard } from '../shards.ts';
import { Tokenizer } from '../tokenizer.ts';
import { gramsOf } from './contamination.ts';
import { prepareData } from './prepare.ts';
import type { Source } from './sources.ts';
import { prepareOptions, smallTokenizer, sourceOf, textOf, wordsOf } from './test-support.ts';
import { checkShard, checkTokenizer } from './verify-catalog.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'accrete-prepare-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function jsonSource(name: string, rows: readonly object[], fields: Partial<Source> = {}): Promise<Source> {
  const path = join(dir, `${name}.jsonl`);
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return sourceOf({ name, inputs: [{ path }], ...fields });
}

/** Every file of the catalog's folder by its hash. */
async function hashes(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  const hash = async (name: string) =>
    createHash('sha256')
      .update(await readFile(join(folder, name)))
      .digest('hex');
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await hash(name)] as const)));
}

const many = (seed: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({ text: textOf(`${seed}${i}`, 60 + (i % 90)) }));

describe('prepareData', () => {
  it('makes shards of one size whose ids are the documents, in their order, closed by end of text', async () => {
    const rows = many('a', 120);
    const source = await jsonSource('words', rows, { share: 3 });
    const { catalog } = await prepareData(prepareOptions(dir, [source], { threads: 2 }));
    expect(catalog).toEqual(loadCatalog(dir, 'prepared'));
    const read = catalog.shards.map((shard) => {
      checkShard(dir, catalog, shard);
      return shard;
    });
    checkTokenizer(dir, catalog);
    expect(read.slice(0, -1).every(({ tokens }) => tokens === 4096)).toBe(true);
    expect(read.at(-1)!.tokens).toBeLessThanOrEqual(4096);
    expect(catalog.mixture).toEqual({ words: 3 });
    const files = await Promise.all(
      read.map(async (shard) => [
        ...decodeShard(await readFile(join(dir, 'prepared', shard.file)), shard, catalog.vocabSize),
      ]),
    );
    const { json, config } = smallTokenizer();
    const tokenizer = new Tokenizer(json, config);
    const expected = rows.flatMap(({ text }) => [...tokenizer.encodePlain(text), tokenizer.endOfText]);
    expect(files.flat()).toEqual(expected);
    expect(read.reduce((sum, { documents = 0 }) => sum + documents, 0)).toBe(120);
  });

  it('drops copies, near copies, what evaluation sets hold and what filters refuse, and says how many', async () => {
    const long = wordsOf('long', 200);
    const near = [...long];
    near[100] = 'changed';
    const other = wordsOf('other', 200);
    const item = wordsOf('item', 20);
    const rows = [
      { text: long.join(' ') },
      { text: long.join('  ').toUpperCase() }, // a copy but for case and spaces
      { text: near.join(' ') },
      { text: [...long.slice(0, 60), ...other.slice(0, 140)].join(' ') }, // less than a third is the same: kept
      { text: [...other.slice(140), ...item.slice(3, 16), ...wordsOf('tail', 100)].join(' ') }, // 13 words of an item
      { text: [...wordsOf('x', 80), ...item.slice(3, 15), ...wordsOf('y', 80)].join(' ') }, // 12 of them
      { text: 'too short' },
      { text: Array(60).fill('again and again we say it').join('\n') },
    ];
    const grams = await gramsOf([item.join(' '), 'an item too short'], { maxBytes: 1 << 24 });
    const filterText = 'length:min=5:mean-min=2,repetition';
    const options = prepareOptions(dir, [await jsonSource('words', rows)], { grams, filterText, threads: 2 });
    const { report } = await prepareData(options);
    const dropped = Object.fromEntries(
      Object.entries(report.sources[0]!.dropped).map(([why, { documents }]) => [why, documents]),
    );
    expect(dropped).toEqual({
      'contamination/evaluation-set': 1,
      'duplicate/exact': 1,
      'duplicate/near': 1,
      'length/too-few-words': 1,
      'repetition/repeated-lines': 1,
    });
    expect(report.evaluation).toMatchObject({ items: 2, shortItems: 1, grams: 8 });
    expect(report.sources[0]!.stages.train!.documents).toBe(3);
    const text = await readFile(join(dir, 'prepared', 'report.txt'), 'utf8');
    expect(text).toContain('3 of 8 documents kept');
    expect(text).toContain('dropped duplicate/near: 1');
  });

  it('holds documents out by their hash, also those of other sources, and keeps licences apart', async () => {
    const rows = many('h', 200).map((row, i) => ({ ...row, lic: i % 2 ? 'MIT' : 'CC0-1.0' }));
    const sources = [
      await jsonSource('mixed', rows, { licence: undefined, licenceField: 'lic', heldOutEvery: 10 } as Partial<Source>),
      await jsonSource('apart', many('o', 10), { stage: 'held-out-other' }),
    ];
    const { catalog } = await prepareData(prepareOptions(dir, sources));
    const documents = (stage: string): number =>
      catalog.shards.filter((shard) => shard.stage === stage).reduce((sum, shard) => sum + shard.documents!, 0);
    expect(documents('train') + documents('held-out')).toBe(200);
    expect(documents('held-out')).toBeGreaterThan(8);
    expect(documents('held-out')).toBeLessThan(40);
    expect(documents('held-out-other')).toBe(10);
    expect(new Set(catalog.shards.filter(({ source }) => source === 'mixed').map(({ licence }) => licence))).toEqual(
      new Set(['MIT', 'CC0-1.0']),
    );
    expect(Object.keys(catalog.mixture)).toEqual(['mixed']);
  });

  it('gives the same bytes whatever the threads, and after every kind of interruption', {
    timeout: 300_000,
  }, async () => {
    // Some chunks.
    const rows = Array.from({ length: 300 }, (_, i) => ({ text: textOf(`big${i}`, 300) }));
    const source = await jsonSource('big', rows);
    const base = { threads: 1, dropsNearCopies: false, chunkBytes: 1 << 17 };
    await prepareData(prepareOptions(dir, [source], base));
    const expected = await hashes(join(dir, 'prepared'));
    const work = async () =>
      (await readdir(join(dir, 'work'), { recursive: true })).filter((name) => name.endsWith('.chunk')).sort();
    const chunks = await work();
    expect(chunks.length).toBeGreaterThan(2);
    const folder = join(dir, 'work', chunks[0]!.split('/')[0]!);

    // As a kill leaves it: no mark of being done, a chunk missing, one half written under another name, half a catalog.
    await rm(join(folder, 'done.json'));
    await rm(join(dir, 'work', chunks[1]!));
    await writeFile(join(dir, 'work', `${chunks[1]}.7-0.part`), 'half');
    await rm(join(dir, 'prepared'), { recursive: true });
    await mkdir(join(dir, 'prepared.part'));
    await writeFile(join(dir, 'prepared.part', 'stray.tokens'), 'half');
    await prepareData(prepareOptions(dir, [source], { ...base, threads: 2 }));
    expect(await hashes(join(dir, 'prepared'))).toEqual(expected);
    expect(await work()).toEqual(chunks);

    // A chunk that a dying disk cut short is noticed, and made again by the same command.
    await truncate(join(dir, 'work', chunks[0]!), 5000);
    await expect(prepareData(prepareOptions(dir, [source], base))).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(await hashes(join(dir, 'prepared'))).toEqual(expected);
    await prepareData(prepareOptions(dir, [source], base));
    expect(await hashes(join(dir, 'prepared'))).toEqual(expected);

    // Stopped by a signal.
    const stopped = new AbortController();
    stopped.abort();
    await expect(prepareData(prepareOptions(dir, [source], { ...base, signal: stopped.signal }))).rejects.toMatchObject(
      { code: 'INTERRUPTED' },
    );
    expect(await hashes(join(dir, 'prepared'))).toEqual(expected);
  });

  it('makes chunks anew when what they depend on changes', async () => {
    const source = await jsonSource('words', many('k', 30));
    const first = await prepareData(prepareOptions(dir, [source]));
    const second = await prepareData(prepareOptions(dir, [source], { filterText: 'length:min=70:mean-min=1' }));
    expect(second.report.sources[0]!.stages.train!.documents).toBeLessThan(
      first.report.sources[0]!.stages.train!.documents,
    );
    await writeFile(source.inputs[0]!.path!, `${JSON.stringify({ text: textOf('new', 300) })}\n`);
    const third = await prepareData(prepareOptions(dir, [source]));
    expect(third.report.sources[0]!.read.documents).toBe(1);
  });

  it('takes filters of the operator, and refuses those that are none', async () => {
    const path = join(dir, 'own.mjs');
    await writeFile(
      path,
      `export const filters = { even: { bounds: { by: '2' }, build: ({ by }) => ({ words }) => words.count % Number(by) ? 'odd' : null } };`,
    );
    const source = await jsonSource('words', many('f', 20));
    const { report } = await prepareData(
      prepareOptions(dir, [source], { filterText: 'even:by=2', filterModule: path }),
    );
    expect(report.sources[0]!.dropped['even/odd']!.documents).toBe(10);
    await writeFile(path, 'export const filters = { even: 5 };');
    await expect(
      prepareData(prepareOptions(dir, [source], { filterText: 'even', filterModule: path })),
    ).rejects.toThrow(/expected export/);
    await expect(prepareData(prepareOptions(dir, [source], { filterText: 'nothing' }))).rejects.toThrow(
      /no filter 'nothing'/,
    );
    await expect(prepareData(prepareOptions(dir, [source], { filterText: 'length:most=3' }))).rejects.toThrow(
      /no bound 'most'/,
    );
  });

  it('leaves no catalog behind where a source is wrong, or nothing is left of it', { timeout: 300_000 }, async () => {
    const good = await jsonSource('good', many('g', 20));
    const bad = await jsonSource('bad', [{ text: 'a' }, { other: 1 }]);
    await expect(prepareData(prepareOptions(dir, [good, bad]))).rejects.toThrow(/bad.jsonl:2/);
    expect(existsSync(join(dir, 'prepared'))).toBe(false);
    await expect(prepareData(prepareOptions(dir, [good], { filterText: 'length:min=9000' }))).rejects.toThrow(
      /no document is left/,
    );
    expect(existsSync(join(dir, 'prepared'))).toBe(false);
    const gone = sourceOf({ name: 'gone', inputs: [{ path: join(dir, 'gone.jsonl') }] });
    await expect(prepareData(prepareOptions(dir, [gone]))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(
        /is no longer there; put it back, or add the source again as it is now, with --replace/,
      ),
    });
    const more = await jsonSource('more', many('l', 400));
    await expect(prepareData(prepareOptions(dir, [more], { maxHashBytes: 1 << 16 }))).rejects.toMatchObject({
      code: 'LIMIT',
    });
    // Or it goes on, says what it no longer compares with, and still finds copies that lie close together.
    const twice = await jsonSource('twice', [...many('l', 400), ...many('l', 400).slice(-20)]);
    const options = prepareOptions(dir, [twice], { maxHashBytes: 1 << 17, forgetsOldest: true });
    const { report } = await prepareData(options);
    expect(report.sources[0]!.dropped).toMatchObject({ 'duplicate/exact': { documents: 20 } });
    expect(report.forgottenDocuments).toBeGreaterThan(0);
    expect(report.settings).toMatchObject({ maxHashBytes: 1 << 17 });
    expect(await readFile(join(dir, 'prepared', 'report.txt'), 'utf8')).toContain('were not compared with');
  });
});
