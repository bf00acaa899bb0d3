/**
 * @file The layers as data. Fails on any edge that the table does not allow, on a cycle between files or folders, on
 * `node:` or a vendor's package outside the files listed as adapters, and on barrels. Type-only imports count.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { networks } from './support/networks.ts';

/** Folder → folders that it may import; what those may import, it may import too. A new edge is a decision: `docs/decisions/`. */
const layers: Readonly<Record<string, readonly string[]>> = {
  util: [],
  protocol: ['util'],
  tensor: ['util'],
  engine: ['tensor'],
  model: ['engine'],
  data: ['protocol'],
  training: ['model', 'data'],
  merge: ['protocol', 'tensor'],
  evaluation: ['training', 'merge'],
  ledger: ['protocol'],
  wallet: ['protocol'],
  store: ['protocol'],
  bus: ['protocol'],
  journal: ['protocol'],
  http: ['journal'],
  roles: ['training', 'evaluation', 'journal', 'ledger', 'store', 'bus', 'export'],
  export: ['model'],
  publish: ['export', 'evaluation', 'journal'],
  simulate: ['roles', 'http'],
  plan: ['simulate'],
  verify: ['roles', 'http'],
  inference: ['model', 'data'],
  serve: ['inference', 'http'],
  pull: ['verify'],
  cli: ['verify', 'roles', 'http', 'export', 'simulate', 'plan', 'wallet', 'inference', 'serve', 'pull', 'publish'],
};

/** Decisions of the roles see only data: no training, no evaluation, no port. */
const stepLayers = ['protocol', 'merge', 'journal'];
const isStep = (file: string): boolean => /^roles\/[^/]+\/(step|events)\.ts$/.test(file);

/** Of these folders roles may import the port and its errors, never an adapter. */
const portFolders = ['ledger', 'store', 'bus'];

/** Files that do I/O, and what they may import for it. `*` stands for every file of a folder. */
const adapters: Readonly<Record<string, readonly string[]>> = {
  'cli/*': ['node:*'],
  'cli/main.ts': ['commander'],
  'cli/log.ts': ['pino'],
  'cli/run/charts.ts': ['asciichart'],
  'cli/table.ts': ['cli-table3'],
  'cli/export/progress.ts': ['cli-progress'],
  'cli/up/display.ts': ['log-update', 'picocolors'],
  'cli/simulate/chaos/faulty-proxy.ts': ['ws'],
  'cli/up/screen.ts': ['picocolors'],
  'inference/chat-template.ts': ['@huggingface/jinja'],
  'journal/file.ts': ['node:*'],
  'journal/index/sqlite.ts': ['node:*', 'kysely', 'libsql'],
  'journal/index/kysely-index.ts': ['kysely'],
  'journal/index/postgres.ts': ['kysely'],
  'journal/index/postgres-generations.ts': ['kysely'],
  'journal/index/postgres-pool.ts': ['kysely', 'pg'],
  'journal/index/schema.ts': ['kysely'],
  'journal/index/series-query.ts': ['kysely'],
  'journal/folder-lock.ts': ['node:*', 'proper-lockfile'],
  'model/checkpoint.ts': ['node:*'],
  'model/golden.ts': ['node:*'],
  'export/durable.ts': ['node:*'],
  'export/gguf/read.ts': ['node:*'],
  'export/gguf/write.ts': ['node:*'],
  'export/hugging-face.ts': ['node:*'],
  'export/staged.ts': ['node:*'],
  'pull/hashing.ts': ['node:*'],
  'pull/pull.ts': ['node:*'],
  'publish/folder.ts': ['node:*'],
  'publish/hub.ts': ['node:*', '@huggingface/hub'],
  'roles/shard-cache.ts': ['node:*'],
  'roles/learner/machine-class.ts': ['node:*'],
  'roles/learner/state-folder.ts': ['node:*'],
  'roles/miner/learner-thread.ts': ['node:*'],
  'roles/miner/learner-worker.ts': ['node:*'],
  'roles/orchestrator/release-writer.ts': ['node:*'],
  'bus/websocket.ts': ['node:*', 'ws'],
  'bus/nats/bus.ts': ['node:*', '@nats-io/jetstream', '@nats-io/kv', '@nats-io/transport-node'],
  'bus/nats/connection.ts': ['@nats-io/transport-node', 'ws'],
  'bus/nats/credentials.ts': ['@nats-io/jwt', '@nats-io/nkeys'],
  'bus/nats/errors.ts': ['@nats-io/jetstream', '@nats-io/transport-node'],
  'bus/nats/replica.ts': ['node:*', '@nats-io/jetstream', '@nats-io/transport-node'],
  'bus/nats/taken.ts': ['@nats-io/jetstream', '@nats-io/kv', '@nats-io/transport-node'],
  'bus/nats/work.ts': ['node:*', '@nats-io/jetstream', '@nats-io/transport-node'],
  'http/release-files.ts': ['node:*'],
  'http/api/register.ts': ['node:*', 'fastify', '@fastify/rate-limit'],
  'http/api/live-feed.ts': ['node:*'],
  'http/listen.ts': ['node:*', 'fastify'],
  'http/operations.ts': ['fastify'],
  'http/prometheus.ts': ['prom-client'],
  'http/server.ts': ['node:*', 'fastify'],
  'http/site.ts': ['node:*', 'fastify'],
  'ledger/bittensor/rpc.ts': ['ws'],
  'ledger/bittensor/runtime.ts': ['@polkadot-api/metadata-builders', '@polkadot-api/substrate-bindings'],
  'ledger/embedded.ts': ['node:*'],
  'ledger/file.ts': ['node:*'],
  'ledger/read-file.ts': ['node:*'],
  'serve/answer.ts': ['node:*'],
  'serve/event-stream.ts': ['node:*'],
  'serve/plan.ts': ['node:*'],
  'serve/server.ts': ['node:*', 'fastify'],
  'store/fs.ts': ['node:*'],
  'store/grants.ts': ['node:*'],
  'store/bucket-server.ts': ['node:*'],
  'store/http-client.ts': ['node:*'],
  'store/http-exchange.ts': ['node:*'],
  'store/http-server.ts': ['node:*'],
  'store/node-hash.ts': ['node:*'],
  'store/retrying.ts': ['node:*'],
  'store/s3-parts.ts': ['node:*'],
  'store/s3-bucket.ts': ['node:*', '@aws-sdk/client-s3', '@aws-sdk/s3-request-presigner'],
  'store/write-once-folder.ts': ['node:*'],
  'util/node-read.ts': ['node:*'],
  'util/node-sha256.ts': ['node:*'],
  'util/node-write.ts': ['node:*'],
  'wallet/encryption.ts': ['@noble/ciphers/salsa.js', 'hash-wasm'],
  'wallet/folder.ts': ['node:*'],
  'wallet/phrase.ts': [
    '@noble/hashes/pbkdf2.js',
    '@noble/hashes/sha2.js',
    '@scure/bip39',
    '@scure/bip39/wordlists/english.js',
    '@scure/sr25519',
  ],
  'verify/folder-record.ts': ['node:*'],
  'verify/merge-thread.ts': ['node:*'],
  'verify/merge-worker.ts': ['node:*'],
  'engine/onnx-schema.ts': ['protobufjs/light.js'],
  'engine/placement.ts': ['node:*'],
  'engine/session.ts': ['node:module', 'onnxruntime-node', 'onnxruntime-web'],
  'data/tokenizer.ts': ['@huggingface/tokenizers'],
  'data/pipeline/chunk-threads.ts': ['node:*'],
  'data/pipeline/chunk-worker.ts': ['node:*'],
  'data/pipeline/download.ts': ['node:*'],
  'data/pipeline/durable.ts': ['node:*'],
  'data/pipeline/hub-files.ts': ['@huggingface/hub'],
  'data/pipeline/input-bytes.ts': ['node:*'],
  'data/pipeline/language.ts': ['eld/small'],
  'data/pipeline/parquet.ts': ['node:*', 'hyparquet', 'hyparquet-compressors'],
  'data/pipeline/prepare.ts': ['node:*'],
  'data/pipeline/zstd.ts': ['fzstd', 'hash-wasm'],
  'data/prepare-corpus.ts': ['node:*'],
  'data/prepared.ts': ['node:*'],
};

/** Parsing at an edge is allowed everywhere; hashes and signatures only in the protocol. */
const pureEverywhere = ['zod'];
const pureInProtocol = /^(@noble\/|@scure\/)/;

/**
 * The dashboard runs in browsers: it may read the protocol, what the ledger signs and hashes (decision 0019), and these packages.
 */
const webFolders = ['protocol', 'util'];
const webFiles = ['ledger/calls.ts', 'ledger/genesis.ts', 'ledger/hash-chain.ts'];
const webPackages = ['preact', 'preact/hooks', '@preact/signals', 'uplot', 'uplot/dist/uPlot.min.css', 'zod'];

interface SourceFile {
  /** Path below `src/`, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Paths below `src/`. */
  readonly internal: readonly string[];
  /** Package names and `node:` modules. */
  readonly external: readonly string[];
}

const sourceRoot = join(import.meta.dirname, '..', 'src');
const webRoot = join(import.meta.dirname, '..', 'web', 'src');

function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const found = [
    ...code.matchAll(/^\s*(?:import|export)\b[^;'"`]*?\bfrom\s*['"]([^'"]+)['"]/gm),
    ...code.matchAll(/^\s*import\s*['"]([^'"]+)['"]/gm),
    ...code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g),
    ...code.matchAll(/\brequire\(\s*['"]([^'"]+)['"]/g),
  ];
  return found.map((match) => match[1]!);
}

function readSources(root: string): readonly SourceFile[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .filter((path) => !path.includes('/assembly/')) // AssemblyScript: compiled apart, imports nothing of ours
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      const imports = importsOf(text);
      return {
        path,
        text,
        internal: imports.filter((i) => i.startsWith('.')).map((i) => posix.normalize(posix.join(dirname(path), i))),
        external: imports.filter((i) => !i.startsWith('.')),
      };
    });
}

const sources = readSources(sourceRoot);
const webSources = readSources(webRoot);
const shipped = sources.filter(({ path }) => !path.endsWith('.test.ts') && !/(^|\/)test-support\b/.test(path));
const folderOf = (path: string): string => path.split('/')[0]!;

function reachable(folder: string): ReadonlySet<string> {
  const seen = new Set([folder]);
  for (const name of seen) for (const next of layers[name] ?? []) seen.add(next);
  return seen;
}

/** A path of the graph that ends where it began, or null. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): readonly string[] | null {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): readonly string[] | null => {
    if (done.has(node)) return null;
    const at = path.indexOf(node);
    if (at >= 0) return [...path.slice(at), node];
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next);
      if (cycle !== null) return cycle;
    }
    path.pop();
    done.add(node);
    return null;
  };
  for (const node of graph.keys()) {
    const cycle = visit(node);
    if (cycle !== null) return cycle;
  }
  return null;
}

function mayImport(path: string, external: string): boolean {
  if (pureEverywhere.includes(external)) return true;
  if (folderOf(path) === 'protocol' && pureInProtocol.test(external)) return true;
  return Object.entries(adapters).some(([pattern, packages]) => {
    const isMatch = pattern.endsWith('/*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern;
    return isMatch && packages.some((p) => (p === 'node:*' ? external.startsWith('node:') : p === external));
  });
}

describe('architecture', () => {
  it('has every folder of src/ in the table', () => {
    expect([...new Set(sources.map(({ path }) => folderOf(path)))].filter((folder) => !(folder in layers))).toEqual([]);
  });

  it('imports only along the table', () => {
    const wrong = shipped.flatMap(({ path, internal }) => {
      const allowed = isStep(path)
        ? new Set(stepLayers.flatMap((layer) => [...reachable(layer)]))
        : reachable(folderOf(path));
      return internal
        .filter((target) => folderOf(target) !== folderOf(path) && !allowed.has(folderOf(target)))
        .map((target) => `${path} → ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it('loads next to nothing before a command is chosen', () => {
    const loaded = new Set(['cli/main.ts']);
    for (const path of loaded) {
      const code = sources.find((source) => source.path === path)!.text;
      const values = code.matchAll(/^import (?!type\b)[^;'"]*?\bfrom '(\.[^']+)'/gm);
      for (const [, target] of values) loaded.add(posix.normalize(posix.join(dirname(path), target!)));
    }
    const heavy = [...loaded].filter((path) => !/^(cli|util)\//.test(path) && path !== 'engine/device.ts');
    expect(heavy).toEqual([]);
  });

  it('keeps decisions apart from what does them', () => {
    const wrong = shipped
      .filter(({ path }) => isStep(path))
      .flatMap(({ path, internal }) =>
        internal.filter((t) => /(shell|client)\.ts$/.test(t)).map((t) => `${path} → ${t}`),
      );
    expect(wrong).toEqual([]);
  });

  it('lets roles know ports, not adapters', () => {
    const wrong = shipped
      .filter(({ path }) => folderOf(path) === 'roles')
      .flatMap(({ path, internal }) =>
        internal
          .filter((t) => portFolders.includes(folderOf(t)) && !/\/(port|errors)\.ts$/.test(t))
          .map((t) => `${path} → ${t}`),
      );
    expect(wrong).toEqual([]);
  });

  it('has no cycle between files', () => {
    expect(findCycle(new Map(shipped.map(({ path, internal }) => [path, internal])))).toBeNull();
  });

  it('has no cycle between folders', () => {
    const graph = new Map<string, Set<string>>();
    for (const { path, internal } of shipped) {
      const targets = graph.get(folderOf(path)) ?? new Set();
      for (const target of internal) if (folderOf(target) !== folderOf(path)) targets.add(folderOf(target));
      graph.set(folderOf(path), targets);
    }
    expect(findCycle(new Map([...graph].map(([folder, targets]) => [folder, [...targets]])))).toBeNull();
  });

  it('imports node: and vendor packages only in adapters', () => {
    const wrong = shipped.flatMap(({ path, external }) =>
      external.filter((name) => !mayImport(path, name)).map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('lists no adapter that is not there', () => {
    const isThere = (pattern: string): boolean =>
      pattern.endsWith('/*')
        ? shipped.some(({ path }) => path.startsWith(pattern.slice(0, -1)))
        : shipped.some(({ path }) => path === pattern);
    expect(Object.keys(adapters).filter((pattern) => !isThere(pattern))).toEqual([]);
  });

  it('reads the environment only in cli/', () => {
    const wrong = shipped.filter(({ path, text }) => folderOf(path) !== 'cli' && /process\.env\b/.test(text));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('has no barrels, and names every relative import with .ts', () => {
    const wrong = shipped
      .filter(({ path }) => path !== 'index.ts')
      .filter(({ text, internal }) => {
        const own = text
          .replace(/\/\*[\s\S]*?\*\//g, '')
          .replace(/^\s*\/\/.*$/gm, '')
          .replace(/^\s*export\s*(type\s*)?(\*(\s*as\s*\w+)?|\{[^}]*\})\s*from\s*['"][^'"]+['"];?/gm, '');
        const isBarrel = own.trim() === '' || /^\s*export\s*\*/m.test(text);
        return isBarrel || internal.some((target) => !/\.(ts|json)$/.test(target));
      });
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('opens each file with what it is for', () => {
    const wrong = sources.filter(
      ({ path, text }) => !path.endsWith('.generated.ts') && !/^(#!.*\n)?\/\*\*\s*(\*\s*)?@file/.test(text),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('lets the dashboard import the protocol and its own packages only', () => {
    const isOurs = (target: string): boolean => {
      const [, path] = /^(?:\.\.\/)+src\/(.*)$/.exec(target) ?? [];
      if (path === undefined) return !target.startsWith('..');
      return webFiles.includes(path) || webFolders.some((folder) => path.startsWith(`${folder}/`));
    };
    const wrong = webSources
      .filter(({ path }) => !/\.test\.tsx?$/.test(path))
      .flatMap(({ path, internal, external }) => [
        ...internal.filter((target) => !isOurs(target)).map((target) => `${path} → ${target}`),
        ...external.filter((name) => !webPackages.includes(name)).map((name) => `${path} imports ${name}`),
      ]);
    expect(wrong).toEqual([]);
  });

  it('has no cycle between files of the dashboard, but for pages that are loaded when opened', () => {
    expect(findCycle(new Map(webSources.map(({ path, internal }) => [path, internal])))).toBeNull();
  });

  it('opens each file of the dashboard with what it is for', () => {
    expect(webSources.filter(({ text }) => !/^\/\*\*\s*(\*\s*)?@file/.test(text)).map(({ path }) => path)).toEqual([]);
  });

  it('runs every test of the whole that starts the program one by one', () => {
    const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts'));
    const starts = files.filter((name) =>
      /'bin', 'accrete'|join\(root, 'bin\/accrete'|TwoSyncers/.test(
        readFileSync(join(import.meta.dirname, name), 'utf8'),
      ),
    );
    // This file names what it looks for.
    const expected = starts.filter((name) => name !== 'architecture.test.ts').map((name) => `tests/${name}`);
    expect([...networks].sort()).toEqual(expected.sort());
  });
});
