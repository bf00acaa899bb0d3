/**
 * @file A model repository of a hub that speaks Hugging Face's protocol, by `@huggingface/hub`. Large files go up first (those
 * that the hub has are not sent again), then everything becomes visible by one commit on the head that was read, then the
 * tag is set on it. Transfers are plain LFS, not xet (decision 0021).
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { type CommitOperation, commit, createRepo, HubApiError, type PathInfo, pathsInfo } from '@huggingface/hub';
import { z } from 'zod';
import type { Clock } from '../util/clock.ts';
import { PublishError } from './errors.ts';
import type { Publication, Published, PublishFile, PublishOptions, PublishTarget } from './port.ts';
import { errorOf, hubFetch, interrupted, moved } from './retrying-fetch.ts';

export interface HubOptions {
  /** `owner/name`. */
  readonly repo: string;
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly token: string;
  /** Of a repository that is made now. */
  readonly isPrivate: boolean;
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'sleep' | 'nowMs'>;
}

const branch = 'main';
const pathsAtOnce = 500;

const refsSchema = z.looseObject({
  branches: z.array(z.looseObject({ name: z.string(), targetCommit: z.string().max(64) })).max(10_000),
  tags: z.array(z.looseObject({ name: z.string(), targetCommit: z.string().max(64) })).max(100_000),
});

interface Refs {
  /** Null: the branch has no commit yet. */
  readonly head: string | null;
  readonly tags: ReadonlyMap<string, string>;
}

export function openHub(options: HubOptions): PublishTarget {
  return {
    name: `hf://${options.repo}`,
    publish: async (publication, run) => await new HubPublishing(options, publication, run).run(),
  };
}

class HubPublishing {
  readonly #hub: HubOptions;
  readonly #publication: Publication;
  readonly #run: PublishOptions;

  constructor(hub: HubOptions, publication: Publication, run: PublishOptions) {
    this.#hub = hub;
    this.#publication = publication;
    this.#run = run;
  }

  async run(): Promise<Published> {
    const refs = (await this.#refs()) ?? (await this.#create());
    const { tag } = this.#publication;
    const tagged = refs.tags.get(tag);
    if (tagged !== undefined) {
      if (await this.#isAt(tagged)) return this.#published(tagged, { isKnown: true, isHead: refs.head === tagged });
      throw new PublishError(
        'TAKEN',
        `tag ${tag} of ${this.#hub.repo} is commit ${tagged.slice(0, 12)} with other files; a published release is not rewritten: give another --tag or repository`,
      );
    }
    const { head } = refs;
    const expected = this.#run.parent ?? this.#run.last?.revision ?? null;
    // A commit whose answer was lost is found again by its files.
    if (head !== null && (await this.#isAt(head))) return await this.#tag(head);
    if (expected !== null && head !== expected)
      throw new PublishError(
        'MOVED',
        `main of ${this.#hub.repo} is at ${head?.slice(0, 12) ?? 'no commit'}, not at ${expected.slice(0, 12)} where this run left it: somebody else changed it; look at what changed, then publish with --parent ${head ?? 'COMMIT'}`,
        { context: { head, expected } },
      );
    return await this.#tag(await this.#commit(head));
  }

  /** Null: there is no such repository. */
  async #refs(): Promise<Refs | null> {
    const { repo, token } = this.#hub;
    const response = await this.#fetch({ expected: [404] })(this.#url(`api/models/${repo}/refs`), {
      headers: { authorization: `Bearer ${token}` },
    });
    if (response.status === 404) return null;
    const parsed = refsSchema.safeParse(await response.json().catch(() => null));
    if (!parsed.success) throw badAnswer('the branches and tags');
    const { branches, tags } = parsed.data;
    return {
      head: branches.find(({ name }) => name === branch)?.targetCommit ?? null,
      tags: new Map(tags.map(({ name, targetCommit }) => [name, targetCommit])),
    };
  }

  async #create(): Promise<Refs> {
    const { repo, endpoint, token, isPrivate } = this.#hub;
    this.#run.say(`making the repository ${repo}`);
    const made = await this.#call(() =>
      createRepo({
        ...{ repo: { type: 'model', name: repo }, accessToken: token, hubUrl: endpoint },
        ...(isPrivate ? { visibility: 'private' as const } : {}),
        fetch: this.#fetch({ expected: [409] }),
      }).catch((error: unknown) => {
        // Made by somebody at the same time.
        if (!(error instanceof HubApiError && error.statusCode === 409)) throw error;
      }),
    );
    if (made?.id === undefined && made !== undefined) throw badAnswer('the new repository');
    const refs = await this.#refs();
    if (refs === null) throw badAnswer(`a repository ${repo} that was made and is not there`);
    return refs;
  }

  /** Of the whole publication, on `parent`. */
  async #commit(parent: string | null): Promise<string> {
    const { repo, endpoint, token } = this.#hub;
    const { title, files } = this.#publication;
    const operations = await Promise.all(files.map(operationOf));
    const paths = new Set(files.map(({ path }) => path));
    const { last } = this.#run;
    // Only where the branch is as this run left it: then what it named is there, and is its own.
    const stale = last !== null && last.revision === parent ? last.files.filter((path) => !paths.has(path)) : [];
    const removed = stale.map((path): CommitOperation => ({ operation: 'delete', path }));
    const lost: { head: string | null } = { head: null };
    const beforeRetry = async (): Promise<void> => {
      const head = (await this.#refs())?.head ?? null;
      if (head === parent) return;
      if (head === null || !(await this.#isAt(head))) throw moved(repo);
      lost.head = head;
      throw new PublishError('MOVED', 'the commit went through before the connection broke');
    };
    const uploads = this.#fetch({ counted: true });
    const commits = this.#fetch({ beforeRetry });
    const isCommit = (input: Parameters<typeof fetch>[0]): boolean =>
      String(input).startsWith(`${endpoint}/api/models/${repo}/commit/`);
    try {
      const done = await this.#call(() =>
        commit({
          ...{ repo: { type: 'model', name: repo }, accessToken: token, hubUrl: endpoint, branch, title },
          operations: [...operations, ...removed],
          ...(parent === null ? {} : { parentCommit: parent }),
          useXet: false,
          abortSignal: this.#run.signal,
          fetch: async (input, init) => await (isCommit(input) ? commits : uploads)(input, init),
        }),
      );
      const oid = done?.commit.oid;
      if (typeof oid !== 'string' || oid === '') throw badAnswer('the commit');
      return oid;
    } catch (error) {
      if (lost.head !== null) return lost.head;
      throw error;
    }
  }

  /** The tag, which is the last thing to appear. */
  async #tag(revision: string): Promise<Published> {
    const { repo, token } = this.#hub;
    const { tag, title } = this.#publication;
    const response = await this.#fetch({ expected: [409] })(this.#url(`api/models/${repo}/tag/${revision}`), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ tag, message: title }),
    });
    if (response.status === 409) {
      // By an earlier try whose answer was lost, or by somebody else.
      const there = (await this.#refs())?.tags.get(tag);
      if (there !== revision) throw errorOf(409, { repo, url: response.url, detail: `tag ${tag} is taken` });
    }
    return this.#published(revision, { isKnown: false, isHead: true });
  }

  #published(revision: string, found: Pick<Published, 'isKnown' | 'isHead'>): Published {
    const { repo, endpoint } = this.#hub;
    return { revision, ...found, url: `${endpoint}/${repo}/tree/${encodeURIComponent(this.#publication.tag)}` };
  }

  /** Whether every file of the publication is there with these bytes. */
  async #isAt(revision: string): Promise<boolean> {
    const { repo, endpoint, token } = this.#hub;
    const { files } = this.#publication;
    for (let at = 0; at < files.length; at += pathsAtOnce) {
      const some = files.slice(at, at + pathsAtOnce);
      const infos = await this.#call(() =>
        pathsInfo({
          ...{ repo: { type: 'model', name: repo }, accessToken: token, hubUrl: endpoint, revision },
          paths: some.map(({ path }) => path),
          fetch: this.#fetch({}),
        }),
      );
      const byPath = new Map(infos.map((info) => [info.path, info]));
      for (const file of some) if (!(await isSame(file, byPath.get(file.path)))) return false;
    }
    return true;
  }

  #fetch(options: {
    expected?: readonly number[];
    beforeRetry?: () => Promise<void>;
    counted?: boolean;
  }): typeof fetch {
    const { say, signal } = this.#run;
    const { repo, clock } = this.#hub;
    const { counted, ...rest } = options;
    const get = hubFetch({ ...{ fetch: this.#hub.fetch, clock, signal, repo, say }, ...rest });
    if (counted !== true) return get;
    return async (input, init) => {
      const response = await get(input, init);
      if (init?.method === 'PUT' && init.body instanceof Blob) say(`uploaded ${init.body.size} bytes`);
      return response;
    };
  }

  /** Errors of the library as ours. */
  async #call<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof PublishError) throw cause;
      if (this.#run.signal.aborted) throw interrupted(cause);
      if (cause instanceof HubApiError && cause.statusCode !== undefined)
        throw errorOf(cause.statusCode, { repo: this.#hub.repo, url: cause.url, detail: cause.message });
      const { code, path } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'EACCES')
        throw new PublishError('FILE_CHANGED', `${path} cannot be read any more; nothing was published`, { cause });
      throw new PublishError('BAD_ANSWER', `the hub's answer makes no sense: ${(cause as Error).message}`, { cause });
    }
  }

  #url(path: string): string {
    return `${this.#hub.endpoint}/${path}`;
  }
}

const badAnswer = (what: string): PublishError =>
  new PublishError('BAD_ANSWER', `the hub's answer makes no sense (${what}); check HF_ENDPOINT`);

async function operationOf({ path, from }: PublishFile): Promise<CommitOperation> {
  const content = 'bytes' in from ? new Blob([from.bytes as Uint8Array<ArrayBuffer>]) : pathToFileURL(from.file);
  return { operation: 'addOrUpdate', path, content };
}

/** By the SHA-256 of a large file, and git's hash of a small one. */
async function isSame({ from }: PublishFile, info: PathInfo | undefined): Promise<boolean> {
  if (info === undefined) return false;
  const size = 'bytes' in from ? from.bytes.length : (await stat(from.file)).size;
  if (size !== (info.lfs?.size ?? info.size)) return false;
  const hash = createHash(info.lfs === undefined ? 'sha1' : 'sha256');
  if (info.lfs === undefined) hash.update(`blob ${size}\0`);
  if ('bytes' in from) hash.update(from.bytes);
  else for await (const chunk of createReadStream(from.file)) hash.update(chunk as Buffer);
  return hash.digest('hex') === (info.lfs?.oid ?? info.oid);
}
