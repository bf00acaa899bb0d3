/**
 * @file `accrete publish` as an operator meets it: a real run's releases on a hub of this machine and in a folder, the card that
 * goes with them, exports alongside, and what is refused before anything is sent.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { reportFileOf } from '../src/cli/eval/keep.ts';
import { main } from '../src/cli/main.ts';
import type { EvalReport } from '../src/evaluation/eval-report.ts';
import { ggufCases, ggufParams, smallTokenizer } from '../src/export/gguf/test-support.ts';
import { writeHuggingFaceFolder } from '../src/export/hugging-face.ts';
import { presetConfig } from '../src/model/quasar-long/presets.ts';
import { artifactOf } from '../src/protocol/artifact.ts';
import { utf8 } from '../src/util/bytes.ts';
import { nodeSha256 } from '../src/util/node-sha256.ts';
import { HubServer, readToken, writeToken } from './support/hub-server.ts';
import { type RecordedRun, recordRun } from './support/recorded-run.ts';
import { testIo } from './support/test-io.ts';

const hub = new HubServer();
let cwd: string;
let recorded: RecordedRun;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'accrete-publish-cli-'));
  await hub.open();
  recorded = await recordRun(join(cwd, 'run'));
}, 600_000);
afterAll(async () => {
  await recorded.close();
  await hub.close();
  rmSync(cwd, { recursive: true });
});
beforeEach(() => void (hub.faults = []));

async function publish(argv: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const { io, lines, errors } = testIo({ cwd });
  const hubEnvironment = { HF_ENDPOINT: hub.url, HF_TOKEN: writeToken };
  const exitCode = await main(['publish', ...argv], { ...io, environment: { ...hubEnvironment, ...environment } });
  return { exitCode, out: lines.join('\n'), err: errors.join('\n') };
}

const estimate = (value: number) => ({ value, standardError: 0.01, low: value - 0.02, high: value + 0.02, items: 50 });
const report = (checkpoint: string, loss: number): EvalReport => ({
  ...{ version: 1, checkpoint, seed: 7, corpus: null, seqLen: 64 },
  texts: {
    mine: {
      loss: estimate(loss),
      perplexity: { value: 9, low: 8, high: 10 },
      bitsPerByte: estimate(1.5),
      tokens: 9,
      bytes: 9,
    },
  },
  tasks: { 'arc|easy': { shots: 5, acc: estimate(0.5), accNorm: estimate(0.25), chance: 0.25, truncated: 0 } },
});

/** Numbers of release folders that are whole, oldest first. */
const releases = (): number[] =>
  readdirSync(join(cwd, 'run', 'releases'))
    .flatMap((name) => /^release-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);

const folderOf = (release: number): string => join('run', 'releases', `release-${release}`);

describe('a run’s release', () => {
  it('goes to a hub with all its files, its record and its card', async () => {
    const [before, release] = [releases().at(-3)!, releases().at(-2)!];
    writeFileSync(reportFileOf(join(cwd, folderOf(before))), JSON.stringify(report(`release-${before}`, 3)));
    writeFileSync(reportFileOf(join(cwd, folderOf(release))), JSON.stringify(report(`release-${release}`, 2)));
    const argv = ['--checkpoint', folderOf(release), '--to', 'hf://owner/run'];
    const { exitCode, out, err } = await publish(argv);
    expect(exitCode, err).toBe(0);
    expect(out).toBe(`${hub.url}/owner/run/tree/release-${release}: published`);
    const files = hub.files('owner/run', `release-${release}`);
    const own = readdirSync(join(cwd, folderOf(release)));
    expect([...files.keys()].sort()).toEqual(['.gitattributes', 'eval.json', 'release.json', ...own].sort());
    for (const name of own.filter((each) => each !== 'README.md'))
      expect(files.get(name)!.bytes.equals(readFileSync(join(cwd, folderOf(release), name))), name).toBe(true);

    // What the record names is what was published, but for the card.
    const record = recorded.running.network.orchestrator.run.releases[release]!;
    const published = JSON.parse(files.get('release.json')!.bytes.toString());
    expect(published).toMatchObject({
      release,
      releaseId: record.id,
      treeHead: record.body.treeHead,
      treeSize: record.seq,
    });
    for (const { name, artifact } of published.files)
      if (name !== 'README.md') expect(artifactOf(files.get(name)!.bytes, nodeSha256), name).toEqual(artifact);

    const card = files.get('README.md')!.bytes.toString();
    for (const part of [
      'license: "apache-2.0"',
      `| Tree head | ${record.body.treeHead} over ${record.seq.toLocaleString('en-US')} events |`,
      '| Active per token |',
      '| Phase ',
      '| numbers |',
      '| Inner optimiser | AdamW',
      `| **release ${release}** |`,
      `|  | release-${before} | **release-${release}** |`.replace('|  |', '| |'),
      '| Loss, mine (95 %) | 3.0000 (2.9800 to 3.0200) | 2.0000 (1.9800 to 2.0200) |',
      '| acc, arc\\|easy, 5-shot (guessing 25.0%) | 50.0% (48.0% to 52.0%) |',
      `hf download owner/run --revision release-${release}`,
      'accrete verify URL',
      '## Limits',
      'tokens a parameter, far from enough',
    ])
      expect(card).toContain(part);

    const again = await publish(argv);
    expect(again.out).toContain('published already, nothing to do');
  });

  it('follows the one before it, and stops where somebody else changed the branch', async () => {
    const release = releases().at(-1)!;
    const argv = ['--checkpoint', folderOf(release), '--to', 'hf://owner/run', '--json'];
    const { repositories } = hub;
    hub.change('owner/run', 'NOTES.md', 'mine');
    const head = repositories.get('owner/run')!.head!;
    const refused = await publish(argv);
    expect(refused.exitCode).toBe(1);
    expect(JSON.parse(refused.err.split('\n').at(-1)!).error).toMatchObject({
      code: 'MOVED',
      sentence: expect.stringContaining(`--parent ${head}`),
    });
    expect(repositories.get('owner/run')!.tags.size).toBe(1);
    const done = await publish([...argv, '--parent', head]);
    expect(JSON.parse(done.out)).toMatchObject({ tag: `release-${release}`, isKnown: false });
    // Without an evaluation of its own, the newest has no eval.json, and the branch loses the older one's.
    expect([...hub.files('owner/run', `release-${release}`).keys()]).toContain('NOTES.md');
    expect(readdirSync(join(cwd, 'run')).filter((name) => name === 'publish')).toEqual([]);
  });

  it('goes to a folder in the same layout', async () => {
    const release = releases().at(-1)!;
    const { exitCode, out, err } = await publish(['--checkpoint', folderOf(release), '--to', 'shelf']);
    expect(exitCode, err).toBe(0);
    expect(out).toBe(`${join(cwd, 'shelf', `release-${release}`)}: published`);
    const inHub = [...hub.files('owner/run', `release-${release}`).keys()].filter((name) => !/^\.git|NOTES/.test(name));
    expect(readdirSync(join(cwd, 'shelf', 'latest')).sort()).toEqual(
      inHub.filter((name) => name !== 'eval.json').sort(),
    );
  });
});

describe('a checkpoint by itself', () => {
  const files = new Map([
    ['tokenizer.json', utf8(smallTokenizer.json)],
    ['tokenizer_config.json', utf8(smallTokenizer.config)],
  ]);
  const card = { name: 'x', licence: 'mit', summary: '', numbers: [], sources: [], notes: [] };

  beforeAll(async () => {
    const config = ggufCases.groups!;
    await writeHuggingFaceFolder(join(cwd, 'plain'), { config, params: ggufParams(config), files, card });
    const hybrid = presetConfig('tiny');
    await writeHuggingFaceFolder(join(cwd, 'hybrid'), { config: hybrid, params: ggufParams(hybrid), files, card });
  });

  it('is published with exports, which are made once', async () => {
    const argv = ['--checkpoint', 'plain', '--to', 'hf://owner/plain', '--with', 'gguf:Q8_0,gguf:F32,mlx:4'];
    hub.faults = [{ at: /commit/, status: 403 }];
    const refused = await publish(argv);
    expect(refused.err).toContain('[FORBIDDEN]');
    expect(readdirSync(join(cwd, 'plain.publish', 'gguf'))).toContain('plain-Q8_0.gguf');
    const { exitCode, err } = await publish(argv);
    expect(exitCode, err).toBe(0);
    expect(err).not.toContain('writing gguf');
    const published = hub.files('owner/plain', 'plain');
    expect([...published.keys()].filter((path) => path.includes('/')).sort()).toEqual(
      [
        ...['F32', 'Q8_0'].flatMap((type) => [`gguf/plain-${type}.Modelfile`, `gguf/plain-${type}.gguf`]),
        ...['README.md', 'config.json', 'generation_config.json', 'model.safetensors', 'special_tokens_map.json']
          .concat(['chat_template.jinja', 'tokenizer.json', 'tokenizer_config.json'])
          .map((name) => `mlx-4bit/${name}`),
      ].sort(),
    );
    const path = join(cwd, 'read.gguf');
    writeFileSync(path, published.get('gguf/plain-Q8_0.gguf')!.bytes);
    expect((await gguf(path, { allowLocalFile: true })).metadata['general.architecture']).toBe('bailingmoe2');
    const text = published.get('README.md')!.bytes.toString();
    expect(text).toContain(
      "llama-completion -m gguf/plain-Q8_0.gguf -no-cnv -n 64 -p 'The people of'\nollama create accrete -f gguf/plain-Q8_0.Modelfile",
    );
    expect(text).toContain('mlx_lm.generate --model mlx-4bit --prompt');
    expect(text).toContain('No record lay beside it');
    expect(text).toContain('license: "mit"');
    expect(readdirSync(cwd).filter((name) => name.startsWith('plain.'))).toEqual(['plain.publish.json']);
  });

  it('whose export is refused is not published', async () => {
    const { exitCode, err } = await publish([
      '--checkpoint',
      'hybrid',
      '--to',
      'hf://owner/hybrid',
      '--with',
      'gguf:Q8_0',
    ]);
    expect(exitCode).toBe(2);
    expect(err).toContain('--held-out FILE');
    expect(hub.repositories.has('owner/hybrid')).toBe(false);
    expect(readdirSync(cwd).filter((name) => name.startsWith('hybrid'))).toEqual(['hybrid']);
  });
});

describe('refusals before anything is sent', () => {
  it.each<readonly [readonly string[], Readonly<Record<string, string>>, number, string]>([
    [['--to', 'hf://owner'], {}, 2, 'expected hf://OWNER/NAME or a folder'],
    [['--to', 's3://bucket/x'], {}, 2, 'expected hf://OWNER/NAME or a folder'],
    [['--to', 'hf://a/b'], { HF_TOKEN: '' }, 2, 'HF_TOKEN is not set'],
    [['--to', 'hf://a/b'], { HF_TOKEN: 'secret' }, 2, 'begins with hf_'],
    [['--to', 'hf://a/b'], { HF_ENDPOINT: 'hub' }, 2, 'HF_ENDPOINT: expected a URL'],
    [['--to', 'hf://a/b', '--with', 'gguf:Q9'], {}, 2, '--with: expected gguf:TYPE'],
    [['--to', 'hf://a/b', '--tag', 'a b'], {}, 2, '--tag: expected letters'],
    [['--to', 'hf://a/b', '--parent', 'main'], {}, 2, "--parent: expected a commit's hash"],
    [['--to', 'hf://a/b', '--checkpoint', 'absent'], {}, 2, 'there is nothing at'],
    [['--to', 'hf://a/b', '--checkpoint', 'plain'], { HF_TOKEN: 'hf_unknown' }, 1, '[UNAUTHORISED]'],
    [['--to', 'hf://a/b', '--checkpoint', 'plain'], { HF_TOKEN: readToken }, 1, '[FORBIDDEN]'],
  ])('%o', async (argv, environment, exitCode, sentence) => {
    const done = await publish(argv, environment);
    expect(done.err).toContain(sentence);
    expect(done.err).not.toContain('secret');
    expect(done.exitCode).toBe(exitCode);
    expect(hub.repositories.has('a/b')).toBe(false);
  });
});
