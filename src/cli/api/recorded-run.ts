/**
 * @file A run's folder as a source of the read API, only read, also while its orchestrator runs: the journal checked and folded,
 * an index in memory, the ledger made again from its calls. Without heartbeats.
 */
import { join } from 'node:path';
import type { ApiSources, ModelView } from '../../http/api/sources.ts';
import { admit, applyEvent } from '../../journal/fold.ts';
import { Indexer } from '../../journal/index/indexer.ts';
import { openSqliteIndex } from '../../journal/index/sqlite.ts';
import { manifestOf, runOf } from '../../journal/queries.ts';
import { emptyState, type RunState } from '../../journal/state.ts';
import { LedgerHistory } from '../../ledger/history.ts';
import type { Ledger } from '../../ledger/port.ts';
import type { Hash } from '../../protocol/names.ts';
import { openEntry } from '../../protocol/signing.ts';
import { bindingOf } from '../../roles/client.ts';
import { heartbeatFreshMs } from '../../roles/orchestrator/step.ts';
import { fromHex } from '../../util/bytes.ts';
import type { Clock } from '../../util/clock.ts';
import { UsageError } from '../../util/errors.ts';
import { FolderRecord } from '../../verify/folder-record.ts';
import type { LedgerRecord } from '../../verify/record.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { LedgerReader } from './ledger-view.ts';
import { modelCardsIn } from './model-card.ts';
import { modelViewOf } from './model-view.ts';

export interface RecordedRunOptions {
  readonly dir: string;
  readonly clock: Clock;
  /** Default: from the manifest. */
  readonly model?: ModelView;
  /** Default: in memory. */
  readonly indexPath?: string;
}

export interface OpenRecordedRun {
  readonly sources: ApiSources;
  readonly state: RunState;
  /** Null for a record without one. `lastBlock`: the newest that journal or calls know of. */
  readonly ledger: (LedgerRecord & { readonly lastBlock: () => Promise<number> }) | null;
  close(): Promise<void>;
}

/** @throws UsageError where no valid run lies in the folder; VerifyError where it cannot be read */
export async function openRecordedRun(options: RecordedRunOptions): Promise<OpenRecordedRun> {
  const { dir, clock } = options;
  const record = await FolderRecord.open(dir);
  const index = await openSqliteIndex({ path: options.indexPath ?? ':memory:' });
  const close = async (): Promise<void> => {
    await index.close();
    await record.close();
  };
  try {
    await index.clear();
    const indexer = Indexer.begin(index);
    const state = await foldRecord(record, indexer);
    const manifest = manifestOf(state);
    const ledger = await record.ledger();
    const recorded = ledger === null ? null : recordedLedger(ledger, state);
    const reader =
      ledger === null
        ? null
        : new LedgerReader({
            ...{ ledger: recorded!, manifest, clock },
            recorded: { ledger, rules: ledger.genesis },
          });
    const sources: ApiSources = {
      ...{ index, freshMs: heartbeatFreshMs, model: options.model ?? modelViewOf(manifest) },
      run: () => state,
      level: async () => {
        await indexer.flush(state);
        return indexer.head;
      },
      pulses: () => null,
      ledger: async () => (reader === null ? null : await reader.view()),
      modelCard: modelCardsIn(join(dir, 'releases')),
      nowMs: () => Math.round(clock.nowMs()),
      // Who only sees files cannot know; a head over every entry is what an asked-for end leaves.
      isEnded: () => state.treeHeads.at(-1)?.seq === state.size - 1,
    };
    const lastBlock = async (): Promise<number> => (await recorded!.head()).number;
    return { sources, state, ledger: ledger === null ? null : { ...ledger, lastBlock }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function foldRecord(record: FolderRecord, indexer: Indexer): Promise<RunState> {
  const state = emptyState();
  for await (const lines of record.journal(0)) {
    for (const line of lines) {
      const binding = bindingOf(state);
      const context = binding === null ? null : { ...binding, equation: nativeEquation };
      const opened = openEntry(parse(line), state.headHash, context);
      if (!opened.ok) throw invalid(record, state, opened.sentence);
      const admission = admit(state, opened);
      if (admission.outcome !== 'accept') throw invalid(record, state, admission.sentence);
      applyEvent(state, opened);
      indexer.onFold(state, opened.entry);
    }
    if (indexer.isDue(state)) await indexer.flush(state);
  }
  if (state.run === null) throw new UsageError(`${record.name}: the journal holds no run yet`);
  runOf(state);
  return state;
}

const invalid = ({ name }: FolderRecord, state: RunState, sentence: string): UsageError =>
  new UsageError(`${name}: entry ${state.size} of the journal is not valid (${sentence}); accrete verify says more`);

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null; // refused as malformed
  }
}

/** What the record's calls make of the chain, up to the last block that journal or calls know. */
function recordedLedger(record: LedgerRecord, state: RunState): Pick<Ledger, 'head' | 'metagraph' | 'commitment'> {
  const history = new LedgerHistory(record, record.genesis);
  const level = async (): Promise<number> => {
    let block = Math.max(state.tempo.block, state.treeHeads.at(-1)?.block ?? 0);
    for (let cursor = 0; ; ) {
      const { calls, next } = await record.calls(cursor, 1_000);
      if (calls.length === 0) break;
      block = Math.max(block, calls.at(-1)!.block);
      cursor = next;
    }
    await history.advanceTo(block);
    return block;
  };
  return {
    head: async () => ({ number: await level(), hash: '0'.repeat(64) as Hash, timeMs: state.lastTimeMs }),
    metagraph: async () => history.neurons,
    commitment: async (hotkey) => {
      const found = history.commitment(hotkey);
      return found === null ? null : { block: found.block, data: fromHex(found.data)! };
    },
  };
}
