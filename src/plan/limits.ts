/** @file What limits a run, the worst first: what keeps it from running, what keeps it from paying, what holds it back. */
import type { RunManifest } from '../protocol/manifest.ts';
import { sayBytes } from './sentences.ts';
import { type Steady, sumOf } from './steady.ts';
import type { PlannedValidators } from './validators.ts';

/** The largest state that this program's miner reads back and shows: Node reads no larger file as one piece. */
const shownStateBytes = 2 ** 31 - 1;
/** Of a Bittensor subnet, and of the embedded chain by default. */
const subnetUids = 256;

export function limitsOf(
  manifest: RunManifest,
  { kinds, sizes, outerStepSeconds }: Steady,
  validators: PlannedValidators,
): string[] {
  const part = kinds.filter(({ tokensADay }) => tokensADay > 0);
  const limits: string[] = [];
  if (part.length === 0) limits.push('no machine of the fleet can take part');
  else if (validators.isTooLate) limits.push('nobody is paid: no validator redoes an audit in time');
  else if (part.every(({ isPaid }) => !isPaid))
    limits.push('nobody is paid: no machine of the fleet answers the audits of this run in time');
  const said = (of: (kind: (typeof kinds)[number]) => boolean): string[] =>
    kinds.filter(of).flatMap(({ kind, limits: own }) => own.map((limit) => `${kind}: ${limit}`));
  limits.push(...said(({ isPaid, tokensADay }) => tokensADay > 0 && !isPaid));
  limits.push(...said(({ tokensADay }) => tokensADay === 0));
  limits.push(...validators.limits);
  const hotkeys = sumOf(part, (kind) => kind.hotkeys);
  if (hotkeys + validators.count > subnetUids)
    limits.push(
      `a subnet has ${subnetUids} uids: ${hotkeys} hotkeys of miners and ${validators.count} validators want one, and whoever earns least is deregistered for the next; an operator’s machines may share a hotkey (learnersPerHotkey), and its audits`,
    );
  limits.push(...said(({ isPaid }) => isPaid));
  if (outerStepSeconds >= manifest.sync.deadlineMs / 1_000)
    limits.push('outer steps close at their deadline (sync.deadlineMs), with the claims that came by then');
  if (manifest.audit.perTempo > 0 && sizes.stateBytes > shownStateBytes)
    limits.push(
      `a learner's state has ${sayBytes(sizes.stateBytes)}, and each keeps ${keptOf(kinds)} of them on its disk and writes ${writtenOf(kinds, { manifest, stateBytes: sizes.stateBytes })} a second; this program's own miner shows states of up to 2 GiB: a larger model needs a trainer of its own that answers audits`,
    );
  if (limits.length === 0)
    limits.push('tokens a second: nothing but the machines’ own speed and hours limits this run');
  return limits;
}

/** Of the fastest. */
function writtenOf(
  kinds: Steady['kinds'],
  { manifest, stateBytes }: { readonly manifest: RunManifest; readonly stateBytes: number },
): string {
  const step = Math.min(...kinds.map(({ stepSeconds }) => stepSeconds));
  return sayBytes(stateBytes / (manifest.sync.stateRootEverySteps * step));
}

const keptOf = (kinds: Steady['kinds']): string => sayBytes(Math.max(...kinds.map(({ diskBytes }) => diskBytes)));
