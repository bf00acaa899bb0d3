/** @file How far the run is: one bar for all its tokens, cut where its phases begin, as a plan of ten trillion tokens would be. */
import type { ApiOverview, ApiRun } from '../../../../src/protocol/api/run.ts';
import { percent, short } from '../../format/numbers.ts';
import { duration } from '../../format/time.ts';

const planTokens = 10e12;

export function PhasePlan({ run, data }: { run: ApiRun; data: ApiOverview }) {
  const { countedTokens, targetTokens, etaMs, tokensPerSecond } = data;
  const share = targetTokens === 0 ? 0 : Math.min(1, countedTokens / targetTokens);
  return (
    <div class="plan">
      <p class="plan-numbers">
        <b>{short(countedTokens)}</b>
        <span class="soft">of {short(targetTokens)} tokens</span>
        <b>{percent(share, share < 0.1 ? 2 : 1)}</b>
        <span class="soft">
          {short(tokensPerSecond)} tokens/s
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
        {run.phases.map((phase) => (
          <span key={phase.index} class="plan-phase" style={{ flexGrow: Math.max(1, phase.targetTokens) }}>
            <span class="plan-fill" style={{ width: `${100 * filled(phase, countedTokens)}%` }} />
          </span>
        ))}
      </div>
      <ol class="plan-labels">
        {run.phases.map((phase) => (
          <li
            key={phase.index}
            style={{ flexGrow: Math.max(1, phase.targetTokens) }}
            aria-current={phase.index === data.phase.index ? 'step' : undefined}
          >
            <b>{phase.name}</b> <span>to {short(phase.toTokens)}</span>{' '}
            <span class="plan-scaled">
              {short((phase.toTokens / Math.max(1, targetTokens)) * planTokens)} of a 10 T plan · {phase.sequenceLength}{' '}
              tokens a sequence
            </span>
          </li>
        ))}
      </ol>
    </div>
  );
}

const filled = ({ fromTokens, toTokens }: ApiRun['phases'][number], tokens: number): number =>
  Math.max(0, Math.min(1, (tokens - fromTokens) / Math.max(1, toTokens - fromTokens)));
