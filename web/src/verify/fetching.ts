/** @file Reads the record from a server that is not trusted: bounded, in time, and checked by whoever asked. */

const timeoutMs = 60_000;
const maxPageBytes = 64 * 1024 * 1024;

/** The record cannot be read: that is no verdict on it. */
export class Unreadable extends Error {}

async function get(url: URL): Promise<Response> {
  try {
    return await fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(timeoutMs) });
  } catch (cause) {
    throw new Unreadable(`${url.pathname} cannot be reached`, { cause });
  }
}

/** Null: there is nothing at this path. */
export async function fetchBytes(url: URL, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
  const response = await get(url);
  if (response.status === 404) return null;
  if (!response.ok || response.body === null) throw new Unreadable(`${url.pathname} answers ${response.status}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((cause) => {
      throw new Unreadable(`${url.pathname} was cut off after ${size} bytes`, { cause });
    });
    if (done) break;
    size += value.byteLength;
    if (size > maxBytes) {
      await reader.cancel();
      break;
    }
    chunks.push(value);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

export async function fetchText(url: URL): Promise<string | null> {
  const bytes = await fetchBytes(url, maxPageBytes);
  if (bytes === null) return null;
  if (bytes.byteLength > maxPageBytes) throw new Unreadable(`${url.pathname} answers more than ${maxPageBytes} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Unreadable(`${url.pathname} does not answer in UTF-8`, { cause });
  }
}

export async function fetchJson(url: URL): Promise<unknown> {
  const text = await fetchText(url);
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Unreadable(`${url.pathname} does not answer in JSON`, { cause });
  }
}

/** Lines of a journal that is one file, in pages as its bytes come. An unfinished last line is none. */
export async function* journalFilePages(url: URL, pageEntries: number): AsyncGenerator<readonly string[]> {
  const response = await get(url);
  if (!response.ok || response.body === null) throw new Unreadable(`${url.pathname} answers ${response.status}`);
  const cutOff = (cause: unknown): never => {
    throw new Unreadable(`${url.pathname} was cut off, or is not UTF-8`, { cause });
  };
  const reader = response.body.pipeThrough(new TextDecoderStream('utf-8', { fatal: true })).getReader();
  let rest = '';
  let lines: string[] = [];
  for (;;) {
    const { done, value } = await reader.read().catch(cutOff);
    if (done) break;
    const parts = (rest + value).split('\n');
    rest = parts.pop()!;
    if (rest.length > maxPageBytes)
      throw new Unreadable(`a line of ${url.pathname} exceeds ${maxPageBytes} characters`);
    lines.push(...parts);
    for (; lines.length >= pageEntries; lines = lines.slice(pageEntries)) yield lines.slice(0, pageEntries);
  }
  if (lines.length > 0) yield lines;
}

/** Pages of journal lines, to the newest entry. A line's own end is not part of it. */
export async function* journalPages(base: URL, pageEntries: number): AsyncGenerator<readonly string[]> {
  for (let from = 0; ; ) {
    const text = await fetchText(new URL(`journal?from=${from}&limit=${pageEntries}`, base));
    if (text === null) throw new Unreadable('there is no journal at this address');
    if (text === '') return;
    const lines = text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    from += lines.length;
    yield lines;
  }
}
