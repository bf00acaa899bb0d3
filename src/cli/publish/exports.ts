/**
 * @file Exports that are published beside a checkpoint: written into a folder of their own, kept there until the release is
 * published, so that a publishing that is given again does not write them again.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { PublishedExport } from '../../publish/card.ts';
import type { PublishFile } from '../../publish/port.ts';
import type { OpenSource } from '../export/source.ts';
import type { ExportCommandOptions, ExportRun, ExportTarget } from '../export/targets.ts';
import { toGguf } from '../export/to-gguf.ts';
import { toMlx } from '../export/to-mlx.ts';
import type { PublishCommandOptions, WantedExport } from './options.ts';

export interface WrittenExports {
  readonly exports: readonly PublishedExport[];
  readonly files: readonly PublishFile[];
}

const fieldsSchema = z.record(z.string(), z.union([z.string(), z.number()]));

/** `stage`: a folder of this release alone; made if needed. */
export async function writeExports(
  options: PublishCommandOptions,
  source: OpenSource,
  { stage, name, run }: { readonly stage: string; readonly name: string; readonly run: ExportRun },
): Promise<WrittenExports> {
  const exports: PublishedExport[] = [];
  const files: PublishFile[] = [];
  const isHybrid = source.view.config.hybrid_attention_layers.length > 0;
  for (const wanted of options.exports) {
    const path = pathOf(wanted, name, isHybrid);
    const out = join(stage, path);
    await mkdir(join(out, '..'), { recursive: true });
    const fields = await written(out, async () => {
      run.say(`writing ${path}`);
      const target: ExportTarget = wanted.kind === 'gguf' ? toGguf : toMlx;
      return (await target(exportOptions(options, wanted, { out, name }), source, run)).fields;
    });
    exports.push(describe(wanted, path, fields, isHybrid));
    const folder = wanted.kind === 'gguf' ? path.slice(0, path.lastIndexOf('/')) : path;
    const stem = path.replace(/\.gguf$/, '');
    for (const file of (await readdir(join(stage, folder))).sort()) {
      const inside = `${folder}/${file}`;
      if (inside.endsWith(doneSuffix) || (wanted.kind === 'gguf' && !inside.startsWith(`${stem}.`))) continue;
      files.push({ path: inside, from: { file: join(stage, inside) } });
    }
  }
  return { exports, files };
}

const doneSuffix = '.export.json';

/** What `write` told, from now or from the time when it was done. */
async function written(
  out: string,
  write: () => Promise<Readonly<Record<string, string | number>>>,
): Promise<Readonly<Record<string, string | number>>> {
  const done = `${out}${doneSuffix}`;
  if (existsSync(done) && existsSync(out)) return fieldsSchema.parse(JSON.parse(readFileSync(done, 'utf8')));
  // Whole, but nothing is known of it: it is written again.
  await rm(out, { recursive: true, force: true });
  const stem = out.replace(/\.gguf$/, '');
  for (const beside of [`${stem}.Modelfile`, `${stem}.md`]) await rm(beside, { force: true });
  const fields = await write();
  await writeFile(done, JSON.stringify(fields));
  return fields;
}

function pathOf({ kind, type }: WantedExport, name: string, isHybrid: boolean): string {
  if (kind === 'mlx') return /^\d$/.test(type) ? `mlx-${type}bit` : `mlx-${type.toLowerCase()}`;
  return `gguf/${name}-${type}${isHybrid ? '-backbone' : ''}.gguf`;
}

function exportOptions(
  { checkpoint, heldOut, maxGap, threads }: PublishCommandOptions,
  { kind, type }: WantedExport,
  { out, name }: { readonly out: string; readonly name: string },
): ExportCommandOptions {
  const bits = kind === 'mlx' && /^\d$/.test(type) ? (Number(type) as 4 | 8) : null;
  return {
    ...{ checkpoint, to: kind, out, type: bits === null ? type : null, bits, group: 64, layout: null },
    ...{ maxShardBytes: 5e9, context: null, name, heldOut, maxGap, threads },
  };
}

function describe(
  { kind, type }: WantedExport,
  path: string,
  { kl, lossGap }: Readonly<Record<string, string | number>>,
  isHybrid: boolean,
): PublishedExport {
  const shown = kind === 'mlx' && /^\d$/.test(type) ? `${type} bits` : type;
  if (kind === 'mlx') return { kind, path, type: shown, ...(isHybrid ? { needsTrust: true } : {}) };
  const gap = typeof kl === 'number' && typeof lossGap === 'number' ? { backbone: { kl, lossGap } } : {};
  return { kind, path, type: shown, ...gap };
}
