/** @file What releases carry (state, files, attestations), and that nobody attests for nothing. */
import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../tests/support/run-driver.ts';
import { codeOf, testArtifact } from '../../tests/support/run-fixture.ts';
import { hashOfText } from '../protocol/hash.ts';
import { toDecimal } from '../protocol/names.ts';
import { hashState, segmentHash } from './fold.ts';
import { countedTokens, mergesInSegment, treeHeadOf } from './queries.ts';
import { computeSegmentHash } from './segment-hash.ts';

/** Release 0 is journaled; every fragment is merged once since. */
function mergedRun(): DrivenRun {
  const run = new DrivenRun();
  const [a] = run.miners as [Member];
  run.join(a);
  expect(codeOf(run.milestone(3))).toBe('OK');
  for (let i = 0; i < 3; i++) {
    run.nowMs += 10;
    run.due();
    if (run.state.learners.get(a.id)!.leases.size === 0) run.lease(a);
    run.commit(a, 0);
    const claim = [...run.state.claims.values()].at(-1)!;
    run.beacon(claim);
    run.reveal(claim);
    while (claim.status === 'revealed') run.verdict(claim, 2);
    run.merge();
    expect(codeOf(run.publish()!)).toBe('OK');
  }
  return run;
}

function refused(run: DrivenRun, offer: () => ReturnType<DrivenRun['send']> | null): string {
  const before = hashState(run.state);
  const code = codeOf(offer()!);
  expect(hashState(run.state)).toBe(before);
  return code;
}

const releaseBody = ({ state }: DrivenRun) => ({
  release: state.releases.length,
  parent: state.releases.at(-1)?.id ?? null,
  versions: state.fragments.map(({ version }) => version),
  countedTokens: toDecimal(countedTokens(state)),
  tokensBySource: {},
  treeHead: treeHeadOf(state).root,
  stateHash: segmentHash(state),
});

describe('a release', () => {
  it('names the state that it closes, and no other', () => {
    const run = mergedRun();
    const body = releaseBody(run);
    expect(refused(run, () => run.send('release', { ...body, stateHash: hashOfText('other') }))).toBe('WRONG_STATE');
    expect(codeOf(run.send('release', body))).toBe('OK');
    expect(run.state.releases.map(({ merges }) => merges)).toEqual([0, 3]);
    expect(mergesInSegment(run.state, 1)).toBe(3);
  });

  it('hashes what later events can depend on, and not claims that are over', () => {
    const run = mergedRun();
    const before = computeSegmentHash(run.state);
    const [first] = [...run.state.claims.values()];
    run.state.claims.delete(first!.id);
    expect(computeSegmentHash(run.state)).toBe(before);
    expect(hashState(run.state)).not.toBe(before);
    const other = mergedRun();
    expect(computeSegmentHash(other.state)).toBe(before);
    const claim = [...other.state.claims.values()][1]!;
    Object.assign(claim, { status: 'refused', settledAtMs: other.state.lastTimeMs });
    const appealable = computeSegmentHash(other.state);
    expect(appealable).not.toBe(before);
    claim.settledAtMs = other.state.lastTimeMs - 600_001;
    expect(computeSegmentHash(other.state)).toBe(before);
    const learner = other.state.learners.get(claim.learner)!;
    learner.waiting.add(claim.id);
    expect(computeSegmentHash(other.state)).not.toBe(before);
  });

  it('has its files once, each once, in order', () => {
    const run = mergedRun();
    expect(refused(run, () => run.releasePublished(1))).toBe('UNKNOWN_RELEASE');
    const files = ['b', 'a'].map((name) => ({ name, artifact: testArtifact(name) }));
    const offer = (sent: typeof files) =>
      refused(run, () => run.send('release-published', { release: 0, files: sent }));
    expect(offer(files)).toBe('MALFORMED');
    expect(offer([files[0]!, files[0]!])).toBe('MALFORMED');
    expect(codeOf(run.releasePublished(0))).toBe('OK');
    expect(run.state.releases[0]!.files.map(({ name }) => name)).toEqual(['config.json', 'model.safetensors']);
    expect(refused(run, () => run.releasePublished(0))).toBe('DUPLICATE');
  });
});

describe('an attestation', () => {
  it('is of a segment, by a validator that draws have named with stake, once', () => {
    const run = mergedRun();
    const [v, w] = run.validators as [Member, Member];
    expect(refused(run, () => run.attest(v, 0))).toBe('UNKNOWN_RELEASE');
    run.must('release', releaseBody(run));
    const { stateHash } = run.state.releases[1]!.body;
    const offer =
      (changes: object, by = v) =>
      () =>
        run.send('segment-attested', { release: 1, stateHash, merges: 3, ...changes }, by.session);
    expect(refused(run, offer({ release: 2 }))).toBe('UNKNOWN_RELEASE');
    expect(refused(run, offer({ stateHash: hashOfText('other') }))).toBe('WRONG_STATE');
    expect(refused(run, offer({ merges: 2 }))).toBe('WRONG_COUNT');
    expect(refused(run, offer({}, run.miners[0]!))).toBe('WRONG_ROLE');
    expect(codeOf(offer({})())).toBe('OK');
    expect(refused(run, offer({}))).toBe('DUPLICATE');
    run.state.hotkeys.get(w.hotkey.hotkey)!.drawnStakeRao = 0;
    expect(refused(run, offer({}, w))).toBe('NO_STAKE');
    run.state.hotkeys.get(w.hotkey.hotkey)!.drawnStakeRao = 5;
    run.state.hotkeys.get(w.hotkey.hotkey)!.barred = { sentence: 'lied', atMs: 1 };
    expect(refused(run, offer({}, w))).toBe('BARRED');
    expect(run.state.releases[1]!.attestedBy).toEqual([v.hotkey.hotkey]);
  });
});

it('a validator that serves says so with growing times', () => {
  const run = new DrivenRun();
  const [v] = run.validators as [Member];
  expect(codeOf(run.serve(v))).toBe('OK');
  expect(refused(run, () => run.serve(v))).toBe('DUPLICATE');
  expect(refused(run, () => run.serve(run.miners[0]!))).toBe('WRONG_ROLE');
  expect(run.state.hotkeys.get(v.hotkey.hotkey)).toMatchObject({ machineClass: 'test' });
});
