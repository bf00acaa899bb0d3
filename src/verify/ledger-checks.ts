/**
 * @file What the journal says of the ledger and the ledger of the journal: block hashes of beacons, stakes of candidates,
 * anchored tree heads, tempos, and the weights that validators set beside those that follow from the scores.
 */
import { tempoAt, treeHeadOf } from '../journal/queries.ts';
import { weightsOf } from '../journal/scores.ts';
import type { RunState } from '../journal/state.ts';
import { type SignedCall, toU16Weights } from '../ledger/calls.ts';
import { type ChainState, uidOf } from '../ledger/state.ts';
import type { Candidate } from '../protocol/draw.ts';
import type { Ed25519Equation } from '../protocol/ed25519.ts';
import type { Hash, Hotkey } from '../protocol/names.ts';
import { type Check, divergenceAt, type Visit, type WalkContext } from './check.ts';
import { LedgerReplay } from './ledger-replay.ts';
import type { LedgerRecord } from './record.ts';

/** Tempos whose weights a late validator may still set, for naming them late and not wrong. */
const keptTempos = 8;

type Row = string;
const rowOf = (uids: readonly number[], values: readonly number[]): Row =>
  uids
    .map((uid, i) => `${uid}:${values[i]}`)
    .sort()
    .join(' ');

interface TempoWeights {
  readonly tempo: number;
  readonly seq: number;
  /** Scores of hotkeys as they were in the tempo: a validator that is barred in it changes them. */
  readonly variants: ReadonlyMap<Hotkey, number>[];
}

interface Anchor {
  readonly root: string;
  readonly block: number;
}

interface ByValidator {
  onTime: number;
  late: number;
  wrong: number;
}

export class LedgerChecks implements Check {
  readonly #ledger: LedgerRecord;
  readonly #replay: LedgerReplay;
  readonly #sizeOfRoot = new Map<string, number>();
  readonly #tempos: TempoWeights[] = [];
  readonly #byValidator = new Map<Hotkey, ByValidator>();
  #unseenStakes: { readonly visit: Visit; readonly candidate: Candidate; readonly untilBlock: number }[] = [];
  #anchors: Anchor[] = [];
  #anchoredSize = 0;
  #anchored = 0;
  /** The journal is read; what follows on the ledger may rest on tempos that it does not have yet. */
  #isAtEnd = false;
  #newerRows = 0;
  #owner: Hotkey | null = null;
  #context: WalkContext;

  constructor(
    ledger: LedgerRecord,
    context: WalkContext,
    options: { readonly sha256: (bytes: Uint8Array) => Uint8Array; readonly equation?: Ed25519Equation },
  ) {
    this.#ledger = ledger;
    this.#context = context;
    const onCall = (call: SignedCall, block: number, state: ChainState): void => this.#onCall(call, block, state);
    this.#replay = new LedgerReplay({ record: ledger, findings: context.findings, onCall, ...options });
  }

  async after(visit: Visit, context: WalkContext): Promise<void> {
    this.#context = context;
    switch (visit.kind) {
      case 'run':
        return this.#checkBinding(visit, context);
      case 'claim-beacon':
      case 'audit-challenge':
        await this.#checkBlock(visit, visit.body, context);
        return this.#noteStakes(visit, visit.body.candidates, context);
      case 'tempo':
        return this.#checkTempo(visit, visit.body, context);
      case 'tree-head':
        this.#sizeOfRoot.set(visit.body.root, visit.body.size);
        return;
      case 'verdict':
      case 'dispute-close':
      case 'audit-verdict':
        this.#noteVariant(context.state);
        return;
      default:
    }
  }

  async beforeEnd(context: WalkContext): Promise<void> {
    this.#context = context;
    this.#isAtEnd = true;
    await this.#replay.finish();
  }

  async leave(context: WalkContext): Promise<void> {
    if (this.#unseenStakes.length > 0) await this.#replay.tryAdvanceTo(this.#replay.block + this.#stakeRoom);
    this.#settleStakes(context, true);
  }

  async end(context: WalkContext): Promise<void> {
    this.#context = context;
    const { findings } = context;
    await this.leave(context);
    this.#settleAnchors(context);
    if (this.#newerRows > 0)
      findings.note(
        'weights',
        `${this.#newerRows} rows are newer than the journal's tempo ${context.state.tempo.index}`,
      );
    findings.count('anchors', 'tree heads anchored', this.#anchored);
    if (this.#anchoredSize > 0) {
      const newer = context.state.size - this.#anchoredSize;
      findings.note('anchors', `entries 0 to ${this.#anchoredSize - 1} are covered, ${newer} are newer`);
    } else if (this.#replay.isWhole) findings.unchecked('anchors', 'no head is anchored on the ledger');
    for (const [hotkey, { onTime, late, wrong }] of [...this.#byValidator].sort(([a], [b]) => (a < b ? -1 : 1))) {
      findings.note(
        'weights',
        `${hotkey}: ${onTime} as computed${late > 0 ? `, ${late} late` : ''}${wrong > 0 ? `, ${wrong} OTHERS` : ''}`,
      );
    }
  }

  #checkBinding(visit: Extract<Visit, { kind: 'run' }>, { findings }: WalkContext): void {
    const { ledger, owner } = visit.body.manifest;
    this.#owner = owner;
    for (const key of ['chainId', 'netuid', 'tempoBlocks', 'blockMs', 'firstEpochBlock'] as const) {
      if (this.#ledger.genesis[key] === ledger[key]) continue;
      findings.fail(divergenceAt('ledger', visit, `${key} ${ledger[key]}`, `a ledger of ${this.#ledger.genesis[key]}`));
    }
  }

  async #checkBlock(
    visit: Visit,
    { block, blockHash }: { readonly block: number; readonly blockHash: Hash },
    { findings }: WalkContext,
  ): Promise<void> {
    await this.#replay.advanceTo(block);
    if (!this.#replay.isWhole) return;
    findings.count('beacons', 'block hashes');
    const hash = this.#replay.hashAt(block);
    if (hash !== blockHash)
      findings.fail(divergenceAt('beacons', visit, `hash ${hash ?? '(unknown)'} of block ${block}`, blockHash));
  }

  /** The orchestrator may have read a stake some blocks after the beacon's: judged when the ledger has come further. */
  #noteStakes(visit: Visit, candidates: readonly Candidate[], { findings }: WalkContext): void {
    if (!this.#replay.isWhole) return;
    findings.count('beacons', 'stakes of candidates', candidates.length);
    for (const candidate of candidates)
      if (!this.#replay.hadStake(candidate.hotkey, candidate.stakeRao))
        this.#unseenStakes.push({ visit, candidate, untilBlock: this.#replay.block + this.#stakeRoom });
  }

  get #stakeRoom(): number {
    return 2 * this.#ledger.genesis.tempoBlocks;
  }

  #settleStakes({ findings }: WalkContext, isEnd: boolean): void {
    this.#unseenStakes = this.#unseenStakes.filter(({ visit, candidate, untilBlock }) => {
      if (this.#replay.hadStake(candidate.hotkey, candidate.stakeRao)) return false;
      if (!isEnd && this.#replay.block <= untilBlock) return true;
      const uid = uidOf(this.#replay.state, candidate.hotkey);
      const actual = this.#replay.state.neurons[uid]?.stakeRao ?? 0n;
      const expected = `a stake that ${candidate.hotkey} had, such as ${actual} rao`;
      findings.fail(divergenceAt('beacons', visit, expected, `${candidate.stakeRao} rao`));
      return false;
    });
  }

  async #checkTempo(
    visit: Visit,
    body: { readonly tempo: number; readonly block: number; readonly blockHash: Hash },
    context: WalkContext,
  ): Promise<void> {
    // Calls before this block were made with the scores of the tempos so far.
    await this.#checkBlock(visit, body, context);
    const { findings, state } = context;
    const tempo = tempoAt(this.#ledger.genesis, body.block);
    if (tempo !== body.tempo)
      findings.fail(divergenceAt('scores', visit, `tempo ${tempo} at block ${body.block}`, `tempo ${body.tempo}`));
    this.#tempos.push({ tempo: body.tempo, seq: visit.seq, variants: [weightsOf(state)] });
    if (this.#tempos.length > keptTempos) this.#tempos.shift();
    findings.count('scores', 'tempos');
    this.#settleAnchors(context);
    this.#settleStakes(context, false);
  }

  #noteVariant(state: RunState): void {
    const newest = this.#tempos.at(-1);
    if (newest === undefined) return;
    const now = weightsOf(state);
    const last = newest.variants.at(-1)!;
    if (now.size !== last.size || [...now].some(([hotkey, weight]) => last.get(hotkey) !== weight))
      newest.variants.push(now);
  }

  #onCall({ hotkey, call }: SignedCall, block: number, chain: ChainState): void {
    if (call.name === 'set_commitment' && hotkey === this.#owner) this.#anchors.push({ root: call.args.data, block });
    if (call.name === 'set_weights') this.#checkWeights(hotkey, block, chain);
  }

  /** An anchor is made after its head is journaled; so it is judged once the journal has come past its block. */
  #settleAnchors({ findings, state }: WalkContext): void {
    for (const { root, block } of this.#anchors) {
      const size = this.#sizeOfRoot.get(root) ?? this.#sizeAtEnd(state, root);
      const event = `set_commitment in block ${block}`;
      if (size === null)
        findings.fail({
          check: 'anchors',
          seq: null,
          event,
          expected: `a tree head of this journal of ${state.size} entries`,
          found: `${root}: the journal was cut, or another one was anchored`,
        });
      else if (size < this.#anchoredSize)
        findings.fail({
          check: 'anchors',
          seq: null,
          event,
          expected: `a head of at least ${this.#anchoredSize} entries, which was anchored before`,
          found: `the head of ${size} entries`,
        });
      else {
        this.#anchoredSize = size;
        this.#anchored++;
      }
    }
    this.#anchors = [];
  }

  /** A journal that ends right before its newest tree head's event. */
  #sizeAtEnd(state: RunState, root: string): number | null {
    return treeHeadOf(state).root === root ? state.size : null;
  }

  #checkWeights(hotkey: Hotkey, block: number, chain: ChainState): void {
    const { findings, state } = this.#context;
    if (this.#isAtEnd && tempoAt(this.#ledger.genesis, block) > state.tempo.index) {
      this.#newerRows++;
      return;
    }
    const uid = uidOf(chain, hotkey);
    const set = chain.neurons[uid]!.weights;
    const found = rowOf(
      set.map(([of]) => of),
      set.map(([, value]) => value),
    );
    const book = this.#byValidator.get(hotkey) ?? { onTime: 0, late: 0, wrong: 0 };
    this.#byValidator.set(hotkey, book);
    findings.count('weights', 'rows');
    const newest = this.#tempos.length - 1;
    for (let i = newest; i >= 0; i--) {
      const { variants } = this.#tempos[i]!;
      if (!variants.some((scores) => expectedRow(scores, chain) === found)) continue;
      if (i === newest) book.onTime++;
      else book.late++;
      return;
    }
    book.wrong++;
    const now = this.#tempos[newest];
    const expected = now === undefined ? '' : expectedRow(now.variants.at(-1)!, chain);
    findings.fail({
      check: 'weights',
      seq: now?.seq ?? null,
      event: `set_weights of ${hotkey} in block ${block}, tempo ${state.tempo.index}`,
      expected: expected === '' ? 'no weights: nobody has a score' : `uid:weight ${expected}`,
      found,
    });
  }
}

/** The row that an honest validator sets: u16 by uid, of the registered hotkeys with a score. */
function expectedRow(scores: ReadonlyMap<Hotkey, number>, chain: ChainState): Row {
  const weights = new Map<number, number>();
  for (const [uid, { hotkey }] of chain.neurons.entries()) {
    const score = scores.get(hotkey) ?? 0;
    if (score > 0) weights.set(uid, score);
  }
  if (weights.size === 0) return '';
  const { uids, values } = toU16Weights(weights);
  return rowOf(uids, values);
}
