/** @file Does `accrete mine`: joins, enters the run, trains until a signal, leaves cleanly. */
import { join } from 'node:path';
import { connectRun } from '../../roles/client.ts';
import { machineClassOf } from '../../roles/learner/machine-class.ts';
import { runMiner } from '../../roles/miner/shell.ts';
import { roundedMemoryGib } from '../capabilities.ts';
import { requireSameLedger } from '../chosen-ledger.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { holdFolder } from '../hold-folder.ts';
import { joinNetwork } from '../join.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { formatCount } from '../output.ts';
import { openRoleKeys } from '../wallet-keys.ts';
import { parseMineOptions } from './options.ts';

/** What a leave may need of the connection after the signal. */
const closeAfterMs = 20_000;

export const handle: Handler = async (settings, io) => {
  const options = parseMineOptions(settings);
  const environment = roleEnvironment(io, { role: 'miner', json: options.json });
  const { clock, log, metrics } = environment;
  const folder = await holdFolder(options.dir, 'accrete mine');
  try {
    const keys = await openRoleKeys(options.dir, settings, io);
    const network = await joinNetwork(options.join, environment, options.ledger, {
      ...{ role: 'miner', name: options.name, ...keys },
    });
    // The connection outlives the signal: a clean leave still has something to say.
    const connection = new AbortController();
    io.stop.addEventListener('abort', () => setTimeout(() => connection.abort(), closeAfterMs).unref(), { once: true });
    try {
      const client = await connectRun({
        ...network,
        ...{ clock, log, session: keys.session, equation: nativeEquation, signal: connection.signal },
      });
      requireSameLedger(client.manifest, network.ledger);
      const { name, threads, device } = options;
      const summary = await runMiner(
        {
          ...{ name, threads, device, stateDir: join(options.dir, 'shards'), cacheBytes: options.cacheBytes },
          ...{ statesDir: join(options.dir, 'states') },
          capabilities: { threads, memoryGib: roundedMemoryGib(), machineClass: machineClassOf({ threads, device }) },
        },
        {
          ...keys,
          ledgerSigner: keys.hotkey,
          client,
          clock,
          log,
          metrics,
          signal: io.stop,
          rssBytes: () => process.memoryUsage.rss(),
        },
      );
      await client.close();
      if (options.json) io.out(JSON.stringify({ kind: 'summary', ...summary }));
      else
        io.out(
          `${formatCount(summary.innerSteps)} inner steps, ${formatCount(summary.tokens)} tokens, ${summary.claims} claims, ${summary.refused} refused`,
        );
      return 0;
    } finally {
      connection.abort();
      await network.close();
    }
  } finally {
    await folder.release();
  }
};
