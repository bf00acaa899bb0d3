/** @file The whole way from packages to sequences, in a folder of its own, and what is refused on the way. */
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manifestSchema } from '../protocol/manifest.ts';
import { manifestShards } from './catalog.ts';
import { CORPUS_SOURCES } from './corpus-sources.ts';
import { buildOrder, requestsOf } from './order.ts';
import { extractDocuments, prepareCorpus } from './prepare-corpus.ts';
import { describeCorpus, loadCorpus } from './prepared.ts';
import { evenlySpaced, readSequence, sequenceCounts } from './shards.ts';

describe('prepareCorpus', () => {
  let dir = '';
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'corpus-'));
    prepareCorpus({ dir, presets: [{ name: 'test', vocabSize: 400, maxSourceBytes: 60_000 }] });
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it('gives shards that the manifest takes, each source in its stages', () => {
    const { catalog } = loadCorpus(dir, 'test');
    const shards = manifestSchema.shape.data.shape.shards.parse(manifestShards(catalog));
    for (const source of CORPUS_SOURCES) {
      const stages = shards.filter((shard) => shard.source === source.name).map((shard) => shard.stage);
      expect(stages.sort(), source.name).toEqual(source.share > 0 ? ['held-out', 'train'] : ['held-out-other']);
    }
    expect(catalog.vocabSize).toBe(400);
    expect(describeCorpus(dir, 'test')).toMatchObject({ ready: true, sources: CORPUS_SOURCES.length });
    expect(readdirSync(dir)).toEqual(['test']);
  });

  it('holds the text: sequences of the order decode to lines of the sources', () => {
    const { catalog, tokenizer, loaded } = loadCorpus(dir, 'test');
    const length = 64;
    const sequences = sequenceCounts(catalog.shards, 'train', length);
    const order = buildOrder({ seed: '5e'.repeat(32), mixture: catalog.mixture, sequences });
    const documents = new Map(CORPUS_SOURCES.map((source) => [source.name, extractDocuments(source).join('')]));
    const requests = [
      ...requestsOf(order, [0, 1, 2, 3, 50, 1000], length),
      ...evenlySpaced(catalog.shards, { stage: 'held-out-other', length, count: 2 }),
    ];
    for (const request of requests) {
      const { inputIds } = readSequence(catalog.shards, loaded, { ...request, endOfText: catalog.endOfText });
      // The first and last token may hold half a character; a document's end leaves no text.
      const text = tokenizer.decode(Array.from(inputIds.subarray(1, -1), Number)).replaceAll('\ufffd', '');
      expect(documents.get(request.source)!.includes(text), `${request.source} ${request.sequenceIndex}: ${text}`).toBe(
        true,
      );
    }
  });

  it('refuses a damaged shard, a damaged catalog and a folder without one', () => {
    const { catalog } = loadCorpus(dir, 'test');
    const shard = join(dir, 'test', catalog.shards[0]!.file);
    const bytes = readFileSync(shard);
    appendFileSync(shard, 'x');
    expect(() => loadCorpus(dir, 'test')).toThrow(/expected root/);
    writeFileSync(shard, bytes);
    const file = join(dir, 'test', 'catalog.json');
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('"version": 1', '"version": 9'));
    expect(() => loadCorpus(dir, 'test')).toThrow(/version/);
    writeFileSync(file, text.replace(catalog.shards[0]!.file, '../elsewhere'));
    expect(() => loadCorpus(dir, 'test')).toThrow(/plain file name/);
    writeFileSync(file, text);
    expect(() => loadCorpus(dir, 'none')).toThrow(/npm run setup -- --preset none/);
    expect(existsSync(join(dir, 'none'))).toBe(false);
  });

  it('refuses a package with other text than pinned, and a package that is not there', () => {
    const source = CORPUS_SOURCES.find(({ name }) => name === 'moby-dick')!;
    expect(() => extractDocuments({ ...source, sha256: '00' })).toThrow(/expected sha256 00, got 2c00/);
    expect(() => extractDocuments({ ...source, packageName: 'no-such-package' })).toThrow(/not installed/);
  });
});
