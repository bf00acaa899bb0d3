/** @file Appeals for a claim, and waits for the ruling. */
import type { Claim, RunState } from '../../journal/state.ts';
import type { SessionKey } from '../../protocol/names.ts';
import type { RunClient } from '../../roles/client.ts';
import type { Clock } from '../../util/clock.ts';
import { BaseError, UsageError } from '../../util/errors.ts';
import { findClaim } from '../claim-id.ts';

export class AppealError extends BaseError<'REFUSED'> {}

export interface Ruling {
  readonly claim: string;
  /** `open`: the jury has not decided yet. */
  readonly outcome: 'upheld' | 'turned down' | 'open';
  /** Of the claim now. */
  readonly status: Claim['status'];
  readonly code: string | null;
  readonly sentence: string;
}

/** @throws UsageError; AppealError REFUSED with the run's code and sentence */
export async function appealClaim(
  client: RunClient,
  options: {
    readonly claim: string;
    readonly session: SessionKey;
    readonly waitMs: number;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<Ruling> {
  const { clock, signal } = options;
  const claim = findClaim(client.state, options.claim);
  if (!client.state.sessions.has(options.session))
    throw new UsageError('--dir: the run knows no delegation to the session key in this folder; is it that miner’s?');
  const { outcome, code, sentence } = await client.submit('appeal', { claim: claim.id });
  // Sent twice it is one appeal.
  if (outcome !== 'accept' && !(code === 'DUPLICATE' && claim.dispute?.reason === 'appeal'))
    throw new AppealError('REFUSED', `the appeal was not taken: ${code}: ${sentence}`);
  const untilMs = clock.nowMs() + options.waitMs;
  while (client.state.openDisputes.has(claim.id) && clock.nowMs() < untilMs && !signal.aborted)
    await clock.sleep(Math.min(250, Math.max(1, untilMs - clock.nowMs())), signal).catch(() => {}); // an abort ends the loop
  return rulingOf(client.state, claim);
}

function rulingOf(state: RunState, claim: Claim): Ruling {
  const { id, status, code, sentence } = claim;
  const isOpen = state.openDisputes.has(id);
  const outcome = isOpen ? 'open' : status === 'refused' ? 'turned down' : 'upheld';
  return { claim: id, outcome, status, code, sentence };
}
