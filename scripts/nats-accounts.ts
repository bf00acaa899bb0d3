/**
 * @file Makes what a NATS server in operator mode needs for runs of Accrete: operator, system account, the runs' account with a signing
 * key for orchestrators, and a configuration with a full resolver. For a first cluster and for tests; `nsc` does the same and more.
 *
 *   node --import tsx scripts/nats-accounts.ts DIR [--port 4222]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createAccount, createOperator, encodeAccount, encodeOperator, type KeyPair } from '@nats-io/jwt';

export interface NatsAccounts {
  readonly operator: KeyPair;
  readonly account: KeyPair;
  readonly system: KeyPair;
  readonly signing: KeyPair;
  /** Of `--bus-account`. */
  readonly accountFile: string;
  readonly config: string;
}

const seedOf = (key: KeyPair): string => new TextDecoder().decode(key.getSeed());

/** JetStream must be allowed by name, or the account has none. */
export const accountLimits = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

export async function makeNatsAccounts(dir: string): Promise<NatsAccounts> {
  const [operator, system, account, signing] = [createOperator(), createAccount(), createAccount(), createAccount()];
  mkdirSync(join(dir, 'accounts'), { recursive: true });
  const operatorJwt = await encodeOperator('accrete', operator, { system_account: system.getPublicKey() });
  const systemJwt = await encodeAccount('system', system, {}, { signer: operator });
  const limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const accountJwt = await encodeAccount(
    'runs',
    account,
    { signing_keys: [signing.getPublicKey()], limits: { ...limits, ...accountLimits } },
    { signer: operator },
  );
  const accountFile = join(dir, 'bus-account.json');
  const content = {
    ...{ version: 1, kind: 'nats-account', account: account.getPublicKey(), signingSeed: seedOf(signing) },
  };
  writeFileSync(accountFile, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  const keys = { operator: seedOf(operator), system: seedOf(system), account: seedOf(account) };
  writeFileSync(join(dir, 'operator-keys.json'), `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  const config = [
    `operator: ${operatorJwt}`,
    `system_account: ${system.getPublicKey()}`,
    `resolver: { type: full, dir: "${join(dir, 'accounts')}", allow_delete: false, interval: "2m" }`,
    `resolver_preload: { ${system.getPublicKey()}: ${systemJwt}, ${account.getPublicKey()}: ${accountJwt} }`,
  ].join('\n');
  return { operator, account, system, signing, accountFile, config };
}

if (process.argv[1] === import.meta.filename) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { port: { type: 'string', default: '4222' } },
  });
  if (positionals.length !== 1 || !/^\d{1,5}$/.test(values.port)) {
    console.error('usage: node --import tsx scripts/nats-accounts.ts DIR [--port 4222]');
    process.exitCode = 2;
  } else {
    const dir = resolve(positionals[0]!);
    const { config, accountFile } = await makeNatsAccounts(dir);
    const file = join(dir, 'server.conf');
    writeFileSync(
      file,
      `port: ${values.port}\nmax_payload: 1MB\njetstream { store_dir: "${join(dir, 'jetstream')}" }\n${config}\n`,
      { mode: 0o600 },
    );
    console.log(`${file}: start it with nats-server -c ${file}`);
    console.log(
      `${accountFile}: for accrete orchestrate --bus nats://HOST:${values.port} --bus-account ${accountFile}`,
    );
    console.log(`${join(dir, 'operator-keys.json')}: keep it off the servers`);
  }
}
