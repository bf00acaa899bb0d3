/** @file The verification as it runs in a worker: journal, then ledger, then a release, told step by step. */
import { RecordCheck, type RecordFault } from '../../../src/protocol/record-check.ts';
import { journalFilePages, journalPages, Unreadable } from './fetching.ts';
import { checkLedger } from './ledger.ts';
import {
  type StepFault,
  type StepName,
  type StepReport,
  stepNames,
  type VerifyProgress,
  type VerifyRequest,
} from './progress.ts';
import { checkRelease } from './release.ts';
import { SignatureBatch } from './webcrypto.ts';

const pageEntries = 500;
const whole = (value: number): string => value.toLocaleString('en-US');

export async function verify(request: VerifyRequest, tell: (progress: VerifyProgress) => void): Promise<void> {
  await new Verification(request, tell).run();
}

class Verification {
  readonly #request: VerifyRequest;
  readonly #base: URL;
  readonly #tell: (progress: VerifyProgress) => void;
  readonly #steps = new Map<StepName, StepReport>();
  readonly #beganAtMs = performance.now();
  #record = new RecordCheck();
  #isDone = false;
  #trouble: string | null = null;

  constructor(request: VerifyRequest, tell: (progress: VerifyProgress) => void) {
    this.#request = request;
    this.#base = new URL(request.base);
    this.#tell = tell;
    for (const name of stepNames) this.#steps.set(name, { name, state: 'waiting', summary: '', fault: null });
  }

  async run(): Promise<void> {
    try {
      if (await this.#checkJournal()) {
        await this.#checkLedger();
        await this.#checkRelease();
      } else
        for (const name of ['ledger', 'anchors', 'releases'] as const)
          this.#set(name, 'not checked', `the journal is good up to entry ${this.#record.size - 1} only`);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      this.#trouble = error.message;
      for (const { name, state } of this.#steps.values())
        if (state === 'running' || state === 'waiting') this.#set(name, 'not checked', 'the record could not be read');
    }
    this.#isDone = true;
    this.#report();
  }

  #set(name: StepName, state: StepReport['state'], summary: string, fault: StepFault | null = null): void {
    this.#steps.set(name, { name, state, summary, fault });
  }

  #report(): void {
    this.#tell({
      steps: [...this.#steps.values()],
      entries: this.#record.size,
      expectedEntries: this.#request.expectedEntries,
      elapsedMs: performance.now() - this.#beganAtMs,
      isDone: this.#isDone,
      runId: this.#record.runId,
      treeHead: this.#isDone ? this.#record.treeHead : null,
      trouble: this.#trouble,
    });
  }

  async #checkJournal(): Promise<boolean> {
    const batch = await SignatureBatch.open();
    const { equation } = batch;
    this.#record = new RecordCheck(equation === undefined ? {} : { equation });
    for await (const lines of this.#journal()) {
      const from = this.#record.size;
      let fault: RecordFault | null = null;
      for (const line of lines) {
        batch.at(this.#record.size);
        fault = this.#record.add(line);
        if (fault !== null) break;
      }
      const unsigned = await batch.settle();
      if (unsigned !== null) fault = badSignature(unsigned, lines[unsigned - from]!, fault);
      this.#tellJournal(batch.isFast, 'running', fault);
      this.#report();
      if (fault !== null) return false;
    }
    if (this.#record.size === 0) throw new Unreadable('the journal is empty: no run has begun');
    this.#tellJournal(batch.isFast, 'passed', null);
    this.#report();
    return true;
  }

  #journal(): AsyncGenerator<readonly string[]> {
    const { files } = this.#request;
    if (files === null) return journalPages(this.#base, pageEntries);
    if (files.journalPath === null) throw new Unreadable('this snapshot was made without its journal');
    return journalFilePages(new URL(files.journalPath, this.#base), pageEntries);
  }

  #tellJournal(isFast: boolean, state: 'running' | 'passed', fault: RecordFault | null): void {
    const c = this.#record.counts;
    const by = isFast
      ? 'ed25519 by this browser behind the protocol’s strict checks'
      : 'ed25519 in pure JavaScript: this browser’s own is missing or less strict';
    const summaries: Record<RecordFault['step'], string> = {
      journal: `${whole(c.entries)} entries: one canonical text each, each names the hash of the one before`,
      signatures: `${whole(c.sessionSignatures)} by session keys, ${whole(c.hotkeySignatures)} by hotkeys, every one checked; ${by}`,
      delegations: `${whole(c.delegations)} session keys named by hotkeys; every signer had one in force for its role`,
      'tree heads': `${whole(c.treeHeads)} heads made again; ${whole(c.inclusionProofs)} inclusion and ${whole(c.consistencyProofs)} consistency proofs; ${whole(c.seenHeads)} heads seen by signers`,
    };
    for (const [name, summary] of Object.entries(summaries) as [RecordFault['step'], string][]) {
      if (fault === null) this.#set(name, state, summary);
      else if (fault.step === name) this.#set(name, 'failed', summary, fault);
      else this.#set(name, 'not checked', `good up to entry ${fault.seq - 1}, then stopped: ${summary}`);
    }
  }

  async #checkLedger(): Promise<void> {
    this.#set('ledger', 'running', '');
    this.#report();
    const place = { base: this.#base, isFiles: this.#request.files !== null };
    const isThere = this.#request.files?.hasLedger ?? true;
    const result = !isThere
      ? null
      : await checkLedger(place, this.#record, (blocks, calls) => {
          this.#set('ledger', 'running', `${whole(blocks)} blocks, ${whole(calls)} signed calls`);
          this.#report();
        });
    if (result === null) {
      this.#set('ledger', 'not checked', 'this record has no ledger');
      this.#set('anchors', 'not checked', 'this record has no ledger');
      return;
    }
    const { ledgerFault, anchorFault, anchors, anchoredEntries } = result;
    const blocks = `${whole(result.blocks)} block hashes made again, ${whole(result.calls)} signed calls in order`;
    this.#set('ledger', ledgerFault === null ? 'passed' : 'failed', blocks, ledgerFault);
    const newer = `${whole(this.#record.size - anchoredEntries)} are newer than the last anchor`;
    if (anchorFault !== null) this.#set('anchors', 'failed', `${whole(anchors)} anchors`, anchorFault);
    else if (ledgerFault !== null) this.#set('anchors', 'not checked', 'the ledger cannot be followed to its end');
    else if (anchors === 0) this.#set('anchors', 'not checked', 'no head is on the ledger yet');
    else
      this.#set(
        'anchors',
        'passed',
        `${whole(anchors)} heads on the ledger; ${whole(anchoredEntries)} entries are covered, ${newer}`,
      );
    this.#report();
  }

  async #checkRelease(): Promise<void> {
    const files = this.#record.releaseFiles;
    const release = this.#request.release ?? [...files.keys()].at(-1) ?? null;
    const named = release === null ? undefined : files.get(release);
    if (release === null || named === undefined) {
      this.#set(
        'releases',
        'not checked',
        release === null
          ? 'the journal names no release’s files yet'
          : `the journal names no files of release ${release}`,
      );
      return;
    }
    this.#set('releases', 'running', `release ${release}`);
    this.#report();
    const result = await checkRelease(this.#base, release, named, (file, pieces) => {
      this.#set('releases', 'running', `release ${release}: ${file}, ${whole(pieces)} pieces`);
      this.#report();
    });
    const left =
      result.left.length === 0 ? '' : `; not there any more, or too large for a page: ${result.left.join(', ')}`;
    const summary = `release ${release}: ${result.files} of ${named.length} files, ${whole(result.pieces)} pieces hashed, ${whole(result.bytes)} bytes${left}`;
    const good = result.files === 0 ? 'not checked' : 'passed';
    this.#set('releases', result.fault === null ? good : 'failed', summary, result.fault);
  }
}

/** Signatures are answered page by page, so the entry may lie before the one that the page stopped at. */
function badSignature(seq: number, line: string, other: RecordFault | null): RecordFault {
  if (other !== null && other.seq < seq) return other;
  const event = /"kind":"([a-z-]{1,32})"/.exec(line)?.[1] ?? 'entry';
  const expected = 'a strict signature of the named key over these bytes';
  return { step: 'signatures', seq, event, expected, found: 'BAD_SIGNATURE: another one' };
}
