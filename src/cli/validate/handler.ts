/** @file Does `accrete validate`: joins, enters the run, checks claims until a signal. */
import { join } from 'node:path';
import { LedgerWeightSetter } from '../../ledger/weight-setter.ts';
import { connectRun } from '../../roles/client.ts';
import { HeadsHistory } from '../../roles/heads-history.ts';
import { machineClassOf } from '../../roles/learner/machine-class.ts';
import { MergeHistory } from '../../roles/merge-history.ts';
import { runValidator } from '../../roles/validator/shell.ts';
import { VersionHistory } from '../../roles/version-history.ts';
import { requireSameLedger } from '../chosen-ledger.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { holdFolder } from '../hold-folder.ts';
import { joinNetwork } from '../join.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { makeSalt, RevealFile, revealFileIn } from '../reveal-file.ts';
import { openRoleKeys } from '../wallet-keys.ts';
import { parseValidateOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseValidateOptions(settings);
  const environment = roleEnvironment(io, { role: 'validator', json: options.json });
  const { clock, log } = environment;
  const folder = await holdFolder(options.dir, 'accrete validate');
  try {
    const { hotkey, session } = await openRoleKeys(options.dir, settings, io);
    const network = await joinNetwork(options.join, environment, options.ledger, {
      ...{ role: 'validator', name: options.name, hotkey, session },
    });
    try {
      const heads = new HeadsHistory();
      const merges = new MergeHistory();
      const versions = new VersionHistory();
      const onFold: typeof heads.onFold = (state, entry) => {
        heads.onFold(state, entry);
        merges.onFold(state, entry);
        versions.onFold(state, entry);
      };
      const signal = io.stop;
      const client = await connectRun({
        ...{ ...network, clock, log, session, equation: nativeEquation, signal, onFold },
      });
      requireSameLedger(client.manifest, network.ledger);
      const weightSetter = new LedgerWeightSetter({
        ...{ ledger: network.ledger, signer: hotkey, makeSalt, log },
        store: new RevealFile(revealFileIn(options.dir)),
      });
      const rssBytes = (): number => process.memoryUsage.rss();
      await runValidator(
        {
          ...{ name: options.name, threads: options.threads },
          machineClass: machineClassOf({ threads: options.threads }),
          text: { dir: join(options.dir, 'shards'), limitBytes: options.cacheBytes },
        },
        {
          client,
          hotkey,
          session,
          ledgerSigner: hotkey,
          weightSetter,
          heads,
          merges,
          versions,
          clock,
          log,
          signal,
          rssBytes,
        },
      );
      await client.close();
      return 0;
    } finally {
      await network.close();
    }
  } finally {
    await folder.release();
  }
};
