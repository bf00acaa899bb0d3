/** @file How a hotkey enters a run: registered on the ledger, and a session key delegated to. Done once; safe to repeat. */
import type { LedgerSigner } from '../ledger/port.ts';
import type { HotkeySigner, SessionSigner } from '../protocol/keys.ts';
import type { EventBody, Role } from '../protocol/messages.ts';
import type { Clock } from '../util/clock.ts';
import type { RunClient } from './client.ts';
import { RoleError } from './errors.ts';

/** Who enters, as what. */
export interface Entrant {
  readonly role: Extract<Role, 'miner' | 'validator'>;
  readonly name: string;
  readonly hotkey: HotkeySigner;
  readonly session: SessionSigner;
}

export interface EnterOptions extends Entrant {
  readonly client: RunClient;
  readonly ledgerSigner: LedgerSigner;
  /** Who is paid; the hotkey itself where there is no wallet. */
  readonly coldkey?: HotkeySigner['hotkey'];
  readonly clock: Clock;
}

/** A session key's delegation lasts a year; a restart with a new key makes a new one. */
const delegationMs = 365 * 86_400_000;

export function delegationBody({ role, name, hotkey, session }: Entrant, nowMs: number): EventBody<'delegate'> {
  const issuedAtMs = Math.round(nowMs);
  return {
    ...{ hotkey: hotkey.hotkey, role, name, sessionKey: session.sessionKey },
    ...{ issuedAtMs, expiresAtMs: issuedAtMs + delegationMs },
  };
}

/** @throws LedgerError; RoleError REFUSED with the run's code and sentence */
export async function enterRun(options: EnterOptions): Promise<void> {
  const { client, name, hotkey, session, ledgerSigner, clock } = options;
  await client.ledger.register(ledgerSigner, { coldkey: options.coldkey ?? hotkey.hotkey });
  if (client.state.sessions.has(session.sessionKey)) return;
  const body = delegationBody(options, clock.nowMs());
  const result = await client.submit('delegate', body, { signer: hotkey });
  if (result.outcome === 'reject')
    throw new RoleError('REFUSED', `the run refuses the delegation of ${name}: ${result.code}: ${result.sentence}`);
}
