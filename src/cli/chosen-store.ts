/**
 * @file Where a run's artifacts are kept: in its folder, or in a bucket. A folder remembers its bucket. What the orchestrator needs of
 * either: the store itself, grants for uploads, and the handler of `/store/`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash, LearnerId } from '../protocol/names.ts';
import { serveBucket } from '../store/bucket-server.ts';
import { FsStore } from '../store/fs.ts';
import { issueGrant } from '../store/grants.ts';
import { type HttpHandler, serveStore } from '../store/http-server.ts';
import type { Store, WriteGrant } from '../store/port.ts';
import { parseS3Url, storeKey } from '../store/s3-place.ts';
import type { Clock, Log, Metrics } from '../util/clock.ts';
import { UsageError } from '../util/errors.ts';
import type { Settings } from './settings.ts';

export interface RunStore {
  readonly store: Store;
  issueGrant(
    artifact: ArtifactRef,
    learner: LearnerId,
    parts: readonly Hash[] | undefined,
  ): WriteGrant | Promise<WriteGrant>;
  /** Of every request below `/store/`. */
  readonly handler: HttpHandler;
  /** Remembers the place, if the run's artifacts are in it. @throws UsageError if they are not */
  settle(known: ArtifactRef): Promise<void>;
  close(): void;
}

export interface RunStoreParts {
  readonly dir: string;
  /** Null: the folder's, or what it remembers. */
  readonly url: string | null;
  /** Where they are if neither says; null: in the folder. */
  readonly otherwise?: string | null;
  /** Of the folder's own grants. */
  readonly secret: Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

const grantMs = 120_000;
/** Of a presigned read. */
const readSeconds = 600;

const markerFile = 'store.json';
const markerSchema = z.strictObject({ version: z.literal(1), url: z.string().max(2_000) });

export const isBucketUrl = (place: string): boolean => place.startsWith('s3:');

/** Checked at the edge; null if it was left out. @throws UsageError */
export function parseStoreUrl(settings: Settings): string | null {
  if (!settings.has('store')) return null;
  const url = settings.text('store');
  parseS3Url(url);
  return url;
}

/** @throws UsageError, StoreError */
export async function openRunStore(parts: RunStoreParts): Promise<RunStore> {
  const url = parts.url ?? remembered(parts.dir) ?? parts.otherwise ?? null;
  return url === null ? openFolder(parts) : openBucket(url, parts);
}

function remembered(dir: string): string | null {
  const path = join(dir, markerFile);
  if (!existsSync(path)) return null;
  const parsed = markerSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
  if (!parsed.success)
    throw new UsageError(`${path}: expected {"version":1,"url":"s3://…"}; give the store with --store`);
  return parsed.data.url;
}

async function openFolder({ dir, secret, clock, log, metrics }: RunStoreParts): Promise<RunStore> {
  const store = await FsStore.open(join(dir, 'store'));
  return {
    store,
    issueGrant: (artifact, learner) => issueGrant(secret, { artifact, learner, expiresAtMs: clock.nowMs() + grantMs }),
    handler: serveStore(store, { secret, log, metrics, nowMs: () => clock.nowMs() }),
    settle: async () => {},
    close: () => {},
  };
}

/** The SDK is large: it is loaded only where a bucket is meant. */
async function openBucket(url: string, { dir, clock, log, metrics }: RunStoreParts): Promise<RunStore> {
  const place = parseS3Url(url);
  const { S3Bucket } = await import('../store/s3-bucket.ts');
  const { S3Store } = await import('../store/s3.ts');
  const { S3Uploads } = await import('../store/s3-uploads.ts');
  const bucket = new S3Bucket(place);
  const owned = new S3Store(bucket);
  const uploads = new S3Uploads({ bucket, store: owned }, { nowMs: () => clock.nowMs(), log, grantMs });
  return {
    store: uploads.store,
    issueGrant: (artifact, learner, parts) => uploads.grant({ artifact, learner, parts }),
    handler: serveBucket({
      stat: (root) => uploads.stat(root),
      locate: async (root) =>
        place.publicUrl === null
          ? bucket.presignGet(storeKey(root), readSeconds)
          : `${place.publicUrl}/${storeKey(root)}`,
      read: (root, range) => owned.read(root, range),
      ...{ log, metrics },
    }),
    settle: async (known) => {
      if ((await owned.stat(known.root)) !== known.sizeBytes) {
        const from = join(dir, 'store', 'artifacts');
        throw new UsageError(
          `the artifacts of the run in ${dir} are not in s3://${place.bucket}/${place.prefix}; copy each ${from}/*/*/ROOT to ${place.prefix}store/ROOT first, or leave --store as it was`,
        );
      }
      writeFileSync(join(dir, markerFile), `${JSON.stringify({ version: 1, url })}\n`);
    },
    close: () => bucket.close(),
  };
}

/** What only who opens a bucket needs; other processes of a network are started without it. */
export function withoutStoreCredentials(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('AWS_')));
}
