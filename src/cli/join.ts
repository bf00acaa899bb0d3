/** @file Joining a network over its URL: bus, store and ledger of the orchestrator, as miners and validators use them. */
import type { Bus } from '../bus/port.ts';
import { connectBus } from '../bus/websocket.ts';
import type { Ledger } from '../ledger/port.ts';
import { connectLedger } from '../ledger/remote.ts';
import { HttpStore } from '../store/http-client.ts';
import type { Store } from '../store/port.ts';
import { BaseError } from '../util/errors.ts';
import type { Environment } from './environment.ts';

export class JoinError extends BaseError<'UNREACHABLE'> {}

export interface Network {
  readonly bus: Bus;
  readonly store: Store;
  readonly ledger: Ledger;
  close(): Promise<void>;
}

const connectTimeoutMs = 8_000;

/** @throws JoinError UNREACHABLE if nothing answers there; later losses of the connection are mended by the bus. */
export async function joinNetwork(url: string, { log, metrics }: Environment): Promise<Network> {
  const bus = await connectBus(url, { log, metrics, connectTimeoutMs, random: Math.random }).catch((cause) => {
    const sentence = `no network answers at ${url}; is the orchestrator running there (./bin/accrete status --url ${url})? check --join`;
    throw new JoinError('UNREACHABLE', sentence, { cause, retryable: true });
  });
  try {
    const ledger = await connectLedger(bus);
    return {
      ...{ bus, ledger, store: new HttpStore(url) },
      close: async () => {
        await ledger.close();
        await bus.close();
      },
    };
  } catch (error) {
    await bus.close();
    throw error;
  }
}
