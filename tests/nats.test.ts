/**
 * @file A whole network of real processes whose messages a real nats-server carries, each participant with credentials of his own: claims
 * are merged, also after the server was killed, and the server's copy of the journal is the journal.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeNatsAccounts } from '../scripts/nats-accounts.ts';
import { connectNats } from '../src/bus/nats/bus.ts';
import { AccountSigner, RenewingUser } from '../src/bus/nats/credentials.ts';
import { NatsNames } from '../src/bus/nats/names.ts';
import { busScopeOf } from '../src/cli/bus/access.ts';
import { openFileJournal } from '../src/journal/file.ts';
import { keptTopics, topics } from '../src/roles/client.ts';
import { canonicalJson } from '../src/util/canonical-json.ts';
import { silentLog } from '../src/util/clock.ts';
import { freePort, NatsServer, natsProgram } from './support/nats-server.ts';
import { testSession } from './support/run-fixture.ts';

const program = join(import.meta.dirname, '..', 'bin', 'accrete');

type Event = { readonly event: string } & Readonly<Record<string, unknown>>;

describe.skipIf(!natsProgram.isThere)(`a network on NATS (${natsProgram.need})`, () => {
  it('merges claims before and after the server is killed, and keeps a true copy of the journal', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'accrete-on-nats-'));
    const accounts = await makeNatsAccounts(join(dir, 'nats'));
    const server = await NatsServer.start({ config: accounts.config });
    const run = join(dir, 'run');
    const child = spawn(
      process.execPath,
      [
        ...[program, 'up', '--preset', 'tiny', '--miners', '2', '--validators', '1', '--minutes', '4', '--json'],
        ...['--dir', run, '--port', String(await freePort())],
        ...['--bus', server.url, '--bus-account', accounts.accountFile],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    try {
      const events: Event[] = [];
      let [rest, words] = ['', ''];
      child.stdout.on('data', (bytes: Buffer) => {
        const lines = (rest + bytes.toString()).split('\n');
        rest = lines.pop()!;
        events.push(...lines.map((line) => JSON.parse(line) as Event));
      });
      child.stderr.on('data', (bytes: Buffer) => void (words = (words + bytes.toString()).slice(-4_000)));
      const merges = (): number => events.filter(({ event }) => event === 'merge').length;
      const until = async (what: string, isTrue: () => boolean): Promise<void> => {
        const endsAt = performance.now() + 120_000;
        while (!isTrue()) {
          if (performance.now() > endsAt || child.exitCode !== null)
            throw new Error(`waited for ${what}:\n${JSON.stringify(events.slice(-5))}\n${words}`);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      };
      await until('the first merges', () => merges() >= 3);
      await server.kill();
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      await server.restart();
      const before = merges();
      await until('merges after the restart', () => merges() >= before + 6);
      child.kill('SIGINT');
      await ended;
      const summary = events.find(({ event }) => event === 'summary') as Event | undefined;
      expect(summary, words).toBeDefined();
      expect(events.filter(({ event }) => event === 'process-crashed')).toEqual([]);
      await expectTrueCopy(run, server, accounts.accountFile);
    } finally {
      child.kill('SIGKILL');
      await ended;
      await server.close();
      rmSync(dir, { recursive: true, force: true });
    }
  }, 300_000);
});

async function expectTrueCopy(run: string, server: NatsServer, accountFile: string): Promise<void> {
  const { journal } = await openFileJournal({ folder: run });
  const entries = await journal.read(0, Number.MAX_SAFE_INTEGER);
  await journal.close();
  expect(entries.filter(({ message }) => message.kind === 'fragment-published').length).toBeGreaterThan(8);
  const session = testSession('reader');
  const { account, signingSeed } = JSON.parse(readFileSync(accountFile, 'utf8'));
  const signer = new AccountSigner(account, signingSeed);
  const { sessionKey } = session;
  const expiresAtMs = Date.now() + 60_000;
  const user = await RenewingUser.open({
    ...{ session, nowMs: () => Date.now(), log: silentLog },
    fetch: () => signer.issue({ sessionKey, label: 'reader', rights: null, expiresAtMs }),
  });
  const names = new NatsNames(busScopeOf(entries[0]!.message.run), sessionKey);
  const bus = await connectNats({ servers: [server.url], names, kept: keptTopics, user, isOwner: true });
  try {
    const copy = await bus.replica.read(topics.journal, 0, entries.length + 10);
    expect(copy).toEqual(entries.map((entry) => canonicalJson(entry)));
  } finally {
    user.close();
    await bus.close();
  }
}
