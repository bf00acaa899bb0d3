/**
 * @file A repository of the Hugging Face Hub, over its plain HTTP interface: the commit is fixed first, so that all files
 * are of one, and each is checked against the hash that the hub's listing gives: SHA-256 of large files, git's of small ones.
 */
import { z } from 'zod';
import { PullError } from './errors.ts';
import { fetchRange, fetchText, type RequestOptions } from './fetch.ts';
import { type RetryOptions, withRetries } from './retry.ts';
import type { PullFile, PullSource } from './source.ts';

export interface HubSourceOptions {
  readonly endpoint: string;
  readonly token: string | null;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** Also what no checkpoint needs: other formats, folders. */
  readonly takesAll: boolean;
  readonly retry: RetryOptions;
  readonly signal: AbortSignal;
}

const maxPageBytes = 16 * 1024 * 1024;
const maxFiles = 20_000;
const repoPattern = /^[\w][\w.-]{0,95}\/[\w][\w.-]{0,95}$/;
const partPattern = /^[\w][\w.-]{0,127}$/;

const commitSchema = z.looseObject({ sha: z.string().regex(/^[0-9a-f]{40}$/) });
const entrySchema = z.looseObject({
  type: z.string(),
  path: z.string().max(1_024),
  size: z.int().min(0).optional(),
  oid: z.string().optional(),
  lfs: z.looseObject({ oid: z.string(), size: z.int().min(0) }).nullish(),
});

export const isRepoName = (text: string): boolean => repoPattern.test(text);

/** @throws PullError */
export async function openHubSource(repo: string, options: HubSourceOptions): Promise<PullSource> {
  const { endpoint, token, revision, retry, signal } = options;
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const ask = <T>(url: string, schema: z.ZodType<T>): Promise<{ value: T; next: string | null }> =>
    withRetries(() => fetchJson(url, schema, { what: repo, headers, signal }), retry);
  const { sha } = (
    await ask(`${endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}`, commitSchema).catch(
      (error: PullError) => {
        if (error.code !== 'NOT_THERE') throw error;
        const sentence = `${endpoint}/${repo} has no revision ${revision}, or there is no such repository (a private one needs HF_TOKEN)`;
        throw new PullError('NO_SUCH_RELEASE', sentence, { cause: error });
      },
    )
  ).value;
  const files: PullFile[] = [];
  let page: string | null = `${endpoint}/api/models/${repo}/tree/${sha}?recursive=true`;
  while (page !== null) {
    const { value, next }: { value: z.infer<typeof entrySchema>[]; next: string | null } = await ask(
      page,
      z.array(entrySchema).max(maxFiles),
    );
    for (const entry of value)
      if (entry.type === 'file' && isWanted(entry.path, options)) files.push(fileOf(repo, entry));
    if (files.length > maxFiles) throw new PullError('BAD_RECORD', `${repo} lists more than ${maxFiles} files`);
    page = next;
  }
  if (files.length === 0)
    throw new PullError('NO_SUCH_RELEASE', `${repo} at ${sha.slice(0, 12)} holds no checkpoint; --all takes all files`);
  const at = (name: string): string =>
    `${endpoint}/${repo}/resolve/${sha}/${name.split('/').map(encodeURIComponent).join('/')}`;
  return {
    name: `${repo} at ${sha.slice(0, 12)}`,
    identity: `hub ${endpoint} ${repo} ${sha}`,
    files,
    read: (file, range) => fetchRange(at(file.name), range, { what: file.name, headers, signal }),
  };
}

/** The checkpoint lies at the top; other formats are large, and are taken when asked for. */
function isWanted(path: string, { takesAll }: HubSourceOptions): boolean {
  if (path === '.gitattributes') return false;
  return takesAll || !(path.includes('/') || path.startsWith('.') || /\.(gguf|bin|pt|pth|msgpack|h5|onnx)$/.test(path));
}

function fileOf(repo: string, { path, size, oid, lfs }: z.infer<typeof entrySchema>): PullFile {
  if (!path.split('/').every((part) => partPattern.test(part)))
    throw new PullError('BAD_RECORD', `${repo}: ${JSON.stringify(path.slice(0, 100))} is no name that is written here`);
  if (lfs && /^[0-9a-f]{64}$/.test(lfs.oid))
    return { name: path, sizeBytes: lfs.size, check: { kind: 'whole', algorithm: 'sha256', hash: lfs.oid } };
  if (size === undefined || oid === undefined || !/^[0-9a-f]{40}$/.test(oid))
    throw new PullError('BAD_RECORD', `${repo}: the hub gives no hash of ${path}; it cannot be checked`);
  return { name: path, sizeBytes: size, check: { kind: 'whole', algorithm: 'git-sha1', hash: oid } };
}

async function fetchJson<T>(
  url: string,
  schema: z.ZodType<T>,
  options: RequestOptions,
): Promise<{ value: T; next: string | null }> {
  const { text, headers } = await fetchText(url, maxPageBytes, options);
  const malformed = (cause: unknown): PullError =>
    new PullError('UNREACHABLE', `${url}: expected an answer of the hub; is HF_ENDPOINT right?`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw malformed(cause);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw malformed(parsed.error);
  const next = /<([^>]+)>;\s*rel="next"/.exec(headers.get('link') ?? '')?.[1] ?? null;
  // A page of another host would be asked with our token.
  if (next !== null && new URL(next, url).origin !== new URL(url).origin) throw malformed(`next page at ${next}`);
  return { value: parsed.data, next: next === null ? null : new URL(next, url).href };
}
