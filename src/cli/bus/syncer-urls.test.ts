/** @file Which of several syncers a participant asks. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { BusError } from '../../bus/errors.ts';
import { RoleError } from '../../roles/errors.ts';
import { SyncerUrls } from './syncer-urls.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function serve(place: unknown): Promise<string> {
  const server = createServer((_, response) => response.end(JSON.stringify(place)));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it('asks who answered last, then the others, and remembers who answered', async () => {
  const syncers = new SyncerUrls(['a', 'b', 'c']);
  const asked: string[] = [];
  const answersAt = (place: string) => async (url: string) => {
    asked.push(url);
    if (url !== place) throw new BusError('UNREACHABLE', url, { retryable: true });
    return url;
  };
  expect(await syncers.ask(answersAt('b'))).toBe('b');
  expect(await syncers.ask(answersAt('b'))).toBe('b');
  expect(await syncers.ask(answersAt('c'))).toBe('c');
  await expect(syncers.ask(answersAt('none'))).rejects.toMatchObject({ code: 'UNREACHABLE' });
  expect(asked).toEqual(['a', 'b', 'b', 'b', 'a', 'c', 'c', 'a', 'b']);
  expect(syncers.current).toBe('c');
});

it('takes a refusal for an answer', async () => {
  const refused = new SyncerUrls(['a', 'b']).ask(async () => {
    throw new RoleError('REFUSED', 'no');
  });
  await expect(refused).rejects.toMatchObject({ code: 'REFUSED' });
});

it('finds the bus where a syncer answers, and looks again when it is told', async () => {
  const place = { kind: 'nats', servers: ['nats://127.0.0.1:4222'], isGuarded: false };
  const [first, second] = [await serve(place), await serve(place)];
  const syncers = new SyncerUrls(['http://127.0.0.1:9', first, second]);
  expect(await syncers.fetchPlace()).toEqual(place);
  expect(syncers.current).toBe(first);
  const gone = servers.shift()!;
  await new Promise((resolve) => {
    gone.close(resolve);
    gone.closeAllConnections();
  });
  syncers.lookAgain();
  syncers.lookAgain();
  for (let tries = 0; syncers.current !== second && tries < 500; tries++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(syncers.current).toBe(second);
});
