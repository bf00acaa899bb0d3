/**
 * @file A bucket of an S3 server, in the words of the store: the one file that knows the AWS SDK. It signs every body's SHA-256,
 * which all servers check; it reads and writes no more than a part at a time, tries again what may pass, and turns the
 * server's refusals into `StoreError`s. Credentials come from the environment in the SDK's usual order.
 */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { StoreError } from './errors.ts';
import { type RetryOptions, retrying } from './retrying.ts';
import { s3Failure } from './s3-errors.ts';
import type { S3Place } from './s3-place.ts';

export interface S3BucketOptions extends RetryOptions {
  /** For tests; left out, the environment's. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly connectMs?: number;
  /** An exchange that moves no byte for so long is given up. */
  readonly idleMs?: number;
}

export interface S3Object {
  readonly sizeBytes: number;
  readonly etag: string;
}

/** A request that somebody without credentials may send as it stands. */
export interface PresignedRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What a presigned upload is bound to. */
export interface UploadTerms {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly expiresInSeconds: number;
}

interface Call {
  readonly key: string;
  readonly signal?: AbortSignal | undefined;
}

const sha256Header = 'x-amz-content-sha256';

export class S3Bucket {
  readonly place: S3Place;
  readonly #client: S3Client;
  readonly #options: RetryOptions;

  constructor(place: S3Place, options: S3BucketOptions = {}) {
    this.place = place;
    this.#options = options;
    const { credentials, connectMs = 10_000, idleMs = 30_000 } = options;
    this.#client = new S3Client({
      region: place.region,
      ...(place.endpoint === null ? {} : { endpoint: place.endpoint }),
      forcePathStyle: !place.isVirtualHost,
      ...(credentials === undefined ? {} : { credentials }),
      // The defaults add CRC32 trailers, which Ceph refuses on streams and which a presigned URL would hold of no bytes at all.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      maxAttempts: 1, // `retrying` also covers bodies that break off
      requestHandler: { connectionTimeout: connectMs, socketTimeout: idleMs, httpAgent: pool, httpsAgent: pool },
    });
  }

  /** Null if it is not there. */
  async head(key: string, signal?: AbortSignal): Promise<S3Object | null> {
    try {
      const head = await this.#try({ key, signal }, (abort) =>
        this.#client.send(new HeadObjectCommand(this.#at(key)), abort),
      );
      return { sizeBytes: head.ContentLength ?? -1, etag: head.ETag ?? '' };
    } catch (error) {
      return absent(error);
    }
  }

  /** The bytes [from, to), and how many the object has. `to` must be greater than `from`. */
  async read(
    key: string,
    { from, to }: { readonly from: number; readonly to: number },
    signal?: AbortSignal,
  ): Promise<{ readonly bytes: Uint8Array; readonly totalBytes: number }> {
    return this.#try({ key, signal }, async (abort) => {
      const Range = `bytes=${from}-${to - 1}`;
      const answer = await this.#client.send(new GetObjectCommand({ ...this.#at(key), Range }), abort);
      const [, start, end, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.ContentRange ?? '') ?? [];
      const expected = Number(end) + 1 - Number(start);
      if (Number(start) !== from || !(expected <= to - from) || answer.ContentLength !== expected) {
        (answer.Body as { destroy?: () => void } | undefined)?.destroy?.();
        throw new StoreError('UNAVAILABLE', `${key}: the server does not answer ranges`);
      }
      const bytes = await answer.Body!.transformToByteArray();
      if (bytes.byteLength !== expected) throw cutShort(key);
      return { bytes, totalBytes: Number(total) };
    });
  }

  /** False if there was one already, which stays as it was (`If-None-Match: *`). */
  async put(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const checksum = { ChecksumSHA256: base64Sha256(bytes), ContentLength: bytes.byteLength };
    const input = { ...this.#at(key), Body: bytes, IfNoneMatch: '*', ...checksum };
    return this.#ifAbsent(() =>
      this.#try({ key, signal }, (abort) => this.#client.send(new PutObjectCommand(input), abort)),
    );
  }

  /**
   * A copy on the server; gives its ETag. Null if the source has another ETag by now, where the server looks (Ceph 16 does not: it
   * copies what is there).
   */
  async copy(from: string, to: string, etag: string): Promise<string | null> {
    const source = { CopySource: `${this.place.bucket}/${this.place.prefix}${from}`, CopySourceIfMatch: etag };
    let copied: string | null = null;
    await this.#ifAbsent(async () => {
      const { CopyObjectResult } = await this.#try({ key: to }, (abort) =>
        this.#client.send(new CopyObjectCommand({ ...this.#at(to), ...source }), abort),
      );
      copied = CopyObjectResult?.ETag ?? '';
    });
    return copied;
  }

  async delete(key: string): Promise<void> {
    await this.#try({ key }, (abort) => this.#client.send(new DeleteObjectCommand(this.#at(key)), abort));
  }

  /** Begins an upload in parts; gives its id. */
  async begin(key: string, signal?: AbortSignal): Promise<string> {
    const input = { ...this.#at(key), ChecksumAlgorithm: 'SHA256' as const };
    const { UploadId } = await this.#try({ key, signal }, (abort) =>
      this.#client.send(new CreateMultipartUploadCommand(input), abort),
    );
    return UploadId!;
  }

  /** `number`: from 1. */
  async putPart(
    { key, upload, number }: { readonly key: string; readonly upload: string; readonly number: number },
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<S3Part> {
    const checksum = base64Sha256(bytes);
    const input = { ...this.#at(key), UploadId: upload, PartNumber: number, Body: bytes, ChecksumSHA256: checksum };
    const { ETag } = await this.#try({ key, signal }, (abort) =>
      this.#client.send(new UploadPartCommand({ ...input, ContentLength: bytes.byteLength }), abort),
    );
    return { number, etag: ETag ?? '', checksum };
  }

  /** False if the key is taken, where the server looks (Ceph 16 does not: it overwrites). */
  async complete(key: string, upload: string, parts: readonly S3Part[], signal?: AbortSignal): Promise<boolean> {
    const Parts = [...parts]
      .sort((a, b) => a.number - b.number)
      .map(({ number, etag, checksum }) => ({
        ...{ PartNumber: number, ETag: etag },
        ...(checksum === null ? {} : { ChecksumSHA256: checksum }),
      }));
    const input = { ...this.#at(key), UploadId: upload, MultipartUpload: { Parts }, IfNoneMatch: '*' };
    return this.#ifAbsent(() =>
      this.#try({ key, signal }, (abort) => this.#client.send(new CompleteMultipartUploadCommand(input), abort)),
    );
  }

  async abort(key: string, upload: string): Promise<void> {
    const input = { ...this.#at(key), UploadId: upload };
    await this.#try({ key }, (abort) => this.#client.send(new AbortMultipartUploadCommand(input), abort));
  }

  /** Parts that are there, with the sum of their sizes; null if the upload is over. `limit`: at most 1,000. */
  async parts(
    key: string,
    upload: string,
    limit: number,
  ): Promise<{ readonly parts: readonly S3Part[]; readonly sizeBytes: number } | null> {
    try {
      const input = { ...this.#at(key), UploadId: upload, MaxParts: limit };
      const { Parts = [] } = await this.#try({ key }, (abort) => this.#client.send(new ListPartsCommand(input), abort));
      const parts = Parts.map(({ PartNumber, ETag, ChecksumSHA256 }) => ({
        ...{ number: PartNumber ?? 0, etag: ETag ?? '', checksum: ChecksumSHA256 ?? null },
      }));
      return { parts, sizeBytes: Parts.reduce((sum, { Size = 0 }) => sum + Size, 0) };
    } catch (error) {
      if (error instanceof StoreError && error.context.name === 'NoSuchUpload') return null;
      throw error;
    }
  }

  /** Ids of uploads of this key that were begun and not ended. */
  async uploads(key: string): Promise<readonly string[]> {
    const input = { Bucket: this.place.bucket, Prefix: this.place.prefix + key, MaxUploads: 100 };
    const { Uploads = [] } = await this.#try({ key }, (abort) =>
      this.#client.send(new ListMultipartUploadsCommand(input), abort),
    );
    return Uploads.flatMap(({ Key, UploadId }) => (Key === input.Prefix && UploadId !== undefined ? [UploadId] : []));
  }

  async presignGet(key: string, expiresInSeconds: number): Promise<string> {
    return getSignedUrl(this.#client, new GetObjectCommand(this.#at(key)), {
      expiresIn: expiresInSeconds,
      signingDate: this.#serverDate(),
    });
  }

  /** Whether who has no credentials can read the object; false where that cannot be asked. */
  async isPublic(key: string): Promise<boolean> {
    const url = new URL(await this.presignGet(key, publicLookMs / 1_000));
    url.search = '';
    const options = { method: 'HEAD', signal: AbortSignal.timeout(publicLookMs) };
    return fetch(url, options).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  /** Bound to size, SHA-256 and to there being nothing yet. */
  async presignPut(key: string, terms: UploadTerms): Promise<PresignedRequest> {
    const input = { ...this.#at(key), ContentLength: terms.sizeBytes, IfNoneMatch: '*' };
    return this.#presign(new PutObjectCommand(input), terms, { 'if-none-match': '*' });
  }

  async presignPart(
    { key, upload, number }: { readonly key: string; readonly upload: string; readonly number: number },
    terms: UploadTerms,
  ): Promise<PresignedRequest> {
    const input = { ...this.#at(key), UploadId: upload, PartNumber: number, ContentLength: terms.sizeBytes };
    return this.#presign(new UploadPartCommand(input), terms, {});
  }

  close(): void {
    this.#client.destroy();
  }

  async #presign(
    command: PutObjectCommand | UploadPartCommand,
    { sizeBytes, sha256, expiresInSeconds }: UploadTerms,
    more: Readonly<Record<string, string>>,
  ): Promise<PresignedRequest> {
    const headers = { 'content-length': String(sizeBytes), [sha256Header]: sha256, ...more };
    // Before the presigner, which would name the payload unsigned where no hash is there yet.
    const stack = (command as PutObjectCommand).middlewareStack;
    const name = (next: (args: { request: unknown }) => unknown) => (args: { request: unknown }) => {
      (args.request as { headers: Record<string, string> }).headers[sha256Header] = sha256;
      return next(args);
    };
    stack.add(name as never, { step: 'build', name: 'bindSha256' });
    const url = await getSignedUrl(this.#client, command as PutObjectCommand, {
      expiresIn: expiresInSeconds,
      signingDate: this.#serverDate(),
      signableHeaders: new Set(['host', ...Object.keys(headers)]),
      unhoistableHeaders: new Set(Object.keys(headers)),
    });
    return { url, headers };
  }

  /** The SDK learns from answers by how much the clocks differ. */
  #serverDate(): Date {
    const { systemClockOffset } = this.#client.config as { systemClockOffset?: number };
    return new Date(Date.now() + (systemClockOffset ?? 0));
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.place.bucket, Key: this.place.prefix + key };
  }

  async #ifAbsent(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof StoreError && error.context.status === 412) return false;
      throw error;
    }
  }

  /** A clock that is off is noticed by the first refusal; what follows is signed with the server's time. */
  async #try<T>({ key, signal }: Call, work: (options: { abortSignal?: AbortSignal }) => Promise<T>): Promise<T> {
    let isSkewKnown = false;
    const abort = signal === undefined ? {} : { abortSignal: signal };
    return retrying(this.#options, {
      signal,
      asStoreError: (cause) => failureOf(key, cause),
      work: async () => {
        try {
          return await work(abort);
        } catch (cause) {
          const failure = failureOf(key, cause);
          if (failure.code !== 'CLOCK_SKEW' || isSkewKnown) throw cause;
          isSkewKnown = true;
          return await work(abort);
        }
      },
    });
  }
}

export interface S3Part {
  /** From 1. */
  readonly number: number;
  readonly etag: string;
  /** SHA-256 in base64; null where the server keeps none. */
  readonly checksum: string | null;
}

const publicLookMs = 5_000;
const pool = { keepAlive: true, maxSockets: 32 };

const base64Sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

function absent(error: unknown): null {
  if (error instanceof StoreError && error.code === 'NOT_FOUND') return null;
  throw error;
}

const cutShort = (key: string): StoreError =>
  new StoreError('UNAVAILABLE', `${key}: the answer broke off`, { retryable: true });

function failureOf(key: string, cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause;
  const {
    name = '',
    Code,
    $metadata,
  } = cause as { name?: string; Code?: string; $metadata?: { httpStatusCode?: number; clockSkewCorrected?: boolean } };
  const status = $metadata?.httpStatusCode ?? 0;
  // An answer to HEAD has no code; the SDK has compared the times.
  if ($metadata?.clockSkewCorrected) return s3Failure(key, { name: 'RequestTimeTooSkewed', status });
  // An answer's error drags the whole exchange along, which belongs into no log.
  return s3Failure(key, { name: Code ?? name, status, ...(status === 0 ? { cause } : {}) });
}
