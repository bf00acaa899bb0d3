/**
 * @file Node's module hooks for our sources: an import that ends in `.ts` is that file, without its types. What esbuild makes of a
 * file is kept under the hash of its text in `node_modules/.cache/accrete`; where that cannot be written, files are made anew.
 * It looks for nothing: no other endings, no `paths`, no CommonJS; tests and tools that want those run under tsx.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { threadId } from 'node:worker_threads';

const require = createRequire(import.meta.url);
const { version } = require('esbuild/package.json');
const options = { loader: 'ts', format: 'esm', target: 'node20', sourcemap: 'inline', sourcesContent: false };
const folder = new URL('../../node_modules/.cache/accrete/', import.meta.url);

/** Half the time of a start went to looking for files whose names were written out. */
export function resolve(specifier, context, next) {
  if (context.parentURL === undefined || !/^\.\.?\/.*\.ts$/.test(specifier)) return next(specifier, context);
  return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true };
}

export function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context);
  const path = fileURLToPath(url);
  return { format: 'module', source: compile(path, readFileSync(path, 'utf8')), shortCircuit: true };
}

/** The path is in the key for its place in the source map. */
function compile(path, text) {
  const key = createHash('sha256').update(JSON.stringify([version, options, path, text])).digest('hex');
  const kept = new URL(`${key}.js`, folder);
  try {
    return readFileSync(kept, 'utf8');
  } catch {
    const { code } = require('esbuild').transformSync(text, { ...options, sourcefile: path });
    keep(kept, code);
    return code;
  }
}

/** Whole or not at all: other processes start at the same time. */
function keep(place, code) {
  const part = new URL(`${place.href}.${process.pid}-${threadId}.part`);
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(part, code);
    renameSync(part, place);
  } catch {
    rmSync(part, { force: true }); // a folder that only others may write: it starts a little slower
  }
}
