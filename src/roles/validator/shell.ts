/**
 * @file The validator's hands: fetches what a claim names, runs the checks, signs verdicts, evaluates releases, sets
 * weights. What to do next is decided by the step.
 */

import type { LoadedShards, Sequence } from '../../data/shards.ts';
import { continuationAccuracy, continuationTask } from '../../evaluation/continuation.ts';
import type { Evaluator } from '../../evaluation/evaluator.ts';
import { evaluateHeldOut } from '../../evaluation/held-out.ts';
import { weightsOf } from '../../journal/scores.ts';
import type { LedgerSigner, WeightSetter } from '../../ledger/port.ts';
import { endOfTextOf, parseConfig } from '../../model/quasar-long/config.ts';
import type { Params } from '../../model/quasar-long/init.ts';
import { publishedParams } from '../../model/quasar-long/published.ts';
import { artifactOf } from '../../protocol/artifact.ts';
import { encodeDetails } from '../../protocol/details.ts';
import type { HotkeySigner, SessionSigner } from '../../protocol/keys.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import { type Hash, type Hotkey, toDecimal } from '../../protocol/names.ts';
import { StoreError } from '../../store/errors.ts';
import { worstOf } from '../../training/router-health.ts';
import { toHex, utf8 } from '../../util/bytes.ts';
import type { Clock, Log } from '../../util/clock.ts';
import { assertNever } from '../../util/errors.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import { openCachedText, type TextCacheOptions } from '../cached-text.ts';
import type { RunClient } from '../client.ts';
import { enterRun } from '../enter.ts';
import { RoleError } from '../errors.ts';
import type { HeadsHistory } from '../heads-history.ts';
import { LostClaimError } from '../merge-computation.ts';
import type { MergeHistory } from '../merge-history.ts';
import { routersBody } from '../routers-body.ts';
import { locatorOf, phaseTermsOf, type RunText, textAtHand } from '../run-data.ts';
import { fetchFrozen, type RunModel, runModelOf } from '../run-model.ts';
import type { VersionHistory } from '../version-history.ts';
import { findDivergence } from './attest.ts';
import { AuditJudge, GoneError } from './audit-judge.ts';
import { finite } from './checks.ts';
import { ClaimJudge } from './claim-judge.ts';
import type { ValidatorEffect, ValidatorEvent, ValidatorState, VerdictBody } from './events.ts';
import { HeadParams } from './heads.ts';
import { PhaseEvaluators } from './phase-evaluators.ts';
import { step } from './step.ts';

export interface ValidatorOptions {
  readonly name: string;
  readonly threads: number;
  /** Of machines that compute the same bits (`serve`). */
  readonly machineClass: string;
  /** Where the text that is judged on is kept; or that text, where it is at hand (simulations). */
  readonly text: TextCacheOptions | { readonly loaded: LoadedShards };
}

export interface ValidatorDeps {
  readonly client: RunClient;
  readonly hotkey: HotkeySigner;
  readonly session: SessionSigner;
  readonly ledgerSigner: LedgerSigner;
  /** Where weights may have to be committed to and revealed; plain ones are set if left out. */
  readonly weightSetter?: WeightSetter;
  /** Its `onFold` is the client's: it must have seen every entry. */
  readonly heads: HeadsHistory;
  /** Its `onFold` is the client's too. */
  readonly merges: MergeHistory;
  /** Its `onFold` is the client's too. */
  readonly versions: VersionHistory;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly rssBytes: () => number;
}

const heartbeatMs = 2_000;
const tickMs = 250;

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
        validator.revealWeights();
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

/**
 * A validator that is its own coldkey (on the embedded ledger) and has no stake gets some: it could not be drawn otherwise. Another's
 * coldkey is its owner's to spend.
 */
async function enter(options: ValidatorOptions, deps: ValidatorDeps): Promise<void> {
  const { client, hotkey, ledgerSigner } = deps;
  await enterRun({ ...deps, role: 'validator', name: options.name });
  const neurons = await client.ledger.metagraph();
  const own = neurons.find((neuron) => neuron.hotkey === hotkey.hotkey);
  if (own !== undefined && own.stakeRao === 0) {
    if (own.coldkey === hotkey.hotkey) await client.ledger.addStake(ledgerSigner, { amountRao: 1_000_000_000 });
    else
      deps.log.warn('no stake on this hotkey: it is drawn for nothing and sets no weights; type: accrete ledger stake');
  }
  await serve(options, deps);
}

/** Says what machine it is: whoever repeats a failed audit should be of the learner's class. */
async function serve({ threads, machineClass }: ValidatorOptions, deps: ValidatorDeps): Promise<void> {
  const { client, hotkey, clock, log } = deps;
  const servedAtMs = client.state.hotkeys.get(hotkey.hotkey)?.servedAtMs ?? -1;
  const atMs = Math.max(Math.round(clock.nowMs()), servedAtMs + 1);
  const { outcome, code, sentence } = await client.submit('serve', { atMs, threads, machineClass });
  if (outcome === 'reject') log.warn('the run does not take what this validator says of itself', { code, sentence });
}

async function openText({ text }: ValidatorOptions, { client, log }: ValidatorDeps): Promise<RunText> {
  const { manifest, state, store, signal } = client;
  const terms = () => phaseTermsOf(state);
  if (!('loaded' in text)) return openCachedText(text, manifest, { store, log, signal, terms });
  const endOfText = endOfTextOf(parseConfig(JSON.parse(manifest.model.config)));
  return textAtHand({ shards: manifest.data.shards, loaded: text.loaded, endOfText }, locatorOf(manifest, terms));
}

class Validator {
  readonly #deps: ValidatorDeps;
  #isRevealing = false;
  readonly #model: RunModel;
  readonly #heads: HeadParams;
  readonly #evaluators: PhaseEvaluators;
  readonly #judge: ClaimJudge;
  readonly #audits: AuditJudge;
  #state: ValidatorState;

  private constructor(
    options: ValidatorOptions,
    deps: ValidatorDeps,
    model: RunModel,
    text: RunText,
    evaluators: PhaseEvaluators,
    frozen: Uint8Array | null,
  ) {
    const { manifest, state, store } = deps.client;
    this.#deps = deps;
    this.#model = model;
    this.#evaluators = evaluators;
    this.#heads = new HeadParams(model, manifest, store, frozen);
    const { client, heads, log, signal, session } = deps;
    this.#judge = new ClaimJudge({
      ...{ client, heads, log, signal, model, text, evaluators, params: this.#heads },
      hotkey: deps.hotkey.hotkey,
      secret: toHex(session.sign(utf8('accrete/validator-secret/1'))),
    });
    const { threads, machineClass } = options;
    this.#audits = new AuditJudge({
      ...{ manifest, text, frozen, threads, machineClass, signal },
      terms: () => phaseTermsOf(state),
      fetch: (artifact) => this.#fetch(artifact),
      versionOf: (fragment, version) => deps.versions.artifactOf(fragment, version),
      linesOf: (learner, steps) => this.#judge.linesOf(learner, steps),
    });
    this.#state = {
      run: state,
      hotkey: deps.hotkey.hotkey,
      busy: null,
      replaying: null,
      lastFailed: null,
      sent: new Set(),
      weightsTempo: state.tempo.index,
      block: 0,
      weightsBlock: null,
    };
  }

  static async open(options: ValidatorOptions, deps: ValidatorDeps): Promise<Validator> {
    const { threads } = options;
    const { manifest, state, store, signal } = deps.client;
    const model = runModelOf(manifest);
    const text = await openText(options, deps);
    const evaluators = new PhaseEvaluators({ run: state, manifest, model, text, threads });
    // The first claim need not wait for it.
    await evaluators.of(state.phase);
    return new Validator(options, deps, model, text, evaluators, await fetchFrozen(state, store, signal));
  }

  async close(): Promise<void> {
    await this.#audits.close();
    await this.#evaluators.close();
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
        return this.#checkClaim(effect.claim, effect.round);
      case 'redo-segment':
        return this.#redo(effect.audit);
      case 'attest-segment':
        return this.#attest(effect.release);
      case 'evaluate-release':
        return this.#evaluateRelease(effect.release);
      case 'set-weights':
        return this.#setWeights();
      default:
        assertNever(effect);
    }
  }

  async #checkClaim(id: Hash, round: VerdictBody['round']): Promise<void> {
    const { client, log } = this.#deps;
    const claim = client.state.claims.get(id);
    if (claim === undefined) return;
    const { finding, details, values } = await this.#judge.judge(claim);
    const liars = round === 'committee' ? new Map<Hotkey, string>() : await this.#judge.findLiars(claim, values);
    const entries = Object.entries(finding.measurements).map(([name, value]) => [name, toDecimal(value)] as const);
    const { outcome, code, sentence } = finding;
    const result = await client.submit('verdict', {
      claim: id,
      round,
      outcome,
      code,
      sentence,
      measurements: Object.fromEntries(entries),
      details: details === null ? null : await this.#store(encodeDetails(details)),
      accused: [...liars.keys()].sort(),
    });
    const fields = { claim: id.slice(0, 12), learner: claim.learner.slice(-20), fragment: claim.body.fragment, code };
    log.info('verdict', { ...fields, round, ...finding.measurements });
    for (const [validator, reason] of liars) log.warn('validator accused', { claim: fields.claim, validator, reason });
    if (result.outcome === 'reject') log.warn('verdict refused', { code: result.code, sentence: result.sentence });
  }

  async #redo(id: number): Promise<void> {
    const { client, log } = this.#deps;
    const audit = client.state.audits.get(id);
    if (audit === undefined) return;
    const finding = await this.#audits.judge(client.state, audit).catch((error) => {
      if (!(error instanceof GoneError)) throw error;
      // Nobody is blamed: the audit closes unchecked, and another is drawn.
      log.warn('an audit cannot be redone', { audit: id, error: error.message });
      return null;
    });
    if (finding === null) return;
    const { outcome, code, sentence } = finding;
    const measurements = Object.fromEntries(
      Object.entries(finding.measurements).map(([name, value]) => [name, toDecimal(finite(value))]),
    );
    const result = await client.submit('audit-verdict', { audit: id, outcome, code, sentence, measurements });
    const fields = { audit: id, learner: audit.learner.slice(-20), steps: audit.body.steps, code };
    log.info('audit redone', { ...fields, ...finding.measurements });
    if (result.outcome === 'reject')
      log.warn('audit verdict refused', { code: result.code, sentence: result.sentence });
  }

  /** Null if the store does not have it; other failures are the environment's and are tried again. */
  async #fetch(artifact: ArtifactRef): Promise<Uint8Array | null> {
    const { store } = this.#deps.client;
    if ((await store.stat(artifact.root)) !== artifact.sizeBytes) return null;
    return store.get(artifact, { signal: this.#deps.signal });
  }

  async #store(bytes: Uint8Array): Promise<ArtifactRef> {
    const { client, signal } = this.#deps;
    const artifact = artifactOf(bytes, nodeSha256);
    const grant = await client.requestGrant(artifact, 'details', bytes);
    await client.store.put(artifact, bytes, { grant, signal });
    return artifact;
  }

  /** What differs or is gone is told once: nobody can mend it by trying again. */
  async #attest(release: number): Promise<void> {
    const { client, merges, log, signal } = this.#deps;
    const { manifest, store, state } = client;
    const segment = merges.ofRelease(release);
    const record = state.releases[release];
    if (segment === null || record === undefined) return;
    const { stateHash } = record.body;
    const hash = (bytes: Uint8Array): ArtifactRef => artifactOf(bytes, nodeSha256);
    try {
      const deps = { manifest, store, signal, plan: this.#model.plan, artifactOf: hash };
      const differing = await findDivergence(segment, deps);
      if (differing !== null) {
        log.error('a merge is not what its claims give: the segment is not attested', { release, ...differing });
        return;
      }
    } catch (error) {
      const isGone = error instanceof LostClaimError || (error instanceof StoreError && error.code === 'NOT_FOUND');
      if (!isGone) throw error;
      log.warn('a segment cannot be recomputed: bytes are gone', { release, error: error.message });
      return;
    }
    const result = await client.submit('segment-attested', { release, stateHash, merges: segment.length });
    log.info('segment attested', { release, merges: segment.length, outcome: result.code });
  }

  async #evaluateRelease(release: number): Promise<void> {
    const { client, log } = this.#deps;
    const artifacts = this.#deps.heads.ofRelease(release);
    if (artifacts === null) throw new RoleError('WRONG_RUN', `release ${release} is not in the journal`);
    const heads = await this.#heads.at(artifacts, this.#deps.signal);
    const params = publishedParams(this.#model.contract, heads, client.manifest.release.dtype);
    const { phase } = client.state.releases[release]!;
    const evaluator = await this.#evaluators.of(phase);
    const heldOut = await this.#evaluators.heldOut(phase);
    const { losses: nats, routers } = await evaluateHeldOut(evaluator, params, heldOut);
    const losses = { ...nats, ...(await this.#tasks(evaluator, params, heldOut.get('held-out') ?? [])) };
    const health = routersBody(worstOf(routers));
    const decimals = Object.fromEntries(
      Object.entries(losses).map(([stage, loss]) => [stage, toDecimal(finite(loss))]),
    );
    const sequences = client.manifest.evaluation.heldOutSequences;
    const result = await client.submit('evaluation', { release, losses: decimals, sequences, ...health });
    log.info('release evaluated', { release, ...losses, outcome: result.code });
  }

  /** Tasks that are made of the held-out text. */
  async #tasks(evaluator: Evaluator, params: Params, rows: readonly Sequence[]): Promise<Record<string, number>> {
    const endOfText = endOfTextOf(this.#model.config);
    const share = await continuationAccuracy(evaluator, params, { rows, endOfText });
    return share === null ? {} : { [continuationTask]: share };
  }

  /** What is due, if anything. Not waited for: on a chain of real blocks a reveal takes its time. */
  revealWeights(): void {
    const { weightSetter, log } = this.#deps;
    if (weightSetter === undefined || this.#isRevealing) return;
    this.#isRevealing = true;
    weightSetter
      .revealDue()
      .catch((error) => log.warn('weights not revealed yet', { error: String(error) }))
      .finally(() => {
        this.#isRevealing = false;
      });
  }

  async #setWeights(): Promise<void> {
    const { client, ledgerSigner, weightSetter, log } = this.#deps;
    const scores = weightsOf(client.state);
    const neurons = await client.ledger.metagraph();
    const weights = new Map<number, number>();
    for (const { uid, hotkey } of neurons) {
      const score = scores.get(hotkey) ?? 0;
      if (score > 0) weights.set(uid, score);
    }
    if (weights.size === 0) return;
    const how = await (weightSetter?.set(weights) ?? client.ledger.setWeights(ledgerSigner, weights).then(() => 'set'));
    log.info('weights set', { tempo: client.state.tempo.index, hotkeys: weights.size, how });
  }
}
