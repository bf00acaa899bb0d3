/** @file docs/protocol.md names every message and every code that the rules can answer with. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { eventSchemas, verdictCodeSchema, wireSchemas } from '../src/protocol/messages.ts';

const root = new URL('../', import.meta.url);
const text = readFileSync(new URL('docs/protocol.md', root), 'utf8');

describe('docs/protocol.md', () => {
  it('names every message', () => {
    const missing = Object.keys({ ...eventSchemas, ...wireSchemas }).filter(
      (kind) => !new RegExp(`^### .*\\b${kind}\\b|^\\| \`${kind}\``, 'm').test(text),
    );
    expect(missing).toEqual([]);
  });

  it('names every code of rules, openings, verdicts, traces and journals', () => {
    const codes = new Set<string>(verdictCodeSchema.options);
    for (const folder of ['src/journal/', 'src/protocol/', 'src/util/'])
      for (const file of readdirSync(new URL(folder, root))) {
        if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
        const source = readFileSync(new URL(folder + file, root), 'utf8');
        const answers = source.matchAll(/\b(?:reject|ignore|fault|JournalError)\(\s*'([A-Z_]+)'|^ {2}\| '([A-Z_]+)'/gm);
        for (const [, answered, declared] of answers) codes.add((answered ?? declared)!);
      }
    expect(codes.size).toBeGreaterThan(60);
    expect([...codes].filter((code) => !text.includes(`\`${code}\``))).toEqual([]);
  });

  it('names the fields of every body', () => {
    const missing = Object.entries({ ...eventSchemas, ...wireSchemas }).flatMap(([kind, schema]) =>
      Object.keys(schema.shape)
        .filter((field) => !new RegExp(`[{ ,]${field}[},: ]`).test(text))
        .map((field) => `${kind}.${field}`),
    );
    expect(missing).toEqual([]);
  });
});
