/**
 * @file Why a hotkey's score is what it is: every claim with its leases, verdicts, numbers and share; audits, tempos, and what to
 * change where something was refused. Reads the fold and, while it folds, what the fold does not keep.
 */
import type { EventBody, JournalEntry } from '../protocol/messages.ts';
import { fromDecimal, type Hash, type Hotkey } from '../protocol/names.ts';
import { countRanges, intersectRanges } from '../util/ranges.ts';
import { isCleared } from './audits.ts';
import { claimTokens, manifestOf } from './queries.ts';
import { weightsOf } from './scores.ts';
import type { Audit, Claim, ClaimVerdict, RunState } from './state.ts';

export interface VerdictExplained {
  readonly validator: Hotkey;
  readonly round: ClaimVerdict['round'];
  readonly outcome: ClaimVerdict['outcome'];
  readonly code: string;
  readonly sentence: string;
  readonly measurements: Readonly<Record<string, number>>;
}

export interface ClaimExplained {
  readonly claim: Hash;
  readonly learner: string;
  readonly outerStep: number;
  readonly fragment: number;
  readonly steps: readonly [from: number, to: number];
  readonly leases: readonly number[];
  /** What it counts once merged. */
  readonly tokens: number;
  readonly status: Claim['status'];
  /** `OK`, or why it was refused or voided; null while undecided. */
  readonly code: string | null;
  readonly sentence: string;
  readonly verdicts: readonly VerdictExplained[];
  /** Its part in the merge; null if it was not merged. */
  readonly mergeShare: number | null;
  readonly norm: number | null;
  readonly clippedNorm: number | null;
  readonly isPaid: boolean;
  /** Null where nothing was refused. */
  readonly advice: string | null;
}

export interface AuditExplained {
  readonly audit: number;
  readonly steps: readonly [from: number, to: number];
  readonly reason: Audit['body']['reason'];
  readonly status: Audit['status'];
  readonly code: string | null;
  readonly sentence: string;
  readonly measurements: Readonly<Record<string, number>>;
  readonly advice: string | null;
}

export interface TempoExplained {
  readonly tempo: number;
  /** Scored at its end, and held until an audit passes. */
  readonly tokens: number;
  readonly heldTokens: number;
  readonly verdicts: number;
  /** Of all that was scored in it. */
  readonly share: number;
}

export interface HotkeyExplained {
  readonly hotkey: Hotkey;
  readonly score: number;
  readonly verdictScore: number;
  /** Share of the weights that an honest validator sets now. */
  readonly weight: number;
  readonly openTempo: { readonly tokens: number; readonly heldTokens: number; readonly isCleared: boolean };
  readonly barred: string | null;
  readonly forfeits: readonly { readonly audit: number; readonly code: string; readonly tokens: number }[];
  readonly tempos: readonly TempoExplained[];
  /** In commit order. */
  readonly claims: readonly ClaimExplained[];
  readonly audits: readonly AuditExplained[];
}

/** What a miner can do about a code; `docs/protocol.md` says the same. */
const adviceOf: Readonly<Record<string, string>> = {
  MALFORMED: 'the bytes or the trace do not parse: update the program; the sentence says where',
  OVERSIZED: "the artifact is larger than the fragment's codec needs: check the codec of the manifest",
  HEADER: "names, shapes or dtypes are not the plan's: rebuild the plan from the manifest",
  NOT_FINITE:
    'a value is NaN, infinite or beyond the codec: lower the learning rate, or test the memory of the machine',
  NORM_LOW: 'less change than these steps make: do the steps that are claimed, with the recipe of the manifest',
  NORM_HIGH: 'more change than these steps make: check the learning rate, the warm-up and the selection bias rate',
  HARMFUL: 'applying it raised the loss: check that the leased text was read and the newest versions were taken in',
  TRACE: 'the lines are not what the claim says: keep one trace a learner, and join again after a crash',
  MISSING: 'the bytes were not in the store in time: upload before revealing; check the way up',
  STALE: 'the fragment moved on: a faster way up, more frequent claims, or a smaller batch help',
  LOST: 'the store lost the bytes of an accepted claim: nothing you did; ask the owner of the run',
  FORFEITED: 'a failed audit voided the tempo: look at the audit',
  DISAGREED: 'the validators did not agree: nothing you did; `accrete appeal CLAIM` asks all of them',
  STATE: 'the bytes shown are not the states that the trace names: do not touch the folder of states',
  START: 'the learner did not begin from the published fragments with zero moments: join again',
  REPLAY:
    'redoing the steps led elsewhere: train exactly as leased; `accrete replay` finds the first line that differs',
  CLAIM: 'a claim is not the pseudo-gradient of the traced state: claim what was trained',
  UNANSWERED: 'the states did not come in time: keep the newest segments on disk and the machine reachable',
};

/** What a miner can do about a code; null where there is nothing to do. */
export const adviceFor = (code: string | null): string | null =>
  code === null || code === 'OK' ? null : (adviceOf[code] ?? null);

type Shares = EventBody<'fragment-published'>['shares'][number];

export class Explainer {
  readonly #shares = new Map<Hash, Shares>();

  /** To be called after each entry was folded. */
  readonly onFold = (_: RunState, { message: { kind, body } }: JournalEntry): void => {
    if (kind !== 'fragment-published') return;
    for (const share of (body as EventBody<'fragment-published'>).shares) this.#shares.set(share.claim, share);
  };

  /** Null if the run does not know the hotkey. */
  explain(state: RunState, hotkey: Hotkey): HotkeyExplained | null {
    const standing = state.hotkeys.get(hotkey);
    if (standing === undefined) return null;
    const { count } = manifestOf(state).fragments;
    const claims = [...state.claims.values()].filter((claim) => claim.hotkey === hotkey);
    const audits = [...state.audits.values()].filter(({ body }) => body.hotkey === hotkey);
    return {
      hotkey,
      score: standing.score / count,
      verdictScore: standing.verdictScore,
      weight: weightsOf(state).get(hotkey) ?? 0,
      openTempo: {
        tokens: standing.tempoCellTokens / count,
        heldTokens: standing.heldCellTokens / count,
        isCleared: isCleared(state, standing),
      },
      barred: standing.barred?.sentence ?? null,
      forfeits: standing.forfeits.map(({ audit, code, cellTokens }) => ({ audit, code, tokens: cellTokens / count })),
      tempos: temposOf(state, hotkey),
      claims: claims.map((claim) => this.#claim(state, claim)),
      audits: audits.map(explainAudit),
    };
  }

  #claim(state: RunState, claim: Claim): ClaimExplained {
    const { body, status, code, sentence } = claim;
    const share = this.#shares.get(claim.id);
    const said = [...claim.verdicts, ...(claim.rechecked ? [claim.rechecked] : []), ...(claim.dispute?.rulings ?? [])];
    return {
      claim: claim.id,
      learner: claim.name,
      outerStep: body.outerStep,
      fragment: body.fragment,
      steps: body.steps,
      leases: leasesOf(state, claim),
      tokens: claimTokens(state, claim),
      status,
      code,
      sentence,
      verdicts: said.map(explainVerdict),
      mergeShare: share === undefined ? null : fromDecimal(share.share),
      norm: share === undefined ? null : fromDecimal(share.norm),
      clippedNorm: share === undefined ? null : fromDecimal(share.clippedNorm),
      isPaid: status === 'merged' && !claim.isOverturned,
      advice: adviceFor(code),
    };
  }
}

const numbersOf = (measurements: ClaimVerdict['measurements']): Record<string, number> =>
  Object.fromEntries(Object.entries(measurements).map(([name, value]) => [name, fromDecimal(value)]));

export function explainVerdict({
  hotkey,
  round,
  outcome,
  code,
  sentence,
  measurements,
}: ClaimVerdict): VerdictExplained {
  return { validator: hotkey, round, outcome, code, sentence, measurements: numbersOf(measurements) };
}

export function explainAudit({ id, body, status, code, sentence, verdicts }: Audit): AuditExplained {
  return {
    audit: id,
    steps: body.steps,
    reason: body.reason,
    status,
    code,
    sentence,
    measurements: numbersOf(verdicts.at(-1)?.measurements ?? {}),
    advice: adviceFor(code),
  };
}

/** Leases of the learner that the claim's sequences lie in. */
export function leasesOf(state: RunState, { learner, body: { phase, sequences } }: Claim): number[] {
  return [...state.leases.values()]
    .filter((lease) => lease.learner === learner && lease.phase === phase)
    .filter(({ range }) => countRanges(intersectRanges(sequences, [range])) > 0)
    .map(({ id }) => id);
}

export function temposOf(state: RunState, hotkey: Hotkey): TempoExplained[] {
  const { count } = manifestOf(state).fragments;
  return state.tempo.history.flatMap(({ tempo, work }) => {
    const own = work.find((each) => each.hotkey === hotkey);
    if (own === undefined) return [];
    const all = work.reduce((sum, { cellTokens }) => sum + cellTokens, 0);
    const { cellTokens, heldCellTokens, verdicts } = own;
    const share = all === 0 ? 0 : cellTokens / all;
    return [{ tempo, tokens: cellTokens / count, heldTokens: heldCellTokens / count, verdicts, share }];
  });
}
