/** @file URLs of buckets: what they say, and what is refused without being repeated. */
import { describe, expect, it } from 'vitest';
import { timeFaultOf } from './presigned.ts';
import { s3CodeOf, s3Failure } from './s3-errors.ts';
import { parseS3Url } from './s3-place.ts';

describe('the URL of a bucket', () => {
  it('says where it is', () => {
    const aws = { endpoint: null, region: 'us-east-1', isVirtualHost: true, publicUrl: null };
    expect(parseS3Url('s3://my-bucket')).toEqual({ bucket: 'my-bucket', prefix: '', ...aws });
    expect(parseS3Url('s3://my.bucket/runs/one/?region=eu-central-1')).toEqual({
      ...aws,
      ...{ bucket: 'my.bucket', prefix: 'runs/one/', region: 'eu-central-1' },
    });
    const own = 's3://bucket/p?endpoint=http://127.0.0.1:7480&region=auto&public=https://cdn.example/p/';
    expect(parseS3Url(own)).toEqual({
      ...{ bucket: 'bucket', prefix: 'p/', endpoint: 'http://127.0.0.1:7480', region: 'auto' },
      ...{ isVirtualHost: false, publicUrl: 'https://cdn.example/p' },
    });
  });

  it('is refused where it leads elsewhere or says too much', () => {
    const refused = [
      's3://',
      's3:///prefix',
      'http://bucket/prefix',
      's3://Bucket/p',
      's3://a..b/p',
      's3://bucket/../other',
      's3://bucket/a/./b',
      's3://bucket/a//b',
      's3://bucket/a\u0000b',
      's3://bucket/a\nb',
      's3://bucket/a%2e%2e',
      's3://bucket/p?endpoint=ftp://x',
      's3://bucket/p?endpoint=http://x&endpoint=http://y',
      's3://bucket/p?region=EU%20west',
      's3://bucket/p?style=other',
      's3://bucket/p?versioning=on',
      `s3://bucket/${'a'.repeat(3_000)}`,
    ];
    for (const url of refused) expect(() => parseS3Url(url), url).toThrowError(/the store's URL/);
    const secrets = [
      's3://AKIAEXAMPLE:wJalrXUtnFEMI@bucket/p',
      's3://bucket/p?secretAccessKey=wJalrXUtnFEMI',
      's3://bucket/p?endpoint=http://AKIAEXAMPLE:wJalrXUtnFEMI@host',
    ];
    for (const url of secrets) {
      const refuse = () => parseS3Url(url);
      expect(refuse, url).toThrowError(/credentials do not belong in the URL/);
      expect(refuse, url).toThrowError(expect.not.objectContaining({ message: expect.stringMatching(/AKIA|wJal/) }));
    }
  });
});

describe('refusals of S3 servers', () => {
  it('have the words of the store', () => {
    const cases: [string, number, string, boolean][] = [
      ['SlowDown', 503, 'BUSY', true],
      ['', 503, 'BUSY', true],
      ['TooManyRequests', 429, 'BUSY', true],
      ['AccessDenied', 403, 'FORBIDDEN', false],
      ['', 403, 'FORBIDDEN', false],
      ['ExpiredToken', 400, 'EXPIRED', true],
      ['RequestTimeTooSkewed', 403, 'CLOCK_SKEW', false],
      ['BadDigest', 400, 'HASH_MISMATCH', true],
      ['XAmzContentSHA256Mismatch', 400, 'HASH_MISMATCH', true],
      ['QuotaExceeded', 403, 'DISK_FULL', false],
      ['EntityTooLarge', 400, 'TOO_LARGE', false],
      ['NoSuchKey', 404, 'NOT_FOUND', false],
      ['InternalError', 500, 'UNAVAILABLE', true],
      ['TimeoutError', 0, 'UNAVAILABLE', true],
      ['InvalidRequest', 400, 'UNAVAILABLE', false],
    ];
    for (const [name, status, code, retryable] of cases)
      expect(s3Failure('key', { name, status }), `${name} ${status}`).toMatchObject({ code, retryable });
  });

  it('are read from XML, and from the times where it does not say', () => {
    expect(s3CodeOf('<Error><Code>SlowDown</Code></Error>')).toBe('SlowDown');
    expect(s3CodeOf('<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>')).toBe(
      'ExpiredToken',
    );
    expect(s3CodeOf('<html>no code</html>')).toBe('');
    const url = 'http://h/b/k?X-Amz-Date=20261126T070000Z&X-Amz-Expires=120';
    expect(timeFaultOf(url, 'Thu, 26 Nov 2026 07:01:59 GMT')).toBe('');
    expect(timeFaultOf(url, 'Thu, 26 Nov 2026 07:02:00 GMT')).toBe('ExpiredToken');
    expect(timeFaultOf(url, 'Thu, 26 Nov 2026 06:30:00 GMT')).toBe('RequestNotYetValid');
    for (const date of [undefined, 'yesterday']) expect(timeFaultOf(url, date)).toBe('');
    expect(timeFaultOf('http://h/b/k', 'Thu, 26 Nov 2026 07:01:59 GMT')).toBe('');
  });
});
