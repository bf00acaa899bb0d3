/**
 * @file A release of a run: the journal is folded as a stranger's, every signature checked, and its `release-published`
 * event says what each file's bytes must be. The server is believed in nothing: it can only withhold.
 */
import { z } from 'zod';
import { admit, applyEvent } from '../journal/fold.ts';
import { emptyState, type ReleaseRecord, type RunState } from '../journal/state.ts';
import { arePieceHashes, pieceBytes, pieceCountOf } from '../protocol/artifact.ts';
import type { Ed25519Equation } from '../protocol/ed25519.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { maxMessageLength, openEntry } from '../protocol/signing.ts';
import { bindingOf } from '../roles/client.ts';
import { fromHex } from '../util/bytes.ts';
import { parseStrictJson } from '../util/canonical-json.ts';
import { VerifyError } from '../verify/errors.ts';
import { HttpRecord } from '../verify/http-record.ts';
import { PullError } from './errors.ts';
import { fetchRange, fetchText } from './fetch.ts';
import { type RetryOptions, withRetries } from './retry.ts';
import type { FileCheck, PullSource } from './source.ts';

export interface RunSourceOptions {
  /** Null: the newest one whose files are published. */
  readonly release: number | null;
  readonly equation?: Ed25519Equation;
  readonly retry: RetryOptions;
  readonly signal: AbortSignal;
  readonly onEntries?: (count: number) => void;
}

const piecesSchema = z.strictObject({ pieceBytes: z.literal(pieceBytes), hashes: z.array(z.string().length(64)) });
/** A list of so many pieces is read: 4 TiB. */
const maxPieces = 1 << 20;

/** @throws PullError */
export async function openRunSource(url: string, options: RunSourceOptions): Promise<PullSource> {
  const state = await foldRecord(url, options);
  const { body, files } = releaseIn(state, options.release, url);
  const identity = `run ${state.run!.id} release ${body.release}`;
  return await releaseSource({ url, release: body.release, identity, files }, options);
}

export interface ReleaseFiles {
  readonly url: string;
  readonly release: number;
  readonly identity: string;
  readonly files: readonly { readonly name: string; readonly artifact: ArtifactRef }[];
}

/** Of a release whose artifacts are known. @throws PullError */
export async function releaseSource(
  { url, release, identity, files }: ReleaseFiles,
  options: Pick<RunSourceOptions, 'retry' | 'signal'>,
): Promise<PullSource> {
  const at = (name: string): string => `${url}/releases/${release}/${name}`;
  const known = await Promise.all(
    files.map(async ({ name, artifact }) => {
      const check = await withRetries(() => checkOf(at(name), name, artifact, options.signal), options.retry);
      return { name, sizeBytes: artifact.sizeBytes, check };
    }),
  );
  return {
    name: `release ${release} of ${url}`,
    identity,
    files: known,
    read: (file, range) => fetchRange(at(file.name), range, { what: file.name, signal: options.signal }),
  };
}

/** @throws PullError BAD_RECORD with the first entry that may not follow, UNREACHABLE */
async function foldRecord(url: string, { equation, signal, onEntries }: RunSourceOptions): Promise<RunState> {
  const state = emptyState();
  const record = new HttpRecord(url, signal);
  try {
    for await (const page of record.journal(0)) {
      for (const text of page) take(state, text, equation);
      signal.throwIfAborted();
      onEntries?.(state.size);
    }
  } catch (cause) {
    signal.throwIfAborted();
    if (!(cause instanceof VerifyError)) throw cause;
    const isForm = cause.code === 'UNREADABLE';
    throw new PullError(isForm ? 'BAD_RECORD' : 'UNREACHABLE', cause.message, { cause, retryable: cause.retryable });
  } finally {
    await record.close();
  }
  if (state.run === null) throw new PullError('BAD_RECORD', `${url}: the journal is empty; no run has begun there`);
  return state;
}

function take(state: RunState, text: string, equation: Ed25519Equation | undefined): void {
  const bad = (why: string): PullError =>
    new PullError('BAD_RECORD', `the record is false at entry ${state.size}: ${why}; nothing of it is taken`);
  const json = parseStrictJson(text, { maxLength: 4 * maxMessageLength, maxDepth: 32 });
  if (!json.ok) throw bad(json.sentence);
  const binding = bindingOf(state);
  const context = binding === null || equation === undefined ? binding : { ...binding, equation };
  const opened = openEntry(json.value, state.headHash, context);
  if (!opened.ok) throw bad(`${opened.code}: ${opened.sentence}`);
  const admission = admit(state, opened);
  if (admission.outcome !== 'accept') throw bad(`${admission.code}: ${admission.sentence}`);
  applyEvent(state, opened);
}

function releaseIn(state: RunState, wanted: number | null, url: string): ReleaseRecord {
  const published = state.releases.filter(({ files }) => files.length > 0);
  const newest = published.at(-1);
  if (newest === undefined)
    throw new PullError('NO_SUCH_RELEASE', `${url}: the run has published no release yet; wait for the first`);
  if (wanted === null) return newest;
  const found = published.find(({ body }) => body.release === wanted);
  if (found !== undefined) return found;
  const sentence = `${url}: the record names no published release ${wanted}; the newest is ${newest.body.release}`;
  throw new PullError('NO_SUCH_RELEASE', sentence);
}

/** The list of piece hashes is the server's word, until its root is the record's. */
async function checkOf(url: string, name: string, artifact: ArtifactRef, signal: AbortSignal): Promise<FileCheck> {
  const count = pieceCountOf(artifact.sizeBytes);
  if (count > maxPieces)
    throw new PullError('BAD_RECORD', `${name}: ${artifact.sizeBytes} bytes; is that a checkpoint?`);
  // The root of one piece is its leaf hash.
  if (count === 1) return { kind: 'pieces', pieceBytes, hashes: [artifact.root] };
  const whole: FileCheck = { kind: 'whole', algorithm: 'artifact-root', hash: artifact.root };
  if (count === 0) return whole;
  const answer = await fetchText(`${url}/pieces`, 1_024 + count * 80, { what: `pieces of ${name}`, signal }).catch(
    (error: PullError) => {
      // An older orchestrator gives no list: the whole file is checked at its end.
      if (error instanceof PullError && error.code === 'NOT_THERE') return null;
      throw error;
    },
  );
  if (answer === null) return whole;
  const hashes = parsePieces(answer.text);
  if (
    hashes === null ||
    !arePieceHashes(
      artifact,
      hashes.map((hash) => fromHex(hash)!),
    )
  )
    throw new PullError(
      'TAMPERED',
      `${name}: the list of its piece hashes is not the one that the record's root covers`,
    );
  return { kind: 'pieces', pieceBytes, hashes };
}

function parsePieces(text: string): readonly string[] | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = piecesSchema.safeParse(json);
  return parsed.success && parsed.data.hashes.every((hash) => fromHex(hash) !== null) ? parsed.data.hashes : null;
}
