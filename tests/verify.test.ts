/**
 * @file `accrete verify` on a recorded run: untouched it passes, and every way to falsify it that outsiders fear is caught by
 * the right check, at the right entry.
 */
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { journalFileName } from '../src/journal/file.ts';
import { ManualBlockClock } from '../src/ledger/block-clock.ts';
import { openEmbeddedLedger } from '../src/ledger/embedded.ts';
import type { RunManifest } from '../src/protocol/manifest.ts';
import type { EventBody, JournalEntry } from '../src/protocol/messages.ts';
import { toDecimal } from '../src/protocol/names.ts';
import { entryHash, messageId } from '../src/protocol/signing.ts';
import { writeRelease } from '../src/roles/orchestrator/release-writer.ts';
import { hashArtifact } from '../src/store/node-hash.ts';
import { Rng } from '../src/util/rng.ts';
import { ArtifactCache } from '../src/verify/artifact-cache.ts';
import type { ReplayJob } from '../src/verify/audit-checks.ts';
import { FolderRecord } from '../src/verify/folder-record.ts';
import { HttpRecord } from '../src/verify/http-record.ts';
import { inTurn } from '../src/verify/merge-checks.ts';
import { createMergeJudge } from '../src/verify/merge-judge.ts';
import { openMergeThread } from '../src/verify/merge-thread.ts';
import { type ProgressStore, parseProgress } from '../src/verify/progress.ts';
import { verifyRecord } from '../src/verify/verify.ts';
import { networkSyncer } from './support/local-network.ts';
import { type RecordedRun, recordRun, writeJournal } from './support/recorded-run.ts';
import { testHotkey, testSession } from './support/run-fixture.ts';
import { serveFolder } from './support/serve-folder.ts';
import {
  append,
  chainAgain,
  contentOf,
  copyOf,
  editLedger,
  flip,
  flipArtifact,
  forge,
  ofKind,
  removeArtifact,
  removeFolders,
  statusOf,
  summaryOf,
  temporaryFolder,
  verifyFolder,
  verifyOptions,
} from './support/tampering.ts';

let run: RecordedRun;
let entries: readonly JournalEntry[];

beforeAll(async () => {
  run = await recordRun(temporaryFolder());
  ({ entries } = run);
}, 120_000);
afterAll(async () => {
  await run.close();
  removeFolders();
});

/** The commit of the claim that an entry reveals. */
function commitOf(claim: string) {
  const entry = entries.find(({ message }) => message.kind === 'claim-commit' && messageId(message) === claim)!;
  return ofKind([entry], 'claim-commit').body;
}

async function firstOf(tamper: (dir: string) => void | Promise<void>) {
  const dir = copyOf(run.dir);
  await tamper(dir);
  const report = await verifyFolder(dir);
  expect(report.ok).toBe(false);
  return { ...report.first!, report };
}

/** The journal replaced. */
const withEntries = (changed: readonly JournalEntry[]) => firstOf((dir) => writeJournal(dir, changed));

/** The entry that names the files of a release. */
function publishedRelease(number: number): JournalEntry {
  return entries.find(({ message: { kind, body } }) => {
    return kind === 'release-published' && (body as EventBody<'release-published'>).release === number;
  })!;
}

describe('an untouched record', () => {
  it('passes every check, and is only read', async () => {
    const before = contentOf(run.dir);
    const report = await verifyFolder(run.dir);
    expect(report.first).toBeNull();
    expect(report.ok).toBe(true);
    expect(report.entries).toBe(entries.length);
    expect(report.checks.filter(({ status }) => status !== 'ok')).toEqual([]);
    const merges = entries.filter(({ message }) => message.kind === 'merge').length;
    expect(summaryOf(report, 'merges')).toContain(`${merges} recomputed`);
    expect(summaryOf(report, 'releases')).toMatch(/4 releases, 4 made again/);
    expect(summaryOf(report, 'weights')).toMatch(/^[1-9]\d* rows/);
    expect(contentOf(run.dir)).toEqual(before);
  });
});

describe('merges in a thread of their own', () => {
  const threaded = async (dir: string) => {
    const thread = openMergeThread({ source: { kind: 'dir', dir, store: null }, cacheBytes: 2 ** 20 });
    try {
      return await verifyFolder(dir, { judgeOf: thread.judge });
    } finally {
      await thread.close();
    }
  };

  it('give the same report, of an honest record and of two false ones', async () => {
    expect(await threaded(run.dir)).toEqual(await verifyFolder(run.dir));
    const published = ofKind(entries, 'fragment-published', 3);
    const claim = commitOf(ofKind(entries, 'claim-reveal', 4).body.claim);
    for (const artifact of [published.body.momentum, claim.artifact]) {
      const dir = copyOf(run.dir);
      flipArtifact(dir, artifact);
      const report = await threaded(dir);
      expect(report.ok).toBe(false);
      expect(report).toEqual(await verifyFolder(dir));
    }
  });

  it('give the same report in parts, as fragments that do not fit into memory are read', async () => {
    const inParts = async (dir: string) => {
      const record = await FolderRecord.open(dir);
      const cache = new ArtifactCache(
        { artifact: () => Promise.reject(new Error('read whole')), part: record.part.bind(record) },
        0,
      );
      try {
        const judgeOf = (manifest: RunManifest) =>
          inTurn(createMergeJudge({ manifest, cache, artifactOf: hashArtifact, isInParts: () => true }));
        return await verifyFolder(dir, { judgeOf });
      } finally {
        await record.close();
      }
    };
    expect(await inParts(run.dir)).toEqual(await verifyFolder(run.dir));
    const published = ofKind(entries, 'fragment-published', 3);
    const claim = commitOf(ofKind(entries, 'claim-reveal', 4).body.claim);
    for (const artifact of [published.body.momentum, claim.artifact]) {
      const dir = copyOf(run.dir);
      flipArtifact(dir, artifact);
      const [report, expected] = [await inParts(dir), await verifyFolder(dir)];
      expect({ ...report.first!, found: '' }).toEqual({ ...expected.first!, found: '' });
      expect(report.checks.map(({ check, status }) => [check, status])).toEqual(
        expected.checks.map(({ check, status }) => [check, status]),
      );
    }
  });

  it('that cannot read the record fail with what the thread says', async () => {
    const thread = openMergeThread({
      source: { kind: 'dir', dir: join(run.dir, 'nowhere'), store: null },
      cacheBytes: 2 ** 20,
    });
    await expect(verifyFolder(run.dir, { judgeOf: thread.judge })).rejects.toMatchObject({ code: 'UNREADABLE' });
    await thread.close();
  });
});

it('a record that grows while it is read: the ledger and the releases are seen before the end of the journal', async () => {
  const head = ofKind(entries, 'tree-head', -2); // anchored after the entries that are there at first
  const dir = copyOf(run.dir);
  writeJournal(dir, entries.slice(0, head.seq));
  const record = await FolderRecord.open(dir);
  const releases = record.releases.bind(record);
  record.releases = () => {
    writeJournal(dir, entries);
    return releases();
  };
  const report = await verifyRecord(record, verifyOptions);
  await record.close();
  expect(report.first).toBeNull();
  expect(report.entries).toBe(entries.length);
});

describe('one flipped byte', () => {
  it('in a fragment', async () => {
    const published = ofKind(entries, 'fragment-published', 3);
    for (const artifact of [published.body.artifact, published.body.momentum]) {
      const first = await firstOf((dir) => flipArtifact(dir, artifact));
      expect(first).toMatchObject({ check: 'fragments', seq: published.seq, event: 'fragment-published' });
      expect(first.expected).toContain(artifact.root);
    }
  });

  it("in a claim's artifact; the merge that it went into cannot be recomputed, and is not said to be", async () => {
    const reveal = ofKind(entries, 'claim-reveal', 4);
    const first = await firstOf((dir) => flipArtifact(dir, commitOf(reveal.body.claim).artifact));
    expect(first).toMatchObject({ check: 'artifacts', seq: reveal.seq, event: 'claim-reveal' });
    expect(statusOf(first.report, 'merges')).toBe('not checked');
  });

  it("in a claim's trace", async () => {
    const reveal = ofKind(entries, 'claim-reveal', 2);
    const first = await firstOf((dir) => flipArtifact(dir, commitOf(reveal.body.claim).trace.artifact));
    expect(first).toMatchObject({ check: 'traces', seq: reveal.seq });
  });

  it('in a shard, the tokenizer or the start checkpoint', async () => {
    const { manifest, start } = ofKind(entries, 'run').body;
    for (const artifact of [manifest.data.shards[0]!.artifact, manifest.tokenizer.artifact, start[1]!]) {
      const first = await firstOf((dir) => flipArtifact(dir, artifact));
      expect(first).toMatchObject({ check: 'data', seq: 0, event: 'run' });
      expect(first.expected).toContain(artifact.root);
    }
  });

  it('in a file of a release', async () => {
    const release = publishedRelease(2);
    for (const name of ['model.safetensors', 'README.md', 'config.json', 'tokenizer.json']) {
      const first = await firstOf((dir) => flip(join(dir, 'releases', 'release-2', name)));
      expect(first).toMatchObject({ check: 'releases', seq: release.seq });
      expect(first.event).toContain(`release 2: ${name}`);
    }
    const missing = await firstOf((dir) => rmSync(join(dir, 'releases', 'release-2', 'config.json')));
    expect(missing).toMatchObject({ check: 'releases', seq: release.seq });
  });

  it('in the journal, anywhere', async () => {
    const text = readFileSync(join(run.dir, journalFileName));
    const rng = new Rng('flips');
    const lineOf = (at: number): number => text.subarray(0, at).filter((byte) => byte === 0x0a).length;
    for (let i = 0; i < 12; i++) {
      const at = rng.below(text.byteLength);
      const dir = copyOf(run.dir);
      const changed = Buffer.from(text);
      changed[at]! ^= 1;
      writeFileSync(join(dir, journalFileName), changed);
      const { first } = await verifyFolder(dir);
      expect(first, `byte ${at}`).not.toBeNull();
      // The entry itself, or the one after it, which names its hash.
      expect(first!.seq! - lineOf(at), `byte ${at}: ${first!.check}`).toBeOneOf([0, 1]);
    }
  }, 120_000);
});

describe('events', () => {
  const at = (): number => ofKind(entries, 'claim-beacon', 3).seq;

  it('a removed one', async () => {
    expect(await withEntries(entries.toSpliced(at(), 1))).toMatchObject({ check: 'journal', seq: at() });
  });

  it('two reordered ones', async () => {
    const [a, b] = [entries[at()]!, entries[at() + 1]!];
    const first = await withEntries(entries.with(at(), b).with(at() + 1, a));
    expect(first).toMatchObject({ check: 'journal', seq: at() });
  });

  it('a duplicated one', async () => {
    const first = await withEntries(entries.toSpliced(at(), 0, entries[at()]!));
    expect(first).toMatchObject({ check: 'journal', seq: at() + 1 });
  });

  it('a duplicated one, with the chain made right again', async () => {
    const lease = ofKind(entries, 'lease', 1);
    const first = await withEntries(chainAgain(entries.toSpliced(lease.seq, 0, lease.entry), lease.seq));
    expect(first).toMatchObject({ check: 'leases', seq: lease.seq + 1, event: 'lease' });
  });

  it('an edited one: body, time, number', async () => {
    const { seq, entry, body } = ofKind(entries, 'verdict', 3);
    const edited = { ...entry, message: { ...entry.message, body: { ...body, outcome: 'reject', code: 'TRACE' } } };
    expect(await withEntries(entries.with(seq, edited))).toMatchObject({ check: 'signatures', seq, event: 'verdict' });
    // Nobody signs the time, but the next entry names its hash.
    const later = { ...entry, timeMs: entry.timeMs + 1 };
    expect(await withEntries(entries.with(seq, later))).toMatchObject({ check: 'journal', seq: seq + 1 });
    expect(await withEntries(entries.with(seq, { ...entry, seq: seq + 1 }))).toMatchObject({ check: 'journal', seq });
  });

  it('text that is not canonical', async () => {
    const first = await firstOf((dir) => {
      const path = join(dir, journalFileName);
      writeFileSync(path, readFileSync(path, 'utf8').replace(/\n\{"/, '\n{ "'));
    });
    expect(first).toMatchObject({ check: 'journal', seq: 1, expected: 'the canonical JSON of the entry' });
  });
});

describe('a signer that lies', () => {
  it('a lease that does not follow from the order', async () => {
    const { seq } = ofKind(entries, 'lease', 1);
    const changed = forge<'lease'>(entries, seq, networkSyncer, ({ range: [from, to], ...body }) => ({
      ...body,
      range: [from + 4, to + 4],
    }));
    const { range } = ofKind(entries, 'lease', 1).body;
    const first = await withEntries(changed);
    expect(first).toMatchObject({ check: 'leases', seq, expected: `sequences ${range[0]} to ${range[1]}` });
  });

  it('a beacon with another hash: another draw, or a block that the ledger does not have', async () => {
    const { seq } = ofKind(entries, 'claim-beacon', 1);
    const outcomes = await Promise.all(
      ['11', '22', '33', '44'].map((pair) =>
        withEntries(
          forge<'claim-beacon'>(entries, seq, networkSyncer, (body) => ({
            ...body,
            blockHash: pair.repeat(32) as never,
          })),
        ),
      ),
    );
    for (const first of outcomes) expect(first).toMatchObject({ check: 'beacons', seq });
  });

  it('a candidate with a stake that he never had', async () => {
    const { seq } = ofKind(entries, 'claim-beacon', 0);
    const changed = forge<'claim-beacon'>(entries, seq, networkSyncer, (body) => ({
      ...body,
      candidates: body.candidates.map((each) => ({ ...each, stakeRao: each.stakeRao + 1 })),
    }));
    const first = await withEntries(changed);
    expect(first).toMatchObject({ check: 'beacons', seq });
  });

  it('a verdict that is turned round: the merge that follows no longer takes what was accepted', async () => {
    const { seq, body } = ofKind(entries, 'verdict', 0);
    const label = ['v', 'w'].find((name) => entries[seq]!.message.signer === testSession(name).signer)!;
    const changed = forge<'verdict'>(entries, seq, testSession(label), (verdict) => ({
      ...verdict,
      outcome: 'reject',
      code: 'TRACE',
    }));
    const first = await withEntries(changed);
    expect(first.seq).toBeGreaterThan(seq);
    expect(first.seq).toBeLessThanOrEqual(entries.findIndex(({ message }) => message.kind === 'merge'));
    expect(['verdicts', 'merges']).toContain(first.check);
    expect(body.outcome).toBe('accept');
  });

  it('a merge whose result is another: parameters, momentum, shares', async () => {
    const { seq, body } = ofKind(entries, 'fragment-published', 0);
    const other = ofKind(entries, 'fragment-published', 1).body;
    const forged = (change: Partial<typeof body>) =>
      withEntries(forge<'fragment-published'>(entries, seq, networkSyncer, (was) => ({ ...was, ...change })));
    expect(await forged({ artifact: other.artifact })).toMatchObject({
      check: 'merges',
      seq,
      found: other.artifact.root,
    });
    const momentum = await forged({ momentum: other.momentum });
    expect(momentum).toMatchObject({ check: 'merges', seq });
    expect(momentum.expected).toContain(`momentum of fragment 0, version 1: ${body.momentum.root}`);
    const shares = body.shares.map((each) => ({ ...each, norm: toDecimal(Number(each.norm) * 1.0001) }));
    expect(await forged({ shares })).toMatchObject({ check: 'merges', seq });
  });

  it('a merge that leaves an accepted claim out', async () => {
    const { seq } = ofKind(entries, 'merge', 0);
    const changed = forge<'merge'>(entries, seq, networkSyncer, (body) => ({ ...body, claims: body.claims.slice(1) }));
    expect(await withEntries(changed)).toMatchObject({ check: 'merges', seq, event: 'merge' });
  });

  it('a release that skips a fragment, or names another state', async () => {
    const { seq, body } = ofKind(entries, 'release', 1);
    const early = ofKind(entries, 'fragment-published', 2).seq + 1;
    const context = append(entries.slice(0, early), 'release', body, networkSyncer);
    expect(await withEntries(context)).toMatchObject({ check: 'releases', seq: early, event: 'release' });
    const skipped = forge<'release'>(entries, seq, networkSyncer, (was) => ({
      ...was,
      versions: was.versions.with(2, 0),
    }));
    expect(await withEntries(skipped)).toMatchObject({ check: 'releases', seq });
    const other = forge<'release'>(entries, seq, networkSyncer, (was) => ({
      ...was,
      stateHash: '00'.repeat(32) as never,
    }));
    expect(await withEntries(other)).toMatchObject({ check: 'segments', seq });
  });

  it('a release folder that is made of an older fragment', async () => {
    const { state } = run.running.validators[0]!.client;
    const heads = state.fragments.map(({ artifact }) => artifact);
    const old = ofKind(entries, 'fragment-published', 1).body; // fragment 1, version 1
    const number = state.releases.length - 1;
    const first = await firstOf(async (dir) => {
      rmSync(join(dir, 'releases', `release-${number}`), { recursive: true });
      const { store } = run.running.network;
      await writeRelease(state, number, { dir: join(dir, 'releases'), store, heads: heads.with(1, old.artifact) });
    });
    expect(first).toMatchObject({ check: 'releases', seq: publishedRelease(number).seq });
  });

  it('a list of release files that is not what the fragments give', async () => {
    const { manifest } = ofKind(entries, 'run').body;
    const files = [{ name: 'model.safetensors', artifact: manifest.tokenizer.artifact }];
    const changed = append(entries, 'release-published', { release: 2, files }, networkSyncer);
    expect(await withEntries(changed)).toMatchObject({ check: 'releases', seq: entries.length });
  });

  it('a tempo that is counted early', async () => {
    const { seq } = ofKind(entries, 'tempo', 1);
    const changed = forge<'tempo'>(entries, seq, networkSyncer, (body) => ({ ...body, tempo: body.tempo + 1 }));
    expect(await withEntries(changed)).toMatchObject({ check: 'scores', seq, event: 'tempo' });
  });
});

describe('history', () => {
  /** The last entry before `end` whose time can be moved without going past the next one's. */
  const movable = (end: number): JournalEntry =>
    entries.slice(0, end).findLast(({ seq, timeMs }) => timeMs < entries[seq + 1]!.timeMs)!;

  it('a forked one is told by the next tree head', async () => {
    const early = movable(ofKind(entries, 'tree-head', 1).seq);
    const forked = chainAgain(entries.with(early.seq, { ...early, timeMs: early.timeMs + 1 }), early.seq);
    const head = entries.find(({ seq, message }) => seq > early.seq && message.kind === 'tree-head')!;
    const first = await withEntries(forked);
    expect(first).toMatchObject({ check: 'tree heads', seq: head.seq, event: 'tree-head' });
  });

  it('a forked one whose syncer signs the other head too is told by what others had seen', async () => {
    const last = ofKind(entries, 'tree-head', 2);
    const early = movable(last.seq - 1);
    const moved = chainAgain(entries.with(early.seq, { ...early, timeMs: early.timeMs + 1 }), early.seq);
    const dir = copyOf(run.dir);
    writeJournal(dir, moved.slice(0, last.seq));
    const root = await rootOf(dir);
    const forked = forge<'tree-head'>(moved, last.seq, networkSyncer, (body) => ({ ...body, root: root as never }));
    const witness = forked.find(({ seq, message }) => seq > last.seq && message.seenHead?.size === last.body.size)!;
    expect(await withEntries(forked)).toMatchObject({ check: 'tree heads', seq: witness.seq });
    // Where nobody speaks any more, the ledger's anchor is left.
    const silent = await withEntries(forked.slice(0, last.seq + 1));
    expect(silent).toMatchObject({ check: 'anchors', seq: null });
    expect(silent.event).toMatch(/^set_commitment in block/);
  });

  it('a journal that is cut at any byte', async () => {
    const text = readFileSync(join(run.dir, journalFileName));
    const rng = new Rng('cuts');
    const ends = [...text].flatMap((byte, i) => (byte === 0x0a ? [i + 1] : []));
    const cuts = [
      ...Array.from({ length: 24 }, () => rng.below(text.byteLength)),
      ...Array.from({ length: 12 }, () => ends[rng.below(ends.length - 2)]!),
      ...ends.slice(-3).map((end) => end - 1),
      ends.at(-3)!,
      0,
    ];
    const dir = copyOf(run.dir);
    for (const cut of cuts) {
      writeFileSync(join(dir, journalFileName), text);
      truncateSync(join(dir, journalFileName), cut);
      const whole = ends.filter((end) => end <= cut).length;
      // What an earlier session has checked is not checked again: only the cut is of interest here.
      const progress = whole > 0 ? doneUntil(whole - 1) : null;
      // Nobody writes: only the first cut is given the time for it.
      const writing = cut === cuts[0] ? {} : { writingMs: 0 };
      const { ok, first, entries: folded, divergences } = await verifyFolder(dir, { progress, ...writing });
      expect(ok, `cut at ${cut}`).toBe(false);
      expect(folded, `cut at ${cut}`).toBe(whole);
      const isTorn = cut > (ends[whole - 1] ?? 0) || cut === 0;
      if (isTorn) expect(first, `cut at ${cut}`).toMatchObject({ check: 'journal', seq: whole });
      else
        expect(
          divergences.map(({ check }) => check),
          `cut at ${cut}`,
        ).toContain('anchors');
    }
  }, 180_000);
});

/** A session that was stopped after this entry. */
function doneUntil(seq: number): ProgressStore {
  const [{ message }] = entries as [JournalEntry];
  const progress = { version: 1, run: message.run, seq, hash: entryHash(entries[seq]!), from: null, gone: [] };
  return { load: async () => JSON.stringify(progress), save: async () => undefined };
}

/** Of all entries in a folder. */
async function rootOf(dir: string): Promise<string> {
  const { appendLeaf, frontierRoot, leafHash } = await import('../src/protocol/merkle.ts');
  const lines = readFileSync(join(dir, journalFileName), 'utf8').trimEnd().split('\n');
  const frontier = lines.reduce<Parameters<typeof appendLeaf>[0]>(
    (f, line) => appendLeaf(f, leafHash(Buffer.from(line))),
    [],
  );
  return Buffer.from(frontierRoot(frontier)).toString('hex');
}

describe('the ledger', () => {
  const isCall = (name: string) => (line: string) => line.includes(`"name":"${name}"`);

  it('weights that were changed after they were signed', async () => {
    const first = await firstOf((dir) =>
      editLedger(dir, isCall('set_weights'), (line) => line.replace(/"values":\[\d+/, '"values":[12')),
    );
    expect(first).toMatchObject({ check: 'ledger', seq: null });
    expect(first.event).toMatch(/^set_weights of/);
    expect(first.report.checks.find(({ check }) => check === 'weights')!.status).toBe('not checked');
  });

  it('a call that was removed', async () => {
    // The block's hash is another one without it, which the journal's beacons know; then the next call's parent is.
    const first = await firstOf((dir) => editLedger(dir, isCall('set_commitment'), () => null));
    expect(first.check).toBe('beacons');
    expect(statusOf(first.report, 'ledger')).toBe('FAILED');
  });

  it('a secret that was exchanged: other block hashes', async () => {
    const first = await firstOf((dir) =>
      editLedger(dir, isCall('burned_register'), (line) => line.replace(/"parent":"../, '"parent":"00')),
    );
    expect(first.check).toBe('ledger');
  });

  it('a validator that sets other weights than follow from the scores is named; a late one is not wrong', async () => {
    const liar = testHotkey('w');
    const dir = copyOf(run.dir);
    const { ledger: binding } = ofKind(entries, 'run').body.manifest;
    const startMs = entries.at(-1)!.timeMs + 200 * binding.blockMs;
    const clock = new ManualBlockClock({ blockMs: binding.blockMs, startMs });
    const genesis = { ...binding, owner: liar.hotkey };
    const ledger = await openEmbeddedLedger({ genesis, dir: join(dir, 'ledger'), clock });
    const { number: block, hash: blockHash } = await ledger.head();
    const tempo = Math.floor(block / binding.tempoBlocks);
    writeJournal(dir, append(entries, 'tempo', { tempo, block, blockHash }, networkSyncer));
    const uid = (await ledger.metagraph()).find(({ hotkey }) => hotkey === liar.hotkey)!.uid;
    const before = await ledger.weights(testHotkey('v').hotkey);
    await ledger.setWeights(liar, new Map([[uid, 1]]));
    await ledger.setWeights(testHotkey('v'), before);
    await ledger.close();
    const report = await verifyFolder(dir);
    expect(report.divergences).toHaveLength(1);
    expect(report.first).toMatchObject({ check: 'weights', found: `${uid}:65535` });
    expect(report.first!.event).toContain(`set_weights of ${liar.hotkey}`);
    expect(summaryOf(report, 'weights')).toContain(`${liar.hotkey}: 3 as computed, 1 OTHERS`);
    expect(summaryOf(report, 'weights')).toMatch(
      new RegExp(`${testHotkey('v').hotkey}: (3 as computed, 1 late|4 as computed)`),
    );
  });
});

describe('what is no longer in the store', () => {
  const validator = testSession('v');
  /** Claims of segment 1, which retention may drop once it is attested. */
  const dropSegment = (dir: string): void => {
    const end = ofKind(entries, 'release', 1).seq;
    for (const { seq, message } of entries)
      if (seq < end && message.kind === 'claim-commit')
        removeArtifact(dir, (message.body as never as { artifact: never }).artifact);
  };
  const attested = (release: number): JournalEntry[] => {
    const { stateHash } = ofKind(entries, 'release', release).body;
    return append(entries, 'segment-attested', { release, stateHash, merges: 4 }, validator);
  };

  it('is a divergence while nobody has attested its segment', async () => {
    const first = await firstOf(dropSegment);
    expect(first).toMatchObject({ check: 'artifacts', seq: ofKind(entries, 'claim-reveal', 0).seq });
    expect(first.found).toBe('nothing in the store');
  });

  it('is reported as attested, and by whom, once it may be dropped', async () => {
    const dir = copyOf(run.dir);
    dropSegment(dir);
    writeJournal(dir, attested(1));
    const report = await verifyFolder(dir);
    expect(report.first).toBeNull();
    expect(statusOf(report, 'merges')).toBe('attested');
    expect(summaryOf(report, 'merges')).toContain(
      `4 of segments 1 to 1 dropped by retention: attested by ${testHotkey('v').hotkey}`,
    );
    expect(summaryOf(report, 'merges')).toContain('8 recomputed');
    expect(statusOf(report, 'artifacts')).toBe('attested');
  });

  it('is a divergence where the segment is too young', async () => {
    const dir = copyOf(run.dir);
    const { seq, body } = ofKind(entries, 'claim-reveal', -1);
    removeArtifact(dir, commitOf(body.claim).artifact);
    writeJournal(dir, attested(3));
    expect((await verifyFolder(dir)).first).toMatchObject({ check: 'artifacts', seq });
  });

  it('--from begins at a release, and says who attests what lies before', async () => {
    const dir = copyOf(run.dir);
    dropSegment(dir);
    const bare = await verifyFolder(dir, { from: 2 });
    expect(bare.ok).toBe(true);
    expect(statusOf(bare, 'merges')).toBe('not checked');
    expect(summaryOf(bare, 'merges')).toContain('4 recomputed');
    writeJournal(dir, attested(1));
    const report = await verifyFolder(dir, { from: 2 });
    expect(statusOf(report, 'merges')).toBe('attested');
    expect(summaryOf(report, 'signatures')).toContain(`before release 2: attested by ${testHotkey('v').hotkey}`);
    await expect(verifyFolder(dir, { from: 9 })).rejects.toThrow('--from 9: the journal has releases up to 3');
    flipArtifact(dir, ofKind(entries, 'fragment-published', -1).body.artifact);
    expect((await verifyFolder(dir, { from: 2 })).first).toMatchObject({ check: 'fragments' });
  });
});

describe('a session that was stopped', () => {
  function memory(): ProgressStore & { text: string | null } {
    return {
      text: null,
      async load() {
        return this.text;
      },
      async save(_, text) {
        this.text = text;
      },
    };
  }

  it('goes on where it was, and does nothing twice', async () => {
    const store = memory();
    const record = await FolderRecord.open(run.dir);
    const read: string[] = [];
    const counted = Object.assign(Object.create(record) as FolderRecord, {
      journal: (from: number) => record.journal(from),
      tornBytes: () => record.tornBytes(),
      ledger: () => record.ledger(),
      releases: () => record.releases(),
      releaseFiles: (release: number) => record.releaseFiles(release),
      releaseBytes: (release: number, name: string) => record.releaseBytes(release, name),
      artifact: (artifact: Parameters<FolderRecord['artifact']>[0]) => {
        read.push(artifact.root);
        return record.artifact(artifact);
      },
    });
    const stop = new AbortController();
    const stopped = verifyRecord(counted, {
      ...verifyOptions,
      progress: store,
      signal: stop.signal,
      onProgress: ({ merges }) => merges === 11 && stop.abort(new Error('stopped')),
    });
    await expect(stopped).rejects.toThrow('stopped');
    const progress = parseProgress(store.text, entries[0]!.message.run, null)!;
    expect(progress.hash).toBe(entryHash(entries[progress.seq]!));
    const before = new Set(read.splice(0));
    const report = await verifyRecord(counted, { ...verifyOptions, progress: store });
    expect(report.ok).toBe(true);
    const { manifest } = ofKind(entries, 'run').body;
    expect(before.has(manifest.data.shards[0]!.artifact.root)).toBe(true);
    expect(read).not.toContain(manifest.data.shards[0]!.artifact.root);
    expect(parseProgress(store.text, entries[0]!.message.run, null)!.seq).toBe(entries.length - 1);
    await record.close();
  });

  it('is not trusted for another history, and tells of it', async () => {
    const store = memory();
    await verifyFolder(run.dir, { progress: store });
    const other = { ...JSON.parse(store.text!), seq: 40, hash: hashArtifact(Buffer.from('x')).root };
    store.text = JSON.stringify(other);
    const dir = copyOf(run.dir);
    const published = ofKind(entries, 'fragment-published', 0);
    flipArtifact(dir, published.body.artifact);
    const report = await verifyFolder(dir, { progress: store });
    expect(report.divergences.map(({ check, seq }) => [check, seq])).toEqual([
      ['journal', 40],
      ['fragments', published.seq],
      ['releases', publishedRelease(1).seq], // made of it
    ]);
    for (const text of ['', '{}', '{"version":2}', store.text.replace('"from":null', '"from":1')])
      expect(parseProgress(text, entries[0]!.message.run, null)).toBeNull();
  });
});

describe('--replay', () => {
  it('redoes the newest answered audits whose states are still there, with all that they need', async () => {
    const jobs: ReplayJob[] = [];
    const replay = async (job: ReplayJob) => {
      jobs.push(job);
      return { outcome: 'pass', code: 'OK', sentence: '' } as const;
    };
    const answers = entries.filter(({ message }) => message.kind === 'audit-answer');
    const newest = ofKind(entries, 'audit-answer', -1);
    const dir = copyOf(run.dir);
    removeArtifact(dir, newest.body.end);
    const report = await verifyFolder(dir, { replayCount: 3, replay });
    expect(report.first).toBeNull();
    expect(summaryOf(report, 'audits')).toContain('3 redone');
    const answered = answers.slice(0, -1).map(({ message }) => (message.body as { audit: number }).audit);
    // Newest first, without the one whose state is gone, and without those whose fragments the run has dropped since.
    const redone = jobs.map(({ audit }) => audit.id);
    expect(redone).toEqual([...new Set(redone)].sort((x, y) => y - x));
    expect(redone).toHaveLength(3);
    expect(answered).toEqual(expect.arrayContaining(redone));
    for (const { steps, lines, start, end, audit, fragmentAt } of jobs) {
      const [from, to] = steps;
      expect(lines.at(-1)!.step).toBe(to - 1);
      expect(lines.length).toBe(to - from + (start === null ? 0 : 1));
      expect(hashArtifact(end).root).toBe(audit.answer!.end.root);
      const { body } = ofKind(entries, 'fragment-published', 2);
      expect(hashArtifact((await fragmentAt(body.fragment, body.version))!)).toEqual(body.artifact);
    }
  });

  it('a replay that leads elsewhere is a divergence at the answer', async () => {
    const replay = async () => ({ outcome: 'fail', code: 'REPLAY', sentence: 'elsewhere' }) as const;
    const { first } = await verifyFolder(run.dir, { replayCount: 1, replay });
    expect(first).toMatchObject({ check: 'audits', seq: ofKind(entries, 'audit-answer', -1).seq, found: 'passed OK' });
    expect(first!.expected).toContain('fail REPLAY elsewhere');
  });

  it('an answer that is not the state which the trace names is found without an engine', async () => {
    const { seq, body } = ofKind(entries, 'audit-answer', -1);
    const label = ['a', 'b'].find((name) => entries[seq]!.message.signer === testSession(name).signer)!;
    const { artifact } = ofKind(entries, 'fragment-published', 0).body;
    const changed = forge<'audit-answer'>(entries, seq, testSession(label), () => ({ ...body, end: artifact }));
    const dir = copyOf(run.dir);
    writeJournal(dir, changed.slice(0, seq + 1));
    const report = await verifyFolder(dir, { replayCount: 1, replay: null });
    const found = report.divergences.find(({ check }) => check === 'audits');
    expect(found).toMatchObject({ seq, event: 'audit-answer' });
    expect(found!.expected).toContain('STATE');
  });
});

describe('over HTTP', () => {
  it('gives the same report as the folder, and finds the same damage', async () => {
    const dir = copyOf(run.dir);
    const served = await serveFolder(dir, entries);
    try {
      const record = new HttpRecord(served.url);
      const report = await verifyRecord(record, verifyOptions);
      expect(report.first).toBeNull();
      expect(report.checks).toEqual((await verifyFolder(run.dir)).checks);
      const published = ofKind(entries, 'fragment-published', 3);
      flipArtifact(dir, published.body.artifact);
      flip(join(dir, 'releases', 'release-2', 'README.md'));
      const damaged = await verifyRecord(record, verifyOptions);
      expect(damaged.first).toMatchObject({ check: 'fragments', seq: published.seq });
      expect(damaged.divergences.map(({ event }) => event)).toContain('release 2: README.md, README.md');
    } finally {
      await served.close();
    }
    await expect(verifyRecord(new HttpRecord(served.url), verifyOptions)).rejects.toMatchObject({
      code: 'UNREACHABLE',
    });
  });
});

it('an empty folder is no record', async () => {
  await expect(FolderRecord.open(temporaryFolder())).rejects.toMatchObject({ code: 'UNREACHABLE' });
});
