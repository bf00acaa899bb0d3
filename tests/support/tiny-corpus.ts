/** @file A corpus of seeded numbers for runs of preset `tiny`: form and hashes are real, the text is not. */
import type { Catalog } from '../../src/data/catalog.ts';
import { encodeShard } from '../../src/data/shards.ts';
import { presetConfig } from '../../src/model/quasar-long/presets.ts';
import { artifactOf } from '../../src/protocol/artifact.ts';
import type { Shard } from '../../src/protocol/manifest.ts';
import { utf8 } from '../../src/util/bytes.ts';
import { Rng } from '../../src/util/rng.ts';

const vocabSize = 64;
const endOfText = 62;
const documentTokens = 200;

/** Of somebody else's checkpoint that fits the corpus. */
export const tinyCheckpointConfig = () =>
  presetConfig('tiny', {
    vocab_size: vocabSize,
    eos_token_id: endOfText,
    pad_token_id: endOfText,
    bos_token_id: endOfText + 1,
  });

interface TinyCorpus {
  readonly catalog: Catalog;
  readonly readFile: (entry: { readonly file: string }) => Uint8Array;
}

let made: TinyCorpus | null = null;

/** Made once a process; each caller has copies of its own, which it may spoil. */
export function tinyCorpus(): TinyCorpus {
  made ??= makeTinyCorpus();
  const { catalog, readFile } = made;
  return { catalog: structuredClone(catalog), readFile: (entry) => readFile(entry).slice() };
}

function makeTinyCorpus(): TinyCorpus {
  const files = new Map<string, Uint8Array>();
  const file = (name: string, bytes: Uint8Array) => {
    files.set(name, bytes);
    return { file: name, artifact: artifactOf(bytes) };
  };
  const shard = (source: string, stage: Shard['stage'], tokens: number) => {
    const rng = new Rng(`${source} ${stage}`);
    const ids = Array.from({ length: tokens }, (_, i) =>
      i % documentTokens === documentTokens - 1 ? endOfText : rng.below(endOfText),
    );
    const entry = file(`${source}-${stage}.tokens`, encodeShard(ids, vocabSize));
    return { ...entry, source, stage, tokens, licence: 'CC0-1.0', about: 'seeded numbers' };
  };
  const catalog: Catalog = {
    version: 1,
    preset: 'tiny',
    vocabSize,
    endOfText,
    tokenizer: file('tokenizer.json', utf8('{"version":"1.0"}')),
    tokenizerConfig: file('tokenizer_config.json', utf8('{}')),
    mixture: { numbers: 1 },
    shards: [
      shard('numbers', 'train', 640_000),
      shard('numbers', 'held-out', 20_000),
      shard('others', 'held-out-other', 20_000),
    ],
  };
  return { catalog, readFile: ({ file: name }) => files.get(name)! };
}
