/** @file A pending merge is computed from what the journal names: against plain loops, twice, in any order of claims. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRunning, type RunningNetwork, unreadable } from '../../../tests/support/local-network.ts';
import type { RunState } from '../../journal/state.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import type { Fragment } from '../../merge/fragment-plan.ts';
import type { FragmentValues } from '../../merge/fragment-values.ts';
import { fromDecimal } from '../../protocol/names.ts';
import { artifactPath, FsStore } from '../../store/fs.ts';
import { MemoryStore } from '../../store/memory.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { type MergeRunnerDeps, runMerge } from './merge-runner.ts';

let running: RunningNetwork;
/** A fold in which the second merge of fragment 0 (two claims) is pending. */
let run: RunState;
let fragment: Fragment;

beforeAll(async () => {
  running = await openRunning();
  const { network, a, b, validators, round } = running;
  for (let i = 0; i < 4; i++) {
    await round();
    await network.pass(1_000, a, b, ...validators);
  }
  await network.stop();
  await network.start({ store: unreadable(network.store) });
  await network.pass(3_000, a, b, ...validators);
  await round();
  await network.pass(1_000, a, b, ...validators);
  run = (await network.connect(null)).state;
  await network.stop();
  fragment = a.model.plan.fragments[0]!;
});
afterAll(() => running.network.close());

const depsOf = (changes: Partial<MergeRunnerDeps> = {}): MergeRunnerDeps => ({
  ...{ store: running.network.store, plan: running.a.model.plan, artifactOf: hashArtifact, nowMs: () => 0 },
  ...changes,
});

async function read(
  codec: 'f32' | 'int8',
  artifact: { root: never; sizeBytes: number } | unknown,
): Promise<FragmentValues> {
  return decodeFragment(codec, fragment, await running.network.store.get(artifact as never));
}

/** The state with its pending claims in the order given, all of one learner if asked. */
function withClaims(order: readonly number[], isOneLearner = false): RunState {
  const head = run.fragments[0]!;
  const pending = head.pendingMerge!;
  const claims = new Map(run.claims);
  const first = run.claims.get(pending.claims[0]!.claim)!;
  if (isOneLearner)
    for (const { claim } of pending.claims)
      claims.set(claim, { ...run.claims.get(claim)!, hotkey: first.hotkey, name: first.name, learner: first.learner });
  const pendingMerge = { ...pending, claims: order.map((i) => pending.claims[i]!) };
  return { ...run, claims, fragments: [{ ...head, pendingMerge }, ...run.fragments.slice(1)] };
}

describe('runMerge', () => {
  it('is the outer step of the manifest, as plain loops compute it', async () => {
    const head = run.fragments[0]!;
    expect(head).toMatchObject({ version: 1, pendingMerge: { outerStep: 4 } });
    const body = await runMerge(run, 0, depsOf());
    const [theta, velocity] = [await read('f32', head.artifact), await read('f32', head.momentum)];
    const claims = head.pendingMerge!.claims.map(({ claim }) => run.claims.get(claim)!);
    const gradients = await Promise.all(claims.map(({ body: { artifact } }) => read('int8', artifact)));
    const [after, momentum] = [await read('f32', body.artifact), await read('f32', body.momentum)];
    const { outerLearningRate, outerMomentum } = run.run!.manifest.merge;
    const [rate, mu] = [fromDecimal(outerLearningRate), fromDecimal(outerMomentum)];
    let worst = 0;
    for (let i = 0; i < fragment.elementCount; i++) {
      // Both claims count the same tokens; the norms are alike, so that nothing is clipped.
      const delta = gradients.reduce((sum, { params }) => sum + params[i]! / gradients.length, 0);
      const v = mu * velocity.params[i]! + delta;
      worst = Math.max(
        worst,
        Math.abs(momentum.params[i]! - v),
        Math.abs(after.params[i]! - theta.params[i]! + rate * (delta + mu * v)),
      );
    }
    expect(worst).toBeLessThan(1e-6);
    expect(velocity.params.some((value) => value !== 0)).toBe(true);
    expect([...momentum.selectionBias].every((value) => value === 0)).toBe(true);
    expect(body).toMatchObject({ outerStep: 4, fragment: 0, version: 2, durationMs: 0 });
    expect(body.shares.map(({ share }) => share)).toEqual(['0.5', '0.5']);
    for (const [m, { norm, clippedNorm }] of body.shares.entries()) {
      expect(fromDecimal(norm)).toBeCloseTo(Math.hypot(...gradients[m]!.params), 6);
      expect(clippedNorm).toBe(norm);
    }
  });

  it('done again, it names and stores the same bytes', async () => {
    const [first, second] = [await runMerge(run, 0, depsOf()), await runMerge(run, 0, depsOf())];
    expect(second).toEqual(first);
    expect(await running.network.store.stat(first.artifact.root)).toBe(first.artifact.sizeBytes);
  });

  it('in parts, from and to a folder, it makes the same bytes; damage and loss leave nothing behind', async () => {
    const expected = await runMerge(run, 0, depsOf());
    const { momentum, artifact, pendingMerge } = run.fragments[0]!;
    const claims = pendingMerge!.claims.map(({ claim }) => run.claims.get(claim)!.body.artifact);
    const dir = mkdtempSync(join(tmpdir(), 'accrete-merge-'));
    try {
      const store = await FsStore.open(dir);
      for (const each of [artifact, momentum!, ...claims]) await store.put(each, await running.network.store.get(each));
      const whole: unknown[] = [];
      const parts = {
        ...unreadable(store),
        parts: store.parts,
        get: async (...args: unknown[]): Promise<Uint8Array> => {
          whole.push(args);
          throw new Error('read whole');
        },
      };
      const deps = depsOf({ store: parts, isInParts: () => true });
      expect(await runMerge(run, 0, deps)).toEqual(expected);
      expect(whole).toEqual([]);
      for (const each of [expected.artifact, expected.momentum])
        expect(Buffer.compare(await store.get(each), await running.network.store.get(each))).toBe(0);
      for (const each of [expected.artifact, expected.momentum]) await store.remove(each.root);
      const path = artifactPath(dir, claims[1]!.root);
      const good = readFileSync(path);
      writeFileSync(
        path,
        good.map((byte, i) => (i === good.length - 9 ? byte ^ 1 : byte)),
      );
      await expect(runMerge(run, 0, deps)).rejects.toMatchObject({ code: 'LOST' });
      writeFileSync(path, good.subarray(1));
      await expect(runMerge(run, 0, deps)).rejects.toMatchObject({ code: 'LOST' });
      rmSync(path);
      await expect(runMerge(run, 0, deps)).rejects.toMatchObject({ code: 'LOST' });
      writeFileSync(path, good);
      const statePath = artifactPath(dir, artifact.root);
      const state = readFileSync(statePath);
      writeFileSync(
        statePath,
        state.map((byte, i) => (i === state.length - 9 ? byte ^ 1 : byte)),
      );
      await expect(runMerge(run, 0, deps)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
      expect(readdirSync(join(dir, 'temporary'))).toEqual([]);
      expect(await store.stat(expected.artifact.root)).toBeNull();
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('gives shares in the order of the merge event, and the same bytes for every order', async () => {
    const expected = await runMerge(run, 0, depsOf());
    for (const isOneLearner of [false, true]) {
      const bodies = await Promise.all(
        [
          [0, 1],
          [1, 0],
        ].map((order) => runMerge(withClaims(order, isOneLearner), 0, depsOf())),
      );
      const ids = run.fragments[0]!.pendingMerge!.claims.map(({ claim }) => claim);
      expect(bodies.map(({ shares }) => shares.map(({ claim }) => claim))).toEqual([ids, [...ids].reverse()]);
      for (const { artifact } of bodies) expect(artifact, String(isOneLearner)).toEqual(expected.artifact);
    }
  });

  it('weighs a staler claim less', async () => {
    const state = withClaims([0, 1]);
    const pending = state.fragments[0]!.pendingMerge!;
    const claims = pending.claims.map((claim, i) => ({ ...claim, staleness: i }));
    state.fragments[0]!.pendingMerge = { ...pending, claims };
    const { shares } = await runMerge(state, 0, depsOf());
    expect(fromDecimal(shares[0]!.share) / fromDecimal(shares[1]!.share)).toBeCloseTo(2, 12);
  });

  it('stores nothing when a claim is not in the store', async () => {
    const store = new MemoryStore();
    const { artifact, momentum } = run.fragments[0]!;
    for (const each of [artifact, momentum!]) await store.put(each, await running.network.store.get(each));
    const puts: unknown[] = [];
    const watched = {
      ...unreadable(store),
      get: store.get.bind(store),
      put: async (...args: unknown[]) => void puts.push(args),
    };
    await expect(runMerge(run, 0, depsOf({ store: watched }))).rejects.toMatchObject({ code: 'LOST' });
    expect(puts).toEqual([]);
  });

  it('of nothing is a bug of the caller', async () => {
    await expect(runMerge(run, 1, depsOf())).rejects.toThrow(/fragment 1 has no pending merge/);
  });
});
