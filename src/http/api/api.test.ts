/** @file The read API over a long journal: every route fits its schema, pages, tags, refusals, limits and live events. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeLargeJournal } from '../../../tests/support/large-journal.ts';
import { ReplayedRun } from '../../../tests/support/replayed-run.ts';
import { apiErrorSchema } from '../../protocol/api/common.ts';
import { type ApiUpdate, maxLiveRows, pulseSchema, updateSchema } from '../../protocol/api/live.ts';
import { type ApiRoute, apiRoutes } from '../../protocol/api/routes.ts';
import { snapshotSchema } from '../../protocol/api/snapshot.ts';
import { seriesMetric } from '../../protocol/api/training.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import type { Clock } from '../../util/clock.ts';
import { openapiDocument } from './openapi.ts';
import { writeSnapshot } from './snapshot.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are read as a stranger does, field by field
type Json = any;

let entries: readonly JournalEntry[];
let run: ReplayedRun;
const clock: Clock = {
  nowMs: () => entries.at(-1)!.timeMs + 1_000,
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
};
const played = 600;

beforeAll(async () => {
  entries = makeLargeJournal({ events: 1_300, miners: 12, validators: 3 }).entries;
  run = await ReplayedRun.open({ entries, clock, liveEveryMs: 5 });
}, 300_000);
afterAll(() => run.close());

const get = (path: string, headers: Record<string, string> = {}, at = run): Promise<Response> =>
  fetch(`${at.url}/api/v1/${path}`, { headers });

async function read<T = Json>(path: string): Promise<T> {
  const response = await get(path);
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** One address of every route, with things that are there. */
async function addresses(): Promise<[string, ApiRoute][]> {
  const { rows: miners } = await read('miners?limit=2');
  const { rows: merges } = await read('merges?limit=2');
  const { rows: claims } = await read(`miners/${miners[0].hotkey}/claims?limit=2`);
  const values: Record<string, readonly string[]> = {
    hotkey: [miners[0].hotkey],
    outerStep: [String(merges[0].outerStep)],
    claim: [claims[0].claim, claims[1].claim],
    release: ['0', '1'],
    metric: seriesMetric.options,
  };
  return Object.values(apiRoutes as Record<string, ApiRoute>).flatMap((route) => {
    const name = /:(\w+)/.exec(route.path)?.[1];
    if (name === undefined) return [[route.path, route] as [string, ApiRoute]];
    return values[name]!.map((value): [string, ApiRoute] => [route.path.replace(`:${name}`, value), route]);
  });
}

describe('read api', () => {
  it('answers every route as its schema says', async () => {
    const all = await addresses();
    expect(all.length).toBeGreaterThan(25);
    for (const [path, { answer }] of all) {
      const body = await read(path);
      const parsed = answer.strict().safeParse(body);
      expect(parsed.error?.issues[0], path).toBeUndefined();
    }
  });

  it('counts what the fold counts', async () => {
    const { state } = run;
    const overview = await read('overview');
    expect(overview.countedTokens).toBe(state.cellTokens / state.fragments.length);
    expect(overview.merges).toBe(state.merges);
    expect(overview.claims.committed).toBe(state.claims.size);
    expect(overview.claims.merged).toBe([...state.claims.values()].filter(({ status }) => status === 'merged').length);
    expect(overview.health.word).toMatch(/healthy|degraded/);
    expect(overview.tokensPerSecond).toBeGreaterThan(0);
    const { rows } = await read('miners?limit=200');
    const tokens = rows.reduce((sum: number, row: Json) => sum + row.verifiedTokens, 0);
    expect(tokens).toBeCloseTo(overview.countedTokens, 3);
    expect(rows.reduce((sum: number, row: Json) => sum + row.workShare, 0)).toBeCloseTo(1, 9);
    const merge = await read(`merges/${state.recentMerges.at(-1)!.outerStep}`);
    expect(merge.parts.reduce((sum: number, part: Json) => sum + part.share, 0)).toBeCloseTo(1, 6);
    expect(merge.parts.length).toBe(merge.claims);
  });

  it('pages with cursors to the end', async () => {
    const seen: number[] = [];
    for (let cursor = ''; ; ) {
      const page = await read(`merges?limit=7${cursor}`);
      seen.push(...page.rows.map((row: Json) => row.outerStep));
      expect(page.total).toBe(run.state.merges);
      if (page.nextCursor === null) break;
      cursor = `&cursor=${page.nextCursor}`;
    }
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => b - a));
    expect(seen.length).toBe(run.state.merges);
  });

  it('says that nothing changed until the journal goes on', async () => {
    const moving = await ReplayedRun.open({ entries, clock, played });
    for (const path of ['merges', 'series/throughput', 'overview', 'miners?sort=hotkey']) {
      const first = await get(path, {}, moving);
      const tag = first.headers.get('etag')!;
      expect(tag, path).toMatch(/^W\/".+"$/);
      const again = await get(path, { 'if-none-match': `"other", ${tag}` }, moving);
      expect([again.status, await again.text()], path).toEqual([304, '']);
      await moving.play(1);
      const later = await get(path, { 'if-none-match': tag }, moving);
      expect(later.status, path).toBe(200);
      expect(((await later.json()) as Json).asOf.size, path).toBe(moving.state.size);
    }
    await moving.close();
  });

  it('refuses bad parameters, and says which', async () => {
    const { rows } = await read('miners?limit=1&sort=tokens');
    const page = await read('miners?limit=1&sort=tokens');
    for (const [path, field] of [
      ['merges?limit=0', 'limit'],
      ['merges?limit=201', 'limit'],
      ['merges?limit=x', 'limit'],
      ['merges?cursor=!!', 'cursor'],
      ['merges?cursor=abcd', 'cursor'],
      [`miners?sort=hotkey&cursor=${page.nextCursor}`, 'cursor'],
      ['merges?unknown=1', 'unknown'],
      ['merges?limit=1&limit=2', 'limit'],
      ['miners?sort=secret', 'sort'],
      ["miners?search=' or 1=1 --", 'search'],
      ['miners?search=%25', 'search'],
      ['series/nothing', 'metric'],
      ['series/gain?points=100000', 'points'],
      ['series/gain?fromMs=-1', 'fromMs'],
      ['merges/1.5', 'outerStep'],
      ['miners/short', 'hotkey'],
      ['claims/zz', 'claim'],
    ] as const) {
      const response = await get(path);
      const body = apiErrorSchema.parse(await response.json());
      expect([response.status, body.code, body.field], path).toEqual([400, 'BAD_REQUEST', field]);
    }
    for (const path of [
      `claims/${'0'.repeat(64)}`,
      'merges/999999',
      'releases/999',
      `miners/${rows[0].hotkey.slice(0, -1)}${rows[0].hotkey.endsWith('1') ? '2' : '1'}`,
      'nothing',
    ]) {
      const response = await get(path);
      expect([response.status, apiErrorSchema.parse(await response.json()).code], path).toEqual([404, 'NOT_FOUND']);
    }
  });

  it('is only read, by every origin', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      const response = await fetch(`${run.url}/api/v1/merges`, { method });
      expect([response.status, response.headers.get('allow')], method).toEqual([405, 'GET, HEAD']);
    }
    const asked = await fetch(`${run.url}/api/v1/merges`, {
      method: 'OPTIONS',
      headers: { origin: 'https://a.example' },
    });
    expect([asked.status, asked.headers.get('access-control-allow-methods')]).toEqual([204, 'GET, HEAD']);
    for (const path of ['api/v1/merges', 'journal', 'run', 'api/openapi.json']) {
      const response = await fetch(`${run.url}/${path}`, { headers: { origin: 'https://a.example' } });
      expect(response.headers.get('access-control-allow-origin'), path).toBe('*');
    }
    const sizeBefore = run.state.size;
    const head = await fetch(`${run.url}/api/v1/merges`, { method: 'HEAD' });
    expect([head.status, await head.text(), run.state.size]).toEqual([200, '', sizeBefore]);
  });

  it('limits the requests of one client', async () => {
    const limited = await ReplayedRun.open({ entries, clock, played: 200, requestsPerMinute: 3 });
    const answers = [];
    for (let i = 0; i < 5; i++) answers.push(await get('run', {}, limited));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429]);
    const body = apiErrorSchema.parse(await answers[4]!.json());
    expect(body.code).toBe('TOO_MANY_REQUESTS');
    expect(body.retryAfterSeconds).toBeGreaterThan(0);
    expect(body.retryAfterSeconds).toBeLessThanOrEqual(60);
    // What roles need is not limited.
    expect((await fetch(`${limited.url}/journal?limit=1`)).status).toBe(200);
    await limited.close();
  });

  it('thins series out, and marks releases and phases', async () => {
    const { lines, marks, sampleCount } = await read('series/gain?points=20');
    expect(lines.length).toBe(1);
    expect(lines[0].value.length).toBeLessThanOrEqual(20);
    expect(sampleCount).toBeGreaterThan(20);
    for (const column of ['atMs', 'countedTokens', 'value', 'low', 'high'])
      expect(lines[0][column].length, column).toBe(lines[0].value.length);
    expect(marks.map(({ kind, index }: Json) => `${kind} ${index}`)).toEqual(
      expect.arrayContaining(['release 0', 'release 1', 'phase 0']),
    );
    const fromMs = lines[0].atMs[10];
    const zoomed = await read(`series/gain?points=20&fromMs=${fromMs}`);
    expect(zoomed.sampleCount).toBeLessThan(sampleCount);
    expect(Math.min(...zoomed.lines[0].atMs)).toBeGreaterThanOrEqual(fromMs);
  });
});

describe('openapi document', () => {
  it('is valid OpenAPI 3.1 and names every route', async () => {
    const served = await (await fetch(`${run.url}/api/openapi.json`)).json();
    const result = await new Validator().validate(structuredClone(served) as Record<string, unknown>);
    expect(result).toMatchObject({ valid: true });
    const paths = Object.keys((served as Json).paths);
    expect(paths.length).toBe(Object.keys(apiRoutes).length + 1);
    expect(paths).toContain('/api/v1/miners/{hotkey}/claims');
    expect(openapiDocument('0.0.0')).toEqual(served);
    const page = await (await fetch(`${run.url}/api`)).text();
    for (const path of paths) expect(page).toContain(path);
  });
});

describe('metrics and health', () => {
  it('are told in the text format, by their names', async () => {
    await read('run');
    const response = await fetch(`${run.url}/metrics`);
    const text = await response.text();
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toContain(`accrete_journal_entries_total ${run.state.size}`);
    expect(text).toMatch(/accrete_http_request_seconds_bucket\{le="0\.1",route="\/api\/v1\/run",status="200"\} \d+/);
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
    expect(names.filter((name) => !name.startsWith('accrete_'))).toEqual([]);
    expect(await (await fetch(`${run.url}/healthz`)).json()).toEqual({ ok: true });
  });
});

describe('live events', () => {
  interface Message {
    readonly id: number | null;
    readonly event: string;
    readonly data: unknown;
  }

  /** Reads messages until `isEnough` says so, then hangs up. */
  async function listen(
    at: ReplayedRun,
    lastEventId: number | null,
    isEnough: (all: readonly Message[]) => boolean,
  ): Promise<Message[]> {
    const hangUp = new AbortController();
    const headers: Record<string, string> = lastEventId === null ? {} : { 'last-event-id': String(lastEventId) };
    const response = await fetch(`${at.url}/api/v1/events`, {
      headers,
      signal: AbortSignal.any([hangUp.signal, AbortSignal.timeout(20_000)]),
    });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const all: Message[] = [];
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)));
        if (fields.event !== undefined)
          all.push({
            id: fields.id === undefined ? null : Number(fields.id),
            event: fields.event,
            data: JSON.parse(fields.data),
          });
      }
      if (isEnough(all)) break;
    }
    hangUp.abort();
    return all;
  }
  const updates = (all: readonly Message[]): ApiUpdate[] =>
    all.filter(({ event }) => event === 'update').map(({ data }) => updateSchema.parse(data));

  it('tell every entry once, over a connection that breaks', async () => {
    const live = await ReplayedRun.open({ entries, clock, played: 600, liveEveryMs: 5 });
    const until = (seq: number) => (all: readonly Message[]) => all.some(({ id }) => (id ?? -1) >= seq);
    const first = listen(live, 589, until(799));
    await sleep(50);
    for (let i = 0; i < 4; i++) {
      await live.play(50);
      await sleep(10);
    }
    const seen = updates(await first);
    // Gone for a while: what was missed comes first.
    await live.play(100);
    const second = updates(await listen(live, seen.at(-1)!.toSeq, until(899)));
    const all = [...seen, ...second];
    expect(all[0]!.fromSeq).toBe(590);
    for (const [i, update] of all.slice(1).entries()) expect(update.fromSeq).toBe(all[i]!.toSeq + 1);
    const told = all.reduce((sum, { counts }) => sum + Object.values(counts).reduce((a, b) => a + b, 0), 0);
    expect(told).toBe(900 - 590);
    const merges = all.flatMap(({ merges: rows }) => rows.map(({ outerStep }) => outerStep));
    const published = entries.slice(590, 900).filter(({ message }) => message.kind === 'fragment-published');
    expect(merges).toEqual(published.map(({ message }) => (message.body as Json).outerStep));
    expect(all.flatMap(({ claims }) => claims).length).toBeGreaterThan(0);
    await live.close();
  });

  it('say when more was missed than is told', async () => {
    const [update] = updates(await listen(run, 0, (all) => all.length > 0));
    expect(update!.toSeq).toBe(run.state.size - 1);
    expect(update!.isPartial).toBe(true);
    expect(update!.verdicts.length).toBe(maxLiveRows);
  });

  it('carry heartbeats as pulses, and bound the clients of one address', async () => {
    const pulses = new Map();
    const beating = await ReplayedRun.open({ entries, clock, played: 300, pulses: () => pulses, liveEveryMs: 5 });
    const messages = await listen(beating, null, (all) => all.length > 0);
    expect(pulseSchema.parse(messages[0]!.data)).toMatchObject({ activeMiners: 0, trainingLoss: null });
    const hangUp = new AbortController();
    const open = async () => (await fetch(`${beating.url}/api/v1/events`, { signal: hangUp.signal })).status;
    const statuses = [];
    for (let i = 0; i < 18; i++) statuses.push(await open());
    expect(statuses.slice(0, 15)).toEqual(Array.from({ length: 15 }, () => 200));
    expect(statuses.at(-1)).toBe(503);
    hangUp.abort();
    await beating.close();
  });
});

describe('snapshot', () => {
  it('holds what the server answers, page by page', async () => {
    const files = new Map<string, string>();
    const snapshot = await writeSnapshot(run.sources, {
      ...{ journalPath: null, hasLedger: false, claims: 5, merges: 3 },
      write: async (path, text) => void files.set(path, text),
    });
    snapshotSchema.parse(JSON.parse(files.get('api/v1/snapshot.json')!));
    expect([...files.keys()].filter((path) => path !== 'api/v1/snapshot.json').sort()).toEqual(
      snapshot.files.map((name) => `api/v1/${name}`),
    );
    for (const path of ['run', 'record', 'releases/1', 'series/throughput', 'merges?limit=200'])
      expect(JSON.parse(files.get(`api/v1/${path.split('?')[0]}.json`)!), path).toEqual(await read(path));
    const { rows } = await read('miners?limit=200');
    for (const { hotkey } of rows) expect(files.has(`api/v1/miners/${hotkey}.json`)).toBe(true);
    expect(snapshot.files.filter((name) => name.startsWith('claims/')).length).toBe(5);
    expect(snapshot.files.filter((name) => /^merges\/\d+\.json$/.test(name)).length).toBe(3);
  });
});

describe('dashboard files', () => {
  const site = mkdtempSync(join(tmpdir(), 'accrete-site-'));
  let served: ReplayedRun;
  beforeAll(async () => {
    mkdirSync(join(site, 'assets'));
    writeFileSync(join(site, 'index.html'), '<!doctype html><title>dashboard</title>');
    writeFileSync(join(site, 'assets', 'index-Ab12Cd34.js'), 'export {};');
    writeFileSync(join(site, 'assets', 'long-Ab12Cd34.js'), '// what repeats is packed\n'.repeat(100));
    writeFileSync(join(site, '.secret.txt'), 'nobody may read this');
    served = await ReplayedRun.open({ entries, clock, played: 20, site });
  });
  afterAll(async () => {
    await served.close();
    rmSync(site, { recursive: true, force: true });
  });

  it('are served with a strict policy; hashed names for good', async () => {
    const page = await fetch(`${served.url}/`);
    expect(await page.text()).toContain('dashboard');
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self';/);
    expect(page.headers.get('cache-control')).toBe('no-cache');
    const script = await fetch(`${served.url}/assets/index-Ab12Cd34.js`);
    expect(script.headers.get('cache-control')).toMatch(/immutable/);
    expect(script.headers.get('content-type')).toMatch(/^text\/javascript/);
    const again = await fetch(`${served.url}/`, { headers: { 'if-none-match': page.headers.get('etag')! } });
    expect(again.status).toBe(304);
    const deep = await fetch(`${served.url}/miners`, { headers: { accept: 'text/html' } });
    expect(await deep.text()).toContain('dashboard');
  });

  it('are packed for whoever takes gzip', async () => {
    const url = `${served.url}/assets/long-Ab12Cd34.js`;
    for (const [accepted, encoding] of [
      ['gzip, deflate, br', 'gzip'],
      ['deflate, gzip;q=0.5', 'gzip'],
      ['gzip;q=0', null],
      ['identity', null],
    ] as const) {
      const script = await fetch(url, { headers: { 'accept-encoding': accepted } });
      expect(script.headers.get('content-encoding'), accepted).toBe(encoding);
      expect((await script.text()).length, accepted).toBe(2_600);
    }
    const short = await fetch(`${served.url}/assets/index-Ab12Cd34.js`, { headers: { 'accept-encoding': 'gzip' } });
    expect(short.headers.get('content-encoding')).toBeNull();
  });

  it('are all that is served: no path leaves the folder', async () => {
    const { connect } = await import('node:net');
    for (const path of [
      '/.secret.txt',
      '/../package.json',
      '/assets/../../etc/passwd',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/assets/%00',
      '//etc/passwd',
      '/nothing.js',
    ]) {
      const answer = await new Promise<string>((resolve, reject) => {
        let text = '';
        const socket = connect(served.server.port, '127.0.0.1', () =>
          socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`),
        );
        socket
          .on('data', (bytes) => (text += bytes))
          .on('end', () => resolve(text))
          .on('error', reject);
      });
      expect(answer.split('\r\n')[0], path).toMatch(/^HTTP\/1\.1 40[04]/);
      expect(answer, path).not.toMatch(/root:|"accrete"|nobody may read/);
    }
  });

  it('say how to build the page where it is not built', async () => {
    const page = await fetch(`${run.url}/`);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('npm run build:web');
  });
});
