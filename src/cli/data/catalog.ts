/** @file Does `accrete data catalog`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Catalog, preparedName } from '../../data/catalog.ts';
import { loadCatalog } from '../../data/prepared.ts';
import type { Handler } from '../command.ts';
import { formatBytes, formatCount } from '../output.ts';
import { formatTable } from '../table.ts';

export interface CatalogRow {
  readonly source: string;
  readonly stage: string;
  readonly licence: string;
  readonly shards: number;
  readonly documents: number;
  readonly tokens: number;
  readonly sizeBytes: number;
  /** Whole ones; the rest of each shard is not read. */
  readonly sequences: number;
  readonly unusedTokens: number;
}

export const handle: Handler = async (settings, io) => {
  const dir = settings.path('dir');
  const length = settings.count('seq-len', { min: 2, max: 1 << 20 });
  const catalog = loadCatalog(dir, preparedName);
  const rows = rowsOf(catalog, length);
  if (settings.switch('json')) {
    const { mixture, vocabSize, shardTokens } = catalog;
    io.out(JSON.stringify({ dir, vocabSize, shardTokens, mixture, sequenceLength: length, rows }));
    return 0;
  }
  const cells = rows.map((row) => [
    ...[row.source, row.stage, row.licence],
    ...[row.shards, row.documents, row.tokens].map(formatCount),
    formatBytes(row.sizeBytes),
    formatCount(row.sequences),
    `${((100 * row.unusedTokens) / row.tokens).toFixed(2)} %`,
  ]);
  const head = ['source', 'stage', 'licence', 'shards', 'documents', 'tokens', 'size', `x ${length}`, 'unused'];
  for (const line of formatTable(['', '', '', '>', '>', '>', '>', '>', '>'], [head, ...cells])) io.out(line);
  io.out(
    `mixture: ${Object.entries(catalog.mixture)
      .map(([source, share]) => `${source} ${share}`)
      .join(', ')}`,
  );
  if (settings.switch('report'))
    io.out(`\n${(await readFile(join(dir, preparedName, 'report.txt'), 'utf8')).trimEnd()}`);
  return 0;
};

export function rowsOf({ shards }: Catalog, length: number): readonly CatalogRow[] {
  const rows = new Map<string, CatalogRow>();
  for (const { source, stage, licence, tokens, documents = 0, artifact } of shards) {
    const key = JSON.stringify([source, stage, licence]);
    const before = rows.get(key) ?? {
      ...{ source, stage, licence, shards: 0, documents: 0, tokens: 0, sizeBytes: 0, sequences: 0, unusedTokens: 0 },
    };
    rows.set(key, {
      ...{ source, stage, licence, shards: before.shards + 1, documents: before.documents + documents },
      ...{ tokens: before.tokens + tokens, sizeBytes: before.sizeBytes + artifact.sizeBytes },
      sequences: before.sequences + Math.floor(tokens / length),
      unusedTokens: before.unusedTokens + (tokens % length),
    });
  }
  return [...rows.values()];
}
