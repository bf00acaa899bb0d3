/** @file Files that operators hand to commands: read with bounds, refused with a sentence. */
import { readFile, stat } from 'node:fs/promises';
import { parseConfig, type QuasarLongConfig } from '../model/quasar-long/config.ts';
import { UsageError } from '../util/errors.ts';

const maxConfigBytes = 1 << 20;

/** Reads a `config.json`; a missing file or a config that this program does not implement is the operator's mistake. */
export async function readConfigFile(path: string): Promise<QuasarLongConfig> {
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile())
    throw new UsageError(`there is no file at ${path}; give the path of a config.json`);
  if (info.size > maxConfigBytes)
    throw new UsageError(`${path}: expected a config of at most 1 MiB, got ${info.size} bytes`);
  let fields: unknown;
  try {
    fields = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`${path}: expected JSON (${(error as Error).message})`, { cause: error });
  }
  try {
    return parseConfig(fields);
  } catch (error) {
    throw new UsageError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
