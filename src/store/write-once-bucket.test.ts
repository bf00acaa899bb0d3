/** @file Names that are taken once, held in a bucket of a real S3 server, through faults, and what is refused at the opening. */
import { PutBucketPolicyCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testWriteOnce } from '../../tests/contracts/write-once.ts';
import { type FaultyProxy, startFaultyProxy } from '../../tests/support/faulty-proxy.ts';
import { type RadosGateway, radosGateway, startRadosGateway } from '../../tests/support/rados-gateway.ts';
import { utf8 } from '../util/bytes.ts';
import { maxObjectBytes } from './port.ts';
import { S3Bucket, type S3BucketOptions } from './s3-bucket.ts';
import { parseS3Url } from './s3-place.ts';
import { WriteOnceBucket, writeOnceBucketOptions } from './write-once-bucket.ts';

let gateway: RadosGateway;
const buckets: S3Bucket[] = [];

interface Where {
  readonly bucket?: string;
  readonly endpoint?: string;
  readonly credentials?: S3BucketOptions['credentials'];
}

async function openBucket({ bucket, endpoint = gateway.endpoint, credentials }: Where = {}): Promise<S3Bucket> {
  const place = parseS3Url(`s3://${bucket ?? (await gateway.makeBucket())}/runs/one?endpoint=${endpoint}`);
  const opened = new S3Bucket(place, { ...writeOnceBucketOptions, credentials: credentials ?? gateway.credentials });
  buckets.push(opened);
  return opened;
}

describe.skipIf(!radosGateway.isThere)(`write-once in a bucket (${radosGateway.need})`, () => {
  beforeAll(async () => {
    gateway = await startRadosGateway();
  }, 90_000);
  afterAll(async () => {
    for (const bucket of buckets) bucket.close();
    await gateway?.close();
  });

  testWriteOnce('S3', async () => ({ place: await WriteOnceBucket.open(await openBucket()), close: async () => {} }));

  it('lies below shared/ of the prefix, and gives no more than may be in an object', async () => {
    const bucket = await openBucket();
    const place = await WriteOnceBucket.open(bucket);
    await place.putNew('log/1', utf8('one'));
    expect((await bucket.head('shared/log/1'))?.sizeBytes).toBe(3);
    await bucket.put('shared/large', new Uint8Array(maxObjectBytes + 1));
    await expect(place.get('large')).rejects.toMatchObject({ code: 'TOO_LARGE' });
  });

  it('says of a lost answer that nothing is known, and can be asked', async () => {
    const proxy: FaultyProxy = await startFaultyProxy(gateway.endpoint);
    try {
      const place = await WriteOnceBucket.open(await openBucket({ endpoint: proxy.url }));
      for (const [name, fault] of [
        ['a', 'lose-answer'],
        ['b', 'cut-request'],
        ['c', 'slow-down'],
      ] as const) {
        proxy.inject(fault, 'PUT', 1);
        await expect(place.putNew(name, utf8(name)), fault).rejects.toMatchObject({ retryable: true });
        proxy.heal();
        const isTaken = (await place.get(name)) !== null;
        expect(await place.putNew(name, utf8('other')), fault).toBe(!isTaken);
        expect(Buffer.from((await place.get(name))!).toString()).toBe(isTaken ? name : 'other');
      }
      proxy.inject('cut-answer', 'GET', 1);
      await expect(place.get('a')).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    } finally {
      await proxy.close();
    }
  });

  it('says what is wrong with a place that cannot be used', async () => {
    const open = async (where: Where) => WriteOnceBucket.open(await openBucket(where));
    await expect(open({ bucket: 'not-there' })).rejects.toMatchObject({
      ...{ code: 'UNAVAILABLE', retryable: false },
      message: expect.stringMatching(/^the shared place s3:\/\/not-there\/runs\/one\/ .*there is no such bucket/),
    });
    const { accessKeyId } = gateway.credentials;
    for (const credentials of [
      { accessKeyId: 'NOBODY', secretAccessKey: 'x' },
      { accessKeyId, secretAccessKey: 'wrong' },
    ])
      await expect(open({ credentials }), credentials.accessKeyId).rejects.toMatchObject({
        ...{ code: 'FORBIDDEN', message: expect.stringContaining('s3:PutObject') },
      });
    await expect(open({ bucket: 'away', endpoint: 'http://127.0.0.1:9' })).rejects.toMatchObject({
      ...{ code: 'UNAVAILABLE', retryable: true, message: expect.stringContaining('cannot be reached') },
    });
  });

  it('refuses a place that may be read but not written, and one that everybody may read', async () => {
    const bucket = await gateway.makeBucket();
    const allow = async (Effect: string, Action: string) => {
      const Statement = [{ Effect, Principal: '*', Action: [Action], Resource: [`arn:aws:s3:::${bucket}/runs/one/*`] }];
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
      await gateway.client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
    };
    const open = async () => WriteOnceBucket.open(await openBucket({ bucket }));
    await allow('Deny', 's3:PutObject');
    await expect(open()).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await allow('Allow', 's3:GetObject');
    await expect(open()).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('holds secrets') });
  });
});
