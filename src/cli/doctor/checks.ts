/** @file What `accrete doctor` looks at. Each check finds something out and says what to type where it is not well. */
import { existsSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism, freemem, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { formatBytes } from '../output.ts';
import { corpusDir } from '../paths.ts';
import type { Finding } from './finding.ts';
import type { DoctorOptions } from './options.ts';
import { checkWebgpu } from './webgpu.ts';

const root = new URL('../../../', import.meta.url);
const minFreeBytes = 2 * 1024 ** 3;
const minMemoryBytes = 3 * 1024 ** 3;

/** All checks, in the order in which they should be repaired. */
export async function examine(options: DoctorOptions): Promise<readonly Finding[]> {
  return [
    checkNode(),
    ...checkPackages(),
    await checkEngine(),
    checkWebgpu(),
    await checkCorpus(),
    await checkPort(options.port),
    await checkDisk(options.dir),
    checkMemory(),
  ];
}

const ok = (name: string, found: string): Finding => ({ name, state: 'ok', found, advice: '' });

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const found = `${process.versions.node} on ${process.platform}-${process.arch}`;
  if (major > 20 || (major === 20 && minor >= 19)) return ok('node', found);
  return { name: 'node', state: 'missing', found, advice: 'install Node 20.19 or newer' };
}

interface PackageFile {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}
const readPackage = (url: URL): PackageFile => JSON.parse(readFileSync(url, 'utf8')) as PackageFile;

function checkPackages(): readonly Finding[] {
  const wanted = Object.entries(readPackage(new URL('package.json', root)).dependencies);
  const wrong = wanted.flatMap(([name, version]) => {
    const file = new URL(`node_modules/${name}/package.json`, root);
    if (!existsSync(file)) return [`${name} is missing`];
    const found = readPackage(file).version;
    return found === version ? [] : [`${name} is ${found}, expected ${version}`];
  });
  if (wrong.length === 0) return [ok('packages', `${wanted.length} of ${wanted.length}`)];
  return [{ name: 'packages', state: 'missing', found: wrong.join('; '), advice: 'npm run setup' }];
}

async function checkEngine(): Promise<Finding> {
  const name = 'tensor engine';
  const binary = new URL(
    `node_modules/onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/onnxruntime_binding.node`,
    root,
  );
  if (!existsSync(binary)) {
    const found = `ONNX Runtime has no binary for ${process.platform}-${process.arch}`;
    return {
      name,
      state: 'missing',
      found,
      advice: 'npm run setup; if that does not help: this kind of machine is not supported',
    };
  }
  try {
    const { engineVersion } = await import('../../engine/session.ts');
    return ok(name, `ONNX Runtime ${engineVersion()}, ${availableParallelism()} cores`);
  } catch (error) {
    return { name, state: 'missing', found: `does not load: ${(error as Error).message}`, advice: 'npm run setup' };
  }
}

/** Of the default preset; another one is prepared by `accrete up` when it is asked for. */
async function checkCorpus(): Promise<Finding> {
  const { describeCorpus } = await import('../../data/prepared.ts');
  const corpus = describeCorpus(corpusDir);
  if (corpus.ready) return ok('text corpus', `${corpus.sources} sources, ${formatBytes(corpus.sizeBytes)} of tokens`);
  return { name: 'text corpus', state: 'missing', found: corpus.reason, advice: 'npm run setup' };
}

async function checkPort(port: number): Promise<Finding> {
  const name = `port ${port}`;
  const code = await new Promise<string | null>((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(null)));
  });
  if (code === null) return ok(name, 'free');
  const found =
    code === 'EADDRINUSE' ? 'taken, perhaps by a running network (accrete status)' : `cannot be opened (${code})`;
  return { name, state: 'warning', found, advice: `accrete up --port ${port === 65_535 ? 4680 : port + 1}` };
}

async function checkDisk(dir: string): Promise<Finding> {
  let place = dir;
  while (!existsSync(place)) place = dirname(place);
  const disk = await statfs(place);
  const free = disk.bavail * disk.bsize;
  const found = `${formatBytes(free)} free at ${place}`;
  if (free >= minFreeBytes) return ok('disk', found);
  return {
    name: 'disk',
    state: 'warning',
    found,
    advice: `free ${formatBytes(minFreeBytes)}, or choose another folder with --dir`,
  };
}

function checkMemory(): Finding {
  const found = `${formatBytes(freemem())} free of ${formatBytes(totalmem())}`;
  if (totalmem() >= minMemoryBytes) return ok('memory', found);
  return { name: 'memory', state: 'warning', found, advice: 'accrete up --preset tiny' };
}
