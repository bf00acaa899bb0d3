/** @file Checks of a journal's bytes: a good one passes; each falsification stops at its own entry and step. */
import { beforeAll, describe, expect, it } from 'vitest';
import { makeLargeJournal } from '../../tests/support/large-journal.ts';
import { chainAgain } from '../../tests/support/tampering.ts';
import { nativeEquation } from '../cli/native-ed25519.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import { hashWith } from './hash.ts';
import type { JournalEntry } from './messages.ts';
import { RecordCheck, type RecordFault } from './record-check.ts';

// As in a browser.
hashWith(null);

let entries: readonly JournalEntry[];
const faultOf = (lines: readonly string[]): RecordFault | null => {
  const check = new RecordCheck({ equation: nativeEquation });
  for (const line of lines) {
    const fault = check.add(line);
    if (fault !== null) return fault;
  }
  return null;
};
const textOf = (of: readonly JournalEntry[]): string[] => of.map((entry) => canonicalJson(entry));

beforeAll(() => {
  ({ entries } = makeLargeJournal({ events: 600, miners: 16 }));
}, 120_000);

describe('a record', () => {
  it('passes as it is, with every signature and head counted', () => {
    const check = new RecordCheck({ equation: nativeEquation });
    for (const line of textOf(entries)) expect(check.add(line)).toBeNull();
    const { counts } = check;
    expect(counts.entries).toBe(entries.length);
    expect(counts.sessionSignatures + counts.hotkeySignatures).toBe(entries.length);
    expect(counts.treeHeads).toBe(entries.filter(({ message }) => message.kind === 'tree-head').length);
  });

  it('stops at the entry that was changed', () => {
    const at = entries.findIndex(({ message }) => message.kind === 'claim-commit');
    const lines = textOf(entries);
    const entry = entries[at]!;
    const signature = entry.message.signature.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
    const forged = { ...entry, message: { ...entry.message, signature } };
    expect(faultOf(textOf(chainAgain(entries.with(at, forged), at)))).toMatchObject({ step: 'signatures', seq: at });
    expect(faultOf(lines.toSpliced(at, 1))).toMatchObject({ step: 'journal', seq: at });
    expect(faultOf(lines.with(at, lines[at + 1]!).with(at + 1, lines[at]!))).toMatchObject({
      step: 'journal',
      seq: at,
    });
    expect(faultOf(lines.with(at, `${lines[at]} `))).toMatchObject({ step: 'journal', seq: at });
    const later = canonicalJson({ ...entry, timeMs: entry.timeMs + 1 });
    expect(faultOf(lines.with(at, later))?.seq).toBe(at + 1);
  });

  it('knows no signer whom no hotkey delegated', () => {
    const at = entries.findIndex(({ message }) => message.kind === 'delegate');
    const fault = faultOf(textOf(chainAgain(entries.toSpliced(at, 1), at)));
    expect(fault).toMatchObject({ step: 'delegations' });
  });
});
