/**
 * @file A hub on 127.0.0.1 that speaks the protocol of Hugging Face over real HTTP. Uploads: repositories, preupload, LFS batch,
 * PUT of bytes whole or in parts, commits as NDJSON on a checked parent, tags. Downloads: revisions, trees with their hashes,
 * files, large ones from another address by ranges. It stores what it is sent, checks hashes and sizes, and fails where a test tells it to.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubFault {
  /** On `METHOD /path`. */
  readonly at: RegExp;
  /** How often; 1 by default. */
  times?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Closes the connection once so many bytes of the body have come. */
  readonly dropAfterBytes?: number;
  /** Closes the connection once so many bytes of a file have been sent, and `isTaken` says that they have come. */
  readonly cut?: { readonly afterBytes: number; readonly isTaken: () => boolean };
  /** The request is done, and the connection closed instead of an answer. */
  readonly dropAnswer?: boolean;
  /** Done before the request is. */
  readonly before?: () => void;
}

interface StoredFile {
  readonly size: number;
  /** Of large files: their SHA-256. */
  readonly lfs: string | null;
  readonly bytes: Buffer;
}

interface Repository {
  head: string | null;
  readonly commits: Map<string, ReadonlyMap<string, StoredFile>>;
  readonly tags: Map<string, string>;
  readonly messages: string[];
}

export const writeToken = 'hf_write';
export const readToken = 'hf_read';

export class HubServer {
  readonly repositories = new Map<string, Repository>();
  /** Large files by hash; what was cut short is not here. */
  readonly objects = new Map<string, Buffer>();
  /** `METHOD /path`, in order. */
  readonly requests: string[] = [];
  /** Ranges of large files that were asked for. */
  readonly ranges: string[] = [];
  /** Headers of uploads. */
  readonly puts: { readonly oid: string; readonly length: string | undefined; readonly hasToken: boolean }[] = [];
  faults: HubFault[] = [];
  /** Large files are asked for in parts of so many bytes. */
  partBytes: number | null = null;
  /** What a commit on another parent gets. */
  movedStatus: 409 | 412 = 412;
  readonly #parts = new Map<string, Map<number, Buffer>>();
  readonly #server: Server;
  url = '';

  constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Files at a revision, as text or bytes. */
  files(repo: string, revision: string): ReadonlyMap<string, StoredFile> {
    const { tags, commits } = this.repositories.get(repo)!;
    return commits.get(tags.get(revision) ?? revision)!;
  }

  create(repo: string): Repository {
    const made: Repository = { head: null, commits: new Map(), tags: new Map(), messages: [] };
    this.repositories.set(repo, made);
    this.#commit(
      made,
      new Map([['.gitattributes', fileOf(Buffer.from('*.safetensors filter=lfs\n'))]]),
      'initial commit',
    );
    return made;
  }

  /** By somebody else. */
  change(repo: string, path: string, text: string): void {
    const made = this.repositories.get(repo)!;
    this.#commit(made, new Map([...made.commits.get(made.head!)!, [path, fileOf(Buffer.from(text))]]), 'by hand');
  }

  /** Files of somebody's checkpoint, the safetensors among them large; in place of what was there. */
  add(repo: string, files: ReadonlyMap<string, Buffer>): string {
    const made = this.repositories.get(repo) ?? this.create(repo);
    const stored = [...files].map(([path, bytes]): [string, StoredFile] => {
      const isLarge = path.endsWith('.safetensors');
      if (isLarge) this.objects.set(sha('sha256', bytes), bytes);
      return [path, { ...fileOf(bytes), lfs: isLarge ? sha('sha256', bytes) : null }];
    });
    return this.#commit(made, new Map(stored), 'a checkpoint');
  }

  #commit(repository: Repository, files: ReadonlyMap<string, StoredFile>, message: string): string {
    const oid = randomBytes(20).toString('hex');
    repository.commits.set(oid, files);
    repository.head = oid;
    repository.messages.push(message);
    return oid;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const line = `${request.method} ${request.url!.split('?')[0]}`;
    this.requests.push(line);
    const fault = this.faults.find(({ at, times = 1 }) => times > 0 && at.test(line));
    if (fault !== undefined) fault.times = (fault.times ?? 1) - 1;
    fault?.before?.();
    if (fault?.dropAfterBytes !== undefined) return await dropAfter(request, fault.dropAfterBytes);
    const body = await bodyOf(request);
    const file = fault?.status === undefined ? this.#fileOf(line, request) : null;
    if (file !== null) return sendFile(file, request, response, fault?.cut);
    if (fault?.status !== undefined)
      return send(response, fault.status, { error: `status ${fault.status} by the test` }, fault.headers);
    const { status, answer, headers } = this.#route(line, request, body);
    if (fault?.dropAnswer) return void request.socket.destroy();
    send(response, status, answer, headers);
  }

  /** Bytes of a file: a small one by its path, a large one by its hash. */
  #fileOf(line: string, request: IncomingMessage): Buffer | null {
    const object = /^GET \/cdn\/([0-9a-f]{64})$/.exec(line)?.[1];
    if (object !== undefined) {
      this.ranges.push(request.headers.range ?? 'all');
      return this.objects.get(object) ?? null;
    }
    const file = this.#resolved(line);
    return file === undefined || file.lfs !== null || tokenOf(request) === undefined ? null : file.bytes;
  }

  #resolved(line: string): StoredFile | undefined {
    const [, repo, commit, path] = /^GET \/([^/]+\/[^/]+)\/resolve\/([0-9a-f]{40})\/(.+)$/.exec(line) ?? [];
    return this.repositories
      .get(repo ?? '')
      ?.commits.get(commit!)
      ?.get(decodeURIComponent(path!));
  }

  #route(line: string, request: IncomingMessage, body: Buffer): Answer {
    const upload = /^PUT \/lfs\/([0-9a-f]{64})$/.exec(line);
    if (upload !== null) return this.#put(upload[1]!, request, body);
    const part = /^PUT \/lfs\/([0-9a-f]{64})\/(\d+)$/.exec(line);
    if (part !== null) return this.#putPart(part[1]!, Number(part[2]), body);
    const end = /^POST \/lfs\/([0-9a-f]{64})\/complete$/.exec(line);
    if (end !== null) return this.#complete(end[1]!, body);
    const token = tokenOf(request);
    if (token === undefined) return refuse(401, 'Invalid credentials in Authorization header');
    if (line.startsWith('POST') && !line.includes('/paths-info/') && token === readToken)
      return refuse(403, "You don't have the required permissions");
    if (line === 'POST /api/repos/create') return this.#create(body);
    const large = this.#resolved(line)?.lfs;
    if (large) return { status: 302, answer: {}, headers: { location: `${this.url}/cdn/${large}` } };
    const [, api, rest] = /^(?:GET|POST) \/(?:api\/models\/([^/]+\/[^/]+)|[^/]+\/[^/]+\.git)\/(.*)$/.exec(line) ?? [];
    const name = api ?? /^POST \/([^/]+\/[^/]+)\.git\//.exec(line)?.[1];
    const repository = name === undefined ? undefined : this.repositories.get(name);
    if (repository === undefined) return refuse(404, 'Repository not found');
    if (rest === 'refs') return refsOf(repository);
    if (rest === 'preupload/main') return preupload(body);
    if (rest === 'info/lfs/objects/batch') return this.#batch(body);
    if (rest === 'commit/main') return this.#receive(repository, body);
    const [, read, at] = /^(revision|tree)\/(.+)$/.exec(rest ?? '') ?? [];
    if (read === 'revision') return revisionOf(name!, repository, decodeURIComponent(at!));
    if (read === 'tree') return treeOf(repository, at!);
    const [, kind, revision] = /^(tag|paths-info)\/([0-9a-f]{40})$/.exec(rest ?? '') ?? [];
    if (kind === 'tag') return tag(repository, revision!, body);
    if (kind === 'paths-info') return pathsInfo(repository, revision!, body);
    return refuse(404, `no such endpoint: ${line}`);
  }

  #create(body: Buffer): Answer {
    const { name, organization } = JSON.parse(body.toString());
    const repo = `${organization}/${name}`;
    if (this.repositories.has(repo)) return refuse(409, 'You already created this model repo');
    this.create(repo);
    return { status: 200, answer: { url: `${this.url}/${repo}`, id: repo } };
  }

  #batch(body: Buffer): Answer {
    const { transfers, objects, operation, hash_algo } = JSON.parse(body.toString());
    if (operation !== 'upload' || hash_algo !== 'sha_256' || !transfers.includes('basic'))
      return refuse(400, 'bad LFS batch request');
    const answers = (objects as { oid: string; size: number }[]).map(({ oid, size }) => ({
      ...{ oid, size },
      ...(this.objects.has(oid) ? {} : { actions: { upload: this.#uploadAction(oid, size) } }),
    }));
    return { status: 200, answer: { transfer: 'basic', objects: answers } };
  }

  #uploadAction(oid: string, size: number): object {
    if (this.partBytes === null) return { href: `${this.url}/lfs/${oid}`, header: {} };
    const count = Math.ceil(size / this.partBytes);
    const parts = Array.from({ length: count }, (_, i) => [
      String(i + 1).padStart(5, '0'),
      `${this.url}/lfs/${oid}/${i + 1}`,
    ]);
    return {
      href: `${this.url}/lfs/${oid}/complete`,
      header: { chunk_size: String(this.partBytes), ...Object.fromEntries(parts) },
    };
  }

  #put(oid: string, request: IncomingMessage, body: Buffer): Answer {
    const { authorization, 'content-length': length } = request.headers;
    this.puts.push({ oid, length, hasToken: authorization !== undefined });
    return this.#store(oid, body);
  }

  #store(oid: string, bytes: Buffer): Answer {
    if (sha('sha256', bytes) !== oid) return refuse(400, 'the bytes have another hash');
    this.objects.set(oid, bytes);
    return { status: 200, answer: {} };
  }

  #putPart(oid: string, number: number, body: Buffer): Answer {
    const parts = this.#parts.get(oid) ?? new Map<number, Buffer>();
    this.#parts.set(oid, parts.set(number, body));
    return { status: 200, answer: {}, headers: { etag: `"${sha('sha1', body)}"` } };
  }

  #complete(oid: string, body: Buffer): Answer {
    const { parts } = JSON.parse(body.toString()) as { parts: { partNumber: number; etag: string }[] };
    const stored = this.#parts.get(oid) ?? new Map();
    for (const { partNumber, etag } of parts)
      if (etag !== `"${sha('sha1', stored.get(partNumber) ?? Buffer.alloc(0))}"`) return refuse(400, 'a wrong etag');
    return this.#store(oid, Buffer.concat(parts.map(({ partNumber }) => stored.get(partNumber)!)));
  }

  /** All lines, or nothing. */
  #receive(repository: Repository, body: Buffer): Answer {
    const lines = body
      .toString()
      .split('\n')
      .map((text) => JSON.parse(text));
    const header = lines[0]?.value;
    if (lines[0]?.key !== 'header') return refuse(400, 'expected a header first');
    if (header.parentCommit !== undefined && header.parentCommit !== repository.head)
      return refuse(this.movedStatus, 'A commit has happened since. Please refresh and try again.');
    const files = new Map(repository.commits.get(repository.head!) ?? []);
    for (const { key, value } of lines.slice(1)) {
      if (key === 'file') files.set(value.path, fileOf(Buffer.from(value.content, 'base64')));
      else if (key === 'deletedFile') files.delete(value.path);
      else if (key === 'lfsFile') {
        const bytes = this.objects.get(value.oid);
        if (bytes === undefined || bytes.length !== value.size)
          return refuse(400, `LFS pointer to nothing: ${value.path}`);
        files.set(value.path, { size: bytes.length, lfs: value.oid, bytes });
      } else return refuse(400, `unknown key ${key}`);
    }
    const oid = this.#commit(repository, files, header.summary);
    return { status: 200, answer: { success: true, commitOid: oid, commitUrl: `${this.url}/commit/${oid}` } };
  }
}

interface Answer {
  readonly status: number;
  readonly answer: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const refuse = (status: number, error: string): Answer => ({ status, answer: { error } });
const sha = (kind: 'sha1' | 'sha256', bytes: Buffer): string => createHash(kind).update(bytes).digest('hex');
const fileOf = (bytes: Buffer): StoredFile => ({ size: bytes.length, lfs: null, bytes });

function tokenOf({ headers }: IncomingMessage): string | undefined {
  const token = /^Bearer (.*)$/.exec(headers.authorization ?? '')?.[1];
  return token === writeToken || token === readToken ? token : undefined;
}

function sendFile(file: Buffer, request: IncomingMessage, response: ServerResponse, cut: HubFault['cut']): void {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')?.map(Number) ?? [];
  const part = from === undefined ? file : file.subarray(from, to! + 1);
  response.writeHead(from === undefined ? 200 : 206, { 'content-length': part.length });
  if (cut === undefined) return void response.end(part);
  response.write(part.subarray(0, cut.afterBytes));
  const looking = setInterval(() => {
    if (!cut.isTaken()) return;
    clearInterval(looking);
    request.socket.destroy();
  }, 10);
  request.socket.once('close', () => clearInterval(looking));
}

function send(response: ServerResponse, status: number, answer: unknown, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(answer));
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function dropAfter(request: IncomingMessage, bytes: number): Promise<void> {
  let seen = 0;
  request.on('error', () => {});
  for await (const chunk of request) {
    seen += (chunk as Buffer).length;
    if (seen >= bytes) break;
  }
  request.socket.destroy();
}

function refsOf({ head, tags }: Repository): Answer {
  const ref = (kind: string) => (name: string, targetCommit: string) => ({
    name,
    ref: `refs/${kind}/${name}`,
    targetCommit,
  });
  const branches = head === null ? [] : [ref('heads')('main', head)];
  return {
    status: 200,
    answer: { branches, converts: [], tags: [...tags].map(([name, at]) => ref('tags')(name, at)) },
  };
}

function preupload(body: Buffer): Answer {
  const { files } = JSON.parse(body.toString()) as { files: { path: string; size: number; sample: string }[] };
  const modes = files.map(({ path, size, sample }) => {
    const isText = Buffer.from(sample, 'base64').length === Math.min(512, size) && !/\.(safetensors|gguf)$/.test(path);
    return { path, uploadMode: isText && size < 10e6 ? 'regular' : 'lfs', shouldIgnore: false };
  });
  return { status: 200, answer: { files: modes } };
}

function tag({ tags, commits }: Repository, revision: string, body: Buffer): Answer {
  const { tag: name } = JSON.parse(body.toString());
  if (!commits.has(revision)) return refuse(404, 'no such revision');
  if (tags.has(name)) return refuse(409, `Tag reference exists already`);
  tags.set(name, revision);
  return { status: 200, answer: {} };
}

function revisionOf(id: string, { head, tags, commits }: Repository, name: string): Answer {
  const commit = name === 'main' ? head : (tags.get(name) ?? (commits.has(name) ? name : null));
  return commit === null ? refuse(404, `Invalid rev id: ${name}`) : { status: 200, answer: { id, sha: commit } };
}

function treeOf({ commits }: Repository, commit: string): Answer {
  const files = commits.get(commit);
  return files === undefined ? refuse(404, 'no such revision') : { status: 200, answer: [...files].map(infoOf) };
}

function pathsInfo({ commits }: Repository, revision: string, body: Buffer): Answer {
  const files = commits.get(revision);
  if (files === undefined) return refuse(404, 'no such revision');
  const { paths } = JSON.parse(body.toString()) as { paths: string[] };
  const infos = paths.flatMap((path) => {
    const file = files.get(path);
    if (file === undefined) return [];
    return [infoOf([path, file])];
  });
  return { status: 200, answer: infos };
}

function infoOf([path, { size, lfs, bytes }]: readonly [string, StoredFile]): object {
  const oid = createHash('sha1').update(`blob ${size}\0`).update(bytes).digest('hex');
  return { type: 'file', path, size, oid, ...(lfs === null ? {} : { lfs: { oid: lfs, size, pointerSize: 130 } }) };
}
