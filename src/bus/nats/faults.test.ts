/** @file What can go wrong between a run and a real nats-server: it dies, a responder dies, messages repeat, readers are slow, bytes are many. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../../tests/contracts/bus.ts';
import { NatsServer, type NatsServerOptions, natsProgram } from '../../../tests/support/nats-server.ts';
import { keptTopics, topics } from '../../roles/client.ts';
import { connectNats, type NatsBus } from './bus.ts';
import { maxWaitingPerSender, natsPayloadBytes } from './limits.ts';
import { NatsNames } from './names.ts';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function start(options: NatsServerOptions = {}): Promise<NatsServer> {
  const server = await NatsServer.start(options);
  opened.push(server);
  return server;
}

async function open(server: NatsServer, self: string, term = 0): Promise<NatsBus> {
  const bus = await connectNats({
    ...{ servers: [server.url], names: new NatsNames('run', self), kept: keptTopics, isOwner: true, term },
    ...{ minBackoffMs: 10, maxBackoffMs: 100 },
  });
  opened.push(bus);
  return bus;
}

/** As roles do: the same request again for as long as there is no answer. */
async function insist(bus: NatsBus, payload: string, timeoutMs = 1_500): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await bus.request(topics.submit, payload, { timeoutMs, once: payload });
    } catch (error) {
      if ((error as { retryable?: boolean }).retryable !== true || attempt === 40) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** `count` requests, `atOnce` at a time. */
async function insistAll(bus: NatsBus, count: number, atOnce: number): Promise<string[]> {
  const answers: string[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const at = next++;
      answers[at] = await insist(bus, `request ${at}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return answers;
}

async function startResponder(server: NatsServer, file: string, term = 0): Promise<ChildProcess> {
  const program = join(import.meta.dirname, '../../../tests/support/nats-responder.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', program, server.url, 'run', file, `${term}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  opened.push({ close: async () => void child.kill('SIGKILL') });
  await new Promise((resolve) => child.stdout!.once('data', resolve));
  return child;
}

const linesOf = (file: string): string[] => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []);

describe.skipIf(!natsProgram.isThere)(`faults on NATS (${natsProgram.need})`, () => {
  it('a server that is killed loses no request, no answer and no entry, and has none done twice', async () => {
    const server = await start();
    const [orchestrator, miner] = [await open(server, 'owner'), await open(server, 'miner')];
    const worked: string[] = [];
    await orchestrator.respond(topics.submit, async (payload) => {
      worked.push(payload);
      return `did ${payload}`;
    });
    const heard: string[] = [];
    await miner.subscribe(topics.journal, (payload) => heard.push(payload));
    const append = async (): Promise<void> => {
      for (let at = 0; at < 300; ) {
        try {
          await orchestrator.replica.append(topics.journal, at, `entry ${at}`);
          at++;
        } catch (error) {
          expect((error as { retryable?: boolean }).retryable).toBe(true);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    };
    const work = Promise.all([insistAll(miner, 300, 16), append()]);
    for (let kill = 1; kill <= 2; kill++) {
      await until(() => worked.length >= kill * 80, 'work');
      await server.kill();
      await until(() => !miner.connected && !orchestrator.connected, 'the loss');
      await expect(miner.publish('news', '')).rejects.toMatchObject({ code: 'CLOSED', retryable: true });
      await server.restart();
    }
    const [answers] = await work;
    expect(answers).toEqual(Array.from({ length: 300 }, (_, i) => `did request ${i}`));
    expect([...worked].sort()).toEqual(answers.map((_, i) => `request ${i}`).sort());
    expect(await orchestrator.replica.size(topics.journal)).toBe(300);
    const entries = Array.from({ length: 300 }, (_, i) => `entry ${i}`);
    expect(await miner.replica.read(topics.journal, 0, 1_000)).toEqual(entries);
    // Subscribed again by itself: the last ones came after the restarts.
    expect(heard.at(-1)).toBe('entry 299');
  }, 60_000);

  it('a responder that is killed leaves nothing undone, and the next one does nothing twice', async () => {
    const server = await start();
    const miner = await open(server, 'miner');
    const file = join(server.dir, 'noted');
    let responder = await startResponder(server, file);
    const work = insistAll(miner, 200, 16);
    for (const count of [40, 110]) {
      await until(() => linesOf(file).length >= count, `${count} requests`);
      responder.kill('SIGKILL');
      responder = await startResponder(server, file);
    }
    expect(await work).toEqual(Array.from({ length: 200 }, (_, i) => `noted request ${i}`));
    expect(linesOf(file).sort()).toEqual(Array.from({ length: 200 }, (_, i) => `request ${i}`).sort());
  }, 60_000);

  it('what is in work when its responder closes is given to the next one', async () => {
    const server = await start();
    const [first, second, miner] = [await open(server, 'one'), await open(server, 'two'), await open(server, 'miner')];
    let isTaken = false;
    await first.respond(topics.submit, () => {
      isTaken = true;
      return new Promise(() => undefined);
    });
    const answer = insist(miner, 'work', 20_000);
    await until(() => isTaken, 'the first responder');
    await first.close();
    await second.respond(topics.submit, async (payload) => `${payload} of the second`);
    expect(await answer).toBe('work of the second');
  }, 30_000);

  it('a repeated request is worked on once, and has the one answer', async () => {
    const server = await start();
    const [orchestrator, miner] = [await open(server, 'owner'), await open(server, 'miner')];
    let worked = 0;
    await orchestrator.respond(topics.submit, async () => `answer ${++worked}`);
    const ask = (once: string) => miner.request(topics.submit, 'x', { timeoutMs: 5_000, once });
    expect([await ask('a'), await ask('a'), await ask('a'), await ask('b')]).toEqual([
      ...['answer 1', 'answer 1', 'answer 1', 'answer 2'],
    ]);
    // Another's request of the same name is another request.
    const other = await open(server, 'other');
    expect(await other.request(topics.submit, 'x', { timeoutMs: 5_000, once: 'a' })).toBe('answer 3');
    expect(worked).toBe(3);
  });

  it('a log takes each message at its place, and the same one again without having it twice', async () => {
    const server = await start();
    const [owner, rival] = [await open(server, 'owner'), await open(server, 'rival')];
    for (const text of ['0', '0', '1']) await owner.replica.append('journal', Number(text), text);
    await expect(rival.replica.append('journal', 1, 'another')).rejects.toMatchObject({ code: 'OUT_OF_PLACE' });
    await expect(rival.replica.append('journal', 5, 'too early')).rejects.toMatchObject({ code: 'OUT_OF_PLACE' });
    await expect(owner.publish('journal', 'unnumbered')).rejects.toMatchObject({ code: 'BAD_TOPIC' });
    const racers = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => (i % 2 ? owner : rival).replica.append('journal', 2, `racer ${i}`)),
    );
    expect(racers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await rival.replica.size('journal')).toBe(3);
    expect(await rival.replica.read('journal', 1, 1)).toEqual(['1']);
  });

  it('whoever fills the queue fills his own share only', async () => {
    const server = await start();
    const [flooder, miner, owner] = [
      await open(server, 'flooder'),
      await open(server, 'miner'),
      await open(server, 'o'),
    ];
    const ask = (bus: NatsBus) => bus.request(topics.submit, 'x', { timeoutMs: 8_000 }).catch((error) => error.code);
    const asked = Array.from({ length: maxWaitingPerSender + 5 }, () => ask(flooder));
    await expect(Promise.race(asked)).resolves.toBe('BUSY');
    const other = ask(miner);
    await owner.respond(topics.submit, async () => 'done');
    expect(await other).toBe('done');
    const codes = await Promise.all(asked);
    expect(codes.filter((code) => code === 'BUSY')).toHaveLength(5);
    expect(codes.filter((code) => code === 'done')).toHaveLength(maxWaitingPerSender);
  }, 20_000);

  it('gives later subscribers the newest message of each publisher', async () => {
    const server = await start();
    const [a, b, owner] = [await open(server, 'a'), await open(server, 'b'), await open(server, 'owner')];
    for (const text of ['old', 'new']) await a.publish('heartbeat', `a ${text}`);
    await b.publish('heartbeat', 'b');
    await owner.publish('heads.3', 'head');
    const seen: string[] = [];
    await owner.subscribe('heartbeat', (payload) => seen.push(payload));
    await until(() => seen.length === 2, 'what is kept');
    await a.publish('heartbeat', 'a newest');
    await until(() => seen.length === 3, 'what is new');
    expect([...seen].sort()).toEqual(['a new', 'a newest', 'b']);
  });

  it('a reader that does not read is cut off, and nobody else waits for it', async () => {
    const server = await start({ config: 'max_pending: 1MB\nwrite_deadline: "1s"' });
    const [publisher, reader] = [await open(server, 'p'), await open(server, 'r')];
    const slow = connect(server.port, '127.0.0.1');
    slow.on('error', () => undefined);
    opened.push({ close: async () => void slow.destroy() });
    slow.write('CONNECT {"verbose":false}\r\nSUB accrete.run.log.journal 1\r\nPING\r\n');
    await new Promise((resolve) => slow.once('data', resolve));
    slow.pause();
    let heard = 0;
    await reader.subscribe('journal', () => heard++);
    const text = 'x'.repeat(500_000);
    for (let at = 0; at < 40; at++) await publisher.replica.append('journal', at, text);
    await until(() => heard === 40, 'the good reader');
    await until(() => /Slow Consumer/i.test(server.words), 'the cut');
    // Who was cut off reads on from where it was.
    expect(await reader.replica.read('journal', 38, 10)).toHaveLength(2);
  }, 30_000);

  it('more than 1 MB is refused with a sentence, and the connection stays', async () => {
    const server = await start();
    const [a, b] = [await open(server, 'a'), await open(server, 'b')];
    const huge = 'é'.repeat(natsPayloadBytes / 2 + 1);
    const refusal = { code: 'TOO_LARGE', message: expect.stringMatching(/at most 1000000 bytes, got 1000002/) };
    await expect(a.publish('news', huge)).rejects.toMatchObject(refusal);
    await expect(a.publish('heartbeat', huge)).rejects.toMatchObject(refusal);
    await expect(a.request('lease', huge, { timeoutMs: 1_000 })).rejects.toMatchObject(refusal);
    await expect(a.request('submit', huge, { timeoutMs: 1_000 })).rejects.toMatchObject(refusal);
    await expect(a.replica.append('journal', 0, huge)).rejects.toMatchObject(refusal);
    for (const topic of ['lease', 'submit']) {
      await b.respond(topic, async (payload) => (payload === 'all' ? 'x'.repeat(natsPayloadBytes) : huge));
      await expect(a.request(topic, '', { timeoutMs: 5_000 })).rejects.toMatchObject(refusal);
      expect(await a.request(topic, 'all', { timeoutMs: 5_000 })).toHaveLength(natsPayloadBytes);
    }
    expect(a.connected && b.connected).toBe(true);
  });

  it('a server that would take less is not used, and none at all is told', async () => {
    const small = await start({ config: 'max_payload: 512KB' });
    await expect(open(small, 'a')).rejects.toMatchObject({
      ...{ code: 'UNREACHABLE', message: expect.stringContaining('max_payload') },
    });
    await small.kill();
    await expect(open(small, 'a')).rejects.toMatchObject({ code: 'UNREACHABLE', retryable: true });
  });

  it('a topic of a responder that is gone is free, also without a goodbye', async () => {
    const server = await start();
    const file = join(server.dir, 'noted');
    const responder = await startResponder(server, file);
    const other = await open(server, 'other');
    await expect(other.respond(topics.submit, async () => '')).rejects.toMatchObject({ code: 'TAKEN' });
    responder.kill('SIGKILL');
    let isFree = false;
    const take = async (): Promise<void> => {
      await other
        .respond(topics.submit, async () => '')
        .then(
          () => {
            isFree = true;
          },
          (error) => expect(error.code).toBe('TAKEN'),
        );
    };
    for (let tries = 0; tries < 50 && !isFree; tries++) await take();
    expect(isFree).toBe(true);
  }, 20_000);
  it('a later term takes topics, and what waits in them, from one that is frozen; an earlier one gets nothing', async () => {
    const server = await start();
    const frozen = await startResponder(server, join(server.dir, 'noted'), 1);
    const miner = await open(server, 'miner');
    expect(await insist(miner, 'before')).toBe('noted before');
    frozen.kill('SIGSTOP');
    // Given to the frozen one, which has asked for as many as may be in work.
    const waiting = insistAll(miner, 5, 5);
    const sameTerm = await open(server, 'same', 1);
    await expect(sameTerm.respond(topics.submit, async () => '')).rejects.toMatchObject({ code: 'TAKEN' });
    const next = await open(server, 'next', 2);
    await next.respond(topics.submit, async (payload) => `took ${payload}`);
    expect(await waiting).toEqual(Array.from({ length: 5 }, (_, i) => `took request ${i}`));
    const earlier = await open(server, 'earlier', 1);
    await expect(earlier.respond(topics.submit, async () => '')).rejects.toMatchObject({ code: 'TAKEN' });
    frozen.kill('SIGKILL');
  }, 60_000);

  it('an orchestrator that was not elected is not pushed aside while it is connected', async () => {
    const server = await start();
    const alone = await open(server, 'alone');
    await alone.respond(topics.lease, async () => 'alone');
    const elected = await open(server, 'elected', 7);
    await expect(elected.respond(topics.lease, async () => '')).rejects.toMatchObject({ code: 'TAKEN' });
    await alone.close();
    await elected.respond(topics.lease, async () => 'elected');
    await elected.close();
    await (await open(server, 'again')).respond(topics.lease, async () => 'alone again');
  });
});
