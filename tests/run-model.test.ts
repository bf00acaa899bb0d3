/** @file `accrete generate` and `accrete chat` on a small checkpoint, as an operator types them; and `accrete serve` until a signal ends it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findLlamaCpp as findInstalled } from '../bench/llama/install.ts';
import { findLlamaCpp } from '../src/cli/llama-cpp.ts';
import { main } from '../src/cli/main.ts';
import { writeSmallCheckpoint, writeSmallGguf } from './support/small-checkpoint.ts';
import { testIo } from './support/test-io.ts';

let cwd: string;
const children: ChildProcess[] = [];
beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'accrete-run-'));
  await writeSmallCheckpoint(join(cwd, 'small'));
}, 120_000);
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(cwd, { recursive: true });
});

async function accrete(...argv: readonly string[]) {
  const { io, lines, errors } = testIo({ cwd });
  const exitCode = await main([...argv], io);
  return { exitCode, out: lines.join(''), err: errors.join('\n') };
}

/** The real program, with pipes. */
function program(...argv: readonly string[]) {
  const path = join(import.meta.dirname, '..', 'bin', 'accrete');
  const child = spawn(process.execPath, [path, ...argv], { cwd, stdio: 'pipe' });
  children.push(child);
  const said = { out: '', err: '' };
  child.stdout.on('data', (bytes) => void (said.out += bytes));
  child.stderr.on('data', (bytes) => void (said.err += bytes));
  const ended = once(child, 'exit').then(([code, signal]) => ({ code, signal, ...said }));
  return { child, said, ended };
}

const model = ['--checkpoint', 'small', '--threads', '1'];

describe('generate', () => {
  it('continues a prompt, says how fast, and why it ended', async () => {
    const { exitCode, out, err } = await accrete('generate', ...model, '--prompt', 'The', '--max-tokens', '8');
    expect(exitCode, err).toBe(0);
    expect(out.startsWith('The')).toBe(true);
    expect(err).toMatch(/^prompt: \d+ tokens, [\d.]+ a second; answer: \d+ tokens, [\d.]+ a second$/);
    const json = await accrete('generate', ...model, '--prompt', 'The', '--max-tokens', '8', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ prompt: 'The', text: out.slice(3).trimEnd(), finish: 'length' });
    const again = await accrete('generate', ...model, '--prompt', 'The', '--max-tokens', '8', '--seed', '9');
    expect(again.out).not.toBe(out);
  });

  it('finds the releases of a run', async () => {
    for (const number of [2, 10]) {
      mkdirSync(join(cwd, 'run', 'releases'), { recursive: true });
      cpSync(join(cwd, 'small'), join(cwd, 'run', 'releases', `release-${number}`), { recursive: true });
    }
    writeFileSync(join(cwd, 'run', 'releases', 'release-10', 'tokenizer.json'), 'damaged');
    const argv = ['generate', '--checkpoint', 'run', '--prompt', 'x', '--max-tokens', '1', '--threads', '1'];
    expect((await accrete(...argv)).err).toMatch(/tokenizer\.json/);
    expect((await accrete(...argv, '--release', '2')).exitCode).toBe(0);
    const none = await accrete(...argv, '--release', '3');
    expect({ code: none.exitCode, says: /holds no release 3/.test(none.err) }).toEqual({ code: 2, says: true });
  });

  it('refuses what cannot be done, by name', async () => {
    const cases: readonly [readonly string[], number, RegExp][] = [
      [['generate', '--prompt', 'x'], 2, /say what to run: --checkpoint DIR\|URL .* or --gguf FILE/],
      [['generate', ...model, '--gguf', 'x.gguf', '--prompt', 'x'], 2, /say what to run/],
      [
        ['generate', ...model, '--prompt', 'x', '--max-tokens', '9999'],
        1,
        /context has 512 tokens.*\[CONTEXT_LENGTH_EXCEEDED\]/,
      ],
      [['generate', '--checkpoint', 'nowhere', '--prompt', 'x'], 2, /there is nothing at .*nowhere/],
      [['generate', '--gguf', 'nowhere.gguf', '--prompt', 'x'], 2, /--gguf: there is no file/],
    ];
    for (const [argv, code, sentence] of cases) {
      const { exitCode, err } = await accrete(...argv);
      expect(err).toMatch(sentence);
      expect(exitCode, err).toBe(code);
    }
  });

  it('says what to type where llama.cpp is not installed', () => {
    expect(() => findLlamaCpp(join(cwd, 'llama'))).toThrow(
      expect.objectContaining({
        code: 'LLAMA_NOT_INSTALLED',
        message: expect.stringMatching(/type: node --import tsx scripts\/install-llama\.ts$/),
      }),
    );
  });

  it('ends at Ctrl-C with what it has, and exit code 130', async () => {
    const argv = ['generate', ...model, '--context', '1000000', '--max-tokens', '900000', '--prompt', 'The'];
    const { child, said, ended } = program(...argv);
    while (said.out.length < 200) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill('SIGINT');
    const { code, signal, out, err } = await ended;
    expect({ code, signal }).toEqual({ code: 130, signal: null });
    expect(out.endsWith('\n')).toBe(true);
    expect(err).toMatch(/answer: \d+ tokens/);
  }, 60_000);
});

const llama = findInstalled({ install: false });

describe.skipIf('missing' in llama)('missing' in llama ? llama.missing : 'a GGUF file on llama.cpp', () => {
  it('gives the same greedy text as on the own engine, and chats by the template in the file', async () => {
    await writeSmallGguf(join(cwd, 'small.gguf'));
    const argv = ['--prompt', 'The people', '--max-tokens', '12', '--temperature', '0', '--threads', '1'];
    const own = await accrete('generate', '--checkpoint', 'small.gguf', ...argv);
    expect(own.exitCode, own.err).toBe(0);
    const theirs = await accrete('generate', '--gguf', 'small.gguf', ...argv);
    expect(theirs.out, theirs.err).toBe(own.out);
    const { child, ended } = program('chat', '--gguf', 'small.gguf', '--max-tokens', '4', '--threads', '1', '--json');
    child.stdin!.end('Who?\nWhy?\n');
    const { code, out, err } = await ended;
    expect(code, err).toBe(0);
    const [first, second] = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(second.promptTokens).toBeGreaterThan(first.promptTokens);
  }, 120_000);
});

describe('chat', () => {
  it('holds a conversation by the template, one line a turn', async () => {
    const { child, ended } = program('chat', ...model, '--system', 'Be brief.', '--max-tokens', '8', '--json');
    child.stdin!.end('Who?\nWhy?\n/reset\nWho?\n/exit\nnever\n');
    const { code, out, err } = await ended;
    expect(code, err).toBe(0);
    const answers = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers.map(({ role }) => role)).toEqual(['assistant', 'assistant', 'assistant']);
    // The history is in the second prompt, and gone from the third, whose answer is the first one's.
    expect(answers[1].promptTokens).toBeGreaterThan(answers[0].promptTokens + 10);
    expect(answers[2]).toMatchObject({ content: answers[0].content, promptTokens: answers[0].promptTokens });
  }, 60_000);

  it('forgets the oldest turns when the context is full, and refuses a line that is too long', async () => {
    const { child, ended } = program('chat', ...model, '--context', '80', '--max-tokens', '8', '--seed', '4');
    child.stdin!.end(`one\ntwo\nthree\nfour\n${'x y '.repeat(100)}\nfive\n`);
    const { code, err } = await ended;
    expect(code, err).toBe(0);
    expect(err).toMatch(/the context is full: the \d oldest messages are forgotten/);
    expect(err).toMatch(/the context has 80 tokens; the prompt has \d+/);
    expect(err.match(/answer: /g)).toHaveLength(5);
  }, 60_000);

  it('needs a chat template', async () => {
    cpSync(join(cwd, 'small'), join(cwd, 'plain'), { recursive: true });
    const path = join(cwd, 'plain', 'tokenizer_config.json');
    const { chat_template: _, ...rest } = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify(rest));
    const { exitCode, err } = await accrete('chat', '--checkpoint', 'plain');
    expect({ exitCode, says: /plain has no chat template.*\[NO_CHAT_TEMPLATE\]/.test(err) }).toEqual({
      ...{ exitCode: 1, says: true },
    });
  });

  it('ends at a signal in the middle of an answer with exit code 130', async () => {
    const { child, said, ended } = program('chat', ...model, '--context', '1000000', '--max-tokens', '400000');
    child.stdin!.write('Tell me all\n');
    while (said.out.length < 100) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill('SIGINT');
    const { code, signal, err } = await ended;
    expect({ code, signal }).toEqual({ code: 130, signal: null });
    expect(err).toMatch(/interrupted\)/);
  }, 60_000);
});

describe('serve', () => {
  it('serves a checkpoint under a name until a signal comes', async () => {
    const { child, ended } = program('serve', ...model, '--name', 'mine', '--port', '0', '--json');
    const [line] = await once(createInterface({ input: child.stdout! }), 'line');
    const { url, model: name } = JSON.parse(line);
    expect(name).toBe('mine');
    const asked = { model: 'mine', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 };
    const answer = await fetch(`${url}/v1/chat/completions`, {
      ...{ method: 'POST', body: JSON.stringify(asked), headers: { 'content-type': 'application/json' } },
    });
    expect(await answer.json()).toMatchObject({ model: 'mine', choices: [{ message: { role: 'assistant' } }] });
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
  }, 60_000);
});
