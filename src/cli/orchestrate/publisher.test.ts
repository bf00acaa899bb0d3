/** @file Publishing beside a run, with real processes: in order, one at a time, never a fault of the run; what failed comes first. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Log } from '../../util/clock.ts';
import { ReleasePublisher } from './publisher.ts';

let dir: string;
let told: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'accrete-publisher-'));
  told = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

const note =
  (level: string) =>
  (message: string, fields: Readonly<Record<string, unknown>> = {}) =>
    void told.push({ level, message, fields });
const log = { error: note('error'), warn: note('warn'), info: note('info'), debug: () => {} } as unknown as Log;

/** A program that notes its arguments, and does what a file says. */
function publisher(script: string, graceMs = 60_000): ReleasePublisher {
  const program = join(dir, 'program.mjs');
  writeFileSync(
    program,
    `import { appendFileSync, existsSync } from 'node:fs';
     const [, , ...args] = process.argv;
     const isSupervised = process.env.ACCRETE_SUPERVISED !== undefined;
     appendFileSync(${JSON.stringify(join(dir, 'calls'))}, JSON.stringify({ args, isSupervised }) + '\\n');
     const folder = args[2];
     ${script}`,
  );
  return new ReleasePublisher({ program: [program], publishArguments: ['--to', 'hf://a/b'], log, graceMs });
}

const calls = () =>
  readFileSync(join(dir, 'calls'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { args: string[]; isSupervised: boolean });

function folder(name: string): string {
  mkdirSync(join(dir, name), { recursive: true });
  return join(dir, name);
}

const works = `console.log(JSON.stringify({ url: 'http://hub/' + folder, revision: 'abc' }));`;

it('publishes in order, and tells where', async () => {
  process.env.ACCRETE_SUPERVISED = '1';
  try {
    const tested = publisher(works);
    for (const name of ['release-1', 'release-2', 'release-1']) tested.add(folder(name));
    await tested.close();
  } finally {
    delete process.env.ACCRETE_SUPERVISED;
  }
  expect(calls()).toEqual(
    ['release-1', 'release-2'].map((name) => ({
      args: ['publish', '--checkpoint', join(dir, name), '--to', 'hf://a/b', '--json'],
      isSupervised: false,
    })),
  );
  expect(told.map(({ level, message }) => `${level}: ${message}`)).toEqual(Array(2).fill('info: release published'));
  expect(told[0]!.fields).toMatchObject({ url: `http://hub/${join(dir, 'release-1')}`, revision: 'abc' });
});

it('logs what failed in the hub’s words, and tries it again before the next release', async () => {
  const fails = `if (!existsSync(${JSON.stringify(join(dir, 'works'))})) {
    console.error('progress');
    console.error(JSON.stringify({ error: { code: 'HUB_FAILED', sentence: 'the hub failed with status 500' } }));
    process.exit(1);
  }
  ${works}`;
  const tested = publisher(fails);
  tested.add(folder('release-1'));
  await expect.poll(() => told.length, { timeout: 20_000 }).toBe(1);
  expect(told[0]).toMatchObject({
    level: 'error',
    message: 'a release was not published; it is tried again with the next release',
    fields: { folder: join(dir, 'release-1'), reason: 'the hub failed with status 500' },
  });
  writeFileSync(join(dir, 'works'), '');
  tested.add(folder('release-2'));
  await tested.close();
  expect(calls().map(({ args }) => args[2])).toEqual(['release-1', 'release-1', 'release-2'].map((n) => join(dir, n)));
  expect(told.slice(1).map(({ level }) => level)).toEqual(['info', 'info']);
});

it('leaves out a release whose folder is gone', async () => {
  const tested = publisher(works);
  tested.add(join(dir, 'gone'));
  tested.add(folder('release-2'));
  await tested.close();
  expect(calls().map(({ args }) => args[2])).toEqual([join(dir, 'release-2')]);
  expect(told[0]).toMatchObject({ level: 'warn', fields: { folder: join(dir, 'gone') } });
});

it('ends with the run, whatever the hub does', async () => {
  const tested = publisher('setInterval(() => {}, 1000);', 0);
  tested.add(folder('release-1'));
  await tested.close();
  expect(told.map(({ level }) => level)).toEqual(['error', 'warn']);
  expect(told[1]!.fields).toEqual({ folders: [join(dir, 'release-1')] });
});
