/** @file The fold and the check that a page makes of a record agree on who may sign what. */
import { expect, it } from 'vitest';
import { signersOf } from '../protocol/record-check.ts';
import { rules } from './fold.ts';

it('are the same for every kind of event', () => {
  const ofFold = Object.fromEntries(Object.entries(rules).map(([kind, { signers }]) => [kind, [...signers].sort()]));
  const ofCheck = Object.fromEntries(Object.entries(signersOf).map(([kind, signers]) => [kind, [...signers].sort()]));
  expect(ofCheck).toEqual(ofFold);
});
