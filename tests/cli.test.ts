/** @file The command line as an operator meets it: help, mistakes, precedence. Whole commands run in this process. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../src/cli/commands.ts';
import { manifestFields, renderConfigurationDocs } from '../src/cli/configuration-docs.ts';
import { renderCliDocs } from '../src/cli/docs.ts';
import type { Io } from '../src/cli/io.ts';
import { main } from '../src/cli/main.ts';
import { manifestMeanings } from '../src/cli/manifest-meanings.ts';

const root = join(import.meta.dirname, '..');
let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'accrete-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

async function run(argv: readonly string[], environment: Record<string, string> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const io: Io = {
    out: (line) => void out.push(line),
    write: (text) => void out.push(text),
    err: (line) => void err.push(line),
    terminal: null,
    environment,
    cwd,
    stop: new AbortController().signal,
    force: new AbortController().signal,
  };
  const exitCode = await main(argv, io);
  return { exitCode, out: out.join('\n'), err: err.join('\n') };
}

describe('help', () => {
  it('lists every command', async () => {
    const { exitCode, out } = await run(['--help']);
    expect(exitCode).toBe(0);
    for (const { name } of commands) expect(out).toContain(name.split(' ')[0]);
  });

  it('has an example and every option for every command', async () => {
    for (const command of commands) {
      const { exitCode, out } = await run([...command.name.split(' '), '--help']);
      expect(exitCode, command.name).toBe(0);
      expect(out, command.name).toContain(command.example);
      for (const option of command.options) expect(out, command.name).toContain(`--${option.name}`);
    }
  });

  it('declares only examples that parse', async () => {
    for (const command of commands) {
      const words = command.example
        .replace('./bin/accrete ', '')
        .replace(/"[^"]*"/g, 'TEXT')
        .split(' ');
      const { err, out } = await run([...words, '--help']);
      expect(err + out, command.name).toContain('Usage:');
      for (const flag of words.filter((word) => word.startsWith('--'))) {
        expect(
          command.options.map((option) => `--${option.name}`),
          command.name,
        ).toContain(flag);
      }
    }
  });

  it('is the text that docs/cli.md was generated from', () => {
    expect(readFileSync(join(root, 'docs/cli.md'), 'utf8')).toBe(renderCliDocs(commands));
  });
});

describe('docs/configuration.md', () => {
  it('is what declarations and schema say', () => {
    expect(readFileSync(join(root, 'docs/configuration.md'), 'utf8')).toBe(renderConfigurationDocs(commands));
  });

  it('says what every field of the manifest means, and of no other', () => {
    const fields = [...manifestFields().keys()].map((path) => path.replaceAll('?', ''));
    expect(Object.keys(manifestMeanings).sort()).toEqual(fields.sort());
  });
});

describe('mistakes', () => {
  const mistakes: readonly { argv: readonly string[]; says: readonly string[] }[] = [
    { argv: ['minx'], says: ['unknown command', 'did you mean mine', './bin/accrete --help'] },
    {
      argv: ['mine', '--jion', 'http://x'],
      says: ["unknown option '--jion'", 'did you mean one of --join', 'it takes --join'],
    },
    { argv: ['mine'], says: ['--join URL is missing', 'for example: ./bin/accrete mine --join'] },
    {
      argv: ['up', '--template', 'demo', '--validators', '1', '--dir', 'never'],
      says: ['--validators: the gates of this run need 2 validators, got 1'],
    },
    { argv: ['mine', '--join', 'ftp://x'], says: ['--join: expected URLs like http', "got 'ftp://x'"] },
    { argv: ['up', '--miners', 'many'], says: ['--miners: expected a whole number from 1 to 64', "got 'many'"] },
    { argv: ['up', '--miners', '0'], says: ['--miners: expected a whole number from 1 to 64', "got '0'"] },
    {
      argv: ['up', '--preset', 'huge'],
      says: ['--preset: expected one of tiny, nano, nano-gguf, small', "got 'huge'"],
    },
    { argv: ['up', '--port', '70000'], says: ['--port: expected a whole number from 1 to 65535'] },
    { argv: ['up', '--index', 'mysql://x/y'], says: ['--index: expected postgres://USER@HOST', "or 'sqlite'"] },
    { argv: ['up', '--index', 'postgres://a:b@x/y'], says: ['--index: a password belongs into PGPASSWORD'] },
    { argv: ['model'], says: ['expected one of check, count'] },
    { argv: ['model', 'count'], says: ['expected --config FILE or --preset NAME'] },
    { argv: ['model', 'count', '--config', 'nowhere.json'], says: ['there is no file at', 'config.json'] },
    { argv: ['verify'], says: ["missing required argument 'URL|DIR'"] },
    { argv: ['verify', 'ftp://x'], says: ['expected a URL like http', "got 'ftp://x'"] },
    { argv: ['verify', '.', '--from', 'last'], says: ['--from: expected a whole number', "got 'last'"] },
    { argv: ['verify', '.', '--replay', '-1'], says: ['--replay: expected a whole number'] },
    {
      argv: ['verify', '.', '--shards', 'some'],
      says: ['--shards: expected a whole number of GiB, or all', "got 'some'"],
    },
    { argv: ['status', '--options', 'nowhere.json'], says: ['no file at'] },
    { argv: ['generate', '--checkpoint'], says: ["option '--checkpoint <DIR|URL>' argument missing"] },
  ];

  it('each get a sentence and exit code 2', async () => {
    for (const { argv, says } of mistakes) {
      const { exitCode, err, out } = await run(argv);
      expect(exitCode, argv.join(' ')).toBe(2);
      expect(out, argv.join(' ')).toBe('');
      for (const part of says) expect(err, argv.join(' ')).toContain(part);
      expect(err, argv.join(' ')).not.toMatch(/^\s+at /m);
    }
  });

  it('are JSON with --json', async () => {
    const { exitCode, err } = await run(['up', '--miners', 'many', '--json']);
    expect(exitCode).toBe(2);
    expect(JSON.parse(err)).toMatchObject({ error: { code: 'USAGE' } });
  });

  it('in a config name the field', async () => {
    writeFileSync(join(cwd, 'config.json'), '{"model_type":"llama"}');
    const { exitCode, err } = await run(['model', 'count', '--config', 'config.json']);
    expect(exitCode).toBe(2);
    expect(err).toContain('model_type: expected quasar_long');
  });
});

describe('precedence', () => {
  const count = (extra: readonly string[], environment: Record<string, string> = {}) =>
    run(['model', 'count', '--json', ...extra], environment);

  it('is flag, environment, file, default', async () => {
    writeFileSync(join(cwd, 'accrete.json'), '{"model count":{"preset":"tiny"}}');
    const totals = new Map<string, number>();
    for (const preset of ['tiny', 'nano', 'small']) {
      totals.set(preset, JSON.parse((await count(['--preset', preset])).out).total);
    }
    expect(JSON.parse((await count([])).out).total).toBe(totals.get('tiny'));
    expect(JSON.parse((await count([], { ACCRETE_PRESET: 'nano' })).out).total).toBe(totals.get('nano'));
    expect(JSON.parse((await count(['--preset', 'small'], { ACCRETE_PRESET: 'nano' })).out).total).toBe(
      totals.get('small'),
    );
  });

  it('names where a bad value came from', async () => {
    expect((await count([], { ACCRETE_PRESET: 'huge' })).err).toContain('ACCRETE_PRESET: expected one of');
    writeFileSync(join(cwd, 'accrete.json'), '{"model count":{"prest":"tiny"}}');
    expect((await count([])).err).toContain("'prest' is no option of accrete model count; it knows config, preset");
    writeFileSync(join(cwd, 'accrete.json'), '{');
    expect((await count([])).err).toContain('expected JSON');
  });
});

describe('model count', () => {
  it('counts the real model without allocating it', async () => {
    const { exitCode, out } = await run(['model', 'count', '--preset', 'quasar-preview']);
    expect(exitCode).toBe(0);
    expect(out).toContain('16,553,949,296');
    expect(out).toContain('1,731,278,960');
  });
});

describe('a run of the real model', () => {
  const told = async (...argv: string[]) => {
    const { exitCode, err } = await run([...argv, '--dir', 'run', '--port', '1']);
    expect(exitCode, argv.join(' ')).toBe(2);
    return err;
  };

  it('says what to type next, where it cannot begin so', async () => {
    const bare = await told('orchestrate', '--template', 'quasar-10t');
    expect(bare).toContain('./bin/accrete data add FROM --name web');
    expect(bare).toContain('./bin/accrete orchestrate --template quasar-10t --data .accrete/data');
    expect(await told('orchestrate', '--preset', 'quasar-preview')).toContain(
      'orchestrate --manifest run.json --data DIR',
    );
    const up = await told('up', '--template', 'quasar-10t');
    expect(up).toContain('./bin/accrete run init --template quasar-10t --out run.json');
    expect(up).toContain('./bin/accrete orchestrate --template quasar-10t --data DIR');
    const unprepared = await run(['orchestrate', '--template', 'quasar-10t', '--data', 'text', '--dir', 'run']);
    expect(unprepared.err).toContain('./bin/accrete data prepare --dir');
  });
});
