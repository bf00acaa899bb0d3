/** @file Does `accrete data check`: reads everything that a prepared catalog names, one shard at a time. */

import { preparedName } from '../../data/catalog.ts';
import { DataError } from '../../data/errors.ts';
import { checkShard, checkTokenizer } from '../../data/pipeline/verify-catalog.ts';
import { loadCatalog } from '../../data/prepared.ts';
import type { Handler } from '../command.ts';
import { formatBytes, formatCount } from '../output.ts';

export const handle: Handler = async (settings, io) => {
  const dir = settings.path('dir');
  const catalog = loadCatalog(dir, preparedName);
  const faults: string[] = [];
  const trying = (check: () => void): void => {
    try {
      check();
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      faults.push(error.message);
    }
  };
  trying(() => checkTokenizer(dir, catalog));
  let [tokens, sizeBytes] = [0, 0];
  for (const shard of catalog.shards) {
    if (io.stop.aborted) return 1;
    trying(() => checkShard(dir, catalog, shard));
    tokens += shard.tokens;
    sizeBytes += shard.artifact.sizeBytes;
  }
  if (settings.switch('json'))
    io.out(JSON.stringify({ dir, shards: catalog.shards.length, tokens, sizeBytes, ok: faults.length === 0, faults }));
  else {
    for (const fault of faults) io.out(`wrong: ${fault}`);
    const what = `${formatCount(catalog.shards.length)} shards, ${formatCount(tokens)} tokens, ${formatBytes(sizeBytes)}`;
    io.out(faults.length === 0 ? `${what}: all as the catalog says` : `${what}: ${faults.length} faults`);
  }
  return faults.length === 0 ? 0 : 1;
};
