/**
 * @file What two syncers of one run share, as one of them holds it: a place with the log, the artifacts and the secret of
 * grants, and in its own folder a copy of journal and ledger. `docs/decisions/0028-two-syncers.md`.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { openFileJournal } from '../../journal/file.ts';
import { SharedJournal } from '../../journal/shared.ts';
import { type LogPosition, logStart, SharedLog } from '../../journal/shared-log.ts';
import { FileLedgerStorage, type LedgerLine, type LedgerStorage } from '../../ledger/file.ts';
import { countSchema, hashSchema } from '../../protocol/names.ts';
import type { WriteOnce } from '../../store/port.ts';
import { parseS3Url } from '../../store/s3-place.ts';
import { WriteOnceFolder } from '../../store/write-once-folder.ts';
import { toHex } from '../../util/bytes.ts';
import type { Clock, Log } from '../../util/clock.ts';
import { UsageError } from '../../util/errors.ts';
import { isBucketUrl } from '../chosen-store.ts';

export interface SharedRun {
  readonly journal: SharedJournal;
  readonly cutBytes: number;
  readonly ledgerStorage: LedgerStorage;
  /** Of write grants: both syncers honour those of either. */
  readonly grantSecret: Uint8Array;
  /** Of the lead, counted by the takeovers. */
  term(): number;
  /** Notes how far the log was read; what is lost of it is read again. */
  notePosition(): Promise<void>;
  /** Gives the lead up, if it is here. */
  close(): Promise<void>;
}

export interface SharedRunOptions {
  readonly dir: string;
  /** Folder, or `s3://` URL, that both syncers can write to. */
  readonly place: string;
  readonly name: string;
  readonly silenceMs: number;
  readonly log: Log;
}

const positionFile = 'shared-position.json';
const giveUpLimitMs = 3_000;
const noteEveryMs = 5_000;

/** Silence is measured by a clock that nobody sets. */
export const steadyClock: Clock = {
  nowMs: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
};

/** @throws JournalError as `openFileJournal`; StoreError UNAVAILABLE; UsageError */
export async function openSharedRun(options: SharedRunOptions): Promise<SharedRun> {
  const opened = await openPlace(options);
  try {
    return await openRun(options, opened);
  } catch (error) {
    opened.close();
    throw error;
  }
}

interface OpenedPlace {
  readonly place: WriteOnce;
  close(): void;
}

async function openPlace({ dir, place: where }: SharedRunOptions): Promise<OpenedPlace> {
  if (!isBucketUrl(where)) {
    const place = await WriteOnceFolder.open(where);
    linkStore(dir, where);
    return { place, close: () => {} };
  }
  const { S3Bucket } = await import('../../store/s3-bucket.ts');
  const { WriteOnceBucket, writeOnceBucketOptions } = await import('../../store/write-once-bucket.ts');
  const bucket = new S3Bucket(parseS3Url(where), writeOnceBucketOptions);
  try {
    return { place: await WriteOnceBucket.open(bucket), close: () => bucket.close() };
  } catch (error) {
    bucket.close();
    throw error;
  }
}

async function openRun(
  { dir, name, silenceMs, log }: SharedRunOptions,
  { place, close: closePlace }: OpenedPlace,
): Promise<SharedRun> {
  const grantSecret = await grantSecretOf(place);
  const { journal: copy, cutBytes } = await openFileJournal({ folder: dir, isCopy: true });
  const lines = await FileLedgerStorage.open(join(dir, 'ledger'));
  const known = await readPosition(dir);
  // A copy that lost its end, or was removed, is made again from the log's beginning.
  const isKept = known !== null && copy.head.size >= known.entries && lines.sizeBytes >= known.lineBytes;
  const from: LogPosition = isKept ? known : logStart;
  const writer = toHex(randomBytes(16));
  const timing = { clock: steadyClock, patienceMs: 2 * silenceMs };
  const shared = new SharedLog({ place, syncer: name, writer, log, from, ...timing });
  const journal = new SharedJournal({ log: shared, copy, lines, ...(isKept ? { logged: known } : {}) });
  const notePosition = async (): Promise<void> => {
    const { next, term, previous } = shared.position;
    const position = { next, term, previous, ...journal.logged };
    await copy.sync();
    await writeReplaced(join(dir, positionFile), JSON.stringify({ version: 1, ...position }));
  };
  const note = (): void => void notePosition().catch((error) => log.debug('no position noted', { error }));
  const noting = setInterval(note, noteEveryMs);
  noting.unref();
  return {
    ...{ journal, cutBytes, notePosition, grantSecret },
    term: () => shared.position.term,
    ledgerStorage: new SharedLedgerStorage(lines, shared, journal),
    close: async () => {
      clearInterval(noting);
      await Promise.race([shared.giveUp().catch(() => {}), sleep(giveUpLimitMs)]); // a place that is away: silence tells
      await notePosition().catch(() => {});
      await journal.close();
      await lines.close();
      closePlace();
    },
  };
}

/** The artifacts are the folder's that is shared; the run's own shows them, as every run's folder does. */
function linkStore(dir: string, place: string): void {
  const target = join(place, 'store');
  const own = join(dir, 'store');
  mkdirSync(dir, { recursive: true });
  const isLink = lstatSync(own, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  if (isLink) return;
  if (existsSync(own)) {
    if (existsSync(target))
      throw new UsageError(
        `${own} and ${target} both hold artifacts; copy those of the first into the second, and move it away`,
      );
    renameSync(own, target); // A run that began with one syncer.
  } else mkdirSync(target, { recursive: true });
  symlinkSync(target, own, 'junction');
}

/** The embedded chain's lines: in the log first, then in the folder. Its snapshots are this folder's own. */
class SharedLedgerStorage implements LedgerStorage {
  readonly #copy: FileLedgerStorage;
  readonly #log: SharedLog;
  readonly #journal: SharedJournal;

  constructor(copy: FileLedgerStorage, log: SharedLog, journal: SharedJournal) {
    this.#copy = copy;
    this.#log = log;
    this.#journal = journal;
  }

  get sizeBytes(): number {
    return this.#copy.sizeBytes;
  }

  lines(fromByte: number): AsyncIterable<LedgerLine> {
    return this.#copy.lines(fromByte);
  }

  async append(...texts: readonly string[]): Promise<number> {
    await this.#journal.appendLines(texts);
    return this.sizeBytes;
  }

  snapshot(): Promise<string | null> {
    return this.#copy.snapshot();
  }

  /** Whoever lost the lead knows no more which blocks were shown. */
  async saveSnapshot(text: string): Promise<void> {
    if (this.#log.isLeading) await this.#copy.saveSnapshot(text);
  }

  /** The copy goes on taking lines in while another syncer leads. */
  async close(): Promise<void> {}
}

const positionSchema = z.strictObject({
  version: z.literal(1),
  next: countSchema,
  term: countSchema,
  previous: hashSchema,
  entries: countSchema,
  lineBytes: countSchema,
});

async function readPosition(dir: string): Promise<z.infer<typeof positionSchema> | null> {
  try {
    return positionSchema.parse(JSON.parse(await readFile(join(dir, positionFile), 'utf8')));
  } catch {
    return null; // Only a shortcut.
  }
}

async function writeReplaced(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

async function grantSecretOf(place: WriteOnce): Promise<Uint8Array> {
  const name = 'secrets/grants';
  await place.putNew(name, new Uint8Array(randomBytes(32)));
  return (await place.get(name))!;
}
