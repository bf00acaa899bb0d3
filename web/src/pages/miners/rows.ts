/** @file All miners as one list, so that sorting and searching are the same with a server and with files, and at once. */
import { type ReadonlySignal, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { ApiMinerRow } from '../../../../src/protocol/api/participants.ts';
import { askOnce } from '../../api/answers.ts';
import { ApiFault } from '../../api/errors.ts';
import { update } from '../../api/live.ts';
import { sourceKind } from '../../api/source-kind.ts';

export interface MinerList {
  readonly rows: readonly ApiMinerRow[] | null;
  readonly total: number;
  readonly fault: ApiFault | null;
}

/** More are on the server: those with the fewest tokens are found by their own address. */
export const maxRows = 5_000;
const refreshMs = 5_000;

async function readAll(signal: AbortSignal): Promise<MinerList> {
  const rows: ApiMinerRow[] = [];
  let cursor: string | null = null;
  let total = 0;
  do {
    const query: Record<string, string | number> = { limit: 200, ...(cursor !== null && { cursor }) };
    const page = await askOnce({ name: 'miners', query }, signal);
    rows.push(...page.rows);
    cursor = page.nextCursor;
    total = page.total;
  } while (cursor !== null && rows.length < maxRows);
  // A row that moved between two pages came twice.
  return { rows: [...new Map(rows.map((row) => [row.hotkey, row])).values()], total, fault: null };
}

/** Reads again when the journal grew, at most every five seconds, while somebody looks. */
export function useMiners(): ReadonlySignal<MinerList> {
  const list = useSignal<MinerList>({ rows: null, total: 0, fault: null });
  useEffect(() => {
    const stop = new AbortController();
    let readAtSeq = -1;
    let isReading = false;
    const read = async (): Promise<void> => {
      const seq = update.peek()?.toSeq ?? 0;
      const isDone = list.peek().rows !== null && list.peek().fault === null && seq === readAtSeq;
      if (isReading || isDone || sourceKind.peek() === null || document.visibilityState === 'hidden') return;
      isReading = true;
      try {
        list.value = await readAll(stop.signal);
        readAtSeq = seq;
      } catch (error) {
        const fault = error instanceof ApiFault ? error : new ApiFault('INTERNAL', String(error), { cause: error });
        if (!stop.signal.aborted) list.value = { ...list.peek(), fault };
      } finally {
        isReading = false;
      }
    };
    const unsubscribe = sourceKind.subscribe(() => void read());
    const timer = setInterval(() => void read(), refreshMs);
    return () => {
      stop.abort();
      unsubscribe();
      clearInterval(timer);
    };
  }, []);
  return list;
}
