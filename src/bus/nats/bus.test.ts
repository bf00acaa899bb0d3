/** @file The contract of the bus over a real nats-server. */
import { afterAll, beforeAll, describe } from 'vitest';
import { testBus } from '../../../tests/contracts/bus.ts';
import { NatsServer, natsProgram } from '../../../tests/support/nats-server.ts';
import { connectNats, type NatsBus } from './bus.ts';
import { NatsNames } from './names.ts';

describe.skipIf(!natsProgram.isThere)(`bus over NATS (${natsProgram.need})`, () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(() => server.close());

  let runs = 0;
  const pair = (work: readonly string[]) => async () => {
    const scope = `run${runs++}`;
    const open = (self: string): Promise<NatsBus> =>
      connectNats({
        ...{ servers: [server.url], names: new NatsNames(scope, self), isOwner: true },
        kept: { work, logs: [], latest: {} },
        ...{ minBackoffMs: 5, maxBackoffMs: 20 },
      });
    const a = await open('aa');
    const b = await open('bb');
    return {
      a,
      b,
      close: async () => {
        await a.close();
        await b.close();
      },
    };
  };
  testBus('two peers over NATS', pair([]));
  testBus('two peers over NATS, requests kept', pair(['double', 'refuse', 'break', 'one', 'big']));
});
