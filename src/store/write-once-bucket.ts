/**
 * @file Names that are taken once, as objects of a bucket below `PREFIX/shared/`: the server takes a name if nobody has it (`If-None-Match: *`).
 * A server that does not look at the condition, or gives the objects to everybody, is refused at the opening.
 */
import { UsageError } from '../util/errors.ts';
import { StoreError } from './errors.ts';
import { isObjectName, maxObjectBytes, type WriteOnce } from './port.ts';
import type { S3Bucket, S3BucketOptions } from './s3-bucket.ts';

/**
 * Whoever shares a log tries again by itself, and must know which attempt took the name: so one attempt a call, which ends before
 * the log gives it up.
 */
export const writeOnceBucketOptions: S3BucketOptions = { attempts: 1, connectMs: 2_000, idleMs: 4_000 };

const keyOf = (name: string): string => `shared/${name}`;
/** Taken by whoever opens the place first; holds nothing. */
const probeName = 'probe';
const neverTaken = 'none';
const rights = 's3:GetObject, s3:PutObject and s3:ListBucket';

export class WriteOnceBucket implements WriteOnce {
  readonly #bucket: S3Bucket;

  private constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  /** `bucket`: with `writeOnceBucketOptions`. @throws StoreError FORBIDDEN, UNAVAILABLE, …; UsageError for a server or a right that does not do */
  static async open(bucket: S3Bucket): Promise<WriteOnceBucket> {
    const place = new WriteOnceBucket(bucket);
    const where = `s3://${bucket.place.bucket}/${bucket.place.prefix}`;
    try {
      // Without the right to list, what is not there is called forbidden: better now than at the end of the log.
      await place.get(neverTaken);
      const isConditional =
        !(await place.putNew(probeName, new Uint8Array(0))) || !(await place.putNew(probeName, new Uint8Array(0)));
      if (!isConditional)
        throw new UsageError(
          `${where}: its server writes over what is there (it does not check If-None-Match): two syncers cannot share it`,
        );
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      const { code, context, retryable } = error;
      const advice = code === 'FORBIDDEN' ? `; the two syncers need ${rights} there` : '';
      const sentence = `the shared place ${where} cannot be used: ${error.message}${advice}`;
      throw new StoreError(code, sentence, { cause: error, context, retryable });
    }
    if (await bucket.isPublic(keyOf(probeName)))
      throw new UsageError(
        `${where}: everybody can read ${bucket.place.prefix}shared/, which holds secrets of the run; give that right for ${bucket.place.prefix}store/ only`,
      );
    return place;
  }

  async putNew(name: string, bytes: Uint8Array): Promise<boolean> {
    check(name);
    return this.#bucket.put(keyOf(name), bytes);
  }

  /** One exchange: who follows a log asks for every segment of it. */
  async get(name: string): Promise<Uint8Array | null> {
    check(name);
    try {
      const { bytes, totalBytes } = await this.#bucket.read(keyOf(name), { from: 0, to: maxObjectBytes });
      if (totalBytes > maxObjectBytes)
        throw new StoreError('TOO_LARGE', `${name}: expected at most ${maxObjectBytes} bytes, found ${totalBytes}`);
      if (bytes.byteLength < totalBytes)
        throw new StoreError('UNAVAILABLE', `${name}: ${bytes.byteLength} of ${totalBytes} bytes came; try again`, {
          retryable: true,
        });
      return bytes;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'NOT_FOUND') return null;
      // There is no range of nothing.
      if (error.context.status === 416) return this.#empty(name);
      throw error;
    }
  }

  async #empty(name: string): Promise<Uint8Array | null> {
    const found = await this.#bucket.head(keyOf(name));
    if (found === null) return null;
    if (found.sizeBytes === 0) return new Uint8Array(0);
    throw new StoreError('UNAVAILABLE', `${name}: the server does not answer ranges`);
  }
}

function check(name: string): void {
  if (!isObjectName(name))
    throw new StoreError('NOT_FOUND', `${JSON.stringify(name).slice(0, 80)} is no name of an object`);
}
