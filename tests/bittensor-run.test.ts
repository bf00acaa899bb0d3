/**
 * @file A whole network of real processes on Bittensor's protocol: a scripted node with true metadata makes the blocks, wallets are
 * Bittensor's, and syncer, miner and validator do on it what they do on the embedded chain.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { main } from '../src/cli/main.ts';
import { fetchStatus } from '../src/http/client.ts';
import type { Hotkey } from '../src/protocol/names.ts';
import { signerOf } from './contracts/ledger.ts';
import { describeOnChain } from './support/chain-metadata.ts';
import { ScriptedChain } from './support/scripted-chain.ts';
import { ScriptedNode } from './support/scripted-node.ts';
import { testIo } from './support/test-io.ts';

const limitMs = 240_000;
const program = join(import.meta.dirname, '..', 'bin', 'accrete');
const netuid = 7;
/** As preset tiny has it on the embedded chain, in time too: audits must fit into a tempo. */
const [tempoBlocks, blockMs] = [120, 220];
const children = new Set<ChildProcess>();
let cwd: string;
let chain: ScriptedChain;
let node: ScriptedNode;
let timer: NodeJS.Timeout;

/** A command in this process. */
async function run(...argv: readonly string[]) {
  const { io, lines, errors } = testIo({ cwd });
  const exitCode = await main(argv, { ...io, environment: { ACCRETE_WALLET_DIR: join(cwd, 'wallets') } });
  return { exitCode, out: lines.join('\n'), err: errors.join('\n') };
}

function start(...argv: readonly string[]) {
  const child = spawn(process.execPath, [program, ...argv], {
    cwd,
    env: { ...process.env, ACCRETE_WALLET_DIR: join(cwd, 'wallets') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  const output: string[] = [];
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => output.push(String(chunk)));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  void ended.then(() => children.delete(child));
  return { process: child, ended, text: () => output.join('') };
}

async function until(what: string, isTrue: () => boolean | Promise<boolean>, told: () => string): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`waited for ${what}; ${told().slice(-3_000)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

async function addressOf(key: 'coldkey' | 'hotkey', hotkey = ''): Promise<Hotkey> {
  const wallet = JSON.parse((await run('wallet', 'list', '--json')).out);
  const found = wallet.hotkeys.find(({ name }: { name: string }) => name === hotkey);
  return key === 'coldkey' ? wallet.coldkey.address : found.address;
}

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'accrete-bittensor-'));
  chain = new ScriptedChain({ netuid, owner: signerOf(30).hotkey, rules: { burnIncreasePercent: 100, tempoBlocks } });
  node = await ScriptedNode.start(chain);
  for (const hotkey of ['syncer', 'miner-1', 'miner-2', 'validator-1'])
    expect((await run('wallet', 'new', 'w', '--hotkey', hotkey, '--unencrypted')).exitCode).toBe(0);
  chain.fund(await addressOf('coldkey'));
  timer = setInterval(() => chain.mine(), blockMs);
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
});
afterAll(async () => {
  clearInterval(timer);
  await node.close().catch(() => undefined);
  rmSync(cwd, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
});

describeOnChain('a run on Bittensor', () => {
  it('registers nobody by itself, then trains, anchors, weighs and is paid', { timeout: 600_000 }, async () => {
    const on = ['--ledger', 'bittensor', '--endpoint', `ws://127.0.0.1:1,${node.url}`, '--netuid', `${netuid}`];
    const port = await freePort();
    const join_ = ['--join', `http://127.0.0.1:${port}`];
    const up = ['up', '--preset', 'tiny', '--miners', '1', '--validators', '1', '--dir', 'run', '--port', `${port}`];
    const early = await run(...up, ...on, '--wallet', 'w');
    expect([early.exitCode, early.err]).toEqual([
      2,
      expect.stringMatching(
        /HotKeyNotRegisteredInSubNet: .*syncer, miner-1, validator-1 are not registered.*accrete ledger register/,
      ),
    ]);
    for (const hotkey of ['syncer', 'miner-1', 'miner-2', 'validator-1']) {
      const registered = await run('ledger', 'register', ...on, '--wallet', 'w', '--hotkey', hotkey, '--yes');
      expect(registered.out, registered.err).toMatch(/is registered: uid \d/);
    }
    const staked = await run(
      'ledger',
      'stake',
      ...on,
      '--wallet',
      'w',
      '--hotkey',
      'validator-1',
      '--amount',
      '10',
      '--yes',
    );
    expect(staked.out, staked.err).toMatch(/has a stake of 10 TAO/);

    chain.mine(tempoBlocks); // the permit comes with an epoch
    const network = start(...up, ...on, '--wallet', 'w', '--minutes', '10', '--json');
    const [syncer, miner, validator] = [
      await addressOf('hotkey', 'syncer'),
      await addressOf('hotkey', 'miner-1'),
      await addressOf('hotkey', 'validator-1'),
    ];
    const told = () =>
      `${network.text()}\n${JSON.stringify(chain.best.state.neurons, (_, v) => (typeof v === 'bigint' ? String(v) : v))}`;
    const neuron = (hotkey: Hotkey) => chain.best.state.neurons.find((each) => each.hotkey === hotkey)!;
    await until('weights on the chain', () => neuron(validator).weights.length > 0, told);
    await until('incentive for the miner', () => neuron(miner).incentive > 0.9, told);
    await until('an anchored head', () => chain.best.state.commitments[syncer] !== undefined, network.text);
    const anchors = await run('ledger', 'anchors', ...on, '--json', '--last', '0');
    const roots = anchors.out.split('\n').map((line) => JSON.parse(line) as { hotkey: string; data: string });
    expect(new Set(roots.map(({ hotkey }) => hotkey))).toEqual(new Set([syncer]));

    // Who names no ledger, or another subnet, is told where the run lives.
    for (const wrong of [[], [...on.slice(0, 4), '--netuid', '9']]) {
      const { exitCode, err } = await run('mine', ...join_, '--dir', 'lost', ...wrong);
      expect(exitCode).not.toBe(0);
      expect(err).toMatch(wrong.length === 0 ? /lives on Bittensor, genesis .*--netuid 7/ : /SubnetNotExists/);
    }

    // A session key mines for a hotkey that is not on its machine.
    const delegated = await run(
      'wallet',
      'delegate',
      'w',
      '--hotkey',
      'miner-2',
      ...join_,
      '--dir',
      'rig',
      '--name',
      'rig',
      ...on,
    );
    expect(delegated.out, delegated.err).toMatch(/may mine for/);
    expect(readFileSync(join(cwd, 'rig', 'hotkey.json'), 'utf8')).not.toMatch(/secret/i);
    const rig = start('mine', ...join_, '--dir', 'rig', '--name', 'rig', '--threads', '1', ...on);
    const url = `http://127.0.0.1:${port}`;
    await until(
      'inner steps of the delegated miner',
      async () => (await fetchStatus(url)).learners.some(({ name, innerSteps }) => name === 'rig' && innerSteps > 0),
      rig.text,
    );
    rig.process.kill('SIGTERM');
    expect(await rig.ended, rig.text()).toBe(0);

    // The reward table is the chain's: what it paid, not what we scored.
    const rewards = (await (await fetch(`${url}/api/v1/rewards`)).json()) as {
      tempos: { minerRao: number; validatorRao: number }[];
      latest: { hotkey: string; minerRao: number }[];
    };
    expect(rewards.tempos.length).toBeGreaterThan(0);
    expect(rewards.latest.map(({ hotkey }) => hotkey)).toEqual(expect.arrayContaining([miner, validator]));
    const paid = rewards.latest.find(({ hotkey }) => hotkey === miner)!;
    expect(paid.minerRao).toBeGreaterThan(0);

    for (const more of [on, []]) {
      const explained = await run('explain', 'miner-1', ...join_, ...more, '--json');
      const { ledger } = JSON.parse(explained.out);
      if (more.length === 0) expect(ledger).toBeNull();
      else expect(ledger.incentive).toBeGreaterThan(0.5);
    }

    // The chain goes away: the run is still told of, and ends.
    clearInterval(timer);
    await node.close();
    expect((await fetchStatus(url)).learners.length).toBeGreaterThan(0);
    network.process.kill('SIGINT');
    await network.ended;
    await until(
      'the port of the orchestrator to be free',
      async () =>
        fetchStatus(url).then(
          () => false,
          () => true,
        ),
      network.text,
    );
    const journal = readFileSync(join(cwd, 'run', 'journal.jsonl'), 'utf8');
    expect(journal).toContain(`bittensor:${chain.genesis}`);
    for (const { data } of roots) expect(journal).toContain(data);
    const logs = ['syncer', 'miner-1', 'validator-1'].map((name) =>
      readFileSync(join(cwd, 'run', 'logs', `${name}.log`), 'utf8'),
    );
    expect(logs.join('\n')).toMatch(/weights set/);
  });
});
