/** @file One of two syncers before it leads: it follows the leader, and must be one that the run's owner named. */
import { loadHttpServer } from '../../http/server.ts';
import type { Journal } from '../../journal/port.ts';
import type { RunState } from '../../journal/state.ts';
import type { Envelope } from '../../protocol/messages.ts';
import { signMessage } from '../../protocol/signing.ts';
import { bindingOf } from '../../roles/client.ts';
import type { RunFold } from '../../roles/orchestrator/run-fold.ts';
import { syncerDelegation } from '../../roles/orchestrator/run-init.ts';
import type { Log } from '../../util/clock.ts';
import { UsageError } from '../../util/errors.ts';
import type { RoleKeys } from '../keys.ts';
import type { OrchestrateOptions } from './options.ts';
import { type SharedRun, steadyClock } from './shared-run.ts';

interface StandByParts {
  readonly options: OrchestrateOptions;
  readonly keys: RoleKeys;
  /** Is kept up to date. */
  readonly fold: RunFold;
  readonly onPage: (run: RunState) => Promise<void>;
  readonly journal: Journal;
  readonly log: Log;
  readonly stop: AbortSignal;
}

/** True once this syncer leads; false when it is stopped before. @throws UsageError where it may not lead; JournalError DAMAGED */
export async function leads(shared: SharedRun, parts: StandByParts): Promise<boolean> {
  const { options, keys, fold, onPage, journal, log, stop } = parts;
  const { name, silenceMs } = options.shared!;
  await fold.readOn(journal);
  let isKnown = false;
  const requireNamed = (): void => {
    if (isKnown || fold.run.run === null) return;
    requireDelegable(fold.run, options, keys);
    isKnown = true;
    log.info('standing by', { syncer: name, entries: fold.run.size });
  };
  requireNamed();
  await loadHttpServer(); // not once everybody waits
  const isLeading = await shared.journal.untilLeading({
    ...{ clock: steadyClock, signal: stop, silenceMs },
    check: (entry) => fold.take(entry),
    onRead: async () => {
      await onPage(fold.run);
      requireNamed();
    },
  });
  if (isLeading) log.info('leading', { syncer: name, entries: fold.run.size });
  return isLeading;
}

/** Before it takes the lead: a leader whom the run refuses would only be in the way. */
function requireDelegable(run: RunState, options: OrchestrateOptions, keys: RoleKeys): void {
  if (run.sessions.has(keys.session.sessionKey)) return;
  const { owner } = run.run!.manifest;
  if (keys.hotkey.hotkey !== owner)
    throw new UsageError(
      `only ${owner}, who owns this run, names its syncers: copy syncer/hotkey.json of the first orchestrator's folder into ${options.dir}/syncer`,
    );
  delegationOf(run, { options, keys, nowMs: 0 }); // A hotkey that is elsewhere says so now.
}

/** The owner's word that this process's session key is a syncer too. */
export function delegationOf(
  run: RunState,
  parts: { readonly options: OrchestrateOptions; readonly keys: RoleKeys; readonly nowMs: number },
): Envelope {
  const { options, keys, nowMs } = parts;
  const syncerName = options.shared?.name ?? 'syncer';
  const known = run.delegations.get(`syncer/${keys.hotkey.hotkey}/${syncerName}`);
  const issuedAtMs = Math.max(Math.round(nowMs), (known?.issuedAtMs ?? 0) + 1);
  const body = syncerDelegation({ owner: keys.hotkey, syncer: keys.session, syncerName, issuedAtMs });
  return signMessage(keys.hotkey, 'delegate', body, { ...bindingOf(run)!, seenHead: null });
}
