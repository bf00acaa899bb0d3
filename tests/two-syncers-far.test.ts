/**
 * @file Two syncers as they run over the internet, on real servers: the log and the artifacts in a bucket of S3, the messages over NATS.
 * The leader is killed in a merge and later frozen; learners stay on NATS, the other goes on, and the record verifies. Times are printed.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventBody } from '../src/protocol/messages.ts';
import { NatsServer, natsProgram } from './support/nats-server.ts';
import { type RadosGateway, radosGateway, startRadosGateway } from './support/rados-gateway.ts';
import { syncerNames, TwoSyncers } from './support/two-syncers.ts';

const program = join(import.meta.dirname, '..', 'bin', 'accrete');
const programs = [radosGateway, natsProgram];
let root: string;
let gateway: RadosGateway;
let nats: NatsServer;
let network: TwoSyncers | null = null;

describe.skipIf(programs.some(({ isThere }) => !isThere))(
  `two syncers on S3 and NATS (${programs.map(({ need }) => need).join('; ')})`,
  () => {
    beforeAll(async () => {
      root = mkdtempSync(join(tmpdir(), 'accrete-far-'));
      [gateway, nats] = await Promise.all([startRadosGateway(), NatsServer.start()]);
    }, 120_000);
    afterAll(async () => {
      await network?.close();
      await Promise.all([gateway?.close(), nats?.close()]);
      rmSync(root, { recursive: true, force: true });
    }, 200_000);

    it('go on when the leader is killed in a merge, and when it is frozen', { timeout: 900_000 }, async () => {
      const bucket = await gateway.makeBucket();
      const { accessKeyId, secretAccessKey } = gateway.credentials;
      network = await TwoSyncers.open(root, {
        shared: `s3://${bucket}/tiny?endpoint=${gateway.endpoint}`,
        engines: ['--bus', nats.url],
        environment: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
      });
      const first = network.leader();
      const second = syncerNames.find((name) => name !== first)!;

      const outerStep = await network.killInMerge(first);
      const killedAtMs = performance.now();
      const isPublished = () =>
        network!
          .entries(second)
          .some(
            ({ message: { kind, body } }) =>
              kind === 'fragment-published' && (body as EventBody<'fragment-published'>).outerStep === outerStep,
          );
      await network.until(isPublished, 'the merge that was half done');
      console.log(`killed in a merge: done by the other after ${Math.round(performance.now() - killedAtMs)} ms`);
      const merges = network.merges(second);
      await network.until(() => network!.merges(second) >= merges + 2, 'merges of the second leader');
      console.log(`two more merges after ${Math.round(performance.now() - killedAtMs)} ms`);

      network.startSyncer(first);
      await network.until(() => network!.logOf(first).includes('standing by'), 'the first to follow');
      network.signal(second, 'SIGSTOP');
      const frozenAtMs = performance.now();
      const before = network.merges(second);
      await network.until(() => network!.merges(first) >= before + 2, 'merges while the second is frozen');
      console.log(`frozen: two merges of the other after ${Math.round(performance.now() - frozenAtMs)} ms`);
      expect(network.leader()).toBe(first);
      network.signal(second, 'SIGCONT');
      await network.until(() => network!.logOf(second).includes('the lead is lost'), 'the frozen leader to be told');
      const merged = network.merges(first);
      await network.until(() => network!.merges(first) >= merged + 2, 'merges with both there');
      await network.close();

      const [last, copy] = [network.lines(first), network.lines(second)];
      expect(last.slice(0, copy.length)).toEqual(copy);
      // Whose connection broke: nobody's. And no bytes lie in a folder.
      for (const name of ['miner-1', 'miner-2', 'validator-1', 'validator-2'])
        expect(network.logOf(name), name).not.toContain('bus connection lost');
      for (const name of syncerNames) expect(existsSync(join(network.dirOf(name), 'store')), name).toBe(false);
      await gateway.allowReads(bucket, 'tiny/store/');
      const { code, out } = await network.verify(first, ['--store', `${gateway.endpoint}/${bucket}/tiny`]);
      expect(code, out).toBe(0);
    });

    it('say what is wrong with a shared place', { timeout: 120_000 }, async () => {
      const { accessKeyId, secretAccessKey } = gateway.credentials;
      const refused = (url: string): Promise<readonly [number, string]> =>
        new Promise((resolve) => {
          const args = [program, 'orchestrate', '--dir', join(root, 'refused'), '--shared', url];
          const env = { ...process.env, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
          execFile(process.execPath, args, { env, timeout: 60_000 }, (error, _, stderr) =>
            resolve([Number(error?.code ?? 0), stderr]),
          );
        });
      const at = `endpoint=${gateway.endpoint}`;
      for (const [url, code, sentence] of [
        [`s3://not-there/run?${at}`, 1, 'there is no such bucket; make it, or mend the URL'],
        ['s3://away/run?endpoint=http://127.0.0.1:9', 1, 'the server cannot be reached'],
        [`s3://open/run?${at}&public=http://127.0.0.1:9`, 2, 'holds secrets of the run'],
      ] as const)
        expect(await refused(url), url).toEqual([code, expect.stringContaining(sentence)]);
    });
  },
);
