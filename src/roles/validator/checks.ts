/**
 * @file Checks 1-3 of a claim (DESIGN section 4): form, header, values; and the sentence for the miner of each failure.
 * Pure: bytes and fold come in. The gain test (check 4) needs a session and lives in the shell; its judgement is here.
 */
import type { GainJudgement } from '../../evaluation/gain.ts';
import { manifestOf, medianNorm } from '../../journal/queries.ts';
import type { Claim, RunState } from '../../journal/state.ts';
import { decodeFragment, encodedSizeBytes } from '../../merge/codecs/fragment-file.ts';
import { CodecError, type CodecErrorCode } from '../../merge/errors.ts';
import type { Fragment } from '../../merge/fragment-plan.ts';
import type { FragmentValues } from '../../merge/fragment-values.ts';
import { sumOfSquares } from '../../merge/norms.ts';
import { sharedStaging } from '../../merge/staging.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import type { VerdictCode } from '../../protocol/messages.ts';
import { fromDecimal } from '../../protocol/names.ts';
import type { TraceLine } from '../../protocol/trace.ts';
import { normalizeRanges, subtractRanges } from '../../util/ranges.ts';

export interface Finding {
  readonly outcome: 'accept' | 'ignore' | 'reject';
  readonly code: VerdictCode;
  readonly sentence: string;
  readonly measurements: Readonly<Record<string, number>>;
}

export const accepted = (measurements: Finding['measurements']): Finding => ({
  outcome: 'accept',
  code: 'OK',
  sentence: '',
  measurements,
});

export const refused = (code: VerdictCode, sentence: string, measurements: Finding['measurements'] = {}): Finding => ({
  outcome: 'reject',
  code,
  sentence: sentence.slice(0, 500),
  measurements,
});

const codeOf: Readonly<Record<CodecErrorCode, VerdictCode>> = {
  BAD_CONTAINER: 'HEADER',
  UNKNOWN_TENSOR: 'HEADER',
  MISSING_TENSOR: 'HEADER',
  WRONG_DTYPE: 'HEADER',
  WRONG_SHAPE: 'HEADER',
  WRONG_SIZE: 'HEADER',
  NOT_CANONICAL: 'HEADER',
  NOT_FINITE: 'NOT_FINITE',
  OUT_OF_RANGE: 'NOT_FINITE',
  BAD_SCALE: 'NOT_FINITE',
};

/** Headers of other writers may be longer than ours; more than this is refused before a byte is fetched. */
const headerRoomBytes = 65_536;

/** The greatest artifact that a claim of a fragment may name. */
export const largestArtifactBytes = (codec: RunManifest['codec'], fragment: Fragment): number =>
  encodedSizeBytes(codec, fragment) + headerRoomBytes;

export function checkSize(run: RunState, claim: Claim, fragment: Fragment): Finding | null {
  const limit = largestArtifactBytes(manifestOf(run).codec, fragment);
  const { sizeBytes } = claim.body.artifact;
  if (sizeBytes <= limit) return null;
  return refused('OVERSIZED', `the artifact has ${sizeBytes} bytes; fragment ${fragment.id} takes at most ${limit}`, {
    sizeBytes,
    limitBytes: limit,
  });
}

/** Stages 1 and 2: container, names, shapes, dtypes, finite canonical values. */
export function decodeClaim(
  run: RunState,
  fragment: Fragment,
  bytes: Uint8Array,
): { readonly values: FragmentValues } | { readonly finding: Finding } {
  try {
    return { values: decodeFragment(manifestOf(run).codec, fragment, bytes) };
  } catch (error) {
    if (error instanceof CodecError) return { finding: refused(codeOf[error.code], `${error.code}: ${error.message}`) };
    throw error;
  }
}

/** While learning rates still rise, norms grow many times over: the bounds need as many merges as they look back on. */
const mergesBeforeBounds = 8;

/** Stage 3: the norm per √(inner steps), beside the median of the fragment's last merges. */
export function checkNorm(run: RunState, claim: Claim, values: FragmentValues): Finding {
  const { normFloor, normCeiling } = manifestOf(run).evaluation;
  const [from, to] = claim.body.steps;
  const norm = Math.sqrt(sumOfSquares(sharedStaging(), values.params)) / Math.sqrt(to - from);
  const median = medianNorm(run, claim.body.fragment);
  const biased = checkSelectionBias(run, claim, values);
  if (biased !== null) return biased;
  if (norm === 0) return refused('NORM_LOW', 'the pseudo-gradient is zero: no work is in it', { norm });
  if (median === null || run.fragments[claim.body.fragment]!.merges < mergesBeforeBounds) return accepted({ norm });
  const low = fromDecimal(normFloor) * median;
  const high = fromDecimal(normCeiling) * median;
  const numbers = { norm, median, low, high };
  const said = `norm ${norm.toPrecision(3)} per √step; the fragment's last merges allow ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
  if (norm < low) return refused('NORM_LOW', said, numbers);
  if (norm > high) return refused('NORM_HIGH', said, numbers);
  return accepted(numbers);
}

/** Every step moves a selection bias by ± the recipe's rate; twice that leaves room for rounding. */
function checkSelectionBias(run: RunState, claim: Claim, { selectionBias }: FragmentValues): Finding | null {
  const [from, to] = claim.body.steps;
  const bias = selectionBias.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const high = 2 * fromDecimal(manifestOf(run).recipe.selectionBiasRate) * (to - from);
  if (bias <= high) return null;
  const sentence = `a selection bias moved by ${bias.toPrecision(3)} in ${to - from} steps, which allow ${high.toPrecision(3)}`;
  return refused('NORM_HIGH', sentence, { bias, biasHigh: high });
}

/**
 * The claim's sequences must be among those that its traced steps trained on; all of these steps must be there. Lines of
 * earlier commits that nobody uploaded are missing, not wrong: they may still come, and then another validator sees them.
 */
export function checkTrace(
  claim: Claim,
  lines: readonly TraceLine[],
  { leases }: Pick<RunState, 'leases'>,
): Finding | null {
  const [from, to] = claim.body.steps;
  const steps = lines.filter((line) => line.step >= from && line.step < to);
  if (steps.length !== to - from)
    return refused('MISSING', `the store has ${steps.length} of the ${to - from} traced steps that the claim names`);
  // Positions of another phase are other text: of a claim over a phase change the earlier lines count for nothing.
  const ofPhase = steps.filter((line) => leases.get(line.leases[0]!)?.phase === claim.body.phase);
  const traced = normalizeRanges(ofPhase.flatMap((line) => line.sequences));
  const outside = subtractRanges(claim.body.sequences, traced)[0];
  if (outside === undefined) return null;
  return refused('TRACE', `sequences ${outside[0]} to ${outside[1]} are claimed but no traced step trained on them`);
}

/** A number that a verdict can carry: losses of a model that diverged are no decimals. */
export const finite = (value: number): number => (Number.isFinite(value) ? value : value < 0 ? -1e9 : 1e9);

export function judgedGain(judgement: GainJudgement, others: Finding['measurements']): Finding {
  const { gain, standardError, upperBound, isHarmful, sequences } = judgement;
  const measurements = {
    ...others,
    gain: finite(gain),
    gainError: finite(standardError),
    gainUpper: finite(upperBound),
    gainSequences: sequences,
  };
  if (!isHarmful) return accepted(measurements);
  const sentence = `the pseudo-gradient raises the loss: gain ${finite(gain).toPrecision(3)} ± ${finite(standardError).toPrecision(2)} nats a token on ${sequences} drawn sequences, 99.9 % upper bound ${finite(upperBound).toPrecision(3)}`;
  return refused('HARMFUL', sentence, measurements);
}
