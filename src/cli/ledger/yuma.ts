/** @file Does `accrete ledger yuma`: reads the file with bounds, runs each vector, prints one line each. */
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { checkVector, deviationOf, type VectorReport, vectorFileSchema } from '../../ledger/yuma/vectors.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { formatTable } from '../table.ts';

const maxFileBytes = 64 << 20;
const shownBeyond = 10;

export const handle: Handler = async (settings, io) => {
  const path = settings.argumentPath();
  const reports = (await readVectors(path)).map(checkVector);
  const failed = reports.filter(({ beyond }) => beyond.length > 0).length;
  if (settings.switch('json')) for (const report of reports) io.out(JSON.stringify(report));
  else {
    for (const line of describe(reports)) io.out(line);
    io.out(failed === 0 ? `all ${reports.length} vectors hold` : `${failed} of ${reports.length} vectors do not hold`);
  }
  return failed === 0 ? 0 : 1;
};

/** @throws UsageError that names the field */
async function readVectors(path: string) {
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile()) throw new UsageError(`there is no file at ${path}; give a file of Yuma vectors`);
  if (info.size > maxFileBytes)
    throw new UsageError(`${path}: expected at most 64 MiB of vectors, got ${info.size} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${path}: expected JSON (${(cause as Error).message})`, { cause });
  }
  const parsed = vectorFileSchema.safeParse(json);
  if (parsed.success) return parsed.data.vectors;
  const faults = z.prettifyError(parsed.error).slice(0, 800);
  throw new UsageError(
    `${path} is no file of Yuma vectors; compare it with tests/vectors/ledger/yuma.json:\n${faults}`,
  );
}

function describe(reports: readonly VectorReport[]): string[] {
  const rows = reports.map(({ id, compared, largest, beyond }) => [
    id,
    String(compared),
    largest === null ? '0' : deviationOf(largest).toPrecision(3).replace(/\.00$/, ''),
    largest === null || deviationOf(largest) === 0 ? '' : largest.what,
    beyond.length === 0 ? 'holds' : `${beyond.length} BEYOND`,
  ]);
  return [
    ...formatTable(['vector', '>numbers', '>largest deviation', 'at', ''], rows),
    ...reports.flatMap(({ id, beyond }) => [
      ...beyond
        .slice(0, shownBeyond)
        .map(
          ({ what, expected, found, tolerance }) =>
            `${id}: ${what}: expected ${expected}, got ${found} (tolerance ${tolerance})`,
        ),
      ...(beyond.length > shownBeyond ? [`${id}: and ${beyond.length - shownBeyond} more; --json lists all`] : []),
    ]),
  ];
}
