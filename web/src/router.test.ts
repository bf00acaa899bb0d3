/** @file Patterns of addresses. */
import { describe, expect, it } from 'vitest';
import { matchPath } from './router.ts';

describe('matchPath', () => {
  it('takes parameters out of an address', () => {
    expect(matchPath('miners/:hotkey', 'miners/5Fabc')).toEqual({ hotkey: '5Fabc' });
    expect(matchPath('', '')).toEqual({});
    expect(matchPath('a/:b/c', 'a/x%20y/c')).toEqual({ b: 'x y' });
  });

  it('matches whole addresses only', () => {
    for (const [pattern, actual] of [
      ['miners', 'miners/5F'],
      ['miners/:hotkey', 'miners'],
      ['miners/:hotkey', 'miners/'],
      ['merges', 'miners'],
    ] as const)
      expect(matchPath(pattern, actual), `${pattern} on ${actual}`).toBeNull();
  });

  it('leaves what is not encoded as it is', () => {
    expect(matchPath('miners/:hotkey', 'miners/%zz')).toEqual({ hotkey: '%zz' });
  });
});
