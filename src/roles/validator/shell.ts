/**
 * @file The validator's hands: fetches what a claim names, runs the checks, signs verdicts, evaluates releases, sets
 * weights. What to do next is decided by the step.
 */

import type { Sequence } from '../../data/shards.ts';
import { measureClaimGain } from '../../evaluation/claim-gain.ts';
import { type Evaluator, openEvaluator } from '../../evaluation/evaluator.ts';
import { type HeldOutStage, heldOutLosses, heldOutSequences } from '../../evaluation/held-out.ts';
import { phaseOf } from '../../journal/queries.ts';
import { weightsOf } from '../../journal/scores.ts';
import type { Claim } from '../../journal/state.ts';
import type { LedgerSigner } from '../../ledger/port.ts';
import type { FragmentValues } from '../../merge/fragment-values.ts';
import { drawTestSequences } from '../../protocol/draw.ts';
import type { HotkeySigner, SessionSigner } from '../../protocol/keys.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import { fromDecimal, type Hash, toDecimal } from '../../protocol/names.ts';
import { checkTraceInterval, maxTraceBytes, parseTrace, type TraceLine } from '../../protocol/trace.ts';
import type { Clock, Log } from '../../util/clock.ts';
import { assertNever } from '../../util/errors.ts';
import type { RunClient } from '../client.ts';
import { enterRun } from '../enter.ts';
import { RoleError } from '../errors.ts';
import type { HeadsHistory } from '../heads-history.ts';
import { loadRunData, type RunData } from '../run-data.ts';
import { type RunModel, runModelOf } from '../run-model.ts';
import { checkNorm, checkSize, checkTrace, decodeClaim, type Finding, finite, judgedGain, refused } from './checks.ts';
import type { ValidatorEffect, ValidatorEvent, ValidatorState } from './events.ts';
import { HeadParams } from './heads.ts';
import { step } from './step.ts';

export interface ValidatorOptions {
  readonly name: string;
  readonly threads: number;
}

export interface ValidatorDeps {
  readonly client: RunClient;
  readonly hotkey: HotkeySigner;
  readonly session: SessionSigner;
  readonly ledgerSigner: LedgerSigner;
  /** Its `onFold` is the client's: it must have seen every entry. */
  readonly heads: HeadsHistory;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly rssBytes: () => number;
}

const heartbeatMs = 2_000;
const tickMs = 250;
/** Positions past the order's cursor that test sequences are drawn from. */
const testWindow = 4_096;
const evaluationBatch = 8;
const keptTraces = 1_024;

/** Runs until the signal aborts. */
export async function runValidator(options: ValidatorOptions, deps: ValidatorDeps): Promise<void> {
  const { client, signal, clock, log } = deps;
  await enter(options, deps);
  const validator = await Validator.open(options, deps);
  log.info('validator ready', { hotkey: deps.hotkey.hotkey });
  const stopFollowing = client.onEntry(() => validator.dispatch({ kind: 'journaled' }));
  try {
    let beatAtMs = Number.NEGATIVE_INFINITY;
    let block = 0;
    while (!signal.aborted) {
      if (clock.nowMs() - beatAtMs >= heartbeatMs) {
        beatAtMs = clock.nowMs();
        block = await client.ledger.head().then(
          (head) => head.number,
          () => block, // the syncer is away: heights do not matter now
        );
        await client
          .heartbeat({
            role: 'validator',
            innerSteps: 0,
            loss: null,
            tokensPerSecond: null,
            rssBytes: deps.rssBytes(),
            atMs: Math.round(clock.nowMs()),
          })
          .catch((error) => log.debug('heartbeat not sent', { error: String(error) }));
      }
      validator.dispatch({ kind: 'tick', block });
      await clock.sleep(tickMs, signal).catch(() => {}); // an abort ends the loop
    }
  } finally {
    stopFollowing();
    await validator.close();
  }
}

/** On the embedded ledger a validator without stake gets some: it could not be drawn otherwise. */
async function enter(options: ValidatorOptions, deps: ValidatorDeps): Promise<void> {
  const { client, hotkey, ledgerSigner } = deps;
  await enterRun({ ...deps, role: 'validator', name: options.name });
  const neurons = await client.ledger.metagraph();
  const own = neurons.find((neuron) => neuron.hotkey === hotkey.hotkey);
  if (own !== undefined && own.stakeRao === 0) await client.ledger.addStake(ledgerSigner, { amountRao: 1_000_000_000 });
}

class Validator {
  readonly #deps: ValidatorDeps;
  readonly #model: RunModel;
  readonly #data: RunData;
  readonly #heads: HeadParams;
  readonly #evaluator: Evaluator;
  readonly #heldOut: ReadonlyMap<HeldOutStage, readonly Sequence[]>;
  /** Newest traces, checked, by claim: a later claim of another fragment covers the same lines. */
  readonly #traces = new Map<Hash, readonly TraceLine[]>();
  #state: ValidatorState;

  private constructor(deps: ValidatorDeps, model: RunModel, data: RunData, evaluator: Evaluator) {
    const { manifest, state, store } = deps.client;
    const { sequenceLength: seqLen, mixture } = phaseOf(state);
    this.#deps = deps;
    this.#model = model;
    this.#data = data;
    this.#evaluator = evaluator;
    this.#heads = new HeadParams(model, manifest.seed, store);
    const sequences = manifest.evaluation.heldOutSequences;
    this.#heldOut = heldOutSequences({ ...data, seqLen, sequences, mixture });
    this.#state = {
      run: state,
      hotkey: deps.hotkey.hotkey,
      busy: null,
      lastFailed: null,
      sent: new Set(),
      weightsTempo: state.tempo.index,
      block: 0,
      weightsBlock: null,
    };
  }

  static async open({ threads }: ValidatorOptions, deps: ValidatorDeps): Promise<Validator> {
    const { manifest, state, store, signal } = deps.client;
    const model = runModelOf(manifest);
    const data = await loadRunData(manifest, store, {
      endOfText: model.config.eos_token_id,
      stages: ['train', 'held-out', 'held-out-other'],
      signal,
    });
    const { sequenceLength: seqLen } = phaseOf(state);
    const batch = Math.min(evaluationBatch, manifest.evaluation.gainSequences);
    const evaluator = await openEvaluator(model.config, { batch, seqLen, threads });
    return new Validator(deps, model, data, evaluator);
  }

  close(): Promise<void> {
    return this.#evaluator.close();
  }

  dispatch(event: ValidatorEvent): void {
    const [state, effects] = step(this.#state, event);
    this.#state = state;
    for (const effect of effects) {
      this.#work(effect).then(
        () => this.dispatch({ kind: 'done', key: effect.key }),
        async (error) => {
          if (this.#deps.signal.aborted) return;
          this.#deps.log.warn('work failed and is tried again', { key: effect.key, error: String(error) });
          await this.#deps.clock.sleep(1_000, this.#deps.signal).catch(() => {});
          this.dispatch({ kind: 'failed', key: effect.key });
        },
      );
    }
  }

  async #work(effect: ValidatorEffect): Promise<void> {
    switch (effect.kind) {
      case 'check-claim':
        return this.#checkClaim(effect.claim);
      case 'evaluate-release':
        return this.#evaluateRelease(effect.release);
      case 'set-weights':
        return this.#setWeights();
      default:
        assertNever(effect);
    }
  }

  async #checkClaim(id: Hash): Promise<void> {
    const { client, log } = this.#deps;
    const claim = client.state.claims.get(id);
    if (claim === undefined) return;
    const finding = await this.#judge(claim);
    const entries = Object.entries(finding.measurements).map(([name, value]) => [name, toDecimal(value)] as const);
    const { outcome, code, sentence } = finding;
    const result = await client.submit('verdict', {
      claim: id,
      outcome,
      code,
      sentence,
      measurements: Object.fromEntries(entries),
      details: null,
    });
    const fields = { claim: id.slice(0, 12), learner: claim.learner.slice(-20), fragment: claim.body.fragment, code };
    log.info('verdict', { ...fields, ...finding.measurements });
    if (result.outcome === 'reject') log.warn('verdict refused', { code: result.code, sentence: result.sentence });
  }

  async #judge(claim: Claim): Promise<Finding> {
    const run = this.#deps.client.state;
    const fragment = this.#model.plan.fragments[claim.body.fragment]!;
    // Taken before the first await: the fold moves on.
    const heads = this.#deps.heads.ofClaim(claim.id);
    const cursor = run.cursor[claim.body.phase] ?? 0;
    const oversized = checkSize(run, claim, fragment);
    if (oversized !== null) return oversized;
    const bytes = await this.#fetch(claim.body.artifact);
    if (bytes === null) return refused('MISSING', `artifact ${claim.body.artifact.root} is not in the store`);
    const decoded = decodeClaim(run, fragment, bytes);
    if ('finding' in decoded) return decoded.finding;
    const untraced = await this.#judgeTrace(claim);
    if (untraced !== null) return untraced;
    const norm = checkNorm(run, claim, decoded.values);
    if (norm.outcome !== 'accept' || !claim.beacon!.gainTested) return norm;
    // Every open claim has them; one that was settled meanwhile is no longer owed a verdict.
    if (heads === null) throw new RoleError('REFUSED', `claim ${claim.id} was settled while it was checked`);
    return this.#judgeGain(claim, decoded.values, heads, cursor, norm);
  }

  async #judgeGain(
    claim: Claim,
    values: FragmentValues,
    heads: readonly ArtifactRef[],
    cursor: number,
    norm: Finding,
  ): Promise<Finding> {
    const { manifest } = this.#deps.client;
    const positions = drawTestSequences({
      blockHash: claim.beacon!.blockHash,
      claim: claim.id,
      validator: this.#deps.hotkey.hotkey,
      count: manifest.evaluation.gainSequences,
      range: [cursor + testWindow, cursor + 2 * testWindow],
    });
    const gain = await measureClaimGain(this.#evaluator, {
      params: await this.#heads.at(heads, this.#deps.signal),
      fragment: this.#model.plan.fragments[claim.body.fragment]!,
      claim: values,
      outerRate: fromDecimal(manifest.merge.outerLearningRate),
      harmMargin: fromDecimal(manifest.evaluation.harmMargin),
      sequences: positions.map((position) => this.#data.sequenceAt(claim.body.phase, position)),
    });
    return judgedGain(gain, norm.measurements);
  }

  /** Null if the trace is what the claim says. */
  async #judgeTrace(claim: Claim): Promise<Finding | null> {
    const own = await this.#readTrace(claim);
    if ('finding' in own) return own.finding;
    const [from, to] = claim.body.steps;
    const lines: TraceLine[] = [];
    // Steps before its own lines are in the artifacts of the learner's earlier commits.
    for (const other of this.#deps.client.state.claims.values()) {
      const range = other.body.trace.lines;
      if (other.learner !== claim.learner || range[1] <= from || range[0] >= to) continue;
      const read = await this.#readTrace(other);
      if (!('finding' in read)) lines.push(...read.lines);
    }
    return checkTrace(claim, lines);
  }

  /** The lines that a claim committed to, or why they are not what it says. */
  async #readTrace(claim: Claim): Promise<{ readonly lines: readonly TraceLine[] } | { readonly finding: Finding }> {
    const known = this.#traces.get(claim.id);
    if (known !== undefined) return { lines: known };
    const { state, manifest } = this.#deps.client;
    const { artifact, lines, previousHead, head } = claim.body.trace;
    if (artifact.sizeBytes > maxTraceBytes)
      return { finding: refused('OVERSIZED', `a trace has at most ${maxTraceBytes} bytes, got ${artifact.sizeBytes}`) };
    const bytes = await this.#fetch(artifact);
    if (bytes === null) return { finding: refused('MISSING', `trace ${artifact.root} is not in the store`) };
    const parsed = parseTrace(bytes, lines[1] - lines[0]);
    if (!parsed.ok) return { finding: refused('TRACE', parsed.sentence) };
    const fault = checkTraceInterval(parsed.lines, {
      lines,
      previousHead,
      head,
      batchSequences: manifest.recipe.batchSequences,
      fragmentCount: manifest.fragments.count,
      stateRootEverySteps: manifest.sync.stateRootEverySteps,
      leaseRange: (id) => {
        const lease = state.leases.get(id);
        return lease?.learner === claim.learner ? lease.range : null;
      },
    });
    if (fault !== null) return { finding: refused('TRACE', fault.sentence) };
    this.#traces.set(claim.id, parsed.lines);
    if (this.#traces.size > keptTraces) this.#traces.delete(this.#traces.keys().next().value!);
    return { lines: parsed.lines };
  }

  /** Null if the store does not have it; other failures are the environment's and are tried again. */
  async #fetch(artifact: ArtifactRef): Promise<Uint8Array | null> {
    const { store } = this.#deps.client;
    if ((await store.stat(artifact.root)) === null) return null;
    return store.get(artifact, { signal: this.#deps.signal });
  }

  async #evaluateRelease(release: number): Promise<void> {
    const { client, log } = this.#deps;
    const artifacts = this.#deps.heads.ofRelease(release);
    if (artifacts === null) throw new RoleError('WRONG_RUN', `release ${release} is not in the journal`);
    const params = await this.#heads.at(artifacts, this.#deps.signal);
    const losses = await heldOutLosses(this.#evaluator, params, this.#heldOut);
    const decimals = Object.fromEntries(
      Object.entries(losses).map(([stage, loss]) => [stage, toDecimal(finite(loss))]),
    );
    const sequences = client.manifest.evaluation.heldOutSequences;
    const result = await client.submit('evaluation', { release, losses: decimals, sequences });
    log.info('release evaluated', { release, ...losses, outcome: result.code });
  }

  async #setWeights(): Promise<void> {
    const { client, ledgerSigner, log } = this.#deps;
    const scores = weightsOf(client.state);
    const neurons = await client.ledger.metagraph();
    const weights = new Map<number, number>();
    for (const { uid, hotkey } of neurons) {
      const score = scores.get(hotkey) ?? 0;
      if (score > 0) weights.set(uid, score);
    }
    if (weights.size === 0) return;
    await client.ledger.setWeights(ledgerSigner, weights);
    log.info('weights set', { tempo: client.state.tempo.index, hotkeys: weights.size });
  }
}
