/**
 * @file Where a bucket is: `s3://bucket/prefix?endpoint=…&region=…`. Credentials have no place in it; what looks like some is
 * refused without being repeated.
 */
import type { Hash } from '../protocol/names.ts';
import { UsageError } from '../util/errors.ts';

/** Below the prefix, as every store over HTTP has it. */
export const storeKey = (root: Hash): string => `store/${root}`;

export interface S3Place {
  readonly bucket: string;
  /** Empty, or ends in `/`. */
  readonly prefix: string;
  /** Null: AWS. */
  readonly endpoint: string | null;
  readonly region: string;
  /** `bucket.host` in the place of `host/bucket`. */
  readonly isVirtualHost: boolean;
  /** Where everybody may read the prefix over HTTP, without `/` at its end; null: by presigned URLs only. */
  readonly publicUrl: string | null;
}

const maxUrlLength = 2_000;
const known = ['endpoint', 'region', 'style', 'public'];

/** @throws UsageError */
export function parseS3Url(url: string): S3Place {
  // Not by `new URL`: it would take `..`, tabs and line ends away in silence.
  const match = url.length <= maxUrlLength ? /^s3:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url) : null;
  if (match === null) throw faulty('expected s3://bucket/prefix?endpoint=URL&region=NAME');
  const [, bucket = '', path = '', query = ''] = match;
  if (bucket.includes('@')) throw faulty(credentialsAdvice);
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) || bucket.includes('..'))
    throw faulty('expected a bucket of 3 to 63 lower-case letters, digits, dots and hyphens');
  const segments = path.replace(/\/$/, '').split('/');
  const isFine = (segment: string) => /^[\w.-]{1,100}$/.test(segment) && !/^\.+$/.test(segment);
  if (path !== '' && !(path.length <= 500 && segments.every(isFine)))
    throw faulty(
      'expected a prefix of letters, digits, dots, hyphens and underscores between slashes, without . and ..',
    );
  return { bucket, prefix: path === '' ? '' : `${segments.join('/')}/`, ...parseQuery(query) };
}

const credentialsAdvice =
  'credentials do not belong in the URL; put them in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or in a profile (AWS_PROFILE)';

function parseQuery(query: string): Omit<S3Place, 'bucket' | 'prefix'> {
  const values = new URLSearchParams(query);
  for (const name of values.keys()) {
    if (/key|secret|token|password|credential/i.test(name)) throw faulty(credentialsAdvice);
    if (!known.includes(name) || values.getAll(name).length > 1)
      throw faulty(`expected each of ${known.join(', ')} at most once after the question mark`);
  }
  const region = values.get('region') ?? 'us-east-1';
  if (!/^[a-z0-9-]{1,40}$/.test(region)) throw faulty('expected a region such as eu-central-1');
  const style = values.get('style') ?? (values.has('endpoint') ? 'path' : 'virtual');
  if (style !== 'path' && style !== 'virtual') throw faulty('expected style=path or style=virtual');
  return {
    region,
    endpoint: httpUrl('endpoint', values.get('endpoint')),
    isVirtualHost: style === 'virtual',
    publicUrl: httpUrl('public', values.get('public')),
  };
}

function httpUrl(name: string, text: string | null): string | null {
  if (text === null) return null;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw faulty(`${name}: expected an http or https URL without a query`);
  if (url.username !== '' || url.password !== '') throw faulty(credentialsAdvice);
  return url.href.replace(/\/+$/, '');
}

const faulty = (sentence: string): UsageError => new UsageError(`the store's URL: ${sentence}`);
