/**
 * @file A learner's trace: one hash-chained line per inner step, for life. A claim commits to an interval of lines; the
 * lines themselves lie in the store as JSON lines. Checked here: form, chain, numbering, leases. That the steps were
 * really done is what replays check.
 */
import { z } from 'zod';
import { fromHex, fromUtf8, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson, parseStrictJson } from '../util/canonical-json.ts';
import { containsRanges, countRanges, isNormalRanges, normalizeRanges, type Range } from '../util/ranges.ts';
import { hashOfText, sha256 } from './hash.ts';
import { countSchema, decimalSchema, type Hash, hashSchema, type LearnerId, rangeSchema } from './names.ts';

export const traceLineSchema = z.strictObject({
  /** The learner's life-long inner-step count before this step; the first line is 0. */
  step: countSchema,
  /** Leases that the batch was read from, in reading order; a batch may cross from one into the next. */
  leases: z.array(countSchema).min(1).max(64),
  /** Order positions of the batch, sorted and disjoint. */
  sequences: z.array(rangeSchema).min(1).max(4096),
  /** Position in the learning-rate schedule, and the rate that it gave (warm-up included). */
  scheduleTokens: countSchema,
  learningRate: decimalSchema,
  /** Only in the first line after a join: version of every fragment that the learner began from, with zero moments. */
  start: z.array(countSchema).max(4096).nullable(),
  /** Fragments taken in before this step, with their versions, in the order of taking in. */
  takenIn: z.array(z.tuple([countSchema, countSchema])).max(4096),
  /** Fragments whose pseudo-gradient was taken before this step, after the taking in, with their outer steps. */
  claimed: z.array(z.tuple([countSchema, countSchema])).max(4096),
  /** Name of the learner's whole state after this step as an artifact, every S steps. */
  stateRoot: hashSchema.nullable(),
});
export type TraceLine = z.infer<typeof traceLineSchema>;

/** An interval of lines is refused beyond these before it is parsed. */
export const maxTraceBytes = 16 * 1024 * 1024;
const maxLineLength = 256 * 1024;

/** The head of an empty trace, bound to run and learner. */
export const traceGenesis = (run: Hash, learner: LearnerId): Hash => hashOfText(`accrete trace\n${run}\n${learner}`);

/** head' = SHA-256(head ‖ canonical JSON of the line). */
export function extendTraceHead(head: Hash, line: TraceLine): Hash {
  return toHex(sha256(fromHex(head)!, utf8(canonicalJson(line)))) as Hash;
}

export const traceHeadAfter = (head: Hash, lines: readonly TraceLine[]): Hash => lines.reduce(extendTraceHead, head);

/** Canonical JSON lines, each ended by a line feed. */
export const encodeTrace = (lines: readonly TraceLine[]): Uint8Array =>
  utf8(lines.map((line) => `${canonicalJson(line)}\n`).join(''));

export interface TraceFault {
  readonly ok: false;
  readonly code: 'OVERSIZED' | 'MALFORMED' | 'CHAIN' | 'STEPS' | 'NOT_LEASED' | 'BATCH' | 'START' | 'VERSIONS' | 'ROOT';
  readonly sentence: string;
}
const fault = (code: TraceFault['code'], sentence: string): TraceFault => ({ ok: false, code, sentence });

/** Parses bytes from a stranger; at most `maxLines` lines. Never throws. */
export function parseTrace(
  bytes: Uint8Array,
  maxLines: number,
): { readonly ok: true; readonly lines: TraceLine[] } | TraceFault {
  if (bytes.byteLength > maxTraceBytes)
    return fault('OVERSIZED', `a trace interval has at most ${maxTraceBytes} bytes, got ${bytes.byteLength}`);
  let text: string;
  try {
    text = fromUtf8(bytes);
  } catch {
    return fault('MALFORMED', 'the trace is not UTF-8');
  }
  const rows = text.split('\n', maxLines + 2);
  if (rows.length > maxLines + 1) return fault('OVERSIZED', `expected at most ${maxLines} lines`);
  if (rows.pop() !== '') return fault('MALFORMED', 'the trace must end with a line feed');
  const lines: TraceLine[] = [];
  for (const [i, row] of rows.entries()) {
    const json = parseStrictJson(row, { maxLength: maxLineLength, maxDepth: 4 });
    const line = json.ok ? traceLineSchema.safeParse(json.value) : null;
    if (!line?.success) return fault('MALFORMED', `line ${i} of the trace is not a trace line`);
    lines.push(line.data);
  }
  return { ok: true, lines };
}

/** What the run and the journal know of a learner's lines. */
export interface TraceRules {
  /** Sequences of a step, at a position in its phase's schedule. */
  readonly batchAt: (phase: number, scheduleTokens: number) => number;
  readonly fragmentCount: number;
  readonly stateRootEverySteps: number;
  /** A lease, if it was given to this learner. */
  readonly leaseOf: (lease: number) => { readonly phase: number; readonly range: Range } | null;
}

/** What a claim says of its lines. */
export interface TraceClaim extends TraceRules {
  readonly lines: Range;
  readonly previousHead: Hash;
  readonly head: Hash;
}

/** Null if the interval is what the claim says. */
export function checkTraceInterval(lines: readonly TraceLine[], claim: TraceClaim): TraceFault | null {
  const wrong = checkTraceLines(lines, claim.lines, claim);
  if (wrong !== null) return wrong;
  const head = traceHeadAfter(claim.previousHead, lines);
  if (head === claim.head) return null;
  return fault('CHAIN', `the lines hash to ${head.slice(0, 12)}, the claim names ${claim.head.slice(0, 12)}`);
}

/** All but the chain: null if these may be the lines [from, to) of a learner's trace. A join can only be at `from`. */
export function checkTraceLines(lines: readonly TraceLine[], [from, to]: Range, rules: TraceRules): TraceFault | null {
  if (lines.length !== to - from) return fault('STEPS', `expected ${to - from} lines, got ${lines.length}`);
  const versions = new Versions(rules.fragmentCount);
  for (const [i, line] of lines.entries()) {
    const wrong = checkLine(line, from + i, rules) ?? versions.check(line, i === 0);
    if (wrong !== null) return wrong;
  }
  return null;
}

function checkLine(line: TraceLine, step: number, rules: TraceRules): TraceFault | null {
  if (line.step !== step) return fault('STEPS', `expected line ${step}, got ${line.step}`);
  if (!isNormalRanges(line.sequences)) return fault('MALFORMED', `line ${step}: sequences are not sorted and disjoint`);
  const isRootDue = (step + 1) % rules.stateRootEverySteps === 0;
  if (isRootDue !== (line.stateRoot !== null))
    return fault(
      'ROOT',
      `line ${step} ${isRootDue ? 'lacks its' : 'has a'} state root; one is due every ${rules.stateRootEverySteps} steps`,
    );
  return checkLeases(line, rules);
}

/** All of one phase, the batch that is due there, and inside what was leased. */
function checkLeases({ step, leases, sequences, scheduleTokens }: TraceLine, rules: TraceRules): TraceFault | null {
  const leased: Range[] = [];
  let phase: number | null = null;
  for (const id of leases) {
    const lease = rules.leaseOf(id);
    if (lease === null) return fault('NOT_LEASED', `line ${step} names lease ${id}, which is not this learner's`);
    if (phase !== null && lease.phase !== phase)
      return fault('NOT_LEASED', `line ${step} reads leases of phases ${phase} and ${lease.phase}`);
    phase = lease.phase;
    leased.push(lease.range);
  }
  if (phase === null || !containsRanges(normalizeRanges(leased), sequences))
    return fault('NOT_LEASED', `line ${step} trains on sequences outside its leases`);
  const [count, due] = [countRanges(sequences), rules.batchAt(phase, scheduleTokens)];
  if (count === due) return null;
  return fault('BATCH', `line ${step} has ${count} sequences, a batch has ${due}`);
}

/** Versions only rise, and outer step t is of fragment t mod P and claimed once. */
class Versions {
  readonly #fragmentCount: number;
  readonly #taken: number[];
  #claimedOuterStep = -1;

  constructor(fragmentCount: number) {
    this.#fragmentCount = fragmentCount;
    this.#taken = new Array<number>(fragmentCount).fill(-1);
  }

  check({ step, start, takenIn, claimed }: TraceLine, isFirst: boolean): TraceFault | null {
    const count = this.#fragmentCount;
    if (start !== null && !isFirst)
      return fault('START', `line ${step} begins from fragments, which only the first line after a join does`);
    if (start !== null && start.length !== count)
      return fault('START', `line ${step} begins from ${start.length} fragments, there are ${count}`);
    start?.forEach((version, fragment) => {
      this.#taken[fragment] = version;
    });
    for (const [fragment, version] of takenIn) {
      if (fragment >= count || version <= this.#taken[fragment]!)
        return fault('VERSIONS', `line ${step} takes in version ${version} of fragment ${fragment} out of order`);
      this.#taken[fragment] = version;
    }
    for (const [fragment, outerStep] of claimed) {
      if (outerStep % count !== fragment || outerStep <= this.#claimedOuterStep)
        return fault('VERSIONS', `line ${step} claims fragment ${fragment} for outer step ${outerStep} out of order`);
      this.#claimedOuterStep = outerStep;
    }
    return null;
  }
}
