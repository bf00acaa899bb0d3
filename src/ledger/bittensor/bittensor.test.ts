/** @file The adapter on a scripted node over real WebSockets: what nodes do wrong, and what becomes of transactions meanwhile. */
import { afterEach, expect, it } from 'vitest';
import { signerOf } from '../../../tests/contracts/ledger.ts';
import { testRehearsal } from '../../../tests/contracts/ledger-rehearsal.ts';
import { chainMetadata, describeOnChain } from '../../../tests/support/chain-metadata.ts';
import { ScriptedChain, type ScriptedChainOptions } from '../../../tests/support/scripted-chain.ts';
import { type Interfere, RpcError, ScriptedNode, silence } from '../../../tests/support/scripted-node.ts';
import { chainErrorOf, LedgerError } from '../errors.ts';
import { ObservedEpochs } from '../observed-epochs.ts';
import { type BittensorLedger, type BittensorOptions, openBittensorLedger } from './ledger.ts';

const netuid = 7;
const coldkeys = [40, 41, 43, 44].map(signerOf);
const hotkeys = [0, 1, 2, 4].map(signerOf);
const owner = signerOf(30).hotkey;
const stakeRao = 5_000_000_000;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Opened {
  readonly chain: ScriptedChain;
  readonly node: ScriptedNode;
  readonly ledger: BittensorLedger;
}

function newChain(options: Partial<ScriptedChainOptions> = {}): ScriptedChain {
  const chain = new ScriptedChain({ netuid, owner, ...options });
  chain.fund(...coldkeys.map(({ hotkey }) => hotkey));
  return chain;
}

async function startNode(chain: ScriptedChain, interfere?: Interfere): Promise<ScriptedNode> {
  const node = await ScriptedNode.start(chain);
  node.isInstant = true;
  if (interfere !== undefined) node.interfere = interfere;
  closing.push(() => node.close());
  return node;
}

async function open(urls: readonly string[], options: Partial<BittensorOptions> = {}): Promise<BittensorLedger> {
  const ledger = await openBittensorLedger({
    ...{ urls, netuid, pollMs: 20, timeoutMs: 4_000, backOffMs: 5, giveUpMs: 2_000 },
    ...options,
  });
  closing.push(() => ledger.close());
  return ledger;
}

async function start(options: Partial<BittensorOptions> = {}, chain = newChain()): Promise<Opened> {
  const node = await startNode(chain);
  return { chain, node, ledger: await open([node.url], options) };
}

const register = (ledger: BittensorLedger, i = 0) =>
  ledger.register(coldkeys[i]!, { coldkey: coldkeys[i]!.hotkey, hotkey: hotkeys[i]!.hotkey });

const stake = (ledger: BittensorLedger, amountRao = stakeRao) =>
  ledger.addStake(coldkeys[0]!, { hotkey: hotkeys[0]!.hotkey, amountRao });

const refusalOf = async (promise: Promise<unknown>): Promise<LedgerError> => {
  const error = await promise.then(
    () => new Error('accepted'),
    (error: unknown) => error,
  );
  if (!(error instanceof LedgerError)) throw error;
  return error;
};

/** Extrinsics of an account in the best chain. */
const included = (chain: ScriptedChain): readonly string[] =>
  Array.from({ length: chain.best.number + 1 }, (_, n) => chain.at(n)!.extrinsics.slice(1)).flat();

const rehearsal = 'Bittensor, on a scripted node with true metadata';
const openRehearsal: Parameters<typeof testRehearsal>[1] = async () => {
  const chain = newChain();
  const node = await ScriptedNode.start(chain);
  node.isInstant = true;
  const ledger = await openBittensorLedger({ urls: [node.url], netuid, pollMs: 20, timeoutMs: 2_000, backOffMs: 5 });
  return {
    ...{ ledger, coldkeys, hotkeys, stranger: signerOf(60), stakeRao },
    advance: async (blocks) => chain.mine(blocks),
    close: async () => {
      await ledger.close();
      await node.close();
    },
  };
};
if (chainMetadata === null) describeOnChain(rehearsal, () => {});
else testRehearsal(rehearsal, openRehearsal);

describeOnChain('what the chain says', () => {
  it('is read at the start: features, tempo, subnet', async () => {
    const { chain, ledger } = await start();
    expect(ledger.chainId).toBe(`bittensor:${chain.genesis}`);
    expect(ledger).toMatchObject({ netuid, tempoBlocks: 10 });
    expect(ledger.features).toMatchObject({ commitReveal: true, timelocked: 4, mechanisms: true });
    expect(await ledger.subnet()).toMatchObject({
      ...{ owner, neuronCount: 0, burnRao: 500_000, burnedRao: null, isCommitReveal: false, yumaVersion: 2 },
      ...{ weightsRateLimitBlocks: 5, maxUids: 256, emissionPerBlockRao: 1_000_000 },
    });
    expect(await ledger.balance(coldkeys[0]!.hotkey)).toBe(10n ** 12n);
    expect(await ledger.balance(signerOf(60).hotkey)).toBe(0n);
  });

  it('has finalised blocks only, with their times and hashes', async () => {
    const { chain, ledger } = await start();
    chain.mine(3);
    chain.mine(2, { isFinal: false });
    await new Promise((resolve) => setTimeout(resolve, 30)); // a head is asked for again after a third of a poll
    const head = await ledger.head();
    expect(head).toEqual({ number: chain.finalized.number, hash: chain.finalized.hash, timeMs: head.number * 12_000 });
    expect(await ledger.block(head.number + 1)).toBeNull();
    const before = await ledger.block(head.number - 2);
    expect(before).toMatchObject({ hash: chain.at(head.number - 2)!.hash, timeMs: (head.number - 2) * 12_000 });
  });

  it('asks for the price of a registration and refuses a higher one', async () => {
    const { ledger } = await start();
    const options = { coldkey: coldkeys[0]!.hotkey, hotkey: hotkeys[0]!.hotkey };
    const refusal = await refusalOf(ledger.register(coldkeys[0]!, { ...options, maxBurnRao: 499_999 }));
    expect(chainErrorOf(refusal)).toBe('RegistrationPriceLimitExceeded');
    expect((await ledger.register(coldkeys[0]!, { ...options, maxBurnRao: 500_000 })).uid).toBe(0);
  });

  it('never registers a hotkey by itself: that costs', async () => {
    const { chain, ledger } = await start();
    const refusal = await refusalOf(ledger.register(hotkeys[0]!, { coldkey: hotkeys[0]!.hotkey }));
    expect(refusal.code).toBe('NOT_REGISTERED');
    expect(refusal.message).toMatch(/accrete ledger register --ledger bittensor/);
    expect(chain.offered).toEqual([]);
    await register(ledger);
    expect((await ledger.register(hotkeys[0]!, { coldkey: hotkeys[0]!.hotkey })).uid).toBe(0);
  });

  it('refuses a subnet that is not there', async () => {
    const node = await startNode(newChain());
    const refusal = await refusalOf(open([node.url], { netuid: 8 }));
    expect(chainErrorOf(refusal)).toBe('SubnetNotExists');
    expect(refusal.message).toMatch(/--netuid/);
  });

  it('shows what each epoch paid to whom, once it is seen', async () => {
    const { chain, ledger } = await start();
    for (const i of [0, 2]) await register(ledger, i);
    await stake(ledger);
    chain.mine(10);
    await ledger.setWeights(hotkeys[0]!, new Map([[1, 1]]));
    const observed = new ObservedEpochs(ledger);
    chain.mine(10);
    await observed.look();
    await observed.look();
    expect(observed.epochs).toHaveLength(1);
    const [epoch] = observed.epochs;
    const { neurons, lastEpochBlock } = chain.best.state;
    expect(epoch!.block).toBe(lastEpochBlock);
    // 41 % each, of ten blocks' emission.
    expect(epoch!.paid.get(hotkeys[2]!.hotkey)).toEqual({ minerRao: 4_100_000, validatorRao: 0 });
    expect(epoch!.paid.get(hotkeys[0]!.hotkey)).toEqual({ minerRao: 0, validatorRao: 4_100_000 });
    expect(epoch!.minerRao + epoch!.validatorRao).toBe(
      Number(neurons.reduce((sum, { lastEmissionRao }) => sum + lastEmissionRao, 0n)),
    );
    expect(observed.newest!.neurons[0]!.weights).toEqual([[1, 65_535]]);
    chain.mine(10);
    await observed.look();
    expect(observed.epochs).toHaveLength(2);
  });

  it('keeps identities', async () => {
    const { ledger } = await start();
    await register(ledger);
    const blank = {
      url: '',
      githubRepo: 'https://example.org',
      image: '',
      discord: '',
      description: 'é',
      additional: '',
    };
    await ledger.setIdentity(coldkeys[0]!, { name: 'somebody', ...blank });
    expect(await ledger.identity(coldkeys[0]!.hotkey)).toEqual({ name: 'somebody', ...blank });
    expect(await ledger.identity(coldkeys[1]!.hotkey)).toBeNull();
  });

  it('knows rate limits in advance: waits for near ones, refuses far ones, and never hits one', async () => {
    const chain = newChain({
      rules: { weightsRateLimitBlocks: 10, servingRateLimitBlocks: 50, commitmentSpaceBytes: 500 },
    });
    const { ledger, node } = await start({ maxWaitBlocks: 12 }, chain);
    for (const i of [0, 2]) await register(ledger, i);
    await stake(ledger);
    chain.mine(10);
    const uid = 1;
    await ledger.setWeights(hotkeys[0]!, new Map([[uid, 1]]));
    const setAt = chain.best.number;
    const waiting = ledger.setWeights(hotkeys[0]!, new Map([[uid, 2]]));
    for (let i = 0; i < 12; i++) {
      chain.mine();
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await waiting;
    const neuron = (await ledger.metagraph())[0]!;
    expect(neuron.lastUpdateBlock).toBeGreaterThanOrEqual(setAt + 10);
    const axon = { ip: '203.0.113.7', port: 1, protocol: 4, version: 1 };
    await ledger.serveAxon(hotkeys[0]!, axon);
    const offered = chain.offered.length;
    const refusal = await refusalOf(ledger.serveAxon(hotkeys[0]!, axon));
    expect(refusal.code).toBe('RATE_LIMIT');
    expect(refusal.message).toMatch(/^ServingRateLimitExceeded: .*block \d+/);
    expect(chain.offered.length).toBe(offered);
    const impatient = await open([node.url]);
    const commits = (async () => {
      for (let i = 0; i < 6; i++) await impatient.commit(hotkeys[0]!, Uint8Array.of(i));
    })();
    expect(chainErrorOf(await refusalOf(commits))).toBe('SpaceLimitExceeded');
  });
});

describeOnChain('transactions', () => {
  it('are sent once, and counted when final', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    node.isInstant = false;
    let isDone = false;
    const staking = stake(ledger).then(() => {
      isDone = true;
    });
    await until(() => chain.pool.length === 1);
    chain.mine(1, { isFinal: false });
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(isDone).toBe(false);
    chain.finalize();
    await staking;
    expect(chain.offered.length).toBe(2);
    expect(included(chain).length).toBe(2);
  });

  it('count on inclusion where that is asked for', async () => {
    const { chain, node, ledger } = await start({ waitFor: 'inclusion' });
    await register(ledger);
    node.isInstant = false;
    const staking = stake(ledger);
    await until(() => chain.pool.length === 1);
    chain.mine(1, { isFinal: false });
    await staking;
    expect(chain.finalized.number).toBeLessThan(chain.best.number);
  });

  it('are followed through a reorganisation', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    node.isInstant = false;
    const staking = stake(ledger);
    await until(() => chain.pool.length === 1);
    chain.mine(1, { isFinal: false });
    await new Promise((resolve) => setTimeout(resolve, 60));
    chain.reorganize(1);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(chain.pool.length).toBe(1);
    chain.mine(1);
    await staking;
    expect(chain.best.state.neurons[0]!.stakeRao).toBe(BigInt(stakeRao));
  });

  it('that a reorganisation lost are offered again as the same bytes', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    node.isInstant = false;
    const staking = stake(ledger);
    await until(() => chain.pool.length === 1);
    chain.mine(1, { isFinal: false });
    await new Promise((resolve) => setTimeout(resolve, 60));
    chain.reorganize(1, { isLost: true });
    await until(() => chain.pool.length === 1);
    chain.mine(1);
    await staking;
    expect(new Set(chain.offered.slice(1)).size).toBe(1);
    expect(chain.best.state.neurons[0]!.stakeRao).toBe(BigInt(stakeRao));
  });

  it('whose answer was lost are looked for, not made again', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    let isCut = false;
    node.interfere = ({ method, answer, cut }) => {
      const result = answer();
      if (method !== 'author_submitExtrinsic' || isCut) return result;
      isCut = true;
      cut();
      return silence;
    };
    await stake(ledger);
    expect(isCut).toBe(true);
    expect(chain.best.state.neurons[0]!.stakeRao).toBe(BigInt(stakeRao));
    expect(chain.offered.length).toBe(2);
  });

  it('that never reached the node are offered again as the same bytes, also to another one', async () => {
    const chain = newChain();
    const [first, second] = [await startNode(chain), await startNode(chain)];
    const ledger = await open([first.url, second.url]);
    await register(ledger);
    const taken: string[] = [];
    first.interfere = ({ method, params, answer, cut }) => {
      if (method !== 'author_submitExtrinsic') return answer();
      taken.push(String(params[0]));
      cut();
      return silence;
    };
    second.interfere = ({ method, params, answer }) => {
      if (method === 'author_submitExtrinsic') taken.push(String(params[0]));
      return answer();
    };
    await stake(ledger);
    expect(taken.length).toBeGreaterThanOrEqual(2);
    expect(new Set(taken).size).toBe(1);
    expect(chain.best.state.neurons[0]!.stakeRao).toBe(BigInt(stakeRao));
  });

  it('are signed again when another program was faster with the nonce', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    let stale = 2;
    node.interfere = ({ method, answer }) => {
      const told = answer();
      return method === 'system_accountNextIndex' && stale-- > 0 ? Number(told) - 1 : told;
    };
    await stake(ledger);
    expect(chain.best.state.neurons[0]!.stakeRao).toBe(BigInt(stakeRao));
    expect(included(chain).length).toBe(2);
  });

  it('that expire say that nothing was done', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    node.isInstant = false;
    node.interfere = ({ method, answer }) => (method === 'author_submitExtrinsic' ? '0x00' : answer());
    const staking = refusalOf(stake(ledger));
    await until(() => node.calls.filter((method) => method === 'author_submitExtrinsic').length === 2);
    chain.mine(70);
    const refusal = await staking;
    expect(refusal).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(refusal.message).toMatch(/not included before it expired/);
  });

  it('of which nothing is known say so, and how to look', async () => {
    const { chain, node, ledger } = await start({ giveUpMs: 50, attempts: 2 });
    await register(ledger);
    node.interfere = ({ method, answer, cut }) => {
      if (method !== 'author_submitExtrinsic') return answer();
      cut();
      void node.close();
      return silence;
    };
    const refusal = await refusalOf(stake(ledger));
    expect(refusal.retryable).toBe(false);
    expect(refusal.message).toMatch(
      /not known whether add_stake .* was included: look for 0x[0-9a-f]{64} up to block \d+/,
    );
    expect(chain.best.state.neurons[0]!.stakeRao).toBe(0n);
  });

  it('that are on their way when the ledger is closed are told as unknown', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    node.isInstant = false;
    const staking = refusalOf(stake(ledger));
    await until(() => chain.pool.length === 1);
    await ledger.close();
    expect((await staking).message).toMatch(/not known whether add_stake/);
    expect((await refusalOf(ledger.subnet())).code).toBe('UNAVAILABLE');
  });

  it("that a pool or a pallet refuses carry the chain's name and what to do", async () => {
    const { node, ledger } = await start();
    await register(ledger);
    const pool =
      (code: number, data: unknown): Interfere =>
      ({ method, answer }) => {
        if (method === 'author_submitExtrinsic') throw new RpcError(code, 'Invalid Transaction', data);
        return answer();
      };
    const cases: readonly (readonly [code: number, data: unknown, name: string | null, ledgerCode: string])[] = [
      [1010, 'Custom error: 2', 'BalanceTooLow', 'BALANCE'],
      [1010, { invalid: { custom: 10 } }, 'HotKeyNotRegisteredInNetwork', 'NOT_REGISTERED'],
      [1010, { Invalid: { Custom: 6 } }, 'RateLimitExceeded', 'RATE_LIMIT'],
      [1010, 'Custom error: 200', 'Custom200', 'BAD_CALL'],
      [1010, 'Inability to pay some fees (e.g. account balance too low)', 'Payment', 'BALANCE'],
      [1010, 'Transaction has a bad signature', 'BadProof', 'BAD_SIGNATURE'],
      [1002, 'Verification Error', null, 'BAD_CALL'],
    ];
    for (const [code, data, name, ledgerCode] of cases) {
      node.interfere = pool(code, data);
      const refusal = await refusalOf(stake(ledger));
      expect(refusal.code, String(data)).toBe(ledgerCode);
      if (name !== null && name !== 'Custom200') expect(chainErrorOf(refusal)).toBe(name);
    }
    node.interfere = ({ answer }) => answer();
    const late = ledger.removeStake(coldkeys[0]!, { hotkey: hotkeys[0]!.hotkey, amountRao: 1 });
    expect(chainErrorOf(await refusalOf(late))).toBe('NotEnoughStakeToWithdraw');
    await stake(ledger); // and the nonce goes on
  });

  it('of a runtime that wants unknown bytes signed are not guessed', async () => {
    const { chain } = await start();
    const extensions = [
      ...chain.runtime.extensions,
      { identifier: 'Novelty', isValueEmpty: false, isAdditionalEmpty: true },
    ];
    const { signExtrinsic } = await import('./extrinsic.ts');
    const runtime = Object.create(chain.runtime, { extensions: { value: extensions }, takesVersion4: { value: true }, version: { value: chain.runtime.version } }); // biome-ignore format: one object
    const context = { runtime, genesis: chain.genesis, nonce: 0, birth: chain.best };
    expect(() => signExtrinsic(context, coldkeys[0]!, new Uint8Array(2))).toThrow(/Novelty/);
  });
});

describeOnChain('endpoints', () => {
  it('are passed over when nothing answers there', async () => {
    const { chain, node } = await start();
    const ledger = await open(['ws://127.0.0.1:1', node.url]);
    expect((await ledger.subnet()).block).toBe(chain.best.number);
  });

  it('that are all down are named, with what to do', async () => {
    const refusal = await refusalOf(open(['ws://127.0.0.1:1', 'ws://127.0.0.1:2']));
    expect(refusal).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(refusal.message).toMatch(/127\.0\.0\.1:1.*127\.0\.0\.1:2.*--endpoint/);
  });

  it('of another network are refused by its genesis', async () => {
    const [here, elsewhere] = [await startNode(newChain()), await startNode(newChain({ name: 'elsewhere' }))];
    const genesis = here.chain.genesis;
    const refusal = await refusalOf(open([elsewhere.url], { genesis }));
    expect(refusal.code).toBe('WRONG_NETWORK');
    expect(refusal.message).toMatch(/another network/);
    const ledger = await open([elsewhere.url, here.url], { genesis });
    expect(ledger.chainId).toBe(`bittensor:${genesis}`);
  });

  it('take over when one goes away, and the first may come back', async () => {
    const chain = newChain();
    const [first, second] = [await startNode(chain), await startNode(chain)];
    const ledger = await open([first.url, second.url], { timeoutMs: 2_000, attempts: 12 });
    expect(second.connections).toBe(0);
    first.cutConnections();
    first.interfere = () => silence;
    expect((await ledger.subnet()).netuid).toBe(netuid);
    expect(second.connections).toBe(1);
    first.interfere = ({ answer }) => answer();
    second.cutConnections();
    second.interfere = () => silence;
    expect((await ledger.subnet()).netuid).toBe(netuid);
  });

  it('that are too slow are left', async () => {
    const chain = newChain();
    const [slow, quick] = [await startNode(chain), await startNode(chain)];
    const ledger = await open([slow.url, quick.url], { timeoutMs: 2_000, attempts: 12 });
    slow.interfere = () => silence;
    expect((await ledger.subnet()).block).toBe(chain.best.number);
    expect(quick.calls).toContain('state_queryStorageAt');
  });

  it('that lie are left: headers, heads, storage, metadata, JSON', async () => {
    const chain = newChain();
    chain.mine(3);
    const lies: Readonly<Record<string, Interfere>> = {
      'a header of another block': ({ method, answer, params }) =>
        method === 'chain_getHeader' && params[0] !== undefined ? chain.at(1)!.header : answer(),
      'a header that is none': ({ method, answer }) => (method === 'chain_getHeader' ? { number: 'x' } : answer()),
      'storage of another type': ({ method, answer }) =>
        method === 'state_queryStorageAt'
          ? [
              {
                changes: (answer() as [{ changes: [string, unknown][] }])[0].changes.map(([key]) => [
                  key,
                  '0x0102030405',
                ]),
              },
            ]
          : answer(),
      'storage left out': ({ method, answer }) => (method === 'state_queryStorageAt' ? [{ changes: [] }] : answer()),
      'a hash that is none': ({ method, answer }) => (method === 'chain_getFinalizedHead' ? 'yes' : answer()),
      'a version that is none': ({ method, answer }) => (method === 'state_getRuntimeVersion' ? {} : answer()),
      'no such method': ({ method, answer }) => {
        if (method === 'state_queryStorageAt') throw new RpcError(-32_601, 'Method not found');
        return answer();
      },
    };
    for (const [what, lie] of Object.entries(lies)) {
      const [liar, honest] = [await startNode(chain, lie), await startNode(chain)];
      const ledger = await open([liar.url, honest.url]);
      expect((await ledger.head()).number, what).toBe(chain.finalized.number);
      expect((await ledger.subnet()).owner, what).toBe(owner);
      expect(honest.connections, what).toBe(1);
    }
  });

  it('with metadata of another runtime are left', async () => {
    const chain = newChain();
    const [liar, honest] = [await startNode(chain), await startNode(chain)];
    liar.interfere = ({ method, answer }) =>
      method === 'state_getRuntimeVersion' ? { specVersion: 500, transactionVersion: 1 } : answer();
    const ledger = await open([liar.url, honest.url]);
    expect(ledger.features.timelocked).toBe(4);
    expect(honest.connections).toBe(1);
  });

  it('on another fork than what was final before are left', async () => {
    const chain = newChain();
    chain.mine(5);
    const [first, forked, third] = [await startNode(chain), await startNode(chain), await startNode(chain)];
    const ledger = await open([first.url, forked.url, third.url], { timeoutMs: 2_000, attempts: 12 });
    const head = await ledger.head();
    forked.interfere = ({ method, params, answer }) =>
      method === 'chain_getBlockHash' && params[0] === head.number ? `0x${'77'.repeat(32)}` : answer();
    first.interfere = () => silence;
    first.cutConnections();
    expect((await ledger.subnet()).netuid).toBe(netuid);
    expect(forked.calls.filter((method) => method === 'state_queryStorageAt')).toEqual([]);
    expect(third.connections).toBe(1);
  });

  it('far behind what was seen are left', async () => {
    const chain = newChain();
    chain.mine(30);
    const [first, behind] = [await startNode(chain), await startNode(chain)];
    const ledger = await open([first.url, behind.url], { timeoutMs: 2_000 });
    const old = chain.at(2)!;
    await ledger.head();
    behind.interfere = ({ method, answer }) => (method === 'chain_getFinalizedHead' ? `0x${old.hash}` : answer());
    first.interfere = ({ method, answer }) => (method === 'chain_getFinalizedHead' ? silence : answer());
    await new Promise((resolve) => setTimeout(resolve, 30));
    const refusal = await refusalOf(ledger.head());
    expect(refusal.code).toBe('UNAVAILABLE');
    expect(refusal.message).toMatch(/its finalised block is 2/);
  });

  it('whose subscriptions are dropped are polled', async () => {
    const { chain, node, ledger } = await start();
    await register(ledger);
    node.isInstant = false;
    node.dropSubscriptions();
    const staking = stake(ledger);
    await until(() => chain.pool.length === 1);
    chain.mine();
    await staking;
  });
});

async function until(isTrue: () => boolean): Promise<void> {
  for (let i = 0; i < 4_000 && !isTrue(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(isTrue()).toBe(true);
}
