/**
 * @file Recomputes a run from its public record: one walk over the journal with the fold that everybody uses, each entry
 * opened as a stranger's, and the checks beside it. Trusts nobody; stops folding at the first entry that may not follow.
 */
import { admit, applyEvent } from '../journal/fold.ts';
import { emptyState, type RunState } from '../journal/state.ts';
import type { Ed25519Equation } from '../protocol/ed25519.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { openLine } from '../protocol/record-line.ts';
import type { OpenContext, OpenedEntry } from '../protocol/signing.ts';
import { bindingOf } from '../roles/client.ts';
import { RoleError } from '../roles/errors.ts';
import { type RunModel, runModelOf } from '../roles/run-model.ts';
import { BaseError, UsageError } from '../util/errors.ts';
import { ArtifactCache } from './artifact-cache.ts';
import { AuditChecks, type ReplaySegment } from './audit-checks.ts';
import type { Check, Visit, WalkContext } from './check.ts';
import { CellCheck, ClaimChecks } from './claim-checks.ts';
import { DataChecks, type DataProgress, type DataSample } from './data-checks.ts';
import { type CheckName, Findings, type Report } from './findings.ts';
import { GoneBytes } from './gone.ts';
import { LedgerChecks } from './ledger-checks.ts';
import { type JudgeOfRun, MergeChecks } from './merge-checks.ts';
import { encodeProgress, type Progress, type ProgressStore, parseProgress } from './progress.ts';
import type { PublicRecord } from './record.ts';
import { ReleaseChecks } from './release-checks.ts';
import { checkOfFault, checkOfRefusal, expectedAndFound } from './rules.ts';
import { countingCheck, runCheck } from './run-checks.ts';

export interface VerifyOptions {
  /** Bytes, signatures and merges are checked from this release on; null: all. */
  readonly from?: number | null;
  /** How much of the shards is read; null: all. */
  readonly dataSample?: DataSample | null;
  /** How many answered audits are redone. */
  readonly replayCount?: number;
  readonly replay?: ReplaySegment | null;
  /** Makes merges again, e.g. in a thread of its own. */
  readonly judgeOf?: JudgeOfRun | null;
  readonly progress?: ProgressStore | null;
  /** A native check of ed25519 signatures. */
  readonly equation?: Ed25519Equation;
  readonly sha256: (bytes: Uint8Array) => Uint8Array;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
  /** Bytes of artifacts that are held for the next checks. */
  readonly cacheBytes?: number;
  readonly onProgress?: (now: { readonly entries: number; readonly merges: number }) => void;
  readonly onData?: (now: DataProgress) => void;
  readonly signal?: AbortSignal;
}

const defaultCacheBytes = 256 * 1024 * 1024;
/** Progress is saved after so many entries with slow checks. */
const saveEvery = 32;

/** @throws VerifyError, UsageError (a release that is not there), LedgerError DAMAGED; the signal's reason */
export async function verifyRecord(record: PublicRecord, options: VerifyOptions): Promise<Report> {
  const walk = new Walk(record, options, null);
  if (await walk.run()) return walk.report();
  // Another journal than the one that an earlier session saw: nothing of that session counts.
  const again = new Walk(record, options, walk.otherHistory);
  await again.run();
  return again.report();
}

interface OtherHistory {
  readonly seq: number;
  readonly expected: string;
  readonly found: string;
}

class Walk {
  readonly #record: PublicRecord;
  readonly #options: VerifyOptions;
  readonly #state: RunState = emptyState();
  readonly #findings = new Findings();
  readonly #gone = new GoneBytes();
  readonly #cache: ArtifactCache;
  readonly #checks: Check[];
  #model: RunModel | null = null;
  #earlier: Progress | null = null;
  #unsaved = 0;
  #skipped = 0;
  #signatures = 0;
  otherHistory: OtherHistory | null = null;
  readonly #known: OtherHistory | null;

  constructor(record: PublicRecord, options: VerifyOptions, known: OtherHistory | null) {
    this.#record = record;
    this.#options = options;
    this.#known = known;
    this.#cache = new ArtifactCache(record, options.cacheBytes ?? defaultCacheBytes);
    const { replayCount = 0, replay = null, judgeOf = null, dataSample = null, onData, signal } = options;
    this.#checks = [
      countingCheck,
      runCheck,
      new DataChecks({ sample: dataSample, onProgress: onData, signal }),
      new ClaimChecks(),
      new CellCheck(),
      new MergeChecks(judgeOf),
      new ReleaseChecks(),
      new AuditChecks({ count: replayCount, replay }),
    ];
  }

  report(): Report {
    const { size, run } = this.#state;
    return this.#findings.report({ record: this.#record.name, run: run?.id ?? null, entries: size });
  }

  /** False if the journal is not the one that an earlier session saw. */
  async run(): Promise<boolean> {
    await this.#addLedger();
    if (this.#known !== null) this.#findings.fail({ check: 'journal', event: 'history', ...this.#known });
    let isWhole = await this.#walk();
    if (isWhole) {
      for (const check of this.#checks) await check.beforeEnd?.(this.#context(this.#isReached));
      isWhole = await this.#walk();
    }
    if (this.otherHistory !== null) return false;
    if (isWhole) await this.#checkEnd();
    await this.#end(isWhole);
    return true;
  }

  async #addLedger(): Promise<void> {
    const ledger = await this.#record.ledger();
    if (ledger === null) {
      for (const check of ['ledger', 'anchors', 'weights'] as const)
        this.#findings.unchecked(check, 'the record has no ledger');
      return;
    }
    const { sha256, equation } = this.#options;
    this.#checks.push(
      new LedgerChecks(ledger, this.#context(false), { sha256, ...(equation === undefined ? {} : { equation }) }),
    );
  }

  /** False if an entry may not follow; the divergence is noted. */
  async #walk(): Promise<boolean> {
    for await (const page of this.#record.journal(this.#state.size))
      for (const text of page) {
        this.#options.signal?.throwIfAborted();
        if (!(await this.#take(text))) return false;
      }
    return true;
  }

  async #take(text: string): Promise<boolean> {
    const seq = this.#state.size;
    const opened = this.#open(text, seq);
    if (opened === null) return false;
    const visit = visitOf(opened);
    const context = this.#context(this.#isHeavy(seq));
    try {
      const admission = admit(this.#state, opened);
      if (admission.outcome !== 'accept')
        return this.#refuse(checkOfRefusal(visit.kind, admission.code), visit, admission.code, admission.sentence);
      for (const check of this.#checks) check.before?.(visit, context);
      applyEvent(this.#state, opened);
    } catch (error) {
      // The rules never throw for what an entry holds, unless it holds what no rule foresaw.
      if (!(error instanceof BaseError && error.code === 'ASSERTION')) throw error;
      return this.#refuse('journal', visit, error.code, error.message);
    }
    if (visit.kind === 'run') await this.#begin(visit);
    // The run event itself is checked wherever one begins.
    const after = this.#context(visit.kind === 'run' ? this.#earlier === null : this.#isHeavy(seq));
    if (!this.#matchesEarlier(seq)) return false;
    for (const check of this.#checks) await check.after?.(visit, after);
    await this.#noteProgress(visit, after.isHeavy);
    return true;
  }

  /** Form, canonical text, place, signature. */
  #open(text: string, seq: number): OpenedEntry | null {
    const isChecked = this.#isHeavy(seq);
    const context = this.#openContext(isChecked);
    const opened = openLine(text, { seq, headHash: this.#state.headHash, context });
    if (!opened.ok) {
      const { event, code } = opened;
      const told = code === null ? opened : expectedAndFound(code, opened.sentence);
      const check = code === null ? 'journal' : checkOfFault(code);
      this.#findings.fail({ check, seq, event, expected: told.expected, found: told.found });
      return null;
    }
    if (isChecked) this.#signatures++;
    return opened;
  }

  #openContext(isChecked: boolean): OpenContext | null {
    const binding = bindingOf(this.#state);
    if (binding === null) return null;
    const equation = isChecked ? this.#options.equation : trustedEquation;
    return equation === undefined ? binding : { ...binding, equation };
  }

  /** Whether signatures and bytes of this entry are looked at. */
  #isHeavy(seq: number): boolean {
    if (this.#earlier !== null && seq <= this.#earlier.seq) return false;
    return this.#isReached;
  }

  get #isReached(): boolean {
    const { from = null } = this.#options;
    return from === null || this.#state.run === null || this.#state.releases.length > from;
  }

  async #begin(visit: Extract<Visit, { kind: 'run' }>): Promise<void> {
    try {
      this.#model = runModelOf(visit.body.manifest);
    } catch (error) {
      if (!(error instanceof BaseError) || error.code === 'ASSERTION') throw error;
      const expected = `the parameter contract ${visit.body.manifest.model.contractHash}`;
      const found = error instanceof RoleError ? error.message : `${error.code}: ${error.message}`;
      this.#findings.fail({ check: 'manifest', seq: visit.seq, event: visit.kind, expected, found });
      for (const check of ['merges', 'releases'] as const)
        this.#findings.unchecked(check, 'this program builds another model than the run');
    }
    const { progress = null, from = null } = this.#options;
    const run = this.#state.run!.id;
    if (progress === null || this.#known !== null) return;
    this.#earlier = parseProgress(await progress.load(run), run, from);
    if (this.#earlier !== null) this.#gone.restore(this.#earlier.gone);
  }

  #matchesEarlier(seq: number): boolean {
    if (this.#earlier?.seq !== seq || this.#earlier.hash === this.#state.headHash) return true;
    const expected = `entry ${seq} with hash ${this.#earlier.hash}, as an earlier session saw it`;
    this.otherHistory = { seq, expected, found: `hash ${this.#state.headHash}: the history was changed` };
    return false;
  }

  async #noteProgress(visit: Visit, isHeavy: boolean): Promise<void> {
    const isSlow = visit.kind === 'fragment-published' || visit.kind === 'claim-reveal' || visit.kind === 'run';
    if (isSlow && !isHeavy && this.#earlier !== null && visit.seq <= this.#earlier.seq) this.#skipped++;
    const { onProgress } = this.#options;
    if (visit.seq % 64 === 0 || isSlow) onProgress?.({ entries: this.#state.size, merges: this.#state.merges });
    if (isSlow && isHeavy && ++this.#unsaved >= saveEvery) await this.#save();
  }

  async #settle(): Promise<void> {
    for (const check of this.#checks) await check.settle?.(this.#context(false));
  }

  /** Only while nothing was found: what failed is done again next time. */
  async #save(): Promise<void> {
    const { progress = null, from = null } = this.#options;
    const { run, size, headHash } = this.#state;
    if (progress === null || run === null || size === 0) return;
    await this.#settle();
    if (!this.#findings.isClean) return;
    this.#unsaved = 0;
    const seq = size - 1;
    await progress.save(run.id, encodeProgress({ run: run.id, seq, hash: headHash, from, gone: this.#gone.toJson() }));
  }

  #refuse(check: CheckName, visit: Visit, code: string, sentence: string): false {
    const { expected, found } = expectedAndFound(code, sentence);
    this.#findings.fail({ check, seq: visit.seq, event: visit.kind, expected, found });
    return false;
  }

  async #checkEnd(): Promise<void> {
    const torn = await this.#record.tornBytes();
    const { size } = this.#state;
    const fail = (expected: string, found: string): void =>
      this.#findings.fail({ check: 'journal', seq: size, event: 'end', expected, found });
    if (torn > 0) fail('whole entries', `${torn} bytes of a torn entry`);
    if (size === 0) fail('a run', 'an empty journal');
    if (this.#earlier !== null && size <= this.#earlier.seq)
      fail(`at least ${this.#earlier.seq + 1} entries, which an earlier session saw`, `${size} entries`);
  }

  async #end(isWhole: boolean): Promise<void> {
    const findings = this.#findings;
    const { from = null } = this.#options;
    await this.#settle();
    findings.count('signatures', 'signatures', this.#signatures);
    if (this.#state.run === null) return;
    if (this.#skipped > 0) findings.note('merges', `${this.#skipped} slow checks were done in an earlier session`);
    if (from !== null && !this.#isReached && findings.isClean)
      throw new UsageError(
        `--from ${from}: the journal has releases up to ${this.#state.releases.length - 1}; give one of them`,
      );
    if (from !== null) this.#tellBeginning(from);
    if (isWhole) {
      const context = this.#context(this.#isReached);
      for (const check of this.#checks) await check.end?.(context);
      this.#gone.settle(this.#state, findings);
    } else await this.#leaveRest();
    await this.#save();
  }

  /** After an entry that may not follow nothing later can be judged, and nothing that rests on the whole journal. */
  async #leaveRest(): Promise<void> {
    const { size } = this.#state;
    for (const check of this.#checks) await check.leave?.(this.#context(this.#isReached));
    this.#findings.note('journal', `nothing from entry ${size} on could be folded`);
    for (const check of ['anchors', 'releases', 'weights', 'audits'] as const)
      this.#findings.unchecked(check, `not past entry ${size - 1}`);
  }

  #tellBeginning(from: number): void {
    const by = new Set(this.#state.releases.slice(0, from + 1).flatMap(({ attestedBy }) => attestedBy));
    const part = `before release ${from}`;
    for (const check of ['signatures', 'artifacts', 'merges', 'fragments'] as const)
      if (by.size > 0) this.#findings.attested(check, `${part}: attested by ${[...by].sort().join(', ')}`);
      else this.#findings.unchecked(check, `${part}: left out by --from, and nobody attested it`);
  }

  #context(isHeavy: boolean): WalkContext {
    return {
      record: this.#record,
      state: this.#state,
      findings: this.#findings,
      cache: this.#cache,
      gone: this.#gone,
      model: this.#model,
      artifactOf: this.#options.artifactOf,
      isHeavy,
    };
  }
}

/** For entries whose hash stands for a signature that was checked, or that `--from` leaves out. */
const trustedEquation: Ed25519Equation = () => true;

function visitOf({ entry, message }: OpenedEntry): Visit {
  const { kind, body, id } = message;
  return { kind, body, id, seq: entry.seq, timeMs: entry.timeMs } as Visit;
}
