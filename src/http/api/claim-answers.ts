/** @file `claims/ID` and a miner's claims. */
import { adviceFor, explainVerdict, leasesOf } from '../../journal/explain.ts';
import type { ClaimIndexRow } from '../../journal/index/port.ts';
import type { Claim, ClaimVerdict } from '../../journal/state.ts';
import type { ApiClaim, ApiClaimRow, ApiClaims, ApiVerdict } from '../../protocol/api/claims.ts';
import type { ApiQuery } from '../../protocol/api/routes.ts';
import type { Hash, Hotkey } from '../../protocol/names.ts';
import { NotThere, type Sources, shortOf } from './sources.ts';

export function claimRowOf(row: ClaimIndexRow): ApiClaimRow {
  const { id, stepFrom, stepTo, status, isOverturned, isDisputed, mergedOuterStep: _, mergeOrder: __, ...rest } = row;
  return {
    ...rest,
    claim: id,
    steps: [stepFrom, stepTo],
    status: status as ApiClaimRow['status'],
    isPaid: status === 'merged' && isOverturned === 0,
    isDisputed: isDisputed === 1,
  };
}

/** @throws NotThere */
export async function answerMinerClaims(
  { state, index, asOf }: Sources,
  { hotkey }: { readonly hotkey: Hotkey },
  query: ApiQuery<'minerClaims'>,
): Promise<ApiClaims> {
  if (!state.hotkeys.has(hotkey)) throw new NotThere(`the run knows no hotkey ${hotkey}`);
  const { rows, ...page } = await index.claims({ ...query, hotkey });
  return { asOf, rows: rows.map(claimRowOf), ...page };
}

/** @throws NotThere */
export async function answerClaim(
  { state, index, asOf }: Sources,
  { claim: id }: { readonly claim: Hash },
): Promise<ApiClaim> {
  const [claim, row] = [state.claims.get(id), await index.claim(id)];
  if (claim === undefined || row === null) throw new NotThere(`there is no claim ${shortOf(id)}`);
  const { body, beacon, dispute } = claim;
  return {
    asOf,
    ...claimRowOf(row),
    baseVersion: body.baseVersion,
    leases: leasesOf(state, claim),
    sequences: body.sequences.map(([from, to]) => [from, to]),
    artifact: body.artifact,
    trace: { ...body.trace, lines: [body.trace.lines[0], body.trace.lines[1]] },
    beacon: beacon === null ? null : beaconOf(beacon),
    verdicts: verdictsOf(claim),
    dispute:
      dispute === null
        ? null
        : { reason: dispute.reason, openedAtMs: dispute.openedAtMs, closedAtMs: dispute.closedAtMs },
    advice: adviceFor(claim.code),
  };
}

const beaconOf = ({ block, blockHash, committee, recheck, gainTested, atMs }: NonNullable<Claim['beacon']>) => ({
  ...{ block, blockHash, committee: [...committee], recheck, gainTested, atMs },
});

function verdictsOf(claim: Claim): ApiVerdict[] {
  const { verdicts, rechecked, dispute } = claim;
  const said: ClaimVerdict[] = [...verdicts, ...(rechecked === null ? [] : [rechecked]), ...(dispute?.rulings ?? [])];
  const settled = settledOutcome(claim);
  return said.map((verdict) => ({
    ...explainVerdict(verdict),
    atMs: verdict.atMs,
    agrees: settled === null ? null : verdict.outcome === settled,
  }));
}

/** Null while nothing is settled, and where something else than verdicts voided it. */
function settledOutcome({ status, code, verdicts, isOverturned }: Claim): ClaimVerdict['outcome'] | null {
  if (status === 'refused' || (isOverturned && code !== 'OK')) return 'reject';
  if (status === 'accepted' || status === 'merging' || status === 'merged') return 'accept';
  if (status === 'voided' && verdicts.some(({ outcome }) => outcome === 'ignore')) return 'ignore';
  return null;
}
