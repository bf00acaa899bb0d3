/** @file Declares `accrete data …`: sources of text, prepared into a catalog of shards that a run trains on. */
import type { CommandDeclaration, OptionDeclaration } from '../command.ts';

const dir: OptionDeclaration = {
  name: 'dir',
  value: 'DIR',
  description: 'the data folder: sources.json, downloads, work, and the prepared catalog',
  default: '.accrete/data',
};

export const dataAdd: CommandDeclaration = {
  name: 'data add',
  description:
    'Add a source of text: a file or folder, an http(s) URL, or a data set hf://datasets/OWNER/NAME[@REVISION][/PATH or pattern] (environment: HF_ENDPOINT, HF_TOKEN). Text, JSON lines and Parquet; gzip and Zstandard. See docs/data.md.',
  argument: { name: 'from', description: 'path, URL or hf://datasets/…' },
  options: [
    dir,
    { name: 'name', value: 'NAME', description: "the source's name in mixtures: a-z, 0-9 and -", required: true },
    { name: 'licence', value: 'TEXT', description: "licence of all documents; a data set's card may say it" },
    { name: 'licence-field', value: 'NAME', description: "field that has each document's licence" },
    {
      name: 'format',
      value: 'NAME',
      description: 'format, where the name does not tell',
      choices: ['text', 'jsonl', 'parquet'],
    },
    {
      name: 'unit',
      value: 'NAME',
      description: 'what a document of a text file is; paragraphs lie between empty lines',
      default: 'file',
      choices: ['file', 'paragraph', 'line'],
    },
    { name: 'text-field', value: 'NAME', description: 'field or column that holds the text', default: 'text' },
    { name: 'language', value: 'CODE', description: 'language of all documents, for the language filter' },
    { name: 'language-field', value: 'NAME', description: "field that has each document's language" },
    {
      name: 'stage',
      value: 'NAME',
      description: 'held-out-other: a source that is never trained on',
      default: 'train',
      choices: ['train', 'held-out-other'],
    },
    { name: 'held-out-every', value: 'N', description: 'one document in N is held out; 0: none', default: '100' },
    { name: 'share', value: 'N', description: "whole share in a run's mixture", default: '1' },
    { name: 'about', value: 'TEXT', description: 'a few words for people' },
    { name: 'replace', description: 'replace the source of that name' },
  ],
  example: './bin/accrete data add docs --name handbook --licence Apache-2.0 --dir .accrete/data',
  load: () => import('./add.ts'),
};

export const dataPrepare: CommandDeclaration = {
  name: 'data prepare',
  description:
    'Fetch, filter, deduplicate and tokenise the sources into a catalog of shards, with a report of what was dropped and why. Stopped or killed, the same command goes on; the catalog is the same byte for byte.',
  options: [
    dir,
    {
      name: 'tokenizer',
      value: 'NAME',
      description: 'tiny, nano or small, or a folder with tokenizer.json and tokenizer_config.json',
      default: 'nano',
    },
    {
      name: 'filters',
      value: 'LIST',
      description:
        'filters and their bounds, separated by commas, e.g. length:min=20,symbols,repetition,stop-words,language:any=en+de; none: none',
      default: 'length,symbols,repetition',
    },
    {
      name: 'filter-module',
      value: 'FILE',
      description: 'JavaScript module with filters of your own; see docs/data.md',
    },
    {
      name: 'evaluation',
      value: 'LIST',
      description:
        'NAME=FILE,…: task files (JSON lines) or texts; documents that share 13 words in a row with them are dropped',
    },
    { name: 'keep-near-copies', description: 'drop exact copies only' },
    { name: 'shard-tokens', value: 'N', description: 'tokens of a shard, a multiple of 1024', default: '16777216' },
    { name: 'threads', value: 'N', description: 'tokenising threads; 0: all cores', default: '0' },
    { name: 'max-document-bytes', value: 'N', description: 'longest document or line', default: '16777216' },
    { name: 'max-file-gib', value: 'N', description: 'largest file that is downloaded', default: '1024' },
    { name: 'memory-mib', value: 'N', description: 'memory for the hashes of all documents', default: '2048' },
    {
      name: 'forget-oldest',
      description: 'when that memory is full go on, and find copies among the newest documents only',
    },
    { name: 'skip-bad-records', description: 'leave out records that cannot be read, and count them' },
    { name: 'remove-work', description: 'remove intermediate files at the end; adding a source then does all again' },
  ],
  example: './bin/accrete data prepare --dir .accrete/data --tokenizer nano',
  load: () => import('./prepare.ts'),
};

export const dataCatalog: CommandDeclaration = {
  name: 'data catalog',
  description: 'Show a prepared catalog: shards, documents and tokens by source, stage and licence.',
  options: [
    dir,
    { name: 'seq-len', value: 'T', description: 'tokens of a sequence: counts whole sequences', default: '4096' },
    { name: 'report', description: 'print what the preparation dropped, and why, too' },
  ],
  example: './bin/accrete data catalog --dir .accrete/data',
  load: () => import('./catalog.ts'),
};

export const dataCheck: CommandDeclaration = {
  name: 'data check',
  description:
    'Read every shard of a prepared catalog: hashes, ids, documents, sizes. Exit code 1 if anything is wrong.',
  options: [dir],
  example: './bin/accrete data check --dir .accrete/data',
  load: () => import('./check.ts'),
};
