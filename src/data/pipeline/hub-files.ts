/** @file Adapter of `@huggingface/hub` for reading: the files of a data set at one commit, with their hashes. */
import { datasetInfo, HubApiError, listFiles } from '@huggingface/hub';
import { DataError } from '../errors.ts';
import { formatOfName, type SourceInput } from './sources.ts';

export interface HubAddress {
  /** `owner/name`. */
  readonly dataset: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** A folder, a file, or a pattern with `*` (within a folder) and `**`; empty: all. */
  readonly path: string;
}

export interface HubFiles {
  readonly revision: string;
  readonly inputs: readonly SourceInput[];
  /** As the data set's card has it; null: it does not say, or says several. */
  readonly licence: string | null;
}

const maxFiles = 1_000_000;

/** `hf://datasets/OWNER/NAME[@REVISION][/PATH]`; null: it is no such address. */
export function parseHubAddress(text: string): HubAddress | null {
  const found =
    /^hf:\/\/datasets\/([A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})(?:@([\w.-]{1,128}))?(?:\/(.*))?$/.exec(text);
  if (found === null) return null;
  return { dataset: found[1]!, revision: found[2] ?? 'main', path: found[3] ?? '' };
}

/** Files that hold text, sorted by path. @throws DataError NOT_FOUND, FORBIDDEN, UNAVAILABLE */
export async function hubFiles(
  address: HubAddress,
  options: { readonly endpoint: string; readonly token: string | null; readonly fetch: typeof fetch },
): Promise<HubFiles> {
  const { endpoint: hubUrl, token, fetch } = options;
  const { dataset: name, path } = address;
  const access = { hubUrl, fetch, ...(token === null ? {} : { accessToken: token }) };
  const wants = patternOf(path);
  try {
    const info = await datasetInfo({
      name,
      revision: address.revision,
      additionalFields: ['sha', 'cardData'],
      ...access,
    });
    const revision = info.sha;
    if (!/^[0-9a-f]{40}$/.test(revision))
      throw new DataError('UNAVAILABLE', `${hubUrl}: the hub names no commit of ${name}`);
    const inputs: SourceInput[] = [];
    for await (const file of listFiles({ repo: { type: 'dataset', name }, revision, recursive: true, ...access })) {
      if (file.type !== 'file' || formatOfName(file.path) === null || !wants(file.path)) continue;
      if (inputs.length === maxFiles)
        throw new DataError('LIMIT', `${name}: more than ${maxFiles} files; choose some with a path`);
      inputs.push(inputOf(`${hubUrl}/datasets/${name}/resolve/${revision}/${encodePath(file.path)}`, file));
    }
    if (inputs.length === 0)
      throw new DataError(
        'NOT_FOUND',
        `hf://datasets/${name}: no text, JSON lines or Parquet file matches '${path || '**'}'`,
      );
    return { revision, inputs: inputs.sort((a, b) => (a.url! < b.url! ? -1 : 1)), licence: licenceOf(info.cardData) };
  } catch (cause) {
    throw asDataError(cause, name, hubUrl);
  }
}

const encodePath = (path: string): string => path.split('/').map(encodeURIComponent).join('/');

function inputOf(
  url: string,
  file: {
    readonly size: number;
    readonly oid?: string;
    readonly lfs?: { readonly oid: string; readonly size: number };
  },
): SourceInput {
  if (file.lfs !== undefined) return { url, sizeBytes: file.lfs.size, sha256: file.lfs.oid };
  return { url, sizeBytes: file.size, ...(file.oid === undefined ? {} : { gitSha1: file.oid }) };
}

/** Whether a path is what was asked for: itself, in that folder, or as the pattern says. */
export function patternOf(pattern: string): (path: string) => boolean {
  const plain = pattern.replace(/\/+$/, '');
  if (plain === '') return () => true;
  if (!plain.includes('*')) return (path) => path === plain || path.startsWith(`${plain}/`);
  const escaped = plain.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  const source = escaped.replace(/\*\*\/?|\*/g, (stars) => (stars.startsWith('**') ? '.*' : '[^/]*'));
  const expression = new RegExp(`^${source}$`);
  return (path) => expression.test(path);
}

function licenceOf(card: unknown): string | null {
  const { license } = (card ?? {}) as { license?: unknown };
  const single = Array.isArray(license) && license.length === 1 ? license[0] : license;
  return typeof single === 'string' && single.length > 0 && single.length <= 200 && single !== 'other' ? single : null;
}

function asDataError(cause: unknown, name: string, hubUrl: string): DataError {
  if (cause instanceof DataError) return cause;
  if (cause instanceof HubApiError) {
    const { statusCode } = cause;
    if (statusCode === 404)
      return new DataError(
        'NOT_FOUND',
        `${hubUrl} has no data set ${name} at that revision; check owner, name and revision`,
        { cause },
      );
    if (statusCode === 401 || statusCode === 403)
      return new DataError(
        'FORBIDDEN',
        `${hubUrl} shows ${name} only with a token; accept its terms and set HF_TOKEN`,
        { cause },
      );
    return new DataError('UNAVAILABLE', `${hubUrl} answers with status ${statusCode} for ${name}`, {
      cause,
      retryable: true,
    });
  }
  return new DataError('UNAVAILABLE', `${hubUrl} cannot be reached (${(cause as Error).message})`, {
    cause,
    retryable: true,
  });
}
