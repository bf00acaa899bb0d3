/** @file What counts as the beginning of a claim's id. (Finding the claim: appeal.test.ts, on a real run.) */
import { expect, it } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { parseClaimId } from './claim-id.ts';
import { Settings } from './settings.ts';

const typed = (argument: string | null): string => parseClaimId(new Settings(new Map(), { argument, cwd: '/' }));

it('takes 8 to 64 hex digits in either case, and nothing else', () => {
  expect(typed('3F9C0A1B')).toBe('3f9c0a1b');
  expect(typed('ab'.repeat(32))).toBe('ab'.repeat(32));
  for (const wrong of [null, '', '3f9c0a1', 'ab'.repeat(33), '3f9c0a1g', ' 3f9c0a1b', '3f9c0a1b\n'])
    expect(() => typed(wrong), JSON.stringify(wrong)).toThrow(UsageError);
  expect(() => typed(null)).toThrow(/got nothing/);
});
