/** @file The options of `accrete eval needle`: lists are sorted and without repeats; what is no length or depth is refused by name. */
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../util/errors.ts';
import { Settings, type Value } from '../settings.ts';
import { evalNeedle } from './index.ts';
import { parseEvalNeedleOptions } from './options.ts';

function parse(given: Readonly<Record<string, string>>) {
  const values = new Map<string, Value>();
  for (const option of evalNeedle.options)
    if (option.default !== undefined) values.set(option.name, { text: option.default, from: 'default' });
  for (const [name, text] of Object.entries(given)) values.set(name, { text, from: `--${name}` });
  return parseEvalNeedleOptions(new Settings(values, { argument: null, cwd: '/' }));
}

describe('parseEvalNeedleOptions', () => {
  it('takes long lengths, sorts and drops repeats', () => {
    const options = parse({ checkpoint: 'c', lengths: '16384, 1024,4096,1024', depths: '1,0.5,0' });
    expect(options).toMatchObject({ checkpoint: '/c', lengths: [1024, 4096, 16384], depths: [0, 0.5, 1], samples: 5 });
  });

  it.each([
    ['lengths', '0'],
    ['lengths', '1.5'],
    ['lengths', '1e3'],
    ['lengths', '2000000'],
    ['lengths', '256,,512'],
    ['lengths', Array.from({ length: 101 }, (_, i) => i + 1).join(',')],
    ['depths', '1.01'],
    ['depths', '-0.1'],
    ['depths', 'half'],
    ['samples', '0'],
    ['seed', '-1'],
  ])('refuses --%s %s', (name, text) => {
    expect(() => parse({ checkpoint: 'c', [name]: text })).toThrow(UsageError);
    expect(() => parse({ checkpoint: 'c', [name]: text })).toThrow(`--${name}`);
  });
});
