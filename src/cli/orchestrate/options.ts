/** @file The options of `accrete orchestrate`. */
import type { PresetName } from '../../model/quasar-long/presets.ts';
import { parseS3Url } from '../../store/s3-place.ts';
import { UsageError } from '../../util/errors.ts';
import { type NatsChoice, parseBusChoice } from '../chosen-bus.ts';
import { type IndexChoice, parseIndexChoice } from '../chosen-index.ts';
import { type LedgerChoice, parseLedgerChoice } from '../chosen-ledger.ts';
import { isBucketUrl, parseStoreUrl } from '../chosen-store.ts';
import type { Io } from '../io.ts';
import { parsePublishing } from '../publish/options.ts';
import { type NewRunChoice, parseNewRun } from '../recipe-options.ts';
import { parseName } from '../role-name.ts';
import { type ChosenRun, parseChosenRun } from '../run/chosen-run.ts';
import type { Settings } from '../settings.ts';

export interface OrchestrateOptions {
  readonly preset: PresetName;
  /** Whether preset and seed were asked for, or are only what a new run would have. */
  readonly isRunGiven: boolean;
  readonly dir: string;
  /** A data folder; null: the clone's own text. */
  readonly data: string | null;
  readonly host: string;
  readonly port: number;
  readonly seed: number;
  readonly miners: number;
  readonly requestsPerMinute: number;
  readonly run: NewRunChoice;
  /** In place of preset, seed and `run`. */
  readonly chosen: ChosenRun | null;
  /** A checkpoint that a new run starts from. */
  readonly from: string | null;
  readonly ledger: LedgerChoice;
  /** Null: the folder's, or what it remembers. */
  readonly store: string | null;
  readonly index: IndexChoice;
  /** What this syncer shares with another one; null: it is alone. */
  readonly shared: { readonly place: string; readonly name: string; readonly silenceMs: number } | null;
  /** Null: the orchestrator carries the messages itself. */
  readonly bus: NatsChoice | null;
  /** Arguments of `accrete publish` for each release; null: they are not published. */
  readonly publish: readonly string[] | null;
  readonly json: boolean;
}

export function parseOrchestrateOptions(settings: Settings, io: Pick<Io, 'cwd' | 'environment'>): OrchestrateOptions {
  const chosen = parseChosenRun(settings);
  if (settings.isGiven('preset') && settings.text('preset') === 'quasar-preview')
    throw new UsageError(
      '--preset: a run of quasar-preview is written in a run file, and trains on a data folder:\n' +
        '  ./bin/accrete run init --template quasar-10t --out run.json\n' +
        '  ./bin/accrete orchestrate --manifest run.json --data DIR',
    );
  return {
    preset: chosen?.preset ?? settings.choice('preset', ['tiny', 'nano', 'nano-gguf', 'small']),
    isRunGiven: settings.isGiven('preset') || settings.isGiven('seed'),
    dir: settings.path('dir'),
    data: settings.has('data') ? settings.path('data') : null,
    host: settings.text('host'),
    port: settings.count('port', { min: 1, max: 65_535 }),
    seed: settings.count('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    miners: settings.count('miners', { min: 1, max: 4_096 }),
    requestsPerMinute: settings.count('requests', { min: 1, max: 1_000_000 }),
    run: parseNewRun(settings),
    chosen,
    from: settings.has('from') ? settings.text('from') : (chosen?.file.from ?? null),
    ledger: parseLedgerChoice(settings),
    store: parseStoreUrl(settings),
    index: parseIndexChoice(settings),
    shared: parseShared(settings),
    bus: parseBusChoice(settings),
    publish: parsePublishing(settings, io),
    json: settings.switch('json'),
  };
}

function parseShared(settings: Settings): OrchestrateOptions['shared'] {
  const name = parseName(settings, 'as');
  const silenceMs = Math.round(settings.number('silence', { min: 1, max: 3_600 }) * 1_000);
  if (!settings.has('shared')) {
    if (settings.isGiven('as')) throw new UsageError('--as: names one of two syncers; give --shared DIR or URL too');
    return null;
  }
  return { place: parsePlace(settings), name, silenceMs };
}

function parsePlace(settings: Settings): string {
  const url = settings.text('shared');
  if (!isBucketUrl(url)) return settings.path('shared');
  if (parseS3Url(url).publicUrl !== null)
    throw new UsageError(
      '--shared: its bucket holds secrets of the run; give public= with --store, of the artifacts only',
    );
  return url;
}
