/** @file Redoes answered audits on this machine's engine. Of the text only what their steps read is fetched, into a folder of limited size. */
import { DataError } from '../data/errors.ts';
import type { Sha256 } from '../protocol/hash.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { openCachedText } from '../roles/cached-text.ts';
import type { AuditedSegment } from '../roles/learner/audited-segment.ts';
import { isSameMachineClass } from '../roles/learner/machine-class.ts';
import { Replayer } from '../roles/learner/replay.ts';
import { type RunText, readingOf } from '../roles/run-data.ts';
import { StoreError } from '../store/errors.ts';
import type { Store } from '../store/port.ts';
import { silentLog } from '../util/clock.ts';
import { Unavailable } from './artifact-cache.ts';
import type { ReplayJob, ReplaySegment } from './audit-checks.ts';

export interface SegmentReplay {
  readonly replay: ReplaySegment;
  close(): Promise<void>;
}

/** Steps read their text once: more would only be kept for segments that read the same small shards. */
const textLimitBytes = 1024 ** 3;

/** Opens nothing before the first job. */
export function openSegmentReplay(options: {
  readonly threads: number;
  readonly machineClass: string;
  readonly hash: Sha256;
  /** For text; made when it is needed, and the caller's to remove. */
  readonly textDir: string;
  readonly signal: AbortSignal;
}): SegmentReplay {
  const { threads, machineClass, hash, textDir, signal } = options;
  let opened: Replayer | null = null;
  let job: ReplayJob;
  const open = async ({ manifest, frozen }: ReplayJob): Promise<Replayer> => {
    const terms = (): ReplayJob['terms'] => job.terms;
    const cached = await faultsTold(manifest.data.pages, () =>
      openCachedText({ dir: textDir, limitBytes: textLimitBytes }, manifest, {
        ...{ store: storeOf(() => job), log: silentLog, signal, terms },
      }),
    );
    const text: RunText = {
      ...cached,
      reading: (places, work) => faultsTold(places[0]?.shard.artifact, () => cached.reading(places, work)),
    };
    const { loaded } = text;
    return new Replayer({ manifest, frozen, loaded, terms, threads, hash, reading: readingOf(text) });
  };
  return {
    async replay(next) {
      job = next;
      opened ??= await open(job);
      const isSameClass = isSameMachineClass(machineClass, job.machineClass);
      return opened.replay(await segmentOf(job), { isSameClass, signal });
    },
    async close() {
      await opened?.close();
    },
  };
}

/** What the record has, as a cache asks for it. */
function storeOf(job: () => ReplayJob): Pick<Store, 'get' | 'parts'> {
  const get = (artifact: ArtifactRef): Promise<Uint8Array> => job().artifact(artifact);
  return {
    get,
    parts: {
      read: async (artifact, range) =>
        (await job().part?.(artifact, range)) ?? (await get(artifact)).slice(range.from, range.to),
    },
  };
}

/** Text that is not what the manifest names is a fault of the record, like any other artifact. */
async function faultsTold<T>(artifact: ArtifactRef | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isFault =
      (error instanceof StoreError && ['HASH_MISMATCH', 'SIZE_MISMATCH'].includes(error.code)) ||
      (error instanceof DataError && error.code === 'DAMAGED');
    if (!isFault || artifact === undefined) throw error;
    throw new Unavailable(artifact, { kind: 'damaged', found: (error as Error).message });
  }
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
