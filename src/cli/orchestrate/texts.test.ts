/** @file What a run's owner is told before a run begins on text that it cannot train on, or without any. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Catalog } from '../../data/catalog.ts';
import { templates } from '../../roles/run-templates.ts';
import type { ChosenRun } from '../run/chosen-run.ts';
import { openTexts } from './texts.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'accrete-texts-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A catalog whose shards are `SOURCE/STAGE` and their tokens; the files are not read. */
function prepared(shards: Readonly<Record<string, number>>): string {
  const artifact = { root: 'ab'.repeat(32), sizeBytes: 8 } as Catalog['tokenizer']['artifact'];
  const entries = Object.entries(shards).map(([name, tokens], i) => {
    const [source, stage] = name.split('/') as [string, Catalog['shards'][number]['stage']];
    return { source, stage, tokens, artifact, licence: 'CC0-1.0', file: `s${i}.tokens`, about: '' };
  });
  const sources = new Set(entries.filter(({ stage }) => stage === 'train').map(({ source }) => source));
  const catalog: Catalog = {
    ...{ version: 2, preset: 'prepared', vocabSize: 512, endOfText: 0, startOfText: 1 },
    tokenizer: { file: 'tokenizer.json', artifact },
    tokenizerConfig: { file: 'tokenizer_config.json', artifact },
    mixture: Object.fromEntries([...sources].map((source) => [source, 1])),
    shards: entries,
  };
  mkdirSync(join(dir, 'prepared'), { recursive: true });
  writeFileSync(join(dir, 'prepared', 'catalog.json'), JSON.stringify(catalog));
  return dir;
}

const quasar: ChosenRun = {
  ...{ file: templates['quasar-10t'], preset: 'quasar-preview', arguments: ['--template', 'quasar-10t'] },
};
const tiny = { preset: 'tiny', chosen: null };

describe('text of a new run', () => {
  it('of quasar-preview is not the clone’s: the commands that prepare it and start the run are told', () => {
    const open = () => openTexts({ data: null, preset: 'quasar-preview', chosen: quasar });
    expect(open).toThrow(/draws from web, code, math, papers, multilingual, books\. Type next/);
    expect(open).toThrow('./bin/accrete data add FROM --name web --licence NAME --dir .accrete/data');
    expect(open).toThrow('./bin/accrete data prepare --dir .accrete/data --tokenizer FOLDER');
    expect(open).toThrow('./bin/accrete orchestrate --template quasar-10t --data .accrete/data');
  });

  it('of quasar-preview is a prepared catalog with its sources, and those that lack are named', () => {
    const sources = ['web', 'code', 'math', 'papers', 'multilingual', 'books'];
    const whole = Object.fromEntries(
      sources.flatMap((s) => [
        [`${s}/train`, 200_000],
        [`${s}/held-out`, 70_000],
      ]),
    );
    const choice = { preset: 'quasar-preview', chosen: quasar };
    expect(openTexts({ data: prepared(whole), ...choice }).catalog.shards).toHaveLength(12);
    const { 'books/train': _, ...noBooks } = whole;
    expect(() => openTexts({ data: prepared(noBooks), ...choice })).toThrow(
      /mixture\.books: the corpus has no such source/,
    );
    const short = { ...whole, 'math/train': 65_535 };
    expect(() => openTexts({ data: prepared(short), ...choice })).toThrow(
      /source math has no 65536 tokens in one shard/,
    );
  });

  it('is prepared first, where the folder holds no catalog', () => {
    expect(() => openTexts({ data: dir, ...tiny })).toThrow(`run: ./bin/accrete data prepare --dir ${dir}`);
  });

  it('has held-out text: without, no release could be evaluated', () => {
    const open = () => openTexts({ data: prepared({ 'notes/train': 5_000, 'notes/held-out': 63 }), ...tiny });
    expect(open).toThrow(/no source has 64 tokens of held-out text in one shard/);
    expect(open).toThrow('--name notes --replace --held-out-every 10');
    prepared({ 'notes/train': 5_000, 'notes/held-out': 64 });
    expect(openTexts({ data: dir, ...tiny }).catalog.mixture).toEqual({ notes: 1 });
  });

  it('has a whole sequence of every source that is drawn from', () => {
    const shards = { 'notes/train': 5_000, 'notes/held-out': 500, 'memo/train': 40 };
    expect(() => openTexts({ data: prepared(shards), ...tiny })).toThrow(/source memo has no 64 tokens in one shard/);
  });
});
