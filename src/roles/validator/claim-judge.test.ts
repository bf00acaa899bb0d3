/** @file A claim judged with the real model: its details, and validators found out who did not do what they published. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRunning, type RunningNetwork } from '../../../tests/support/local-network.ts';
import { decodeShard, type TokenIds } from '../../data/shards.ts';
import type { Claim, ClaimVerdict } from '../../journal/state.ts';
import { encodeFragment } from '../../merge/codecs/fragment-file.ts';
import { endOfTextOf } from '../../model/quasar-long/config.ts';
import { encodeDetails, type VerdictDetails } from '../../protocol/details.ts';
import { type Decimal, fromDecimal, type Hotkey, learnerIdOf, toDecimal } from '../../protocol/names.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { silentLog } from '../../util/clock.ts';
import { Rng } from '../../util/rng.ts';
import { HeadsHistory } from '../heads-history.ts';
import { locatorOf, textAtHand } from '../run-data.ts';
import { ClaimJudge, type Judgement } from './claim-judge.ts';
import { HeadParams } from './heads.ts';
import { PhaseEvaluators } from './phase-evaluators.ts';

let running: RunningNetwork;
let evaluators: PhaseEvaluators;
let claim: Claim;
/** Of the fold that the judges read. */
let known: Map<Claim['id'], Claim>;
let judges: readonly ClaimJudge[];
let judged: readonly Judgement[];
const { signal } = new AbortController();

beforeAll(async () => {
  running = await openRunning();
  const { network, a, b, validators } = running;
  const heads = new HeadsHistory();
  const client = await network.connect(null, { onFold: heads.onFold });
  const { manifest } = client;
  const model = a.model;
  const { shards } = manifest.data;
  const loaded = new Map<string, TokenIds>();
  for (const shard of shards)
    loaded.set(
      shard.artifact.root,
      decodeShard(await network.store.get(shard.artifact), shard, manifest.tokenizer.vocabSize),
    );
  const text = textAtHand({ shards, loaded, endOfText: endOfTextOf(model.config) }, locatorOf(manifest));
  evaluators = new PhaseEvaluators({ run: client.state, manifest, model, text, threads: 1 });
  const id = await a.claim();
  await network.pass(1_000, a, b, ...validators);
  known = client.state.claims;
  claim = known.get(id)!;
  judges = validators.map(({ hotkey: { hotkey } }) => {
    const params = new HeadParams(model, manifest, network.store, null);
    return new ClaimJudge({
      ...{ client, hotkey, secret: hotkey, model, text, evaluators, heads, params, log: silentLog, signal },
    });
  });
  judged = [await judges[0]!.judge(claim), await judges[1]!.judge(claim)];
});
afterAll(async () => {
  await evaluators.close();
  await running.network.close();
});

const hotkeyOf = (i: number): Hotkey => running.validators[i]!.hotkey.hotkey;

/** What validator 0 would have published, changed. */
async function verdictWith(
  change: (details: VerdictDetails) => VerdictDetails | null,
  measured: Readonly<Record<string, Decimal>> = {},
): Promise<ClaimVerdict> {
  const { finding, details } = judged[0]!;
  const published = change(details!);
  const bytes = published === null ? null : encodeDetails(published);
  if (bytes !== null) await running.network.store.put(hashArtifact(bytes), bytes);
  const numbers = Object.entries(finding.measurements).map(([name, value]) => [name, toDecimal(value)] as const);
  return {
    ...{ hotkey: hotkeyOf(0), round: 'committee', outcome: 'accept', code: 'OK', sentence: '', accused: [], atMs: 1 },
    measurements: { ...Object.fromEntries(numbers), ...measured },
    details: bytes === null ? null : hashArtifact(bytes),
  };
}

/** Why validator 1 accuses validator 0; null if it does not. */
async function accusation(...said: Parameters<typeof verdictWith>): Promise<string | null> {
  const verdicts = [await verdictWith(...said)];
  const liars = await judges[1]!.findLiars({ ...claim, verdicts }, judged[1]!.values);
  return liars.get(hotkeyOf(0)) ?? null;
}

describe('a claim', () => {
  it('is tested by each validator on sequences of its own, which its details name', () => {
    expect(claim.beacon!.gainTested).toBe(true);
    for (const [i, { finding, details }] of judged.entries()) {
      expect(finding, finding.sentence).toMatchObject({ measurements: { gainSequences: 8 } });
      expect(details).toMatchObject({ claim: claim.id, validator: hotkeyOf(i) });
      expect(details!.heads).toEqual(running.network.orchestrator.run.run!.start.map(({ root }) => root));
      expect(details!.positions).toHaveLength(8);
      for (const position of details!.positions) expect(position).toBeGreaterThanOrEqual(claim.cursorAtCommit + 4_096);
    }
    expect(judged[0]!.details!.positions).not.toEqual(judged[1]!.details!.positions);
  });

  it('has no resemblance where nothing was revealed before it', () => {
    expect(judged[0]!.finding.measurements.resemblance).toBeUndefined();
  });
});

describe('a check of another validator', () => {
  it('accuses nobody who did the work, also with another rounding', async () => {
    expect(await accusation((details) => details)).toBeNull();
    const rounded = (details: VerdictDetails): VerdictDetails => ({
      ...details,
      lossesBefore: details.lossesBefore.map((loss) => toDecimal(fromDecimal(loss) * (1 + 1e-6))),
      lossesAfter: details.lossesAfter.map((loss) => toDecimal(fromDecimal(loss) * (1 + 1e-6))),
    });
    const { gain } = judged[0]!.finding.measurements;
    expect(await accusation(rounded, { gain: toDecimal(gain! * (1 + 1e-6)) })).toBeNull();
  });

  it('finds details that are missing, another’s, or of other sequences or heads', async () => {
    expect(await accusation(() => null)).toContain('no details');
    expect(await accusation((details) => ({ ...details, validator: hotkeyOf(1) }))).toContain('another’s');
    expect(await accusation((details) => ({ ...details, claim: details.heads[0]! }))).toContain('another’s');
    expect(await accusation((details) => ({ ...details, heads: details.heads.toReversed() }))).toContain('fragments');
    const copied = (details: VerdictDetails): VerdictDetails => ({
      ...details,
      positions: judged[1]!.details!.positions,
    });
    expect(await accusation(copied)).toContain('other sequences');
  });

  it('finds made-up losses, norms and gains', async () => {
    const lazy = (details: VerdictDetails): VerdictDetails => ({
      ...details,
      lossesBefore: details.lossesBefore.map(() => '6.2' as Decimal),
      lossesAfter: details.lossesAfter.map(() => '6.1' as Decimal),
    });
    expect(await accusation(lazy, { gain: toDecimal(6.2 - 6.1) })).toMatch(/says a loss of 6\.[12]0000 at \d+/);
    expect(await accusation(lazy)).toContain('own losses do not give');
    expect(await accusation((details) => details, { norm: toDecimal(0.5) })).toContain('norm');
  });

  it('accuses nobody of what the store has lost, or of a claim that cannot be read', async () => {
    const lost = { ...(await verdictWith((details) => details)), details: hashArtifact(Buffer.from('gone')) };
    const liars = await judges[1]!.findLiars({ ...claim, verdicts: [lost] }, judged[1]!.values);
    expect(liars.size).toBe(0);
    expect((await judges[1]!.findLiars({ ...claim, verdicts: [lost] }, null)).size).toBe(0);
  });
});

it('a copy of what another revealed before resembles it, honest work does not', async () => {
  const { network, b } = running;
  const made = await b.make();
  const { id } = await b.commit(made);
  await network.store.put(made.body.artifact, made.bytes);
  await network.store.put(made.body.trace.artifact, made.traceBytes);
  const own = network.orchestrator.run.claims.get(id)!;
  const beacon = { ...claim.beacon!, gainTested: false };
  const likenessOf = async (
    artifact: Claim['body']['artifact'],
    committedAtMs: number,
  ): Promise<number | undefined> => {
    const { finding } = await judges[0]!.judge({ ...own, beacon, committedAtMs, body: { ...own.body, artifact } });
    return finding.measurements.resemblance;
  };
  const after = claim.revealedAtMs! + 1;
  expect(await likenessOf(claim.body.artifact, after)).toBeCloseTo(1, 6);
  expect(Math.abs((await likenessOf(made.body.artifact, after))!)).toBeLessThan(0.1);
  // What came before the reveal cannot be a copy.
  expect(await likenessOf(claim.body.artifact, claim.revealedAtMs! - 1)).toBeUndefined();
});

it('who was copied is not suspected of resembling the copy, who copies is', async () => {
  const { network, a, b } = running;
  const fragment = a.model.plan.fragments[claim.body.fragment]!;
  const { params, selectionBias } = judged[0]!.values!;
  const norm = Math.hypot(...params);
  const rng = new Rng('goes on as before');
  const further = params.map((x) => x + (0.4 * norm * rng.normal()) / Math.sqrt(params.length));
  const { codec } = a.client.manifest;
  const { bytes } = encodeFragment(codec, fragment, { params: further, selectionBias });
  const artifact = hashArtifact(bytes);
  await network.store.put(artifact, bytes);
  const afterMs = claim.revealedAtMs! + 1;
  const id = 'c'.repeat(64) as Claim['id'];
  const learner = learnerIdOf(b.hotkey.hotkey, 'copier');
  const copied = (committedAtMs: number, commitSeq: number): Claim => ({
    ...{ ...claim, id, hotkey: b.hotkey.hotkey, learner, committedAtMs, commitSeq, revealedAtMs: afterMs },
  });
  const { commitSeq } = claim;
  const nextId = 'd'.repeat(64) as Claim['id'];
  const next = { ...claim, id: nextId, committedAtMs: afterMs + 1, commitSeq: commitSeq + 2 };
  const beacon = { ...claim.beacon!, gainTested: false };
  const likeness = async (): Promise<number | undefined> => {
    const { finding } = await judges[0]!.judge({ ...next, beacon, body: { ...claim.body, artifact } });
    return finding.measurements.resemblance;
  };
  try {
    known.set(id, copied(afterMs, commitSeq + 1));
    expect(await likeness()).toBeUndefined();
    // In the same millisecond, of this very claim.
    const atOnce = copied(next.committedAtMs, next.commitSeq + 1);
    const other = { id: 'e'.repeat(64) as Claim['id'], revealedAtMs: next.committedAtMs };
    known.delete(id);
    known.set(other.id, { ...atOnce, ...other, body: { ...claim.body, artifact } });
    expect(await likeness()).toBeUndefined();
    known.delete(other.id);
    known.set(id, copied(claim.revealedAtMs! - 1, commitSeq - 1)); // then it was first
    expect(await likeness()).toBeGreaterThan(0.8);
  } finally {
    known.delete(id);
  }
});
