/** @file Joining a network over its URL: bus, store and ledger of the orchestrator, as miners and validators use them. */
import { BusError } from '../bus/errors.ts';
import type { Bus } from '../bus/port.ts';
import { connectBus } from '../bus/websocket.ts';
import { HttpError } from '../http/errors.ts';
import { LedgerError } from '../ledger/errors.ts';
import type { Ledger } from '../ledger/port.ts';
import { connectLedger } from '../ledger/remote.ts';
import type { Entrant } from '../roles/enter.ts';
import { HttpStore } from '../store/http-client.ts';
import type { Store } from '../store/port.ts';
import { BaseError } from '../util/errors.ts';
import { joinRunBus } from './bus/join-bus.ts';
import { SyncerUrls } from './bus/syncer-urls.ts';
import { type LedgerChoice, openBittensor, roleWaitBlocks } from './chosen-ledger.ts';
import type { Environment } from './environment.ts';

export class JoinError extends BaseError<'UNREACHABLE'> {}

export interface Network {
  readonly bus: Bus;
  readonly store: Store;
  readonly ledger: Ledger;
  close(): Promise<void>;
}

const connectTimeoutMs = 8_000;
/** Where another syncer takes over, one that is frozen is given up soon. */
const several = { connectTimeoutMs: 2_000, pingMs: 1_000, maxBackoffMs: 1_000 };
const idleMsOfSeveral = 5_000;

/**
 * `url`: several where a run has more than one syncer; one of them answers. `choice`: where the ledger is; the orchestrator's if left
 * out. `entrant`: who takes part, and so goes where the run's messages are carried; who only looks on comes by the orchestrator's own door.
 * @throws JoinError UNREACHABLE if nothing answers there; later losses of the connection are mended by the bus. LedgerError
 */
export async function joinNetwork(
  url: string | readonly string[],
  environment: Environment,
  choice: LedgerChoice = { kind: 'embedded' },
  entrant: Entrant | null = null,
): Promise<Network> {
  const { log, metrics } = environment;
  const urls = typeof url === 'string' ? [url] : url;
  const syncers = new SyncerUrls(urls, log);
  const patience = urls.length > 1 ? several : { connectTimeoutMs };
  const where = urls.join(' or ');
  const far =
    entrant === null ? null : await joinRunBus(syncers, entrant, environment).catch((error) => unreached(where, error));
  const onConnected = (url: string): void => syncers.answered(url);
  const door = () => connectBus(urls, { log, metrics, onConnected, random: Math.random, ...patience });
  const bus = far ?? (await door().catch((error) => unreached(where, error)));
  // At the door the connection tells who answers; a bus elsewhere does not.
  const onUnreachable = (): void => void (far !== null && syncers.lookAgain());
  const store =
    urls.length > 1
      ? new HttpStore(() => syncers.current, { idleMs: idleMsOfSeveral, onUnreachable })
      : new HttpStore(urls[0]!);
  try {
    const ledger =
      choice.kind === 'bittensor'
        ? await openBittensor(choice, { log, maxWaitBlocks: roleWaitBlocks })
        : await connectLedger(bus).catch((error) => absentLedger(syncers.current, error));
    return {
      ...{ bus, ledger, store },
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

/** @throws JoinError for what does not answer as an orchestrator does, else the error */
function unreached(url: string, cause: unknown): never {
  const isSilent = cause instanceof HttpError || (cause instanceof BusError && cause.retryable);
  if (!isSilent) throw cause;
  const isNats = cause instanceof BusError && cause.message.includes('NATS');
  const sentence = isNats
    ? `the bus of ${url} does not answer: ${cause.message}`
    : `no network answers at ${url}; is the orchestrator running there (./bin/accrete status --url ${url})? check --join`;
  throw new JoinError('UNREACHABLE', sentence, { cause, retryable: true });
}

/** Of a ledger that the orchestrator does not serve. */
export const absentChainId = '';

/** In the place of a ledger that the orchestrator does not serve: who needs none goes on, who asks it is told. @throws what else went wrong */
function absentLedger(url: string, error: unknown): Ledger {
  if (!(error instanceof LedgerError) || error.context.busCode !== 'NO_RESPONDER') throw error;
  const refuse = (): Promise<never> => {
    const sentence = `${url} serves no ledger: its run lives on Bittensor; give --ledger bittensor --endpoint URL --netuid N`;
    return Promise.reject(new LedgerError('UNAVAILABLE', sentence, { cause: error }));
  };
  return {
    ...{
      chainId: absentChainId,
      netuid: -1,
      tempoBlocks: 1,
      head: refuse,
      block: refuse,
      subnet: refuse,
      balance: refuse,
    },
    ...{ register: refuse, addStake: refuse, removeStake: refuse, transfer: refuse, setWeights: refuse },
    ...{ commitWeights: refuse, revealWeights: refuse, serveAxon: refuse, setIdentity: refuse, identity: refuse },
    ...{ commit: refuse, commitment: refuse, metagraph: refuse, weights: refuse, anchors: refuse },
    close: async () => undefined,
  };
}
