/** @file The fold and the check that a page makes of a record agree on who may sign what. */
import { expect, it } from 'vitest';
import { signersOf } from '../protocol/record-check.ts';
import { hotkeyKinds } from '../protocol/signing.ts';
import { rules } from './fold.ts';

it('are the same for every kind of event', () => {
  const ofFold = Object.fromEntries(Object.entries(rules).map(([kind, { signers }]) => [kind, [...signers].sort()]));
  const ofCheck = Object.fromEntries(Object.entries(signersOf).map(([kind, signers]) => [kind, [...signers].sort()]));
  expect(ofCheck).toEqual(ofFold);
});

it('messages that hotkeys sign are those of the rules that ask for one', () => {
  const ofHotkeys = Object.entries(rules).filter(([, { signers }]) => signers.includes('hotkey'));
  expect(ofHotkeys.map(([kind]) => kind).sort()).toEqual([...hotkeyKinds].sort());
});
