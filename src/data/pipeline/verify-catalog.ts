/** @file Checks what a prepared catalog says of its files against their bytes. */
import type { Catalog, CatalogShard } from '../catalog.ts';
import { DataError } from '../errors.ts';
import { readCatalogFile } from '../prepared.ts';
import { decodeShard } from '../shards.ts';
import { Tokenizer } from '../tokenizer.ts';

/** @throws DataError */
export function checkTokenizer(dir: string, catalog: Catalog): void {
  const text = (entry: Catalog['tokenizer']): string =>
    Buffer.from(readCatalogFile(dir, catalog, entry)).toString('utf8');
  const tokenizer = new Tokenizer(text(catalog.tokenizer), text(catalog.tokenizerConfig));
  const { vocabSize, endOfText } = tokenizer;
  if (vocabSize !== catalog.vocabSize || endOfText !== catalog.endOfText)
    throw new DataError(
      'DAMAGED',
      `the catalog says ${catalog.vocabSize} tokens and end of text ${catalog.endOfText}, its tokenizer ${vocabSize} and ${endOfText}`,
    );
}

/** Hash, size, ids, documents, and that a shard which is not its source's last one is full. @throws DataError */
export function checkShard(dir: string, catalog: Catalog, shard: CatalogShard): void {
  const ids = decodeShard(readCatalogFile(dir, catalog, shard), shard, catalog.vocabSize);
  let ends = 0;
  for (let i = 0; i < ids.length; i++) if (ids[i] === catalog.endOfText) ends++;
  const { file, documents = ends, source, stage, licence } = shard;
  if (ends !== documents)
    throw new DataError('DAMAGED', `${file}: ${ends} documents end in it, the catalog says ${documents}`);
  if (catalog.shardTokens === undefined) return;
  const last = catalog.shards.findLast(
    (each) => each.source === source && each.stage === stage && each.licence === licence,
  );
  if (last !== shard && ids.length !== catalog.shardTokens)
    throw new DataError(
      'DAMAGED',
      `${file}: ${ids.length} tokens, and only the last shard may have fewer than ${catalog.shardTokens}`,
    );
}
