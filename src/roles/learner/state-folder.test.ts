/** @file The folder of a learner's states: bounded, whole, of one run, and no reason to stop training. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { artifactOf } from '../../protocol/artifact.ts';
import { hashOfText } from '../../protocol/hash.ts';
import { concatBytes } from '../../util/bytes.ts';
import type { RootedState } from './learner.ts';
import { keptStates, readKeptState, StateFolder } from './state-folder.ts';

let parent: string;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'accrete-states-'));
});
afterAll(() => rm(parent, { recursive: true }));

const run = hashOfText('run');
const optionsOf = (name: string, keep = 3) => ({ dir: join(parent, name), run, keep });

function stateOf(innerSteps: number): RootedState {
  const parts = [Uint8Array.of(innerSteps, 1, 2), new Uint8Array(1000).fill(innerSteps)];
  return { innerSteps, root: artifactOf(concatBytes(...parts)).root, parts };
}

describe('StateFolder', () => {
  it('keeps the newest states, whole, and gives each by its root', async () => {
    const options = optionsOf('bounded');
    const folder = await StateFolder.open(options, 0);
    const states = [1, 2, 3, 4, 5].map(stateOf);
    for (const state of states) {
      const parts = state.parts.map((part) => part.slice());
      await folder.add({ ...state, parts });
      // The learner goes on: what was handed over is its own again.
      for (const part of parts) part.fill(0);
    }
    await folder.close();
    expect(folder.takeFault()).toBeNull();
    expect(await readdir(options.dir)).toHaveLength(3);
    for (const { innerSteps, root, parts } of states) {
      const bytes = await readKeptState(options.dir, root);
      if (innerSteps <= 2) expect(bytes, `state ${innerSteps}`).toBeNull();
      else expect(bytes, `state ${innerSteps}`).toEqual(concatBytes(...parts));
    }
  });

  it('goes on after a restart with what the journal knows, and drops the rest', async () => {
    const options = optionsOf('restart');
    const before = await StateFolder.open(options, 0);
    for (const steps of [4, 8, 12]) await before.add(stateOf(steps));
    await before.close();
    const other = await StateFolder.open({ ...optionsOf('other'), run: hashOfText('another run') }, 0);
    await other.add(stateOf(4));
    await other.close();
    const [foreign] = await readdir(join(parent, 'other'));
    await writeFile(join(options.dir, foreign!), await readFile(join(parent, 'other', foreign!)));
    await writeFile(join(options.dir, 'half.state.partial'), 'x');
    const after = await StateFolder.open(options, 9);
    const stepsKept = (await readdir(options.dir)).map((name) => Number(name.split('-')[1])).sort((a, b) => a - b);
    expect(stepsKept).toEqual([4, 8]);
    for (const steps of [12, 16]) await after.add(stateOf(steps));
    await after.close();
    expect(await readKeptState(options.dir, stateOf(4).root)).toBeNull();
    expect(await readKeptState(options.dir, stateOf(8).root)).not.toBeNull();
  });

  it('reports what cannot be written, and recovers', async () => {
    const options = optionsOf('gone');
    const folder = await StateFolder.open(options, 0);
    await rm(options.dir, { recursive: true });
    await writeFile(options.dir, 'a file in its place');
    await folder.add(stateOf(1));
    await folder.close();
    expect(folder.takeFault()).toMatch(/state after 1 steps not kept/);
    expect(folder.takeFault()).toBeNull();
    await rm(options.dir);
    await StateFolder.open(options, 0);
    await folder.add(stateOf(2));
    await folder.close();
    expect(await readKeptState(options.dir, stateOf(2).root)).not.toBeNull();
    expect(await readKeptState(join(parent, 'nowhere'), stateOf(2).root)).toBeNull();
  });

  it('never hands out a damaged file', async () => {
    const options = optionsOf('damaged');
    const folder = await StateFolder.open(options, 0);
    await folder.add(stateOf(1));
    await folder.close();
    const [name] = await readdir(options.dir);
    await writeFile(join(options.dir, name!), 'cut short');
    expect(await readKeptState(options.dir, stateOf(1).root)).toBeNull();
  });

  it('has room for a window and what comes while an answer is under way', () => {
    expect(keptStates(8)).toBe(13);
    expect(keptStates(1)).toBe(3);
  });
});
