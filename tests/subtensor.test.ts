/**
 * @file The rehearsal on a true node of Bittensor, local and of its own: set `ACCRETE_SUBTENSOR_WS` to its endpoint, and
 * `ACCRETE_SUBTENSOR_NETUID` to a started subnet with plain weights and a short tempo. Money is //Alice's.
 */
import { randomBytes } from 'node:crypto';
import { sr25519CreateDerive } from '@polkadot-labs/hdkd';
import { DEV_MINI_SECRET } from '@polkadot-labs/hdkd-helpers';
import { describe, it } from 'vitest';
import { openBittensorLedger } from '../src/ledger/bittensor/ledger.ts';
import type { Ledger, LedgerSigner } from '../src/ledger/port.ts';
import { hotkeyFromSeed } from '../src/protocol/keys.ts';
import { encodeSs58 } from '../src/protocol/ss58.ts';
import { testRehearsal } from './contracts/ledger-rehearsal.ts';

const endpoint = process.env.ACCRETE_SUBTENSOR_WS;
const netuid = Number(process.env.ACCRETE_SUBTENSOR_NETUID ?? '1');
const fundsRao = 1_000_000_000_000;

function alice(): LedgerSigner {
  const { publicKey, sign } = sr25519CreateDerive(DEV_MINI_SECRET)('//Alice');
  return { hotkey: encodeSs58(publicKey), scheme: 'sr25519', sign };
}

const fresh = (): LedgerSigner => hotkeyFromSeed(new Uint8Array(randomBytes(32)));

async function passBlocks(ledger: Ledger, blocks: number): Promise<void> {
  const until = (await ledger.subnet()).block + blocks;
  while ((await ledger.subnet()).block < until) await new Promise((resolve) => setTimeout(resolve, 200));
}

if (endpoint === undefined)
  describe('ledger rehearsal: a true node', () => {
    it.skip('needs ACCRETE_SUBTENSOR_WS, the endpoint of a local node', () => undefined);
  });
else
  testRehearsal(
    `a true node at ${endpoint}`,
    async () => {
      const ledger = await openBittensorLedger({ urls: [endpoint], netuid, pollMs: 300, maxWaitBlocks: 50 });
      const coldkeys = Array.from({ length: 4 }, fresh);
      const bank = alice();
      for (const { hotkey } of coldkeys) await ledger.transfer(bank, { to: hotkey, amountRao: fundsRao });
      return {
        ...{ ledger, coldkeys, hotkeys: Array.from({ length: 4 }, fresh), stranger: fresh(), stakeRao: fundsRao / 2 },
        advance: (blocks) => passBlocks(ledger, blocks),
        close: () => ledger.close(),
      };
    },
    600_000,
  );
