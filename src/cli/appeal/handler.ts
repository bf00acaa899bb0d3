/** @file Does `accrete appeal`: signs with the miner's own keys; his `accrete mine` may go on meanwhile. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectRun } from '../../roles/client.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { joinNetwork } from '../join.ts';
import { openSessionKey } from '../keys.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { appealClaim, type Ruling } from './appeal.ts';
import { parseAppealOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseAppealOptions(settings);
  const environment = roleEnvironment(io, { role: 'miner', json: options.json });
  if (!existsSync(join(options.dir, 'session.json')))
    throw new UsageError(`--dir: ${options.dir} holds no keys of a miner; give the folder that accrete mine uses`);
  const session = openSessionKey(options.dir);
  const network = await joinNetwork(options.join, environment);
  const { clock, log } = environment;
  const connection = new AbortController();
  try {
    const signal = AbortSignal.any([io.stop, connection.signal]);
    const client = await connectRun({ ...network, clock, log, session, equation: nativeEquation, signal });
    const { claim, waitMs } = options;
    const ruling = await appealClaim(client, { claim, waitMs, session: session.sessionKey, clock, signal });
    io.out(options.json ? JSON.stringify({ kind: 'ruling', ...ruling }) : formatRuling(ruling));
    return ruling.outcome === 'turned down' ? 1 : 0;
  } finally {
    connection.abort();
    await network.close();
  }
};

function formatRuling({ claim, outcome, status, code, sentence }: Ruling): string {
  const said = [code, sentence].filter((each) => each !== null && each !== '').join(': ');
  if (outcome === 'open') return `appealed: all validators judge claim ${claim} now`;
  if (outcome === 'turned down') return `turned down: claim ${claim} stays refused (${said})`;
  return `upheld: claim ${claim} is ${status}${code === 'OK' ? '' : ` (${said})`}`;
}
