/** @file What a run's journal tells: how fast it is read and folded, and how long claims waited from reveal to publication. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { admit, applyEvent, hashState } from '../src/journal/fold.ts';
import { emptyState, type RunState } from '../src/journal/state.ts';
import type { JournalEntry } from '../src/protocol/messages.ts';
import { openEntry } from '../src/protocol/signing.ts';
import { bindingOf } from '../src/roles/client.ts';
import { type Bench, type BenchRow, percentile, spread, time } from './measure.ts';

export const journal: Bench = {
  name: 'journal',
  about: 'the journal of a run (--run DIR): every hash, signature and rule checked, then folded',
  async run({ run }) {
    const path = join(run, 'journal.jsonl');
    if (!existsSync(path))
      return [{ what: 'skipped', value: '', detail: `no journal in ${run}; train first, or give --run DIR` }];
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    if (!existsSync(path))
      return [{ what: 'skipped', value: '', detail: `no journal in ${run}; train first, or give --run DIR` }];
    const folded: { state: RunState } = { state: emptyState() };
    const folding = await time(
      () => {
        folded.state = fold(lines);
      },
      { runs: 3, warmups: 1 },
    );
    const hashing = await time(() => hashState(folded.state), { runs: 3, warmups: 1 });
    return [
      {
        what: 'fold',
        value: `${Math.round((lines.length / folding.medianMs) * 1000).toLocaleString('en-US')} events/s`,
        detail: `${lines.length} events, ${spread(folding)}`,
      },
      { what: 'hash of the state', value: `${hashing.medianMs.toFixed(1)} ms`, detail: spread(hashing) },
      ...waits(folded.state),
    ];
  },
};

function fold(lines: readonly string[]): RunState {
  const state = emptyState();
  for (const line of lines) {
    const binding = bindingOf(state);
    const raw = JSON.parse(line) as JournalEntry;
    const opened = openEntry(raw, state.headHash, binding === null ? null : { ...binding, equation: nativeEquation });
    if (!opened.ok) throw new Error(`${raw.seq}: ${opened.code}: ${opened.sentence}; was it made by another version?`);
    const admission = admit(state, opened);
    if (admission.outcome !== 'accept') throw new Error(`entry ${raw.seq}: ${JSON.stringify(admission)}`);
    applyEvent(state, opened);
  }
  return state;
}

function waits(state: RunState): BenchRow[] {
  const merged = [...state.claims.values()].filter((claim) => claim.status === 'merged');
  const row = (what: string, values: readonly number[], detail: string): BenchRow => ({
    what,
    value: `${percentile(values, 0.5)} ms`,
    detail: `${percentile(values, 0.1)}-${percentile(values, 0.9)} ms (10-90 %, ${values.length} claims); ${detail}`,
  });
  if (merged.length === 0) return [{ what: 'claims', value: '', detail: 'none was merged' }];
  return [
    row(
      'reveal → published',
      merged.map((c) => c.mergedAtMs! - c.revealedAtMs!),
      'verdicts, quorum, grace, merge',
    ),
    row(
      'commit → reveal',
      merged.map((c) => c.revealedAtMs! - c.committedAtMs),
      'beacon and upload',
    ),
    row(
      'reveal → settled',
      merged.map((c) => c.settledAtMs! - c.revealedAtMs!),
      'the verdicts alone',
    ),
  ];
}
