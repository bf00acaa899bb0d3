/** @file Rows that wait to be written: what parts of the projection note, until the projector takes them. */
import type { JournalEntry } from '../../protocol/messages.ts';
import type { Hash, Hotkey } from '../../protocol/names.ts';
import { countedTokens } from '../queries.ts';
import type { RunState } from '../state.ts';
import type { MarkIndexRow, MarkKind, MergeIndexRow, PointIndexRow } from './port.ts';

export class PendingRows {
  /** Made when they are taken: what counts is how they stand then. */
  claims = new Set<Hash>();
  miners = new Set<Hotkey>();
  validators = new Set<Hotkey>();
  merges: MergeIndexRow[] = [];
  points: PointIndexRow[] = [];
  marks: MarkIndexRow[] = [];

  drop(): void {
    this.claims = new Set();
    this.miners = new Set();
    this.validators = new Set();
    this.merges = [];
    this.points = [];
    this.marks = [];
  }

  addMark(state: RunState, { seq, timeMs: atMs }: JournalEntry, kind: MarkKind, number: number): void {
    this.marks.push({ kind, number, seq, atMs, countedTokens: countedTokens(state) });
  }

  /** A number that is none is left out. */
  addPoint(state: RunState, { seq, timeMs: atMs }: JournalEntry, series: string, value: number): void {
    if (Number.isFinite(value)) this.points.push({ series, seq, atMs, countedTokens: countedTokens(state), value });
  }
}
