/**
 * @file Answers audits of one learner: the states at the ends of the drawn segment go to the store, then the answer is handed
 * in. What cannot be answered is told once; the syncer closes the audit at its deadline.
 */
import type { Audit } from '../../journal/state.ts';
import { artifactOf } from '../../protocol/artifact.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { Hash, LearnerId } from '../../protocol/names.ts';
import { parseTrace, type TraceLine } from '../../protocol/trace.ts';
import type { Clock, Log } from '../../util/clock.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import type { RunClient } from '../client.ts';

export interface AnswererDeps {
  readonly client: RunClient;
  readonly learner: LearnerId;
  readonly keptState: (root: Hash) => Promise<Uint8Array | null>;
  readonly clock: Clock;
  readonly log: Log;
}

const retryMs = 1_000;

export class AuditAnswerer {
  readonly #deps: AnswererDeps;
  /** State roots by the inner step after which they were taken, of lines that this process has seen. */
  readonly #roots = new Map<number, Hash>();
  readonly #answering = new Set<number>();

  constructor(deps: AnswererDeps) {
    this.#deps = deps;
  }

  /** A line of the learner's own trace. */
  noteLine({ step, stateRoot }: Pick<TraceLine, 'step' | 'stateRoot'>): void {
    if (stateRoot !== null) this.#roots.set(step + 1, stateRoot);
    if (this.#roots.size > 1_024) this.#roots.delete(this.#roots.keys().next().value!);
  }

  /** Audits of the learner that still want an answer. */
  open(): Audit[] {
    const { client, learner } = this.#deps;
    return [...client.state.openAudits]
      .map((id) => client.state.audits.get(id)!)
      .filter((audit) => audit.learner === learner && audit.status === 'open');
  }

  /** Starts what is not under way; nothing waits for it. */
  answerOpen(): void {
    for (const { id } of this.open()) {
      if (this.#answering.has(id)) continue;
      this.#answering.add(id);
      this.#answer(id).catch((error) => {
        if (!this.#deps.client.signal.aborted)
          this.#deps.log.error('an audit is not answered', { audit: id, error: String(error) });
      });
    }
  }

  /** Until every open audit is answered, for so long at most. */
  async finish(limitMs: number): Promise<void> {
    const { clock, client } = this.#deps;
    const untilMs = clock.nowMs() + limitMs;
    while (this.open().length > 0 && clock.nowMs() < untilMs) await clock.sleep(100, client.signal).catch(() => {});
  }

  async #answer(id: number): Promise<void> {
    const { client, clock, log } = this.#deps;
    for (;;) {
      const audit = client.state.audits.get(id)!;
      if (audit.status !== 'open') return;
      try {
        const [from, to] = audit.body.steps;
        const start = audit.isFirst ? null : await this.#store(from);
        const end = await this.#store(to);
        const { outcome, code, sentence } = await client.submit('audit-answer', { audit: id, start, end });
        if (outcome === 'accept') log.info('audit answered', { audit: id, steps: audit.body.steps });
        else log.warn('an answer to an audit was not taken', { audit: id, code, sentence });
        if (outcome !== 'reject') return;
      } catch (error) {
        client.signal.throwIfAborted();
        log.warn('an audit could not be answered yet', { audit: id, error: String(error) });
      }
      await clock.sleep(retryMs, client.signal);
    }
  }

  /** The state after `steps` inner steps, put into the store. */
  async #store(steps: number): Promise<ArtifactRef> {
    const { client, keptState } = this.#deps;
    const root = this.#roots.get(steps) ?? (await this.#rootFromStore(steps));
    const bytes = root === null ? null : await keptState(root);
    if (bytes === null)
      throw new Error(`the state after ${steps} inner steps is not kept (any more) in the states folder`);
    const artifact = artifactOf(bytes, nodeSha256);
    if ((await client.store.stat(artifact.root)) === artifact.sizeBytes) return artifact;
    const grant = await client.requestGrant(artifact, 'state', bytes);
    await client.store.put(artifact, bytes, { grant });
    return artifact;
  }

  /** Of a line that an earlier process of this learner has traced. */
  async #rootFromStore(steps: number): Promise<Hash | null> {
    const { client, learner } = this.#deps;
    for (const { learner: of, body } of client.state.claims.values()) {
      const { lines, artifact } = body.trace;
      if (of !== learner || lines[0] >= steps || lines[1] < steps) continue;
      const parsed = parseTrace(await client.store.get(artifact), lines[1] - lines[0]);
      if (parsed.ok) return parsed.lines[steps - 1 - lines[0]]?.stateRoot ?? null;
    }
    return null;
  }
}
