/**
 * @file A small real run, written to a folder as `accrete orchestrate` leaves it: journal, store, ledger, release folders. Made by
 * the network of `local-network.ts`; releases with evaluations, tempos with weights and anchors, answered audits.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { journalFileName } from '../../src/journal/file.ts';
import { weightsOf } from '../../src/journal/scores.ts';
import { ledgerFileName, MemoryLedgerStorage } from '../../src/ledger/file.ts';
import type { ArtifactRef } from '../../src/protocol/manifest.ts';
import type { JournalEntry } from '../../src/protocol/messages.ts';
import { toDecimal } from '../../src/protocol/names.ts';
import { describeFiles, writeRelease } from '../../src/roles/orchestrator/release-writer.ts';
import { runSettings } from '../../src/roles/run-presets.ts';
import { artifactPath } from '../../src/store/fs.ts';
import type { Store } from '../../src/store/port.ts';
import { canonicalJson } from '../../src/util/canonical-json.ts';
import { type LocalValidator, networkOwner, openRunning, passAudits, type RunningNetwork } from './local-network.ts';

export interface RecordedRun {
  readonly dir: string;
  readonly entries: readonly JournalEntry[];
  /** As it ended; closed by `close`. */
  readonly running: RunningNetwork;
  close(): Promise<void>;
}

const rounds = 12;

export async function recordRun(dir: string): Promise<RecordedRun> {
  const ledgerStorage = new MemoryLedgerStorage();
  const releases = join(dir, 'releases');
  const writings: Promise<unknown>[] = [];
  mkdirSync(releases, { recursive: true });
  const { tiny } = runSettings;
  const run = {
    settings: {
      // Epochs at the ends of whole tempos, from which weights may be set.
      ledger: { tempoBlocks: tiny.ledger.tempoBlocks, blockMs: tiny.ledger.blockMs },
      audit: { ...tiny.audit, perTempo: 1 },
      // A state after every claim, so that a short run has segments to audit.
      sync: { ...tiny.sync, stateRootEverySteps: tiny.sync.innerStepsPerOuterStep },
      release: { ...tiny.release, everyMerges: 1, keepReleases: 2, attestations: 1 },
    },
  };
  const running = await openRunning(
    {
      anchorSigner: networkOwner,
      writeRelease: (state, release, heads) => {
        const writing = writeRelease(state, release, { dir: releases, store: running.network.store, heads });
        const written = writing.then(async (folder) => ({ folder, files: await describeFiles(folder) }));
        writings.push(written.catch(() => {})); // the orchestrator tries it again
        return written;
      },
    },
    { run, ledgerStorage },
  );
  const { network, a, b, validators, round } = running;
  await network.ledger.register(networkOwner, { coldkey: networkOwner.hotkey });
  const book = { tempo: -1, evaluated: -1, weightsBlock: Number.NEGATIVE_INFINITY };
  for (let i = 0; i < rounds; i++) {
    await round();
    await network.pass(4_000, a, b, ...validators);
    for (const miner of [a, b]) await miner.answerAudits();
    for (const validator of validators) await passAudits(validator);
    await network.pass(4_000, a, b, ...validators);
    await doDuties(validators, network.ledger, book);
  }
  network.orchestrator.requestStop();
  await network.pass(3_000, a, b, ...validators);
  await Promise.all(writings);
  await network.pass(1_000, a, b, ...validators);
  await network.stop();
  const entries = await network.journal.read(0, 100_000);
  mkdirSync(join(dir, 'ledger'), { recursive: true });
  writeJournal(dir, entries);
  let lines = '';
  for await (const { text } of ledgerStorage.lines(0)) lines += `${text}\n`;
  writeFileSync(join(dir, 'ledger', ledgerFileName), lines);
  for (const artifact of artifactsIn(entries)) await copyArtifact(network.store, artifact, dir);
  return { dir, entries, running, close: () => network.close() };
}

/** Evaluates and attests the newest release; sets weights in a new tempo, as validators do. */
async function doDuties(
  validators: readonly LocalValidator[],
  ledger: RunningNetwork['network']['ledger'],
  book: { tempo: number; evaluated: number; weightsBlock: number },
): Promise<void> {
  const { client } = validators[0]!;
  const { state } = client;
  const record = state.releases.at(-1);
  if (record !== undefined && record.body.release > book.evaluated) {
    const { release } = record.body;
    book.evaluated = release;
    await client.submit('evaluation', { release, losses: { 'held-out': toDecimal(4 - release / 8) }, sequences: 16 });
  }
  const { number } = await ledger.head();
  const isEarly = number <= book.weightsBlock + ledger.tempoBlocks;
  if (state.tempo.index <= book.tempo || state.tempo.history.length === 0 || isEarly) return;
  Object.assign(book, { tempo: state.tempo.index, weightsBlock: number + 1 });
  for (const validator of validators) {
    const scores = weightsOf(validator.client.state);
    const neurons = await ledger.metagraph();
    const weights = new Map(neurons.map(({ uid, hotkey }) => [uid, scores.get(hotkey) ?? 0]));
    if ([...weights.values()].some((weight) => weight > 0)) await ledger.setWeights(validator.hotkey, weights);
  }
}

export function writeJournal(dir: string, entries: readonly JournalEntry[]): void {
  writeFileSync(join(dir, journalFileName), entries.map((entry) => `${canonicalJson(entry)}\n`).join(''));
}

async function copyArtifact(store: Store, artifact: ArtifactRef, dir: string): Promise<void> {
  if ((await store.stat(artifact.root)) !== artifact.sizeBytes) return; // a size that happens to stand beside a root
  const path = artifactPath(join(dir, 'store'), artifact.root);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, await store.get(artifact));
}

/** Every `{ root, sizeBytes }` in the entries. */
function artifactsIn(value: unknown): ArtifactRef[] {
  if (typeof value !== 'object' || value === null) return [];
  const { root, sizeBytes } = value as Partial<ArtifactRef>;
  if (typeof root === 'string' && typeof sizeBytes === 'number') return [value as ArtifactRef];
  return Object.values(value).flatMap(artifactsIn);
}
