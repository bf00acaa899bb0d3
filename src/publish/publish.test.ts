/**
 * @file Publishing against a hub on this machine that speaks the real protocol: bytes over HTTP, one commit, a tag; what breaks,
 * refuses or fails in the middle leaves branch and tags as they were, and the same call goes on where it stopped.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HubServer, readToken, writeToken } from '../../tests/support/hub-server.ts';
import { PublishError, type PublishErrorCode } from './errors.ts';
import { openFolder } from './folder.ts';
import { openHub } from './hub.ts';
import type { LastPublished, Publication, Published } from './port.ts';
import { retryAfterMs } from './retrying-fetch.ts';

const repo = 'owner/model';
let dir: string;
let hub: HubServer;
let pauses: number[];
let said: string[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'accrete-publish-'));
  hub = new HubServer();
  await hub.open();
  [pauses, said] = [[], []];
});
afterEach(async () => {
  await hub.close();
  rmSync(dir, { recursive: true });
});

/** Two large files and two small ones. */
function publication(tag = 'release-1', weights = 300_000): Publication {
  const folder = join(dir, tag);
  mkdirSync(folder, { recursive: true });
  const file = (name: string, content: Buffer | string) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return { file: path };
  };
  return {
    ...{ tag, title: `a ${tag}` },
    files: [
      { path: 'README.md', from: { bytes: new TextEncoder().encode(`# ${tag}\n`) } },
      { path: 'config.json', from: file('config.json', `{"of": "${tag}"}`) },
      { path: `gguf/${tag}.gguf`, from: file('a.gguf', randomBytes(200_000)) },
      { path: 'model.safetensors', from: file('model.safetensors', randomBytes(weights)) },
    ],
  };
}

async function publish(
  what: Publication,
  options: { token?: string; last?: LastPublished | null; parent?: string; signal?: AbortSignal } = {},
): Promise<Published> {
  const target = openHub({
    ...{ repo, endpoint: hub.url, token: options.token ?? writeToken, isPrivate: false, fetch },
    clock: { nowMs: () => Date.UTC(2026, 0, 1), sleep: async (ms) => void pauses.push(ms) },
  });
  const parent = options.parent === undefined ? {} : { parent: options.parent };
  const signal = options.signal ?? new AbortController().signal;
  return await target.publish(what, {
    last: options.last ?? null,
    ...parent,
    signal,
    say: (line) => void said.push(line),
  });
}

async function refusal(work: Promise<unknown>): Promise<PublishError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PublishError);
  return error as PublishError;
}

const lastOf = ({ revision }: Published, { tag, files }: Publication): LastPublished => ({
  ...{ revision, tag },
  files: files.map(({ path }) => path),
});

/** Branch, tags, and every commit's paths. */
const snapshot = () =>
  JSON.stringify(
    [...hub.repositories].map(([name, { head, tags, commits }]) => [
      ...[name, head, [...tags]],
      [...commits].map(([oid, files]) => [oid, [...files.keys()]]),
    ]),
  );

function expectPublished(what: Publication): void {
  const files = hub.files(repo, what.tag);
  for (const { path, from } of what.files)
    expect(
      files.get(path)?.bytes.equals('bytes' in from ? Buffer.from(from.bytes) : readFileSync(from.file)),
      path,
    ).toBe(true);
}

const uploads = () => hub.requests.filter((line) => line.startsWith('PUT'));

describe('a hub', () => {
  it('gets a repository, the bytes, one commit and a tag', async () => {
    const what = publication();
    const { revision, url, isKnown } = await publish(what);
    expectPublished(what);
    const { tags, messages, head } = hub.repositories.get(repo)!;
    expect([...tags]).toEqual([['release-1', revision]]);
    expect(head).toBe(revision);
    expect(messages).toEqual(['initial commit', 'a release-1']);
    expect({ url, isKnown }).toEqual({ url: `${hub.url}/${repo}/tree/release-1`, isKnown: false });
    // Sizes are told before the bytes, and storage never sees the token.
    expect(hub.puts.map(({ length, hasToken }) => ({ length, hasToken }))).toEqual([
      { length: '200000', hasToken: false },
      { length: '300000', hasToken: false },
    ]);
    const kinds = hub.requests.map((line) => line.replace(/[0-9a-f]{40,}/, 'HASH'));
    expect(kinds.slice(0, 6)).toEqual([
      'GET /api/models/owner/model/refs',
      'POST /api/repos/create',
      'GET /api/models/owner/model/refs',
      'POST /api/models/owner/model/paths-info/HASH',
      'POST /api/models/owner/model/preupload/main',
      'POST /owner/model.git/info/lfs/objects/batch',
    ]);
    expect(kinds.slice(-2)).toEqual([
      'POST /api/models/owner/model/commit/main',
      'POST /api/models/owner/model/tag/HASH',
    ]);
  });

  it('gets large files in parts where it asks for them', async () => {
    hub.partBytes = 65_536;
    const what = publication();
    await publish(what);
    expectPublished(what);
    expect(uploads()).toHaveLength(Math.ceil(200_000 / 65_536) + Math.ceil(300_000 / 65_536));
  });

  it('is left alone where the release is there already', async () => {
    const what = publication();
    const first = await publish(what);
    const before = snapshot();
    hub.requests.length = 0;
    expect(await publish(what)).toEqual({ ...first, isKnown: true });
    expect(snapshot()).toBe(before);
    expect(hub.requests.filter((line) => /PUT|commit|preupload/.test(line))).toEqual([]);
  });

  it('keeps each release under its tag; files that a release no longer has leave the branch, those of others stay', async () => {
    const [one, two] = [publication('release-1'), publication('release-2')];
    const first = await publish(one);
    hub.change(repo, 'NOTES.md', 'by somebody');
    const { head } = hub.repositories.get(repo)!;
    await publish(two, { last: { ...lastOf(first, one), revision: head! } });
    expectPublished(one);
    expectPublished(two);
    expect([...hub.files(repo, 'release-2').keys()].sort()).toEqual(
      ['.gitattributes', 'NOTES.md', 'README.md', 'config.json', 'gguf/release-2.gguf', 'model.safetensors'].sort(),
    );
  });

  it('refuses another release under a tag that is taken', async () => {
    await publish(publication());
    const before = snapshot();
    const error = await refusal(publish(publication('release-1', 1_000)));
    expect(error.code).toBe('TAKEN');
    expect(error.message).toContain('a published release is not rewritten');
    expect(snapshot()).toBe(before);
  });

  it('refuses where somebody changed the branch since the last release, and says how to go on', async () => {
    const one = publication();
    const last = lastOf(await publish(one), one);
    hub.change(repo, 'README.md', 'mine now');
    const before = snapshot();
    const head = hub.repositories.get(repo)!.head!;
    const two = publication('release-2');
    const error = await refusal(publish(two, { last }));
    expect(error.code).toBe('MOVED');
    expect(error.message).toContain(`publish with --parent ${head}`);
    expect(snapshot()).toBe(before);
    expect(uploads()).toHaveLength(2);
    await publish(two, { last, parent: head });
    expectPublished(two);
  });

  it.each([409, 412] as const)('refuses where the branch moves while it is sent (status %i)', async (status) => {
    hub.create(repo);
    hub.movedStatus = status;
    const what = publication();
    hub.faults = [{ at: /^POST .*\/commit\//, before: () => hub.change(repo, 'x', 'meanwhile') }];
    const error = await refusal(publish(what));
    expect(error.code).toBe('MOVED');
    expect(error.message).toMatch(/somebody else committed to main of owner\/model meanwhile.*nothing was published/);
    const { messages, tags } = hub.repositories.get(repo)!;
    expect(messages).toEqual(['initial commit', 'by hand']);
    expect(tags.size).toBe(0);
    // Given again, on the new head, without sending bytes again.
    const sent = uploads().length;
    await publish(what);
    expectPublished(what);
    expect(uploads()).toHaveLength(sent);
  });
});

describe('a connection that breaks', () => {
  it('in the middle of the bytes is made again', async () => {
    hub.faults = [{ at: /^PUT/, dropAfterBytes: 70_000 }];
    const what = publication();
    await publish(what);
    expectPublished(what);
    expect(pauses).toEqual([1_000]);
    expect(said.join()).toContain('trying again in 1 s');
    expect(uploads()).toHaveLength(3);
  });

  it('for good leaves nothing, and the next time sends only what is missing', async () => {
    const what = publication('release-1', 2_000_000);
    // One large file arrives, the other one never.
    hub.create(repo);
    const before = snapshot();
    const weights = createHash('sha256')
      .update(readFileSync(join(dir, 'release-1', 'model.safetensors')))
      .digest('hex');
    hub.faults = [{ at: new RegExp(`^PUT /lfs/${weights}`), dropAfterBytes: 400_000, times: 5 }];
    const error = await refusal(publish(what));
    expect(error.code).toBe('UNREACHABLE');
    expect(error.message).toMatch(
      /^the connection to 127.0.0.1:\d+ failed .* the same command goes on where this one stopped$/,
    );
    expect(error.retryable).toBe(true);
    expect(snapshot()).toBe(before);
    expect(hub.objects.size).toBe(1);
    expect(hub.objects.has(weights)).toBe(false);
    const sent = uploads().length;
    await publish(what);
    expectPublished(what);
    expect(uploads().slice(sent)).toEqual([`PUT /lfs/${weights}`]);
  });

  it('after the commit was taken, but before the answer, ends in one commit and its tag', async () => {
    hub.faults = [{ at: /^POST .*\/commit\//, dropAnswer: true }];
    const what = publication();
    const { revision } = await publish(what);
    expectPublished(what);
    expect(hub.repositories.get(repo)!.messages).toEqual(['initial commit', 'a release-1']);
    expect(hub.repositories.get(repo)!.head).toBe(revision);
  });

  it('between commit and tag is healed by the next time', async () => {
    const what = publication();
    hub.faults = [{ at: /\/tag\//, status: 500, times: 9 }];
    expect((await refusal(publish(what))).code).toBe('HUB_FAILED');
    expect(hub.repositories.get(repo)!.tags.size).toBe(0);
    hub.faults = [{ at: /\/tag\//, dropAnswer: true }];
    const { revision } = await publish(what, { last: { revision: 'f'.repeat(40), tag: 'release-0', files: [] } });
    expect(hub.repositories.get(repo)!.tags.get('release-1')).toBe(revision);
    expect(hub.repositories.get(repo)!.messages).toEqual(['initial commit', 'a release-1']);
  });
});

describe('refusals of a hub', () => {
  const anywhere = /^(GET|POST)/;
  it.each<readonly [string, { token?: string }, readonly object[], PublishErrorCode, RegExp]>([
    [
      '401',
      { token: 'hf_unknown' },
      [],
      'UNAUTHORISED',
      /does not accept the token .*set HF_TOKEN to a token with write access/,
    ],
    ['403', { token: readToken }, [], 'FORBIDDEN', /the token may not write to owner\/model .*another repository/],
    [
      '429 for hours',
      {},
      [{ at: anywhere, status: 429, headers: { 'retry-after': '7200' } }],
      'RATE_LIMITED',
      /for 7200 s; wait so long/,
    ],
    ['429 for ever', {}, [{ at: /batch/, status: 429, times: 9 }], 'RATE_LIMITED', /allows no more requests/],
    [
      '500 for ever',
      {},
      [{ at: /commit/, status: 500, times: 9 }],
      'HUB_FAILED',
      /failed with status 500 .*goes on where this one stopped/,
    ],
    ['503 of uploads', {}, [{ at: /^PUT/, status: 503, times: 20 }], 'HUB_FAILED', /failed with status 503/],
    [
      '400',
      {},
      [{ at: /preupload/, status: 400 }],
      'HUB_FAILED',
      /refused \/api\/models\/owner\/model\/preupload\/main with status 400/,
    ],
    ['403 of the commit', {}, [{ at: /commit/, status: 403 }], 'FORBIDDEN', /may not write/],
  ])('%s: one sentence, nothing half-published', async (_, options, faults, code, sentence) => {
    hub.create(repo);
    const before = snapshot();
    hub.faults = faults as typeof hub.faults;
    const error = await refusal(publish(publication(), options));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(sentence);
    expect(error.message).not.toContain('\n');
    expect(error.message).not.toContain('hf_');
    expect(snapshot()).toBe(before);
    hub.faults = [];
    const what = publication('release-2');
    await publish(what);
    expectPublished(what);
  });

  it('waits as long as 429 asks, then goes on', async () => {
    const date = new Date(Date.UTC(2026, 0, 1) + 42_000).toUTCString();
    hub.faults = [
      { at: /batch/, status: 429, headers: { 'retry-after': '17' } },
      { at: /commit/, status: 429, headers: { 'retry-after': date } },
    ];
    const what = publication();
    await publish(what);
    expectPublished(what);
    expect(pauses).toEqual([17_000, 42_000]);
  });

  it('reads Retry-After as seconds or a date', () => {
    expect(
      [null, '5', ' 60 ', 'soon', 'Thu, 01 Jan 1970 00:00:09 GMT'].map((text) => retryAfterMs(text, 2_000)),
    ).toEqual([0, 5_000, 60_000, 0, 7_000]);
  });

  it('tells an answer that is none', async () => {
    hub.create(repo);
    const nonsense = openHub({
      ...{ repo, endpoint: hub.url, token: writeToken, isPrivate: false },
      fetch: async () => new Response('<html>'),
      clock: { nowMs: () => 0, sleep: async () => {} },
    });
    const error = await refusal(
      nonsense.publish(publication(), { last: null, signal: new AbortController().signal, say: () => {} }),
    );
    expect(error.code).toBe('BAD_ANSWER');
  });

  it('stops at a signal, and publishes nothing', async () => {
    hub.create(repo);
    const before = snapshot();
    const stop = new AbortController();
    hub.faults = [{ at: /^PUT/, before: () => stop.abort(new Error('stopped')) }];
    expect((await refusal(publish(publication(), { signal: stop.signal }))).code).toBe('INTERRUPTED');
    expect(snapshot()).toBe(before);
  });
});

describe('a folder', () => {
  const options = { last: null, signal: new AbortController().signal, say: () => {} };

  it('gets each release whole, and a link to the newest', async () => {
    const target = openFolder(join(dir, 'out'));
    const [one, two] = [publication('release-1'), publication('release-2')];
    await target.publish(one, options);
    await target.publish(two, options);
    for (const { tag, files } of [one, two])
      for (const { path, from } of files) {
        const expected = 'bytes' in from ? Buffer.from(from.bytes) : readFileSync(from.file);
        expect(readFileSync(join(dir, 'out', tag, path)).equals(expected), path).toBe(true);
      }
    expect(readdirSync(join(dir, 'out')).sort()).toEqual(['latest', 'release-1', 'release-2']);
    expect(readlinkSync(join(dir, 'out', 'latest'))).toBe('release-2');
    expect((await target.publish(one, options)).isKnown).toBe(true);
  });

  it('refuses another release of the same name, and one whose files vanish', async () => {
    const target = openFolder(join(dir, 'out'));
    await target.publish(publication(), options);
    expect((await refusal(target.publish(publication(), options))).code).toBe('TAKEN');
    const two = publication('release-2');
    rmSync(join(dir, 'release-2', 'model.safetensors'));
    await expect(target.publish(two, options)).rejects.toThrow('model.safetensors');
    expect(readdirSync(join(dir, 'out')).sort()).toEqual(['latest', 'release-1']);
  });

  it('goes on after a signal', async () => {
    const stop = new AbortController();
    stop.abort(new Error('stopped'));
    const target = openFolder(join(dir, 'out'));
    const what = publication();
    expect((await refusal(target.publish(what, { ...options, signal: stop.signal }))).code).toBe('INTERRUPTED');
    expect(readdirSync(join(dir, 'out'))).toEqual(['.release-1.partial']);
    await target.publish(what, options);
    expect(readdirSync(join(dir, 'out')).sort()).toEqual(['latest', 'release-1']);
  });
});
