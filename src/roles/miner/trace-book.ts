/** @file The lines of a learner's trace that no journaled claim names yet, and the head before them. */
import { artifactOf } from '../../protocol/artifact.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import { encodeTrace, type TraceLine, traceHeadAfter } from '../../protocol/trace.ts';
import { assert } from '../../util/errors.ts';

export interface TraceInterval {
  readonly claim: EventBody<'claim-commit'>['trace'];
  readonly bytes: Uint8Array;
}

export class TraceBook {
  #head: Hash;
  /** Number of the first line kept. */
  #from: number;
  readonly #lines: TraceLine[] = [];

  /** Goes on from what the journal has. */
  constructor(committedHead: Hash, committedSteps: number) {
    this.#head = committedHead;
    this.#from = committedSteps;
  }

  add(line: TraceLine): void {
    const expected = this.#from + this.#lines.length;
    assert(line.step === expected, `expected trace line ${expected}, got ${line.step}`);
    this.#lines.push(line);
  }

  /** All lines so far, as a claim names them. */
  interval(): TraceInterval {
    const lines = this.#lines.slice();
    const bytes = encodeTrace(lines);
    return {
      bytes,
      claim: {
        artifact: artifactOf(bytes),
        lines: [this.#from, this.#from + lines.length],
        previousHead: this.#head,
        head: traceHeadAfter(this.#head, lines),
      },
    };
  }

  /** The journal has them: they need not be named again. */
  committed({ claim }: TraceInterval): void {
    assert(claim.lines[0] === this.#from, `lines from ${claim.lines[0]} were committed, ${this.#from} is next`);
    this.#lines.splice(0, claim.lines[1] - claim.lines[0]);
    this.#from = claim.lines[1];
    this.#head = claim.head;
  }
}
