/** @file Does `accrete run amend`: what the file says otherwise than the run is signed by the owner and journaled. */

import { manifestWithPending } from '../../journal/phases.ts';
import { runOf } from '../../journal/queries.ts';
import { type AmendmentChanges, amendedManifest } from '../../protocol/amendment.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { connectRun } from '../../roles/client.ts';
import { UsageError } from '../../util/errors.ts';
import { parseLedgerChoice } from '../chosen-ledger.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { joinNetwork } from '../join.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { formatTable } from '../table.ts';
import { openRoleKeys } from '../wallet-keys.ts';
import { changesBetween, differencesBetween } from './differences.ts';
import { readRunFile } from './place.ts';

export const handle: Handler = async (settings, io) => {
  const file = readRunFile(settings.argumentPath());
  const isJson = settings.switch('json');
  const environment = roleEnvironment(io, { role: 'observer', json: isJson });
  const network = await joinNetwork(settings.url('join'), environment, parseLedgerChoice(settings));
  const connection = new AbortController();
  const signal = AbortSignal.any([io.stop, connection.signal]);
  try {
    const { clock, log } = environment;
    const client = await connectRun({ ...network, clock, log, session: null, equation: nativeEquation, signal });
    const { state } = client;
    const before = manifestWithPending(state);
    const body: EventBody<'amendment'> = {
      amendment: state.amendments.length,
      // The next may be opened while this is on its way.
      atOuterStep: settings.isGiven('at')
        ? settings.count('at', { min: 0, max: Number.MAX_SAFE_INTEGER })
        : state.nextOuterStep + 1,
      changes: changesBetween(before, file, state.phase),
      reason: settings.text('reason').slice(0, 500),
    };
    if (Object.keys(body.changes).length === 0)
      throw new UsageError('the file says what the run is: there is nothing to amend');
    if (body.atOuterStep < state.nextOuterStep)
      throw new UsageError(
        `--at: outer step ${body.atOuterStep} is open or over (PAST); the next that can be amended is ${state.nextOuterStep}`,
      );
    if (!settings.switch('dry-run')) {
      const { hotkey } = await openRoleKeys(settings.path('dir'), settings, io);
      const { owner } = runOf(state).manifest;
      if (hotkey.hotkey !== owner)
        throw new UsageError(
          `the run belongs to ${owner}, the keys in --dir are of ${hotkey.hotkey}; give the owner's --dir or --wallet`,
        );
      const { outcome, code, sentence } = await client.submit('amendment', body, { signer: hotkey });
      if (outcome !== 'accept') throw new UsageError(`the run does not take the amendment: ${code}: ${sentence}`);
    }
    await client.close();
    if (isJson) io.out(JSON.stringify({ isSigned: !settings.switch('dry-run'), ...body }));
    else {
      io.out(
        `amendment ${body.amendment}${settings.switch('dry-run') ? ' (not signed)' : ''}, from outer step ${body.atOuterStep} on:`,
      );
      for (const line of changeLines(before, body.changes, state.phase)) io.out(line);
    }
    return 0;
  } finally {
    connection.abort();
    await network.close();
  }
};

/** Field by field, before and after. */
function changeLines(before: RunManifest, changes: AmendmentChanges, phase: number): string[] {
  const text = (value: unknown): string => (value === undefined ? '-' : JSON.stringify(value).slice(0, 60));
  const rows = differencesBetween(before, amendedManifest(before, changes, phase), 0).map((difference) => [
    difference.field,
    text(difference.before),
    text(difference.after),
  ]);
  return formatTable(['field', 'before', 'after'], rows);
}
