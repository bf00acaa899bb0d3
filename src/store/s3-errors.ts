/** @file What an S3 server's refusals mean in the store's words. The codes are those of AWS, Ceph, MinIO and R2. */
import { StoreError, type StoreErrorCode } from './errors.ts';

interface Meaning {
  readonly code: StoreErrorCode;
  readonly sentence: string;
  readonly retryable: boolean;
}

const busy: Meaning = { code: 'BUSY', sentence: 'the server throttles (asks for fewer requests)', retryable: true };
const full: Meaning = { code: 'DISK_FULL', sentence: 'the quota or the disk is full', retryable: false };
const damaged: Meaning = {
  ...{ code: 'HASH_MISMATCH', retryable: true },
  sentence: 'the bytes that arrived have another checksum than was promised',
};
const skewed: Meaning = {
  ...{ code: 'CLOCK_SKEW', retryable: false },
  sentence: "this machine's clock and the server's differ too much; set the clock",
};
const denied: Meaning = { code: 'FORBIDDEN', sentence: 'permission denied', retryable: false };
const expired: Meaning = {
  code: 'EXPIRED',
  sentence: 'the permission has expired; ask for a new one',
  retryable: true,
};

const meanings: Readonly<Record<string, Meaning>> = {
  SlowDown: busy,
  ServiceUnavailable: busy,
  TooManyRequests: busy,
  RequestLimitExceeded: busy,
  Throttling: busy,
  ThrottlingException: busy,
  OperationAborted: busy,
  ConditionalRequestConflict: busy,
  QuotaExceeded: full,
  InsufficientStorage: full,
  XMinioStorageFull: full,
  BadDigest: damaged,
  InvalidDigest: damaged,
  XAmzContentSHA256Mismatch: damaged,
  XAmzContentChecksumMismatch: damaged,
  IncompleteBody: { code: 'UNAVAILABLE', sentence: 'the body was cut short', retryable: true },
  RequestTimeout: { code: 'UNAVAILABLE', sentence: 'the server waited too long for bytes', retryable: true },
  RequestTimeTooSkewed: skewed,
  RequestNotYetValid: skewed,
  ExpiredToken: expired,
  EntityTooLarge: { code: 'TOO_LARGE', sentence: 'larger than the server takes', retryable: false },
  NoSuchKey: { code: 'NOT_FOUND', sentence: 'not in this store', retryable: false },
  NotFound: { code: 'NOT_FOUND', sentence: 'not in this store', retryable: false },
  NoSuchUpload: { code: 'UNAVAILABLE', sentence: 'the upload in parts was ended meanwhile', retryable: true },
  NoSuchBucket: {
    code: 'UNAVAILABLE',
    sentence: 'there is no such bucket; make it, or mend the URL',
    retryable: false,
  },
  AccessDenied: denied,
  InvalidAccessKeyId: { ...denied, sentence: 'the server does not know the access key' },
  SignatureDoesNotMatch: { ...denied, sentence: 'the signature does not fit (wrong secret, or a header was changed)' },
  CredentialsProviderError: {
    ...denied,
    sentence: 'no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
  },
};

function meaningOf(name: string, status: number): Meaning {
  const known = meanings[name];
  if (known !== undefined) return known;
  if (status === 429 || status === 503) return busy;
  if (status === 507) return full;
  if (status === 401 || status === 403) return denied;
  if (status === 404) return meanings.NoSuchKey!;
  const sentence = status > 0 ? `the server answered with status ${status}` : 'the server cannot be reached';
  return { code: 'UNAVAILABLE', sentence, retryable: status === 0 || status === 408 || status >= 500 };
}

/**
 * `what`: the artifact or the key; `name`: the server's code; `status`: 0 where none came. The server's own words stay out: they may hold
 * a signed URL.
 */
export function s3Failure(
  what: string,
  { name, status, cause }: { readonly name: string; readonly status: number; readonly cause?: unknown },
): StoreError {
  const { code, sentence, retryable } = meaningOf(name, status);
  return new StoreError(code, `${what}: ${sentence}`, {
    ...{ retryable, context: { status, name: name.slice(0, 64) } },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Code of an error's XML; '' if it has none. AWS says only in words that a presigned URL is too old or not yet valid. */
export function s3CodeOf(xml: string): string {
  const code = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(xml)?.[1] ?? '';
  if (code === 'AccessDenied' && /expired/i.test(xml)) return 'ExpiredToken';
  if (code === 'AccessDenied' && /not (yet )?valid/i.test(xml)) return 'RequestNotYetValid';
  return code;
}
