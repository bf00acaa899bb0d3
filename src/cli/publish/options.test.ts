/** @file How a run's `--publish` becomes arguments of `accrete publish`, and what is refused before the run begins. */
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../util/errors.ts';
import { orchestrate } from '../orchestrate/index.ts';
import { Settings, type Value } from '../settings.ts';
import { up } from '../up/index.ts';
import { parseUpOptions } from '../up/options.ts';
import { parsePublishing } from './options.ts';

function settingsOf(command: typeof up, given: Readonly<Record<string, string>>): Settings {
  const values = new Map<string, Value>();
  for (const { name, default: text } of command.options)
    if (text !== undefined) values.set(name, { text, from: 'default' });
  for (const [name, text] of Object.entries(given)) values.set(name, { text, from: `--${name}` });
  return new Settings(values, { argument: null, cwd: '/home/me' });
}

const parse = (given: Readonly<Record<string, string>>, environment: Readonly<Record<string, string>> = {}) =>
  parsePublishing(settingsOf(orchestrate, given), { cwd: '/home/me', environment });

describe('parsePublishing', () => {
  it('gives what accrete publish takes', () => {
    expect(parse({})).toBeNull();
    expect(parse({ publish: 'shelf' })).toEqual(['--to', '/home/me/shelf']);
    expect(parse({ publish: 'hf://a/b', 'publish-with': 'gguf:Q8_0,mlx:4' }, { HF_TOKEN: 'hf_x' })).toEqual([
      ...['--to', 'hf://a/b', '--with', 'gguf:Q8_0,mlx:4'],
    ]);
  });

  it.each<readonly [Readonly<Record<string, string>>, Readonly<Record<string, string>>, string]>([
    [{ publish: 'hf://a/b' }, {}, 'HF_TOKEN is not set'],
    [{ publish: 'hf://a/b' }, { HF_TOKEN: 'x' }, 'begins with hf_'],
    [{ publish: 'hf://a/b' }, { HF_TOKEN: 'hf_x', HF_ENDPOINT: 'ftp://x' }, 'HF_ENDPOINT'],
    [{ publish: 'hf://a' }, { HF_TOKEN: 'hf_x' }, '--publish: expected hf://OWNER/NAME or a folder'],
    [{ publish: 'shelf', 'publish-with': 'onnx:1' }, {}, '--publish-with: expected gguf:TYPE'],
    [{ 'publish-with': 'gguf:F16' }, {}, 'add --publish'],
  ])('refuses %o', (given, environment, sentence) => {
    expect(() => parse(given, environment)).toThrow(UsageError);
    expect(() => parse(given, environment)).toThrow(sentence);
  });

  it('goes from up to the orchestrator as it was typed', () => {
    const { runArguments } = parseUpOptions(settingsOf(up, { publish: 'shelf', 'publish-with': 'mlx:8' }));
    expect(runArguments).toEqual(['--publish', 'shelf', '--publish-with', 'mlx:8']);
  });
});
