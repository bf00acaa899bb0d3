/**
 * @file A whole network of real processes on three real servers at once: artifacts in a bucket of S3, messages over NATS, the journal's
 * index in PostgreSQL. Only the syncer has credentials, and outsiders verify the record through the orchestrator and from the public bucket.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ListObjectsV2Command, PutBucketPolicyCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NatsServer, natsProgram } from './support/nats-server.ts';
import { PostgresServer, password, postgresProgram } from './support/postgres-server.ts';
import { freePort, type RadosGateway, radosGateway, startRadosGateway } from './support/rados-gateway.ts';

const program = join(import.meta.dirname, '..', 'bin', 'accrete');
const children = new Set<ChildProcess>();
let gateway: RadosGateway;
let nats: NatsServer;
let postgres: PostgresServer;
const programs = [radosGateway, natsProgram, postgresProgram];
const needs = programs.map(({ need }) => need).join('; ');
let dir: string;

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function accrete(environment: Record<string, string>, ...args: readonly string[]) {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  children.add(child);
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text));
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, ...said })));
  void ended.then(() => children.delete(child));
  return { child, said, ended };
}

async function until(what: string, isTrue: () => boolean, limitMs: number): Promise<void> {
  for (const end = Date.now() + limitMs; !isTrue(); ) {
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Every file of a run's folder that is text. */
function* textsIn(folder: string): Generator<readonly [string, string]> {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && /\.(jsonl|json|log)$/.test(entry.name)) yield [path, readFileSync(path, 'utf8')];
  }
}

describe.skipIf(programs.some(({ isThere }) => !isThere))(`a network on S3, NATS and PostgreSQL (${needs})`, () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'accrete-s3-run-'));
    [gateway, nats, postgres] = await Promise.all([startRadosGateway(), NatsServer.start(), PostgresServer.start()]);
  }, 90_000);
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
    await Promise.all([gateway?.close(), nats?.close(), postgres?.stop()]);
  });

  it('trains, and can be verified through its orchestrator and from the bucket alone', {
    timeout: 240_000,
  }, async () => {
    const bucket = await gateway.makeBucket();
    const port = await freePort();
    const store = `s3://${bucket}/tiny?endpoint=${gateway.endpoint}`;
    const { accessKeyId, secretAccessKey } = gateway.credentials;
    const keys = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
    const size = ['--preset', 'tiny', '--miners', '2', '--validators', '1', '--minutes', '4'];
    const index = `postgres://owner@127.0.0.1:${postgres.port}/postgres`;
    const engines = ['--store', store, '--bus', nats.url, '--index', index];
    const environment = { ...keys, PGPASSWORD: password };
    const up = accrete(environment, 'up', ...size, '--dir', dir, '--port', `${port}`, ...engines, '--json');
    const count = (event: string) => up.said.out.split(`"event":"${event}"`).length - 1;
    await until(
      'a release that is evaluated, and merges',
      () => count('evaluation') > 0 && count('merge') > 4,
      150_000,
    );
    const live = await accrete({}, 'verify', `http://127.0.0.1:${port}`, '--state', 'none').ended;
    expect(live.out + live.err).toContain('nothing in this record diverges');
    const merges = await (await fetch(`http://127.0.0.1:${port}/api/v1/merges?limit=5`)).json();
    expect(merges).toMatchObject({ rows: Array.from({ length: 5 }, () => ({ fragment: expect.any(Number) })) });
    const [{ rows }] = (await postgres.query('select count(*)::int as rows from accrete.merges')) as [{ rows: number }];
    expect(rows).toBeGreaterThan(4);
    up.child.kill('SIGINT');
    const ended = await up.ended;
    expect(ended.code, ended.out.slice(-2_000) + ended.err).toBe(0);

    expect(existsSync(join(dir, 'store'))).toBe(false);
    const { Contents = [] } = await gateway.client.send(new ListObjectsV2Command({ Bucket: bucket }));
    const keysThere = Contents.map(({ Key }) => Key ?? '');
    expect(keysThere.filter((key) => /^tiny\/store\/[0-9a-f]{64}$/.test(key)).length).toBeGreaterThan(8);
    expect(keysThere.filter((key) => key.startsWith('tiny/damaged/'))).toEqual([]);
    for (const [path, text] of textsIn(dir)) {
      for (const secret of [secretAccessKey, accessKeyId, 'X-Amz-Signature', password])
        expect(text.includes(secret), `${secret} in ${path}`).toBe(false);
    }

    const Statement = [
      { Effect: 'Allow', Principal: '*', Action: ['s3:GetObject'], Resource: [`arn:aws:s3:::${bucket}/tiny/store/*`] },
    ];
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
    await gateway.client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
    const mirror = `${gateway.endpoint}/${bucket}/tiny`;
    const verified = await accrete({}, 'verify', dir, '--store', mirror, '--state', 'none').ended;
    expect(verified.out + verified.err).toContain('nothing in this record diverges');
    // Bytes that cannot be had are no divergence: it must have had them.
    for (const { out } of [live, verified]) expect(out).toMatch(/ [1-9]\d* stored states hashed/);
    const elsewhere = await accrete(
      {},
      'verify',
      dir,
      '--store',
      `${gateway.endpoint}/${bucket}/none`,
      '--state',
      'none',
    ).ended;
    expect(elsewhere.out).not.toMatch(/ [1-9]\d* stored states hashed/);

    // Started again the folder knows its bucket, and another one is refused before anything is changed.
    const other = `s3://${await gateway.makeBucket()}/tiny?endpoint=${gateway.endpoint}`;
    const refused = await accrete(keys, 'orchestrate', '--dir', dir, '--port', `${port}`, '--store', other).ended;
    expect([refused.code, refused.err]).toEqual([2, expect.stringContaining('are not in s3://')]);
  });
});
