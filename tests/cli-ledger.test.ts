/** @file `accrete ledger` and `accrete wallet` as an operator meets them, against a served embedded chain. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InProcessBus } from '../src/bus/in-process.ts';
import { serveBus } from '../src/bus/websocket.ts';
import type { Io } from '../src/cli/io.ts';
import { openKeys, openSessionKey, writeDelegatedHotkey } from '../src/cli/keys.ts';
import { main } from '../src/cli/main.ts';
import { ManualBlockClock } from '../src/ledger/block-clock.ts';
import { EmbeddedChain } from '../src/ledger/embedded.ts';
import { serveLedger } from '../src/ledger/remote.ts';
import type { Hotkey } from '../src/protocol/names.ts';
import { signerOf } from './contracts/ledger.ts';
import { describeOnChain } from './support/chain-metadata.ts';
import { ScriptedChain, type ScriptedChainOptions } from './support/scripted-chain.ts';
import { ScriptedNode } from './support/scripted-node.ts';

const vectors = join(import.meta.dirname, 'vectors', 'ledger', 'yuma.json');
const development = 'bottom drive obey lake curtain smoke basket hold race lonely fit walk';
let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'accrete-cli-ledger-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

async function run(...argv: readonly string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const io: Io = {
    out: (line) => void out.push(line),
    write: (text) => void out.push(text),
    err: (line) => void err.push(line),
    ...{ terminal: null, environment: { ACCRETE_WALLET_DIR: join(cwd, 'wallets') }, cwd },
    stop: new AbortController().signal,
    force: new AbortController().signal,
  };
  const exitCode = await main(argv, io);
  return { exitCode, out: out.join('\n'), err: err.join('\n') };
}

describe('accrete ledger yuma', () => {
  it('tells that the vectors of the chain hold, and which of a changed file do not', async () => {
    const good = await run('ledger', 'yuma', vectors);
    expect([good.exitCode, good.err]).toEqual([0, '']);
    expect(good.out).toContain('all 10 vectors hold');
    const file = JSON.parse(readFileSync(vectors, 'utf8'));
    file.vectors[6].expect.incentive_u16[3]++;
    writeFileSync(join(cwd, 'changed.json'), JSON.stringify(file));
    const changed = await run('ledger', 'yuma', 'changed.json');
    expect(changed.exitCode).toBe(1);
    expect(changed.out).toMatch(
      /runtime293_epoch_0_yuma2_A: incentive\[3\]: expected 38026, got 38025 \(tolerance 0\)/,
    );
    expect(changed.out).toContain('1 of 10 vectors do not hold');
  });

  it('refuses what is no file of vectors, and says why', async () => {
    const file = () => JSON.parse(readFileSync(vectors, 'utf8'));
    const short = file();
    short.vectors[6].weights_sparse_u16.pop();
    const outside = file();
    outside.vectors[6].weights_sparse_u16[1][0][0] = 6;
    const cases: [string, string, RegExp][] = [
      ['no JSON', '{', /expected JSON/],
      ['no vectors', '{"vectors":[]}', /no file of Yuma vectors/],
      ['a kind of its own', '{"vectors":[{"id":"x","kind":"other"}]}', /kind/],
      ['a row too few', JSON.stringify(short), /weights_sparse_u16: expected 6 entries, got 5/],
      ['a uid that is not there', JSON.stringify(outside), /not below n = 6/],
    ];
    for (const [what, text, sentence] of cases) {
      writeFileSync(join(cwd, 'bad.json'), text);
      const { exitCode, err } = await run('ledger', 'yuma', 'bad.json');
      expect(exitCode, what).toBe(2);
      expect(err, what).toMatch(sentence);
    }
    expect((await run('ledger', 'yuma', 'nowhere.json')).err).toMatch(/there is no file/);
  });
});

describe('accrete ledger on a running network', () => {
  const clock = new ManualBlockClock({ blockMs: 100 });
  let server: Server;
  let close: () => Promise<void>;
  let at: readonly string[];
  beforeEach(async () => {
    const genesis = { chainId: 'cli-test', netuid: 24, tempoBlocks: 10, blockMs: 100, owner: signerOf(50).hotkey };
    const chain = await EmbeddedChain.open({ genesis, clock });
    const bus = new InProcessBus();
    await serveLedger(bus, chain);
    server = createServer();
    const access = { mayPublish: () => false, mayRespond: () => false, maySubscribe: () => false };
    const served = serveBus(server, bus, { access });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    at = ['--join', `http://127.0.0.1:${(server.address() as AddressInfo).port}`];
    close = async () => {
      await served.close();
      await new Promise((resolve) => server.close(resolve));
      await chain.close();
    };
  });
  afterEach(() => close());

  it('registers, stakes, weighs, and reads what comes of it', async () => {
    for (const name of ['v', 'm']) openKeys(join(cwd, name));
    const unsure = await run('ledger', 'register', '--dir', 'v', ...at);
    expect([unsure.exitCode, unsure.err]).toEqual([2, expect.stringMatching(/for 0 TAO, of 1000 TAO .*--yes/)]);
    for (const name of ['v', 'm'])
      expect((await run('ledger', 'register', '--dir', name, '--yes', ...at)).exitCode).toBe(0);
    expect((await run('ledger', 'register', '--dir', 'v', '--yes', ...at)).out).toMatch(
      /was already registered: uid 0/,
    );
    const staked = await run('ledger', 'stake', '--dir', 'v', '--amount', '10.5', '--yes', ...at);
    expect(staked.out).toMatch(/stake of 10.5 TAO; 989.5 TAO are free/);
    const early = await run('ledger', 'weights', '--dir', 'v', '--set', '1=1', '--yes', ...at);
    expect([early.exitCode, early.err]).toEqual([
      1,
      expect.stringMatching(/NeuronNoValidatorPermit.*wait for the next epoch/),
    ]);
    clock.advance(10);
    expect((await run('ledger', 'weights', '--dir', 'v', '--set', '1=0.5', '--yes', ...at)).out).toMatch(/: 1=65535$/);
    const fast = await run('ledger', 'weights', '--dir', 'v', '--set', '1=1', '--yes', ...at);
    expect(fast.err).toMatch(/SettingWeightsTooFast: weights may be set again in block \d+/);
    clock.advance(10);
    const neurons = (await run('ledger', 'metagraph', '--json', ...at)).out.split('\n').map((line) => JSON.parse(line));
    expect(neurons.map(({ incentive, dividends }) => [incentive, dividends])).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect((await run('ledger', 'metagraph', ...at)).out).toContain(openKeys(join(cwd, 'm')).hotkey.hotkey);
    expect((await run('ledger', 'weights', ...at)).out).toMatch(/^uid 0 .*: 1=65535$/);
    expect((await run('ledger', 'anchors', ...at)).out).toBe('nothing is anchored yet');
    const status = JSON.parse((await run('ledger', 'status', '--json', ...at)).out);
    expect(status).toMatchObject({ netuid: 24, neuronCount: 2, tempoBlocks: 10, isCommitReveal: false });
    expect((await run('ledger', 'status', ...at)).out).toMatch(/price {5}0 TAO a registration/);
    const back = await run('ledger', 'stake', '--dir', 'v', '--amount', '0.5', '--remove', '--yes', ...at);
    expect(back.exitCode).toBe(0);
  });

  it('says what to do about each mistake', async () => {
    openKeys(join(cwd, 'v'));
    const stranger = signerOf(3).hotkey;
    const cases: [readonly string[], number, RegExp][] = [
      [['status', '--netuid', '9'], 2, /SubnetNotExists: .* has subnet 24, not 9/],
      [['status', '--account', `${stranger.slice(0, -1)}1`], 2, /no SS58 address .*checksum/],
      [['stake', '--dir', 'v', '--amount', '1', '--yes'], 1, /HotKeyNotRegisteredInSubNet: .*register it first/],
      [['stake', '--dir', 'v', '--amount', '0.0000000001', '--yes'], 2, /up to 9 decimals/],
      [['register', '--yes'], 2, /give --wallet NAME, or --dir/],
      [['register', '--dir', 'nowhere', '--yes'], 2, /no hotkey.json/],
      [['weights', '--of', stranger], 2, /HotKeyNotRegisteredInSubNet: .*metagraph lists them/],
      [['weights', '--dir', 'v', '--set', '1:2', '--yes'], 2, /pairs like 3=1,4=0.5/],
      [['weights', '--dir', 'v', '--set', '1=2,1=3', '--yes'], 2, /DuplicateUids/],
    ];
    for (const [argv, expected, sentence] of cases) {
      const { exitCode, err } = await run('ledger', ...argv, ...at);
      expect(err, argv.join(' ')).toMatch(sentence);
      expect(exitCode, argv.join(' ')).toBe(expected);
    }
    const down = await run('ledger', 'status', '--join', 'http://127.0.0.1:9');
    expect([down.exitCode, down.err]).toEqual([1, expect.stringMatching(/no network answers at .*check --join/)]);
  });

  it("registers a wallet's hotkey by its coldkey", async () => {
    await run('wallet', 'new', 'w', '--unencrypted');
    const { exitCode, out } = await run('ledger', 'register', '--wallet', 'w', '--yes', '--json', ...at);
    expect(exitCode).toBe(0);
    const [wallet] = (await run('wallet', 'list', '--json')).out.split('\n').map((line) => JSON.parse(line));
    expect(JSON.parse(out)).toMatchObject({ hotkey: wallet.hotkeys[0].address, coldkey: wallet.coldkey.address });
  });
});

describeOnChain('accrete ledger on Bittensor', () => {
  const netuid = 7;
  let chain: ScriptedChain;
  let node: ScriptedNode;
  let on: readonly string[];
  const startNode = async (rules: ScriptedChainOptions['rules'] = {}) => {
    chain = new ScriptedChain({ netuid, owner: signerOf(30).hotkey, rules });
    node = await ScriptedNode.start(chain);
    node.isInstant = true;
    on = ['--ledger', 'bittensor', '--endpoint', node.url, '--netuid', `${netuid}`];
  };
  afterEach(() => node.close());
  const coldkeyOf = async (wallet: string): Promise<Hotkey> => {
    const all = (await run('wallet', 'list', '--json')).out.split('\n').map((line) => JSON.parse(line));
    return all.find(({ name }) => name === wallet).coldkey.address;
  };

  it('does what it does on the embedded chain, with a wallet', async () => {
    await startNode();
    for (const hotkey of ['default', 'm']) await run('wallet', 'new', 'w', '--unencrypted', '--hotkey', hotkey);
    chain.fund(await coldkeyOf('w'));
    const unsure = await run('ledger', 'register', '--wallet', 'w', ...on);
    expect([unsure.exitCode, unsure.err]).toEqual([2, expect.stringMatching(/for 0.0005 TAO, of 1000 TAO .*--yes/)]);
    expect(chain.offered).toEqual([]);
    for (const hotkey of ['default', 'm'])
      expect((await run('ledger', 'register', '--wallet', 'w', '--hotkey', hotkey, '--yes', ...on)).exitCode).toBe(0);
    expect((await run('ledger', 'register', '--wallet', 'w', '--yes', ...on)).out).toMatch(
      /was already registered: uid 0/,
    );
    const staked = await run('ledger', 'stake', '--wallet', 'w', '--amount', '10.5', '--yes', ...on);
    expect(staked.out, staked.err).toMatch(/stake of 10.5 TAO/);
    const early = await run('ledger', 'weights', '--wallet', 'w', '--set', '1=1', '--yes', ...on);
    expect([early.exitCode, early.err]).toEqual([1, expect.stringMatching(/NeuronNoValidatorPermit.*next epoch/)]);
    chain.mine(10);
    expect((await run('ledger', 'weights', '--wallet', 'w', '--set', '1=0.5', '--yes', ...on)).out).toMatch(
      /: 1=65535$/,
    );
    const fast = await run('ledger', 'weights', '--wallet', 'w', '--set', '1=1', '--yes', ...on);
    expect([fast.exitCode, fast.err]).toEqual([
      1,
      expect.stringMatching(/SettingWeightsTooFast: .*in block \d+.*try again in \d+ blocks/),
    ]);
    chain.mine(10);
    const neurons = (await run('ledger', 'metagraph', '--json', ...on)).out.split('\n').map((line) => JSON.parse(line));
    expect(neurons.map(({ incentive, dividends }) => [incentive, dividends])).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect((await run('ledger', 'anchors', ...on)).out).toBe('nothing is anchored yet');
    const status = JSON.parse((await run('ledger', 'status', '--json', ...on)).out);
    expect(status).toMatchObject({ netuid, neuronCount: 2, tempoBlocks: 10, chainId: `bittensor:${chain.genesis}` });
    expect((await run('ledger', 'status', ...on)).out).toMatch(/price {5}0.000\d+ TAO a registration/);
    const back = await run('ledger', 'stake', '--wallet', 'w', '--amount', '0.5', '--remove', '--yes', ...on);
    expect(back.exitCode, back.err).toBe(0);
  });

  it('commits and reveals weights where the subnet hides them', async () => {
    await startNode({ isCommitReveal: true });
    for (const hotkey of ['default', 'm']) await run('wallet', 'new', 'w', '--unencrypted', '--hotkey', hotkey);
    chain.fund(await coldkeyOf('w'));
    for (const hotkey of ['default', 'm'])
      await run('ledger', 'register', '--wallet', 'w', '--hotkey', hotkey, '--yes', ...on);
    await run('ledger', 'stake', '--wallet', 'w', '--amount', '10', '--yes', ...on);
    chain.mine(10);
    const set = await run('ledger', 'weights', '--wallet', 'w', '--set', '1=1', '--yes', ...on);
    expect(set.out, set.err).toMatch(/committed; in 1 epochs type accrete ledger weights --reveal/);
    expect((await run('ledger', 'weights', '--wallet', 'w', '--reveal', ...on)).out).toMatch(
      /nothing is to be revealed now/,
    );
    chain.mine(10);
    expect((await run('ledger', 'weights', '--wallet', 'w', '--reveal', ...on)).out).toBe('1 revealed');
    expect((await run('ledger', 'weights', ...on)).out).toMatch(/: 1=65535$/);
  });

  it('says what to do about each mistake', async () => {
    await startNode({ weightsVersionKey: 5 });
    for (const wallet of ['w', 'poor']) await run('wallet', 'new', wallet, '--unencrypted');
    chain.fund(await coldkeyOf('w'));
    const elsewhere = await ScriptedNode.start(
      new ScriptedChain({ netuid, owner: signerOf(30).hotkey, name: 'other' }),
    );
    await run('ledger', 'register', '--wallet', 'w', '--yes', ...on);
    await run('ledger', 'stake', '--wallet', 'w', '--amount', '10', '--yes', ...on);
    chain.mine(10);
    const weigh = (wallet: string, ...more: readonly string[]) => [
      'weights',
      '--wallet',
      wallet,
      '--set',
      '0=1',
      '--yes',
      ...on,
      ...more,
    ];
    const other = ['--ledger', 'bittensor', '--endpoint', elsewhere.url, '--netuid', '7', '--genesis', chain.genesis];
    const cases: [readonly string[], number, RegExp][] = [
      [['status', ...other], 1, /another network than the run's: check --endpoint and --genesis/],
      [
        ['status', '--ledger', 'bittensor', '--endpoint', 'ws://127.0.0.1:1', '--netuid', '7'],
        1,
        /no endpoint of the chain answers .*check --endpoint/,
      ],
      [['status', ...on.slice(0, 4), '--netuid', '9'], 1, /SubnetNotExists: .*check --netuid/],
      [['status', ...on.slice(0, 4)], 2, /--netuid is missing/],
      [['status', '--ledger', 'bittensor', '--netuid', '7'], 2, /--endpoint is missing/],
      [
        ['status', '--ledger', 'bittensor', '--endpoint', 'http://x', '--netuid', '7'],
        2,
        /expected ws:\/\/ or wss:\/\/ URLs/,
      ],
      [['status', '--ledger', 'elsewhere'], 2, /one of embedded, bittensor/],
      [['status', '--endpoint', node.url], 2, /--endpoint is for --ledger bittensor/],
      [['status', ...on, '--genesis', 'xyz'], 2, /--genesis: expected 64 hex digits/],
      [['status', ...on, '--account', `${signerOf(3).hotkey.slice(0, -1)}1`], 2, /no SS58 address .*checksum/],
      [['register', '--wallet', 'poor', '--yes', ...on], 1, /NotEnoughBalanceToStake: .*transfer some to it/],
      [
        ['stake', '--wallet', 'poor', '--amount', '1', '--yes', ...on],
        1,
        /HotKeyNotRegisteredInSubNet: .*accrete ledger register/,
      ],
      [['stake', '--wallet', 'w', '--amount', '99999', '--yes', ...on], 1, /NotEnoughBalanceToStake: .*transfer some/],
      [['stake', '--wallet', 'w', '--amount', '0.000000001', '--yes', ...on], 1, /StakeAmountTooLow: .*0.002 TAO/],
      [weigh('poor'), 1, /HotKeyNotRegisteredInSubNet/],
      [weigh('w', '--version-key', '4'), 1, /IncorrectWeightVersionKey: .*key is 5, got 4.*update the validator/],
    ];
    for (const [argv, expected, sentence] of cases) {
      const { exitCode, err } = await run('ledger', ...argv);
      expect(err, argv.join(' ')).toMatch(sentence);
      expect(exitCode, argv.join(' ')).toBe(expected);
    }
    expect(new Set(chain.offered).size).toBe(chain.offered.length);
    await elsewhere.close();
  });

  it('signs with an encrypted coldkey, and with nothing without its password', { timeout: 240_000 }, async () => {
    await startNode();
    writeFileSync(join(cwd, 'right'), 'correct horse', { mode: 0o600 });
    const made = await run('wallet', 'new', 'safe', '--password-file', 'right');
    expect(made.exitCode, made.err).toBe(0);
    expect(
      readFileSync(join(cwd, 'wallets', 'safe', 'coldkey'))
        .subarray(0, 5)
        .toString(),
    ).toBe('$NACL');
    chain.fund(await coldkeyOf('safe'));
    const register = (...more: readonly string[]) =>
      run('ledger', 'register', '--wallet', 'safe', '--yes', ...on, ...more);
    expect((await register()).err).toMatch(/no terminal to ask at; use --password-file FILE/);
    expect(chain.offered).toEqual([]);
    const registered = await register('--password-file', 'right');
    expect(registered.out, registered.err).toMatch(/is registered: uid 0/);
  });
});

describe('accrete wallet', () => {
  const secret = (name: string, text: string) => writeFileSync(join(cwd, name), text, { mode: 0o600 });

  it('makes, lists, shows, signs and verifies, and prints no secret', async () => {
    const made = await run('wallet', 'new', 'w', '--unencrypted', '--phrase-file', 'phrases.txt');
    expect(made.exitCode).toBe(0);
    const phrases = readFileSync(join(cwd, 'phrases.txt'), 'utf8').trim().split('\n');
    expect(phrases.map((line) => line.split(': ')[1]!.split(' ').length)).toEqual([12, 12]);
    expect(statSync(join(cwd, 'phrases.txt')).mode & 0o777).toBe(0o600);
    const second = await run('wallet', 'new', 'w', '--hotkey', 'rig', '--scheme', 'ed25519', '--words', '24');
    expect(second.out).toMatch(/coldkey \S+ \(was there\)/);
    const listed = await run('wallet', 'list');
    const shown = await run('wallet', 'show', 'w');
    for (const { out, err } of [made, second, listed, shown])
      for (const word of phrases.map((line) => line.split(': ')[1]!))
        expect(out + err).not.toContain(word.slice(0, 20));
    for (const hotkey of ['default', 'rig']) {
      const { out } = await run('wallet', 'sign', 'w', '--hotkey', hotkey, '--message', 'hello', '--json');
      const { address, signature } = JSON.parse(out);
      const check = (message: string) =>
        run('wallet', 'verify', address, '--message', message, '--signature', signature);
      expect((await check('hello')).exitCode, hotkey).toBe(0);
      expect((await check('hellO')).exitCode, hotkey).toBe(1);
    }
    const again = await run('wallet', 'new', 'w');
    expect([again.exitCode, again.err]).toEqual([
      2,
      expect.stringMatching(/is there already; choose another --hotkey/),
    ]);
  });

  it('imports a phrase with a path, writes it back to a file only', async () => {
    secret('alice', `${development}//Alice\n`);
    const { out, exitCode } = await run('wallet', 'import', 'dev', '--secret-file', 'alice', '--hotkey', 'alice');
    expect([exitCode, out]).toEqual([0, expect.stringContaining('5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY')]);
    secret('root', development);
    await run('wallet', 'import', 'dev', '--secret-file', 'root', '--key', 'coldkey', '--unencrypted');
    const show = ['wallet', 'show', 'dev', '--key', 'coldkey', '--phrase-file', 'copy'];
    expect((await run(...show)).out).not.toContain('bottom');
    expect(readFileSync(join(cwd, 'copy'), 'utf8')).toBe(`${development}\n`);
    expect((await run(...show)).err).toMatch(/not overwritten/);
    const derived = await run('wallet', 'show', 'dev', '--hotkey', 'alice', '--phrase-file', 'other');
    expect([derived.exitCode, derived.err]).toEqual([1, expect.stringMatching(/holds no mnemonic/)]);
  });

  it('says what to do about each mistake', async () => {
    secret('wrong', development.replace('walk', 'wolk'));
    secret('open', development);
    chmodSync(join(cwd, 'open'), 0o644);
    const cases: [readonly string[], number, RegExp][] = [
      [['new', 'w'], 2, /no terminal to ask at; use --password-file FILE/],
      [['new', '../w', '--unencrypted'], 1, /a wallet is named by/],
      [['import', 'w', '--secret-file', 'wrong'], 1, /word 12 is not of the BIP-39 list/],
      [['import', 'w', '--secret-file', 'open'], 2, /chmod 600/],
      [['import', 'w'], 2, /use --secret-file FILE/],
      [['show', 'nobody'], 2, /there is no wallet nobody/],
      [['sign', 'nobody', '--message', 'x'], 1, /there is no key at .*accrete wallet new/],
      [['sign', 'nobody'], 2, /either --message TEXT or --message-file/],
      [['verify', 'x', '--message', 'x', '--signature', '00'], 2, /no SS58 address/],
      [['verify', signerOf(1).hotkey, '--message', 'x', '--signature', '00'], 2, /128 hex digits/],
    ];
    for (const [argv, expected, sentence] of cases) {
      const { exitCode, err } = await run('wallet', ...argv);
      expect(err, argv.join(' ')).toMatch(sentence);
      expect(exitCode, argv.join(' ')).toBe(expected);
      expect(err).not.toMatch(/bottom drive|wolk/);
    }
  });

  it('a folder that a hotkey delegated to knows its address and cannot sign with it', () => {
    mkdirSync(join(cwd, 'rig'));
    const session = openSessionKey(join(cwd, 'rig'));
    writeDelegatedHotkey(join(cwd, 'rig'), signerOf(1));
    const keys = openKeys(join(cwd, 'rig'));
    expect([keys.hotkey.hotkey, keys.session.sessionKey]).toEqual([signerOf(1).hotkey, session.sessionKey]);
    expect(() => keys.hotkey.sign(new Uint8Array(1))).toThrow(/accrete wallet delegate/);
    expect(() => writeDelegatedHotkey(join(cwd, 'rig'), signerOf(2))).toThrow(/another hotkey/);
  });
});
