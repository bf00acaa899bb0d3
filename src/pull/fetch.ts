/** @file Requests of a pull: bounded, given up when nothing comes, and refusals in an operator's words. */
import { PullError } from './errors.ts';

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** An answer that brings nothing for so long is given up. */
  readonly idleMs?: number;
  /** What is asked for, for sentences. */
  readonly what: string;
}

const defaultIdleMs = 30_000;

/** Bytes [from, to) of what lies there; a server that does not know ranges is read from the beginning. */
export async function* fetchRange(
  url: string,
  { from, to }: { readonly from: number; readonly to: number },
  options: RequestOptions,
): AsyncGenerator<Uint8Array, void> {
  const range = { range: `bytes=${from}-${to - 1}` };
  let left = to - from;
  if (left === 0) return;
  for await (const { chunk, status } of fetchChunks(url, { ...options, headers: { ...options.headers, ...range } })) {
    // Without a 206 the answer begins at the first byte.
    if (status !== 206 && from > 0)
      throw new PullError('UNREACHABLE', `${options.what}: the server gives no ranges of files, which a pull needs`);
    const bytes = chunk.subarray(0, left);
    left -= bytes.byteLength;
    yield bytes;
    if (left === 0) return;
  }
  throw unreachable(options.what, `it ended ${left} bytes early`);
}

/** A small answer as text, and its headers. */
export async function fetchText(
  url: string,
  limitBytes: number,
  options: RequestOptions,
): Promise<{ readonly text: string; readonly headers: Headers }> {
  const decoder = new TextDecoder();
  let text = '';
  let headers = new Headers();
  let sizeBytes = 0;
  for await (const part of fetchChunks(url, options)) {
    ({ headers } = part);
    sizeBytes += part.chunk.byteLength;
    if (sizeBytes > limitBytes)
      throw new PullError('UNREACHABLE', `${options.what}: the answer is longer than ${limitBytes} bytes`);
    text += decoder.decode(part.chunk, { stream: true });
  }
  return { text: text + decoder.decode(), headers };
}

async function* fetchChunks(url: string, { headers = {}, signal, idleMs = defaultIdleMs, what }: RequestOptions) {
  const idle = new AbortController();
  let timer = setTimeout(() => idle.abort(), idleMs);
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.any([signal, idle.signal]) });
    if (!response.ok) {
      await response.body?.cancel();
      throw refusal(what, response);
    }
    const { status } = response;
    for await (const chunk of response.body ?? []) {
      clearTimeout(timer);
      timer = setTimeout(() => idle.abort(), idleMs);
      yield { chunk: chunk as Uint8Array, status, headers: response.headers };
    }
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof PullError) throw cause;
    const inner = ((cause as Error).cause ?? cause) as NodeJS.ErrnoException;
    throw unreachable(
      what,
      idle.signal.aborted ? `nothing came for ${idleMs} ms` : (inner.code ?? inner.message),
      cause,
    );
  } finally {
    clearTimeout(timer);
  }
}

function refusal(what: string, { status, headers }: Response): PullError {
  const context = { status };
  if (status === 401 || status === 403)
    return new PullError(
      'NOT_ALLOWED',
      `${what}: the server answers ${status}; set HF_TOKEN to a token that may read it, and check the name`,
      { context },
    );
  if (status === 404)
    return new PullError('NOT_THERE', `${what}: the server answers 404: it is not there`, { context });
  const isPassing = status === 408 || status === 429 || status >= 500;
  const after = headers.get('retry-after');
  const retryAfterMs = after !== null && /^\d{1,4}$/.test(after) ? Number(after) * 1_000 : null;
  return new PullError('UNREACHABLE', `${what}: the server answers ${status}`, {
    retryable: isPassing,
    context: { status, retryAfterMs },
  });
}

const unreachable = (what: string, why: string, cause?: unknown): PullError =>
  new PullError('UNREACHABLE', `${what}: it broke off (${why})`, { retryable: true, cause });
