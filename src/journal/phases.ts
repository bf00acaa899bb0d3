/**
 * @file Rules of the fold: phases and amendments. A phase ends when its tokens are merged and its gates hold; an amendment takes
 * effect with an outer step that was not open when it was signed. Neither reaches back: what has been folded stays as it was.
 */
import { amendedManifest } from '../protocol/amendment.ts';
import { type Gate, manifestSchema, type RunManifest, spanTokensOf } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal, type Hotkey } from '../protocol/names.ts';
import { manifestOf, phaseOf, runOf } from './queries.ts';
import { ignore, type Refusal, type Rule, reject } from './rule.ts';
import type { EvaluationRecord, RunState } from './state.ts';

/** An amendment may lie so many outer steps ahead: while it waits, the phases that it names cannot begin. */
export const maxAmendmentAhead = 100_000;
export const maxPendingAmendments = 16;

/** Books for phases that the manifest has gained. */
export function layOutPhases(state: RunState, count: number): void {
  const { fragments } = manifestOf(state);
  while (state.cursor.length < count) {
    state.cursor.push(0);
    state.pool.push([]);
    state.phaseCellTokens.push(0);
    state.claimedCells.push(Array.from({ length: fragments.count }, () => []));
  }
}

/** Merged tokens of a phase. */
export const phaseTokens = (state: RunState, phase = state.phase): number =>
  (state.phaseCellTokens[phase] ?? 0) / manifestOf(state).fragments.count;

export const isTargetMerged = (state: RunState): boolean => phaseTokens(state) >= phaseOf(state).targetTokens;

/** How many validators must find a gate met: the majority of a committee, as for a verdict. */
export const gateQuorum = (state: RunState): number => Math.floor(manifestOf(state).evaluation.committee / 2) + 1;

/** What an evaluation says of a gate; null: it does not measure it. */
export function isGateMet(
  { metric, atMost, atLeast }: Gate,
  { losses }: Pick<EvaluationRecord, 'losses'>,
): boolean | null {
  const said = losses[metric];
  if (said === undefined) return null;
  const value = fromDecimal(said);
  return (
    (atMost === undefined || value <= fromDecimal(atMost)) && (atLeast === undefined || value >= fromDecimal(atLeast))
  );
}

export interface GateStanding {
  readonly gate: Gate;
  /** Validators that found it met, and not met, on the newest release that enough have measured; else on the newest. */
  readonly met: readonly Hotkey[];
  readonly unmet: readonly Hotkey[];
  readonly release: number | null;
  /** A quorum found it met, more than found otherwise. */
  readonly isHeld: boolean;
}

/** Of the current phase's gates, on releases of this phase whose tokens were merged before; evaluations of barred validators do not count. */
export function gateStandings(state: RunState): GateStanding[] {
  const quorum = gateQuorum(state);
  const releases = state.releases.filter(({ phase }) => phase === state.phase).toReversed();
  return (phaseOf(state).gates ?? []).map((gate) => {
    const standings = releases.map(({ body: { release } }) => standingOn(state, gate, release));
    const judged = standings.find(({ met, unmet }) => met.length + unmet.length >= quorum) ?? standings[0];
    if (judged === undefined) return { gate, met: [], unmet: [], release: null, isHeld: false };
    const { met, unmet } = judged;
    return { ...judged, isHeld: met.length >= quorum && met.length > unmet.length };
  });
}

function standingOn(state: RunState, gate: Gate, release: number): Omit<GateStanding, 'isHeld'> {
  const met: Hotkey[] = [];
  const unmet: Hotkey[] = [];
  for (const each of state.evaluations) {
    const standing = state.hotkeys.get(each.hotkey);
    // Whom no draw ever named with stake anybody could be.
    if (each.release !== release || standing?.barred || !((standing?.drawnStakeRao ?? 0) > 0)) continue;
    const isMet = isGateMet(gate, each);
    if (isMet !== null) (isMet ? met : unmet).push(each.hotkey);
  }
  return { gate, met, unmet, release };
}

/** Whether validators must evaluate releases until a quorum has: the target is merged, and gates are left. */
export const isGateAwaited = (state: RunState): boolean =>
  nextPhase(state) !== null && isTargetMerged(state) && gateStandings(state).some(({ isHeld }) => !isHeld);

const nextPhase = (state: RunState): number | null =>
  state.phase + 1 < manifestOf(state).phases.length ? state.phase + 1 : null;

/** The event by which the next phase begins, if it is due. */
export function duePhaseChange(state: RunState): EventBody<'phase-change'> | null {
  const phase = nextPhase(state);
  return phase === null || refusePhaseChange(state) !== null ? null : changeTo(state, phase);
}

const changeTo = (state: RunState, phase: number): EventBody<'phase-change'> => ({
  phase,
  outerStep: state.nextOuterStep,
  cursor: state.cursor[state.phase]!,
});

function refusePhaseChange(state: RunState): Refusal | null {
  if (nextPhase(state) === null) return ignore('WRONG_PHASE', `phase ${state.phase} is the last`);
  const { targetTokens } = phaseOf(state);
  if (!isTargetMerged(state))
    return reject('PHASE_OPEN', `${phaseTokens(state)} of ${targetTokens} tokens of the phase are merged`);
  const open = gateStandings(state).find(({ isHeld }) => !isHeld);
  if (open !== undefined)
    return reject(
      'GATE_CLOSED',
      `${sayGate(open.gate)}: ${open.met.length} validators found it so and ${open.unmet.length} not, ${gateQuorum(state)} are needed`,
    );
  const waiting = state.amendments.find(
    ({ inForceSince, body }) => inForceSince === null && (body.changes.phases?.from ?? Infinity) <= state.phase + 1,
  );
  if (waiting === undefined) return null;
  const { amendment, atOuterStep } = waiting.body;
  return ignore('AMENDMENT_WAITS', `amendment ${amendment} changes the next phase at outer step ${atOuterStep}`);
}

export const sayGate = ({ metric, atMost, atLeast }: Gate): string =>
  atMost === undefined ? `${metric} of at least ${atLeast}` : `${metric} of at most ${atMost}`;

/** Who found what of a gate, for whoever waits for it. */
export function sayStanding(state: RunState, { met, unmet, release }: GateStanding): string {
  if (release === null) return 'no release of this phase yet';
  const judged = met.length + unmet.length;
  const needed = gateQuorum(state);
  if (judged === 0) return `release ${release} is not evaluated yet; ${needed} validators are needed`;
  return `${met.length} of ${judged} validators found it so on release ${release}, ${needed} are needed`;
}

export const phaseChangeRule: Rule<'phase-change'> = {
  signers: ['syncer'],
  admit(state, body) {
    if (body.phase !== state.phase + 1)
      return ignore('WRONG_PHASE', `the run is in phase ${state.phase}, got ${body.phase}`);
    const refusal = refusePhaseChange(state);
    if (refusal !== null) return refusal;
    const { outerStep, cursor } = changeTo(state, body.phase);
    if (body.outerStep !== outerStep)
      return ignore('WRONG_STEP', `the next outer step is ${outerStep}, got ${body.outerStep}`);
    if (body.cursor === cursor) return null;
    return reject('WRONG_CURSOR', `the phase has drawn ${cursor} positions of its order, got ${body.cursor}`);
  },
  apply(state, { phase, outerStep }, { seq, timeMs }) {
    state.phase = phase;
    state.phases.push({ seq, atMs: timeMs, outerStep });
  },
};

export const amendmentRule: Rule<'amendment'> = {
  signers: ['hotkey'],
  admit(state, body, { sender }) {
    const { owner } = manifestOf(state);
    if (sender.kind !== 'hotkey' || sender.hotkey !== owner)
      return reject('NOT_OWNER', `an amendment is signed by the run's owner ${owner}`);
    const number = state.amendments.length;
    if (body.amendment !== number)
      return ignore('WRONG_AMENDMENT', `expected amendment ${number}, got ${body.amendment}`);
    return refuseTime(state, body) ?? refuseChanges(state, body);
  },
  apply(state, body, { seq, timeMs }) {
    state.amendments.push({ body, seq, atMs: timeMs, inForceSince: null });
  },
};

function refuseTime(state: RunState, { atOuterStep }: EventBody<'amendment'>): Refusal | null {
  const next = state.nextOuterStep;
  if (atOuterStep < next)
    return reject('PAST', `outer step ${atOuterStep} is open or over; the next that can be amended is ${next}`);
  const pending = pendingAmendments(state);
  if (atOuterStep > next + maxAmendmentAhead || pending.length >= maxPendingAmendments)
    return reject(
      'TOO_MANY',
      `at most ${maxPendingAmendments} amendments wait, at most ${maxAmendmentAhead} outer steps ahead of ${next}`,
    );
  const last = pending.at(-1)?.body.atOuterStep ?? 0;
  if (atOuterStep >= last) return null;
  return reject('WRONG_STEP', `the amendment before this one takes effect at outer step ${last}`);
}

const pendingAmendments = (state: RunState) => state.amendments.filter(({ inForceSince }) => inForceSince === null);

/** As the manifest will be when every amendment that waits has taken effect, in the phase of now. */
export const manifestWithPending = (state: RunState): RunManifest =>
  pendingAmendments(state).reduce(
    (manifest, { body }) => amendedManifest(manifest, body.changes, state.phase),
    manifestOf(state),
  );

/** What it would make of the manifest, after those that wait, must be a manifest. */
function refuseChanges(state: RunState, { changes }: EventBody<'amendment'>): Refusal | null {
  if (Object.values(changes).every((change) => change === undefined))
    return reject('MALFORMED', 'the amendment changes nothing');
  const before = manifestWithPending(state);
  const { phases } = changes;
  if (phases !== undefined && phases.from <= state.phase)
    return reject('PAST', `phase ${phases.from} has begun; the first that can be amended is ${state.phase + 1}`);
  if (phases !== undefined && phases.from > before.phases.length)
    return reject('MALFORMED', `there are ${before.phases.length} phases: the next one is ${before.phases.length}`);
  return refuseManifest(amendedManifest(before, changes, state.phase), runOf(state).manifest);
}

function refuseManifest(amended: RunManifest, original: RunManifest): Refusal | null {
  const parsed = manifestSchema.safeParse(amended);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    return reject('MALFORMED', `${path.join('.')}: ${message}`.slice(0, 400));
  }
  // Text is laid out in spans of the longest sequence: another length would move what is drawn already.
  const span = spanTokensOf(original.phases);
  const odd = amended.phases.find(({ sequenceLength }) => span % sequenceLength !== 0);
  if (odd !== undefined)
    return reject(
      'MALFORMED',
      `phase ${odd.name}: sequences of ${odd.sequenceLength} tokens do not divide the run's spans of ${span}`,
    );
  const sources = new Set(amended.data.shards.filter(({ stage }) => stage === 'train').map(({ source }) => source));
  const unknown = amended.phases.flatMap(({ mixture }) => Object.keys(mixture)).find((source) => !sources.has(source));
  return unknown === undefined ? null : reject('MALFORMED', `no training shard of source ${unknown}`);
}

/** Called when outer step `outerStep` is opened: what was to hold from it, or from one before it, holds. */
export function bringIntoForce(state: RunState, outerStep: number): void {
  for (const record of pendingAmendments(state)) {
    if (record.body.atOuterStep > outerStep) return;
    record.inForceSince = outerStep;
    state.amended = amendedManifest(manifestOf(state), record.body.changes, state.phase);
    layOutPhases(state, state.amended.phases.length);
  }
}
