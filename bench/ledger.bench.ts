/** @file The embedded chain: signed calls a second on files, and a Yuma epoch of 256 neurons under 64 validators. */
import { createPrivateKey, sign } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pooledEquation } from '../src/cli/native-ed25519.ts';
import { ManualBlockClock } from '../src/ledger/block-clock.ts';
import { type LedgerSigner, signCall } from '../src/ledger/calls.ts';
import { EmbeddedChain } from '../src/ledger/embedded.ts';
import { runYuma, type YumaNeuron } from '../src/ledger/yuma/epoch.ts';
import { hotkeyFromSeed } from '../src/protocol/keys.ts';
import { type Bench, type BenchRow, spread, time, timingOf } from './measure.ts';

const [neuronCount, validatorCount] = [256, 64];
const [senders, callsEach, rounds] = [64, 32, 5];

/** DER of PKCS 8 for Ed25519 (RFC 8410), up to the 32 seed bytes. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Signs by OpenSSL: thousands of calls are prepared for each round. */
function quickSigner(n: number): LedgerSigner {
  const seed = new Uint8Array(32).fill(n + 1);
  const { hotkey, scheme } = hotkeyFromSeed(seed, 'ed25519');
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
  return { hotkey, scheme, sign: (bytes) => new Uint8Array(sign(null, bytes, key)) };
}

export const ledger: Bench = {
  name: 'ledger',
  about: 'the embedded chain: signed calls (ed25519, flushed to disk), Yuma epochs',
  async run() {
    return [await callsASecond(), ...(await epochs())];
  },
};

async function callsASecond(): Promise<BenchRow> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-bench-'));
  const clock = new ManualBlockClock({ blockMs: 1_000 });
  const signers = Array.from({ length: senders }, (_, n) => quickSigner(n));
  const genesis = { chainId: 'bench', netuid: 1, tempoBlocks: 360, blockMs: 1_000, owner: signers[0]!.hotkey };
  const chain = await EmbeddedChain.open({ dir, clock, genesis, equation: pooledEquation });
  for (const signer of signers)
    await chain.submit(signCall(chain, signer, 0, { name: 'burned_register', args: { coldkey: signer.hotkey } }));
  const times: number[] = [];
  let cpuMs = 0;
  for (let round = 0; round < rounds; round++) {
    const calls = Array.from({ length: callsEach }, (_, i) =>
      signers.map((signer) =>
        signCall(chain, signer, 1 + round * callsEach + i, { name: 'add_stake', args: { amountRao: 2_000_000 } }),
      ),
    ).flat();
    const startedAt = performance.now();
    const before = process.cpuUsage();
    await Promise.all(calls.map((call) => chain.submit(call)));
    const { user, system } = process.cpuUsage(before);
    cpuMs += (user + system) / 1_000;
    times.push(performance.now() - startedAt);
    clock.advance(1);
  }
  await chain.close();
  await rm(dir, { recursive: true });
  const timing = timingOf(times);
  const count = senders * callsEach;
  return {
    what: `${count} calls of ${senders} accounts at once`,
    value: `${Math.round((count / timing.medianMs) * 1_000)} calls/s`,
    detail: `${spread(timing)}; ${(cpuMs / (count * rounds)).toFixed(2)} ms of processor a call`,
  };
}

async function epochs(): Promise<readonly BenchRow[]> {
  const neurons = Array.from({ length: neuronCount }, (_, uid): YumaNeuron => {
    const isValidator = uid < validatorCount;
    const row = (seed: number) =>
      Array.from({ length: neuronCount }, (_, j) => [j, 1 + ((uid * 31 + j * 17 + seed) % 65_535)] as const);
    return {
      ...{ stakeRao: BigInt(isValidator ? 1e12 + uid * 1e9 : 0), validatorPermit: isValidator },
      ...{ weights: isValidator ? row(7) : [], bonds: isValidator ? row(13) : [] },
      ...{ lastUpdateBlock: 990, registeredAtBlock: 1, commitBlock: null },
    };
  });
  const params = {
    ...{
      kappa: 32_767,
      maxValidators: validatorCount,
      activityCutoffBlocks: 5_000,
      stakeThresholdRao: 0n,
      ownerUid: null,
    },
    ...{ bondsPenalty: 65_535, bondsMovingAverage: 900_000, alphaLow: 45_875, alphaHigh: 58_982 },
    ...{ alphaSigmoidSteepness: 1_000, path: 'sparse' as const },
  };
  const rows: BenchRow[] = [];
  for (const [what, version, liquidAlpha] of [
    ['Yuma 2', 2, false],
    ['Yuma 3', 3, false],
    ['Yuma 3, liquid alpha', 3, true],
  ] as const) {
    const epoch = () => runYuma(neurons, { ...params, version, liquidAlpha }, { atBlock: 1_000, lastTempoBlock: 640 });
    const timing = await time(epoch);
    const before = process.cpuUsage();
    for (let i = 0; i < 10; i++) epoch();
    const cpuMs = process.cpuUsage(before).user / 10_000;
    rows.push({
      what: `${what}: ${neuronCount} neurons × ${validatorCount} validators, all weights set`,
      value: `${timing.medianMs.toFixed(1)} ms`,
      detail: `${spread(timing)}; ${cpuMs.toFixed(1)} ms of processor`,
    });
  }
  return rows;
}
