/**
 * @file A real S3 server for tests: Ceph's monitor, one OSD whose bytes lie in memory, and the RADOS Gateway in front of them,
 * in a folder of their own, on free ports of 127.0.0.1. Two seconds to start; `close` ends them and removes the folder.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3';
import { debianProgram } from './debian.ts';

const run = promisify(execFile);

export const radosGateway = debianProgram('radosgw');

export interface RadosGateway {
  /** `http://127.0.0.1:PORT`. */
  readonly endpoint: string;
  /** Of a user who may make buckets. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** The owner's own client. */
  readonly client: S3Client;
  /** A new, empty bucket's name. */
  makeBucket(): Promise<string>;
  /** Everybody may read what is below the prefix, which ends in `/`. */
  allowReads(bucket: string, prefix: string): Promise<void>;
  close(): Promise<void>;
}

const startLimitMs = 60_000;

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `memoryBytes`: what the store may hold; it is taken as it fills. */
export async function startRadosGateway({ memoryBytes = 4 * 1024 ** 3 } = {}): Promise<RadosGateway> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-rgw-'));
  const children: ChildProcess[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(children.reverse().map(end));
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const started = await start(dir, children, memoryBytes);
    const client = new S3Client({ ...started, region: 'us-east-1', forcePathStyle: true });
    const makeBucket = async (): Promise<string> => {
      const Bucket = `run-${randomUUID()}`;
      await client.send(new CreateBucketCommand({ Bucket }));
      return Bucket;
    };
    const allowReads = async (Bucket: string, prefix: string): Promise<void> => {
      const Resource = [`arn:aws:s3:::${Bucket}/${prefix}*`];
      const Statement = [{ Effect: 'Allow', Principal: '*', Action: ['s3:GetObject'], Resource }];
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
      await client.send(new PutBucketPolicyCommand({ Bucket, Policy }));
    };
    return { ...started, client, makeBucket, allowReads, close };
  } catch (error) {
    const log = await readFile(join(dir, 'client.rgw.log'), 'utf8').catch(() => '');
    await close();
    throw new Error(`the RADOS Gateway did not start: ${String(error)}\n${log.slice(-2_000)}`, { cause: error });
  }
}

async function start(
  dir: string,
  children: ChildProcess[],
  memoryBytes: number,
): Promise<Pick<RadosGateway, 'endpoint' | 'credentials'>> {
  const [monitorPort, port] = [await freePort(), await freePort()];
  const [cluster, osd] = [randomUUID(), randomUUID()];
  for (const name of ['mon', 'osd', 'rgw']) await mkdir(join(dir, name));
  const config = join(dir, 'ceph.conf');
  await writeFile(config, configuration({ dir, cluster, monitorPort, port, memoryBytes }));
  const signal = AbortSignal.timeout(startLimitMs);
  const call = (program: string, ...args: string[]) => run(program, args, { signal, cwd: dir });
  const stay = async (program: string, ...args: string[]) => {
    // A pipe that nobody reads would fill; a file does not.
    const log = await open(join(dir, `${program}.out`), 'w');
    children.push(spawn(program, ['-c', config, ...args, '-f'], { cwd: dir, stdio: ['ignore', log.fd, log.fd] }));
    await log.close();
  };
  const monitors = join(dir, 'monmap');
  await call('monmaptool', '--create', '--fsid', cluster, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, monitors);
  await call('ceph-mon', '-c', config, '-i', 'a', '--mkfs', '--monmap', monitors);
  await stay('ceph-mon', '-i', 'a');
  await call('ceph', '-c', config, 'osd', 'new', osd);
  await call('ceph-osd', '-c', config, '-i', '0', '--mkfs', '--osd-uuid', osd);
  await stay('ceph-osd', '-i', '0');
  await stay('radosgw', '-n', 'client.rgw');
  const endpoint = `http://127.0.0.1:${port}`;
  while (!(await answers(endpoint))) {
    signal.throwIfAborted();
    await sleep(50);
  }
  const credentials = { accessKeyId: 'TESTS', secretAccessKey: `secret-${randomUUID()}` };
  const keys = ['--access-key', credentials.accessKeyId, '--secret-key', credentials.secretAccessKey];
  await call('radosgw-admin', '-c', config, 'user', 'create', '--uid', 'tests', '--display-name', 'tests', ...keys);
  return { endpoint, credentials };
}

const answers = (endpoint: string): Promise<boolean> =>
  fetch(endpoint, { signal: AbortSignal.timeout(1_000) }).then(
    ({ ok }) => ok,
    () => false,
  );

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL'); // nothing in it is worth an orderly end
  await gone;
}

interface Places {
  readonly dir: string;
  readonly cluster: string;
  readonly monitorPort: number;
  readonly port: number;
  readonly memoryBytes: number;
}

/**
 * No keyrings: authentication between the daemons is off, and then the gateway's default mode (`secure`) towards the monitor
 * cannot work and would wait for ever, hence `ms_mon_client_mode`. The `paxos_` lines take ten seconds off the start.
 */
function configuration({ dir, cluster, monitorPort, port, memoryBytes }: Places): string {
  return `[global]
fsid = ${cluster}
mon_host = v2:127.0.0.1:${monitorPort}
public_addr = 127.0.0.1
ms_mon_client_mode = crc
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
paxos_propose_interval = 0.02
paxos_min_wait = 0.005
osd_pool_default_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
mon_data_avail_crit = 1
mon_data = ${dir}/mon
osd_data = ${dir}/osd
run_dir = ${dir}
crash_dir = ${dir}
pid_file =
log_file = ${dir}/$name.log
mon_cluster_log_file = ${dir}/cluster.log
osd_objectstore = memstore
memstore_device_bytes = ${memoryBytes}
[client.rgw]
rgw_data = ${dir}/rgw
rgw_frontends = beast endpoint=127.0.0.1:${port}
rgw_dns_name = localhost
rgw_run_sync_thread = false
`;
}
