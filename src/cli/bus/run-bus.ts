/**
 * @file The bus of an orchestrator: the hub of its own door, joined with NATS where the options name it; and what `/bus-access` answers
 * to who wants to join.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { InProcessBus } from '../../bus/in-process.ts';
import { JoinedBus } from '../../bus/joined.ts';
import { connectNats } from '../../bus/nats/bus.ts';
import { AccountSigner, RenewingUser } from '../../bus/nats/credentials.ts';
import { NatsNames, rightsOf } from '../../bus/nats/names.ts';
import type { Bus } from '../../bus/port.ts';
import type { Delegation } from '../../journal/state.ts';
import type { SessionSigner } from '../../protocol/keys.ts';
import { type Hash, learnerIdOf } from '../../protocol/names.ts';
import { keptTopics, topics } from '../../roles/client.ts';
import { RoleError } from '../../roles/errors.ts';
import type { Orchestrator } from '../../roles/orchestrator/shell.ts';
import { parseStrictJson } from '../../util/canonical-json.ts';
import type { Clock, Log, Metrics } from '../../util/clock.ts';
import { BaseError } from '../../util/errors.ts';
import { type NatsChoice, readAccountFile } from '../chosen-bus.ts';
import { type BusPlace, busAskSchema, busScopeOf, notDelegatedCode, topicsOfRole } from './access.ts';

export interface RunBus {
  readonly bus: Bus;
  /** Answers `/bus-access` for the run of this orchestrator. */
  access(orchestrator: Orchestrator): (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  close(): Promise<void>;
}

export interface RunBusParts {
  readonly hub: InProcessBus;
  /** Null: peers come by the hub's door only. */
  readonly choice: NatsChoice | null;
  readonly run: Hash;
  readonly session: SessionSigner;
  /** How often the lead had been taken when this syncer took it; 0 or left out: it is the only one. */
  readonly term?: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

const ownGrantMs = 24 * 3_600_000;
/** A delegation that is revoked or replaced is good on the bus for so long at most. */
export const participantGrantMs = 3_600_000;
const maxAskBytes = 32_768;

/** @throws BusError UNREACHABLE, FORBIDDEN; UsageError */
export async function openRunBus({
  hub,
  choice,
  run,
  session,
  term = 0,
  clock,
  log,
  metrics,
}: RunBusParts): Promise<RunBus> {
  if (choice === null) {
    return { bus: hub, access: () => answering({ kind: 'websocket' }, null, log), close: async () => undefined };
  }
  const account = choice.accountFile === null ? null : readAccountFile(choice.accountFile);
  const signer = account === null ? null : new AccountSigner(account.account, account.signingSeed);
  if (signer === null) log.warn('the bus takes anybody: who speaks is proved by signatures only; see --bus-account');
  const issue = (sessionKey: string, label: string, names: NatsNames | null, delegation: Delegation | null) =>
    signer!.issue({
      ...{ sessionKey, label },
      rights:
        names === null || delegation === null
          ? null
          : rightsOf(names, topicsOfRole(delegation.role as 'miner' | 'validator')),
      expiresAtMs: clock.nowMs() + (delegation === null ? ownGrantMs : participantGrantMs),
    });
  const user =
    signer === null
      ? null
      : await RenewingUser.open({
          ...{ session, log, nowMs: () => clock.nowMs() },
          fetch: () => issue(session.sessionKey, 'orchestrator', null, null),
        });
  const scope = busScopeOf(run);
  const far = await connectNats({
    ...{
      servers: choice.servers,
      names: new NatsNames(scope, session.sessionKey),
      kept: keptTopics,
      user,
      log,
      metrics,
    },
    ...{ isOwner: true, term, label: `accrete orchestrator ${scope}` },
  });
  return {
    bus: new JoinedBus({ near: hub, far, replicated: [topics.journal], log, metrics }),
    access: (orchestrator) => {
      const place: BusPlace = { kind: 'nats', servers: [...choice.publicServers], isGuarded: signer !== null };
      if (signer === null) return answering(place, null, log);
      const grant = async (body: string): Promise<unknown> => {
        const delegation = await delegationOfAsk(orchestrator, body);
        const { sessionKey, hotkey, name } = delegation;
        return await issue(sessionKey, learnerIdOf(hotkey, name), new NatsNames(scope, sessionKey), delegation);
      };
      return answering(place, grant, log);
    },
    close: async () => {
      user?.close();
      await far.close();
    },
  };
}

/** Of who asks; a delegation that comes along is journaled first. @throws RoleError REFUSED */
async function delegationOfAsk(orchestrator: Orchestrator, body: string): Promise<Delegation> {
  const parsed = parseStrictJson(body, { maxLength: maxAskBytes, maxDepth: 2 });
  const ask = busAskSchema.safeParse(parsed.ok ? parsed.value : null);
  if (!ask.success) throw new RoleError('REFUSED', 'expected {request, delegation} as JSON');
  const { request, delegation } = ask.data;
  if (delegation !== null) {
    const result = await orchestrator.submit(delegation);
    if (result.outcome === 'reject') throw new RoleError('REFUSED', `${result.code}: ${result.sentence}`);
  }
  const found = orchestrator.openBusAccess(request);
  if (found.role === 'syncer') throw new RoleError('REFUSED', 'a syncer makes its own credentials');
  return found;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** Never rejects. `grant`: null where no credentials are given out. */
function answering(place: BusPlace, grant: ((body: string) => Promise<unknown>) | null, log: Log): Answer {
  return async (request, response) => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    try {
      if (request.method === 'GET') return sendJson(response, 200, place);
      if (request.method !== 'POST' || grant === null)
        return sendJson(response, 405, {
          code: 'FORBIDDEN',
          message: `${request.method}: there is nothing to get here`,
        });
      const body = await readBody(request);
      if (body === null)
        return sendJson(response, 413, { code: 'TOO_LARGE', message: `expected at most ${maxAskBytes} bytes` });
      sendJson(response, 200, await grant(body));
    } catch (error) {
      if (!(error instanceof BaseError)) log.error('bus access failed', { error });
      const message = error instanceof BaseError ? error.message : 'the orchestrator failed; try again';
      const code = message.startsWith(notDelegatedCode) ? notDelegatedCode : 'REFUSED';
      sendJson(response, error instanceof BaseError ? 403 : 500, { code, message });
    }
  };
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(value));
}

/** Null for more than is read. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > maxAskBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
