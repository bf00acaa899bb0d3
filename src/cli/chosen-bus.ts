/** @file The bus that the options name: parsed, and as arguments of a child process. */
import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { UsageError } from '../util/errors.ts';
import { busOptions } from './bus-options.ts';
import type { Settings } from './settings.ts';

export interface NatsChoice {
  readonly servers: readonly string[];
  /** As participants reach them. */
  readonly publicServers: readonly string[];
  /** File of the account; null: the servers take anybody. */
  readonly accountFile: string | null;
}

const maxServers = 16;

/** Null: the orchestrator carries the messages. @throws UsageError */
export function parseBusChoice(settings: Settings): NatsChoice | null {
  if (!settings.has('bus')) {
    for (const option of ['bus-public', 'bus-account'])
      if (settings.has(option)) throw new UsageError(`--${option} goes with --bus; add that, or leave it out`);
    return null;
  }
  const servers = parseServers(settings, 'bus');
  return {
    servers,
    publicServers: settings.has('bus-public') ? parseServers(settings, 'bus-public') : servers,
    accountFile: settings.has('bus-account') ? settings.path('bus-account') : null,
  };
}

function parseServers(settings: Settings, option: string): readonly string[] {
  const urls = settings
    .text(option)
    .split(',')
    .map((url) => url.trim())
    .filter((url) => url !== '');
  for (const url of urls) {
    const parsed = URL.canParse(url) ? new URL(url) : null;
    if (parsed === null || !/^(nats|tls|wss?):$/.test(parsed.protocol) || parsed.hostname === '')
      throw new UsageError(
        `--${option}: expected nats://, tls:// or wss:// URLs after commas, got '${url.slice(0, 80)}'`,
      );
    if (parsed.username !== '' || parsed.password !== '')
      throw new UsageError(
        `--${option}: a URL that carries a password is seen by all; name an account with --bus-account`,
      );
  }
  if (new Set(urls.map((url) => /^wss?:/.test(url))).size > 1)
    throw new UsageError(`--${option}: either all URLs are wss:// or none is`);
  if (urls.length === 0 || urls.length > maxServers)
    throw new UsageError(`--${option}: expected 1 to ${maxServers} URLs, got ${urls.length}`);
  return urls;
}

/** The same options again, for `accrete orchestrate` as a child. */
export function busArguments(settings: Settings): readonly string[] {
  return busOptions.flatMap(({ name }) => {
    if (!settings.has(name)) return [];
    return [`--${name}`, name === 'bus-account' ? settings.path(name) : settings.text(name)];
  });
}

const accountSchema = z.strictObject({
  version: z.literal(1),
  kind: z.literal('nats-account'),
  account: z.string().max(64),
  signingSeed: z.string().max(64),
});
export type AccountFile = z.infer<typeof accountSchema>;

/** @throws UsageError; its words never quote the file */
export function readAccountFile(path: string): AccountFile {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined) throw new UsageError(`--bus-account: there is no file ${path}`);
  if (process.platform !== 'win32' && (info.mode & 0o077) !== 0)
    throw new UsageError(`${path} can be read by other users; type: chmod 600 ${path}`);
  try {
    if (info.size > 4_096) throw new Error('too large');
    return accountSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    throw new UsageError(
      `${path}: expected {"version": 1, "kind": "nats-account", "account": "A…", "signingSeed": "SA…"}`,
    );
  }
}
