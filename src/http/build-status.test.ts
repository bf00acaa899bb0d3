/** @file What a status says of routers: of miners that are heard of, of the run, and of releases. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LocalMiner, LocalNetwork, type LocalValidator } from '../../tests/support/local-network.ts';
import { eventSchemas, wireSchemas } from '../protocol/messages.ts';
import type { Decimal } from '../protocol/names.ts';
import { buildStatus } from './build-status.ts';
import { type Status, statusSchema } from './status.ts';

let network: LocalNetwork;
let miners: LocalMiner[];
let validator: LocalValidator;
beforeAll(async () => {
  network = await LocalNetwork.open();
  miners = [await network.miner('a'), await network.miner('b')];
  validator = await network.validator('v');
});
afterAll(() => network.close());

const routersOf = (entropy: string, deadExperts: number) => ({
  routers: { entropy: entropy as Decimal, imbalance: '1.5' as Decimal, deadExperts },
});

function beat(miner: LocalMiner, more: object = {}): Promise<void> {
  const numbers = { innerSteps: 1, loss: null, tokensPerSecond: null, rssBytes: 0, atMs: network.clock.nowMs() };
  return miner.client.heartbeat({ role: 'miner', ...numbers, ...more });
}

async function status(): Promise<Status> {
  await network.clock.advance(1_000);
  const { run, pulses } = network.orchestrator;
  const nowMs = network.clock.nowMs();
  const ledger = { block: 0, tempo: 0, emissionRao: {} };
  const process = { startedAtMs: 0, rssBytes: 0 };
  return statusSchema.parse(buildStatus({ run, pulses, parameters: 1, ledger, process, nowMs, freshMs: 10_000 }));
}

describe('routers', () => {
  it('are not known of miners that do not tell', async () => {
    for (const miner of miners) await beat(miner);
    const { routers, learners } = await status();
    expect([routers, ...learners.map((learner) => learner.routers)]).toEqual([null, null, null]);
  });

  it('are the mean of the miners, with the most dead experts of one', async () => {
    await beat(miners[0]!, routersOf('0.5', 3));
    await beat(miners[1]!, routersOf('1', 0));
    const { routers, learners } = await status();
    expect(routers).toEqual({ entropy: 0.75, imbalance: 1.5, deadExperts: 3 });
    expect(learners.map((learner) => learner.routers?.entropy)).toEqual([0.5, 1]);
  });

  it('are told of a release by who evaluated it', async () => {
    const losses = { 'held-out': '5' as Decimal };
    await validator.client.submit('evaluation', { release: 0, losses, sequences: 4, ...routersOf('0.25', 2) });
    const { releases } = await status();
    expect(releases[0]!.routers).toEqual({ entropy: 0.25, imbalance: 1.5, deadExperts: 2 });
  });

  it('outside their bounds make a message malformed', () => {
    const evaluation = { release: 0, losses: {}, sequences: 4 };
    const heartbeat = { role: 'miner', innerSteps: 0, loss: null, tokensPerSecond: null, rssBytes: 0, atMs: 0 };
    const good = routersOf('0.25', 2).routers;
    for (const change of [
      { entropy: '1.01' },
      { entropy: '-0.1' },
      { imbalance: '0.5' },
      { imbalance: '1e99' },
      { deadExperts: -1 },
    ])
      for (const [schema, body] of [
        [eventSchemas.evaluation, evaluation],
        [wireSchemas.heartbeat, heartbeat],
      ] as const) {
        expect(schema.safeParse({ ...body, routers: good }).success).toBe(true);
        expect(schema.safeParse({ ...body, routers: { ...good, ...change } }).success, JSON.stringify(change)).toBe(
          false,
        );
      }
  });
});
