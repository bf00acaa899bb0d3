/**
 * @file How far the run is: one bar for all its tokens, cut where its phases begin. The plan that runs like this one stand for has
 * ten trillion tokens, half of them towards a stronger base; its marks are shown scaled to this run's target.
 */
import type { ApiOverview, ApiRun } from '../../../../src/protocol/api/run.ts';
import { percent, short } from '../../format/numbers.ts';
import { duration } from '../../format/time.ts';

const planTokens = 10e12;

interface Stretch {
  readonly name: string;
  readonly detail: string;
  readonly fromTokens: number;
  readonly toTokens: number;
  readonly isNow: boolean;
  /** Of its own tokens, so that what one phase merged past its target is not shown as the next one's. */
  readonly share: number;
}

/** The run's own phases; a run with a single one is cut at the plan's half. */
function stretchesOf({ phases }: ApiRun, { phase: now, countedTokens, targetTokens }: ApiOverview): Stretch[] {
  const inPlan = (tokens: number): string =>
    `${short((tokens / Math.max(1, targetTokens)) * planTokens)} of a 10 T plan`;
  const [only] = phases;
  if (only !== undefined && phases.length === 1) {
    const half = only.toTokens / 2;
    return [
      {
        name: 'half',
        detail: inPlan(half),
        fromTokens: 0,
        toTokens: half,
        isNow: countedTokens < half,
        share: filled(0, half, countedTokens),
      },
      {
        name: only.name,
        detail: inPlan(only.toTokens),
        fromTokens: half,
        toTokens: only.toTokens,
        isNow: countedTokens >= half,
        share: filled(half, only.toTokens, countedTokens),
      },
    ];
  }
  return phases.map((phase) => ({
    name: phase.name,
    detail: `${inPlan(phase.toTokens)} · ${phase.sequenceLength} tokens a sequence`,
    fromTokens: phase.fromTokens,
    toTokens: phase.toTokens,
    isNow: phase.index === now.index,
    share: phase.index < now.index ? 1 : phase.index > now.index ? 0 : filled(0, now.targetTokens, now.countedTokens),
  }));
}

export function PhasePlan({ run, data }: { run: ApiRun; data: ApiOverview }) {
  const { countedTokens, targetTokens, etaMs, tokensPerSecond } = data;
  const share = targetTokens === 0 ? 0 : Math.min(1, countedTokens / targetTokens);
  const stretches = stretchesOf(run, data);
  const growth = (s: Stretch) => ({ flexGrow: Math.max(1, s.toTokens - s.fromTokens) });
  return (
    <div class="plan">
      <p class="plan-numbers">
        <b>{short(countedTokens)}</b>
        <span class="soft">of {short(targetTokens)} tokens</span>
        <b>{percent(share, share < 0.1 ? 2 : 1)}</b>
        <span class="soft">
          {short(tokensPerSecond)} tokens/s
          {run.phases.length < 2
            ? ''
            : ` · phase ${data.phase.name}: ${short(data.phase.countedTokens)} of ${short(data.phase.targetTokens)}`}
          {etaMs === null ? '' : share >= 1 ? ' · target reached' : ` · about ${duration(etaMs)} to go`}
        </span>
      </p>
      <div
        class="plan-bar"
        role="progressbar"
        aria-label="Counted tokens"
        aria-valuemin={0}
        aria-valuemax={targetTokens}
        aria-valuenow={Math.round(Math.min(countedTokens, targetTokens))}
        aria-valuetext={`${short(countedTokens)} of ${short(targetTokens)} tokens, phase ${data.phase.name}`}
      >
        {stretches.map((s) => (
          <span key={s.name} class="plan-phase" style={growth(s)}>
            <span class="plan-fill" style={{ width: `${100 * s.share}%` }} />
          </span>
        ))}
      </div>
      <ol class="plan-labels">
        {stretches.map((s) => (
          <li key={s.name} style={growth(s)} aria-current={s.isNow ? 'step' : undefined}>
            <b>{s.name}</b> {short(s.toTokens)}
            <span class="plan-scaled">{s.detail}</span>
          </li>
        ))}
      </ol>
      <PhaseNotes data={data} />
    </div>
  );
}

/** What the phase waits for, and what its owner has changed or will. */
function PhaseNotes({ data: { phase, amendments } }: { data: ApiOverview }) {
  const closed = phase.countedTokens < phase.targetTokens ? [] : phase.gates.filter(({ isHeld }) => !isHeld);
  if (closed.length === 0 && amendments.length === 0) return null;
  return (
    <ul class="plan-notes soft">
      {closed.map(({ gate, found }) => (
        <li key={gate}>
          {phase.name} has its tokens and waits for {gate}: {found}. Training goes on meanwhile.
        </li>
      ))}
      {amendments.map(({ amendment, atOuterStep, isInForce, reason }) => (
        <li key={amendment}>
          amended {isInForce ? 'since' : 'from'} outer step {atOuterStep}: {reason}
        </li>
      ))}
    </ul>
  );
}

const filled = (fromTokens: number, toTokens: number, tokens: number): number =>
  Math.max(0, Math.min(1, (tokens - fromTokens) / Math.max(1, toTokens - fromTokens)));
