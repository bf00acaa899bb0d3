/** @file Redoes answered audits on this machine's engine; shards are read once. */
import { decodeShard, type TokenIds } from '../data/shards.ts';
import type { Sha256 } from '../protocol/hash.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { AuditedSegment } from '../roles/learner/audited-segment.ts';
import { isSameMachineClass } from '../roles/learner/machine-class.ts';
import { Replayer } from '../roles/learner/replay.ts';
import type { ReplayJob, ReplaySegment } from './audit-checks.ts';

export interface SegmentReplay {
  readonly replay: ReplaySegment;
  close(): Promise<void>;
}

/** Opens nothing before the first job. */
export function openSegmentReplay(options: {
  readonly threads: number;
  readonly machineClass: string;
  readonly hash: Sha256;
  readonly signal: AbortSignal;
}): SegmentReplay {
  const { threads, machineClass, hash, signal } = options;
  let opened: Replayer | null = null;
  let terms: ReplayJob['terms'] | null = null;
  return {
    async replay(job) {
      terms = job.terms;
      if (opened === null) {
        const { manifest, frozen } = job;
        opened = new Replayer({ manifest, frozen, loaded: await loadText(job), terms: () => terms!, threads, hash });
      }
      const isSameClass = isSameMachineClass(machineClass, job.machineClass);
      return opened.replay(await segmentOf(job), { isSameClass, signal });
    },
    async close() {
      await opened?.close();
    },
  };
}

async function loadText({ manifest, artifact }: Pick<ReplayJob, 'artifact'> & { manifest: RunManifest }) {
  const loaded = new Map<string, TokenIds>();
  for (const shard of manifest.data.shards)
    if (shard.stage === 'train')
      loaded.set(shard.artifact.root, decodeShard(await artifact(shard.artifact), shard, manifest.tokenizer.vocabSize));
  return loaded;
}

async function segmentOf(job: ReplayJob): Promise<AuditedSegment> {
  const { audit, steps, lines, start, end } = job;
  const before = lines.find(({ step }) => step === steps[0] - 1);
  const claims = job.claims.filter(({ body }) => body.steps[1] >= steps[0] && body.steps[1] < steps[1]);
  return {
    steps,
    lines: lines.filter(({ step }) => step >= steps[0]),
    joinedAtStep: audit.joinedAtStep,
    // That the line before names this root has been checked.
    start: start === null ? null : { root: before!.stateRoot!, bytes: start },
    end,
    claims: await Promise.all(
      claims.map(async ({ body: { fragment, outerStep, steps: made, artifact } }) => ({
        ...{ fragment, outerStep, beforeStep: made[1], artifact },
        bytes: await job.artifact(artifact).catch(() => null), // refused claims may be gone
      })),
    ),
    leaseOf: job.leaseOf,
    published: job.fragmentAt,
  };
}
