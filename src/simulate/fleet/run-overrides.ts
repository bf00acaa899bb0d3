/** @file What a fleet's file changes in the settings of its run, whether somebody trains it or not. The quorum is the caller's: it knows the fleet. */
import { type Decimal, toDecimal } from '../../protocol/names.ts';
import type { RunSettings } from '../../roles/run-presets.ts';
import type { RunOverrides } from './fleet-file.ts';

export function withOverrides(base: RunSettings, o: RunOverrides): RunSettings {
  const { ledger, sync, recipe, audit, evaluation, release, fragments } = base;
  const ms = (seconds: number | undefined, otherwise: number): number =>
    seconds === undefined ? otherwise : Math.round(1_000 * seconds);
  const decimal = (value: number | undefined, otherwise: Decimal): Decimal =>
    value === undefined ? otherwise : toDecimal(value);
  const [graceMin, graceMax] = o.graceSeconds ?? [undefined, undefined];
  return {
    ...base,
    sequenceLength: o.sequenceLength ?? base.sequenceLength,
    targetTokens: o.targetTokens ?? base.targetTokens,
    ledger: {
      ...ledger,
      tempoBlocks: o.tempoBlocks ?? ledger.tempoBlocks,
      blockMs: ms(o.blockSeconds, ledger.blockMs),
    },
    recipe: { ...recipe, batchSequences: o.batchSequences ?? recipe.batchSequences },
    fragments: { ...fragments, count: o.fragments ?? fragments.count },
    sync: {
      ...sync,
      innerStepsPerOuterStep: o.innerSteps ?? sync.innerStepsPerOuterStep,
      grace: { ...sync.grace, minMs: ms(graceMin, sync.grace.minMs), maxMs: ms(graceMax, sync.grace.maxMs) },
      deadlineMs: ms(o.deadlineSeconds, sync.deadlineMs),
      maxStaleness: o.maxStaleness ?? sync.maxStaleness,
      ...(o.revealSeconds === undefined ? {} : { revealMs: ms(o.revealSeconds, 0) }),
      ...(o.verdictSeconds === undefined ? {} : { verdictMs: ms(o.verdictSeconds, 0) }),
      leaseSequences: o.leaseSequences ?? sync.leaseSequences,
      leaseMs: ms(o.leaseSeconds, sync.leaseMs),
      stateRootEverySteps: o.stateRootEverySteps ?? sync.stateRootEverySteps,
    },
    codec: o.codec ?? base.codec,
    evaluation: {
      ...evaluation,
      gainShare: decimal(o.gainShare, evaluation.gainShare),
      committee: o.committee ?? evaluation.committee,
    },
    audit: {
      ...audit,
      perTempo: o.auditsPerTempo ?? audit.perTempo,
      window: o.auditWindow ?? audit.window,
      answerMs: ms(o.auditAnswerSeconds, audit.answerMs),
      ...(o.stateFormat === undefined ? {} : { stateFormat: o.stateFormat }),
    },
    release: { ...release, everyMerges: o.releaseEveryMerges ?? release.everyMerges },
  };
}
