/** @file The options of `accrete up`. */
import { UsageError } from '../../util/errors.ts';
import { busArguments, parseBusChoice } from '../chosen-bus.ts';
import { parseIndexChoice } from '../chosen-index.ts';
import { type LedgerChoice, parseLedgerChoice } from '../chosen-ledger.ts';
import { parseStoreUrl } from '../chosen-store.ts';
import { publishArguments } from '../publish/declarations.ts';
import { newRunArguments } from '../recipe-options.ts';
import { type ChosenRun, parseChosenRun, requireSmall } from '../run/chosen-run.ts';
import type { Settings } from '../settings.ts';

export interface UpOptions {
  /** A run file or template in place of preset and seed. */
  readonly chosen: ChosenRun | null;
  /** End once the last phase's tokens are merged. */
  readonly endsWithPhases: boolean;
  readonly preset: 'tiny' | 'nano' | 'nano-gguf' | 'small';
  readonly miners: number;
  readonly validators: number;
  /** 1; or 2, of which one leads and the other takes over. */
  readonly syncers: number;
  readonly dir: string;
  /** A data folder; null: the clone's own text. */
  readonly data: string | null;
  readonly port: number;
  readonly seed: number;
  /** Null: no such end. */
  readonly tokens: number | null;
  readonly limitMs: number | null;
  /** Options of a new run, of its store and of publishing, as `accrete orchestrate` takes them. */
  readonly runArguments: readonly string[];
  readonly ledger: LedgerChoice;
  /** As the orchestrator takes it. */
  readonly index: string;
  /** Hotkeys `syncer`, `miner-N`, `validator-N` of this wallet work for Bittensor; null: keys of the run's folder. */
  readonly wallet: string | null;
  /** How a child finds it: `--wallet NAME` and where it lies, without the hotkey. */
  readonly walletArguments: readonly string[];
  readonly json: boolean;
}

export function parseUpOptions(settings: Settings): UpOptions {
  const tokens = settings.count('tokens', { min: 0, max: Number.MAX_SAFE_INTEGER });
  const minutes = settings.number('minutes', { min: 0, max: 525_600 });
  if (settings.isGiven('preset') && settings.text('preset') === 'quasar-preview') {
    throw new UsageError(
      '--preset: quasar-preview (16.6B parameters) does not train on one machine; expected tiny, nano, nano-gguf or small',
    );
  }
  const chosen = parseChosenRun(settings);
  return {
    chosen,
    endsWithPhases: chosen !== null && !settings.isGiven('tokens'),
    preset: chosen !== null ? requireSmall(chosen) : settings.choice('preset', ['tiny', 'nano', 'nano-gguf', 'small']),
    miners: settings.count('miners', { min: 1, max: 64 }),
    validators: parseValidators(settings, chosen),
    syncers: settings.count('syncers', { min: 1, max: 2 }),
    dir: settings.path('dir'),
    data: settings.has('data') ? settings.path('data') : null,
    port: settings.count('port', { min: 1, max: 65_535 }),
    seed: settings.count('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    tokens: tokens === 0 ? null : tokens,
    limitMs: minutes === 0 || (chosen !== null && !settings.isGiven('minutes')) ? null : Math.round(minutes * 60_000),
    runArguments: [
      ...newRunArguments(settings),
      ...(settings.has('from') ? ['--from', settings.text('from')] : []),
      ...publishArguments(settings),
      ...storeArguments(settings),
      ...(settings.has('data') ? ['--data', settings.path('data')] : []),
      ...checkedBusArguments(settings),
    ],
    index: checkedIndex(settings),
    ...walletChoice(settings),
    json: settings.switch('json'),
  };
}

function storeArguments(settings: Settings): readonly string[] {
  const url = parseStoreUrl(settings);
  return url === null ? [] : ['--store', url];
}

/** Checked here, so that the fault comes before any process. */
function checkedIndex(settings: Settings): string {
  parseIndexChoice(settings);
  return settings.text('index');
}

/** A fault in them is told here, not by the child. */
function checkedBusArguments(settings: Settings): readonly string[] {
  parseBusChoice(settings);
  return busArguments(settings);
}

/** A gate needs the majority of a committee: with fewer validators its phase would never end. */
function parseValidators(settings: Settings, chosen: ChosenRun | null): number {
  const validators = settings.count('validators', { min: 1, max: 64 });
  if (chosen === null || !chosen.file.phases.some(({ gates = [] }) => gates.length > 0)) return validators;
  const needed = Math.floor(chosen.file.evaluation.committee / 2) + 1;
  if (validators >= needed) return validators;
  throw new UsageError(`--validators: the gates of this run need ${needed} validators, got ${validators}`);
}

/** @throws UsageError where Bittensor is meant and no wallet is named: keys that the folder made are registered nowhere */
function walletChoice(settings: Settings): Pick<UpOptions, 'ledger' | 'wallet' | 'walletArguments'> {
  const ledger = parseLedgerChoice(settings);
  if (!settings.has('wallet')) {
    if (ledger.kind === 'embedded') return { ledger, wallet: null, walletArguments: [] };
    throw new UsageError(
      '--ledger bittensor: name a wallet with --wallet NAME whose hotkeys syncer, miner-1, …, validator-1, … are registered',
    );
  }
  const wallet = settings.text('wallet');
  const paths = ['wallet-dir', 'password-file'].flatMap((name) =>
    settings.has(name) ? [`--${name}`, settings.path(name)] : [],
  );
  return { ledger, wallet, walletArguments: ['--wallet', wallet, ...paths] };
}
