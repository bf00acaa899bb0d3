/** @file The ledger that the options name: parsed, opened, and checked against what a run was made for. */
import { type BittensorLedger, genesisOfChainId, openBittensorLedger } from '../ledger/bittensor/ledger.ts';
import type { Ledger } from '../ledger/port.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { Log } from '../util/clock.ts';
import { UsageError } from '../util/errors.ts';
import type { Settings } from './settings.ts';

export interface BittensorChoice {
  readonly kind: 'bittensor';
  readonly urls: readonly string[];
  readonly netuid: number;
  readonly genesis: string | null;
}
export type LedgerChoice = { readonly kind: 'embedded' } | BittensorChoice;

const maxEndpoints = 16;

/** @throws UsageError */
export function parseLedgerChoice(settings: Settings): LedgerChoice {
  if (settings.choice('ledger', ['embedded', 'bittensor']) === 'embedded') {
    for (const option of ['endpoint', 'genesis'])
      if (settings.has(option))
        throw new UsageError(`--${option} is for --ledger bittensor; add that, or leave it out`);
    return { kind: 'embedded' };
  }
  const urls = settings
    .text('endpoint')
    .split(',')
    .map((url) => url.trim())
    .filter((url) => url !== '');
  for (const url of urls)
    if (!URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol))
      throw new UsageError(`--endpoint: expected ws:// or wss:// URLs after commas, got '${url.slice(0, 80)}'`);
  if (urls.length === 0 || urls.length > maxEndpoints)
    throw new UsageError(`--endpoint: expected 1 to ${maxEndpoints} URLs, got ${urls.length}`);
  const genesis = settings.has('genesis') ? settings.text('genesis').replace(/^0x/, '').toLowerCase() : null;
  if (genesis !== null && !/^[0-9a-f]{64}$/.test(genesis))
    throw new UsageError(`--genesis: expected 64 hex digits, got '${genesis.slice(0, 80)}'`);
  return { kind: 'bittensor', urls, netuid: settings.count('netuid', { min: 0, max: 65_535 }), genesis };
}

/** The same as arguments, for child processes. */
export function ledgerArguments(choice: LedgerChoice): readonly string[] {
  if (choice.kind === 'embedded') return [];
  const { urls, netuid, genesis } = choice;
  const given = genesis === null ? [] : ['--genesis', genesis];
  return ['--ledger', 'bittensor', '--endpoint', urls.join(','), '--netuid', String(netuid), ...given];
}

export interface OpenOptions {
  readonly log?: Log;
  /** Blocks that a call waits for a limit of rate. */
  readonly maxWaitBlocks?: number;
}

/** @throws LedgerError UNAVAILABLE, WRONG_NETWORK, BAD_CALL */
export function openBittensor(
  choice: BittensorChoice,
  { log, maxWaitBlocks }: OpenOptions = {},
): Promise<BittensorLedger> {
  const { urls, netuid, genesis } = choice;
  return openBittensorLedger({
    ...{ urls, netuid },
    ...(genesis === null ? {} : { genesis }),
    ...(log === undefined ? {} : { log }),
    ...(maxWaitBlocks === undefined ? {} : { maxWaitBlocks }),
  });
}

/** What roles wait for a limit: a little, for a limit that is nearly over; not so long that their other work is late. */
export const roleWaitBlocks = 20;

/** @throws UsageError if the run lives on another ledger than the one that is open */
export function requireSameLedger(
  manifest: Pick<RunManifest, 'ledger'>,
  ledger: Pick<Ledger, 'chainId' | 'netuid'>,
): void {
  const { chainId, netuid } = manifest.ledger;
  if (ledger.chainId === chainId && ledger.netuid === netuid) return;
  const genesis = genesisOfChainId(chainId);
  if (genesis === null)
    throw new UsageError(`the run lives on its own chain ${chainId}, subnet ${netuid}; leave --ledger out`);
  throw new UsageError(
    `the run lives on Bittensor, genesis ${genesis}, subnet ${netuid}; give --ledger bittensor --endpoint URL --netuid ${netuid}, with a node of that network`,
  );
}
