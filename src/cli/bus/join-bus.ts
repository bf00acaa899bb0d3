/** @file The bus of a run as one who takes part reaches it: the orchestrator says where it is, and gives credentials for it. */
import { z } from 'zod';
import { connectNats } from '../../bus/nats/bus.ts';
import { type NatsGrant, RenewingUser } from '../../bus/nats/credentials.ts';
import { NatsNames } from '../../bus/nats/names.ts';
import type { Bus } from '../../bus/port.ts';
import { fetchRun } from '../../http/client.ts';
import { HttpError } from '../../http/errors.ts';
import type { Envelope } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import { bindingOfRun, type RunBinding, signMessage } from '../../protocol/signing.ts';
import { keptTopics } from '../../roles/client.ts';
import { delegationBody, type Entrant } from '../../roles/enter.ts';
import { RoleError } from '../../roles/errors.ts';
import type { Environment } from '../environment.ts';
import { busAccessPath, busGrantSchema, busScopeOf, notDelegatedCode } from './access.ts';
import type { SyncerUrls } from './syncer-urls.ts';

const timeoutMs = 10_000;
const limitBytes = 65_536;
const refusalSchema = z.object({ code: z.string().max(64), message: z.string().max(2_000) });

/** Null: the orchestrator carries the messages itself. @throws HttpError, BusError, RoleError REFUSED */
export async function joinRunBus(syncers: SyncerUrls, entrant: Entrant, environment: Environment): Promise<Bus | null> {
  const place = await syncers.fetchPlace();
  if (place.kind === 'websocket') return null;
  const { clock, log, metrics } = environment;
  const binding = await syncers.ask((url) => fetchBinding(url, syncers.timeoutMs));
  const user = place.isGuarded
    ? await RenewingUser.open({
        ...{ session: entrant.session, log, nowMs: () => clock.nowMs() },
        fetch: () => syncers.ask((url) => fetchGrant(url, entrant, binding, clock.nowMs())),
      })
    : null;
  try {
    const bus = await connectNats({
      ...{ servers: place.servers, names: new NatsNames(busScopeOf(binding.run), entrant.session.sessionKey) },
      ...{ kept: keptTopics, user, isOwner: false, label: `accrete ${entrant.role} ${entrant.name}`, log, metrics },
    });
    const close = bus.close.bind(bus);
    bus.close = async () => {
      user?.close();
      await close();
    };
    return bus;
  } catch (error) {
    user?.close();
    throw error;
  }
}

async function fetchBinding(url: string, timeoutMs: number): Promise<RunBinding> {
  const message = await fetchRun(url, { timeoutMs });
  const binding = bindingOfRun({ seq: 0, prevHash: '0'.repeat(64) as Hash, timeMs: 0, message });
  if (binding === null) throw new RoleError('NO_RUN', `${url} tells of no run that this program knows`);
  return binding;
}

/** The delegation goes along only where the run has none: a hotkey's key may be on another machine. */
async function fetchGrant(url: string, entrant: Entrant, binding: RunBinding, nowMs: number): Promise<NatsGrant> {
  const context = { ...binding, seenHead: null };
  const request = JSON.stringify(signMessage(entrant.session, 'bus-access', {}, context));
  const first = await post(url, request, null);
  if ('jwt' in first) return first;
  if (first.code !== notDelegatedCode) throw refusedError(first.message);
  const delegation = signMessage(entrant.hotkey, 'delegate', delegationBody(entrant, nowMs), context);
  const second = await post(url, request, delegation);
  if ('jwt' in second) return second;
  throw refusedError(second.message);
}

const refusedError = (sentence: string): RoleError =>
  new RoleError('REFUSED', `the run gives no credentials for its bus: ${sentence}`);

async function post(url: string, request: string, delegation: Envelope | null) {
  const body = JSON.stringify({ request, delegation: delegation === null ? null : JSON.stringify(delegation) });
  const text = await fetch(`${url}${busAccessPath}`, {
    ...{ method: 'POST', body, headers: { 'content-type': 'application/json' } },
    signal: AbortSignal.timeout(timeoutMs),
  }).then(
    (response) => response.text(),
    (cause) => {
      const sentence = `${url}: no credentials of the bus come from there (${String(cause)}); is it running?`;
      throw new HttpError('UNREACHABLE', sentence, { cause, retryable: true });
    },
  );
  if (text.length > limitBytes) throw refusedError(`${text.length} characters came back`);
  return z.union([busGrantSchema, refusalSchema]).parse(JSON.parse(text));
}
