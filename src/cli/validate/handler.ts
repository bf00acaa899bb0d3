/** @file Does `accrete validate`: joins, enters the run, checks claims until a signal. */
import { connectRun } from '../../roles/client.ts';
import { HeadsHistory } from '../../roles/heads-history.ts';
import { runValidator } from '../../roles/validator/shell.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { holdFolder } from '../hold-folder.ts';
import { joinNetwork } from '../join.ts';
import { openKeys } from '../keys.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { parseValidateOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseValidateOptions(settings);
  const environment = roleEnvironment(io, { role: 'validator', json: options.json });
  const { clock, log } = environment;
  const folder = await holdFolder(options.dir, 'accrete validate');
  try {
    const { hotkey, session } = openKeys(options.dir);
    const network = await joinNetwork(options.join, environment);
    try {
      const heads = new HeadsHistory();
      const signal = io.stop;
      const client = await connectRun({
        ...network,
        ...{ clock, log, session, equation: nativeEquation, signal, onFold: heads.onFold },
      });
      const rssBytes = (): number => process.memoryUsage.rss();
      await runValidator(
        { name: options.name, threads: options.threads },
        { client, hotkey, session, ledgerSigner: hotkey, heads, clock, log, signal, rssBytes },
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
