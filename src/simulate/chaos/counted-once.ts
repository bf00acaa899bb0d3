/**
 * @file Audits what a journal counts, from its events alone and without the fold's own books: every claim is merged at most
 * once, every cell (one sequence for one fragment) is counted at most once, and the fold's sum is that of the cells.
 */
import { phaseOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { EventBody, JournalEntry } from '../../protocol/messages.ts';

/** What is wrong, in sentences; empty if nothing is. `state` is the fold of `entries`. */
export function auditCounts(entries: readonly JournalEntry[], state: RunState): string[] {
  const faults: string[] = [];
  const [claims, cells, outerSteps] = [new Set<string>(), new Set<string>(), new Set<number>()];
  for (const { seq, message } of entries) {
    if (message.kind !== 'merge') continue;
    const merge = message.body as EventBody<'merge'>;
    // A published merge counts; one that is still pending has not yet.
    const isPending = state.fragments[merge.fragment]?.pendingMerge?.outerStep === merge.outerStep;
    if (outerSteps.has(merge.outerStep)) faults.push(`entry ${seq}: outer step ${merge.outerStep} is merged twice`);
    outerSteps.add(merge.outerStep);
    for (const { claim } of merge.claims) {
      if (claims.has(claim)) faults.push(`entry ${seq}: claim ${claim} is merged twice`);
      claims.add(claim);
      const body = state.claims.get(claim)?.body;
      if (body === undefined) faults.push(`entry ${seq}: claim ${claim} is not in the fold`);
      else if (!isPending)
        for (const cell of cellsOf(body, merge.fragment)) {
          if (cells.has(cell)) faults.push(`entry ${seq}: cell ${cell} is counted twice`);
          cells.add(cell);
        }
    }
  }
  const lengthOf = (cell: string): number => phaseOf(state, Number(cell.slice(0, cell.indexOf('/')))).sequenceLength;
  const expected = [...cells].reduce((sum, cell) => sum + lengthOf(cell), 0);
  if (state.cellTokens !== expected)
    faults.push(`the fold counts ${state.cellTokens} tokens, the cells have ${expected}`);
  return faults;
}

function* cellsOf(body: EventBody<'claim-commit'>, fragment: number): Generator<string> {
  for (const [from, to] of body.sequences)
    for (let position = from; position < to; position++) yield `${body.phase}/${position}/${fragment}`;
}
