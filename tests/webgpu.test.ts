/**
 * @file The engine on ONNX Runtime's WebGPU provider, on SwiftShader: a Vulkan driver that computes on the CPU, so that
 * this says whether results are right and nothing about speed. Each computation is a process of its own, for a driver
 * that fails may end it. Tolerances and what was measured: docs/decisions/0009-devices.md.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { portableCases } from '../src/engine/test-support-primitives.ts';
import type { GoldenReport } from '../src/model/golden.ts';
import { debianProgram } from './support/debian.ts';
import type { ChildLine, Result } from './support/webgpu-child.ts';

const root = join(import.meta.dirname, '..');
const swiftshader = debianProgram('swiftshader');
const needed = `SwiftShader (${swiftshader.need})`;
/** Bounds of one process. Alone on two cores the longest takes a tenth of it; it may share them. */
const processMs = 400_000;

/** float32 against float64, as on the CPU. */
const primitiveTolerance = 5e-6;
/** Logits of cached decoding against the CPU's. */
const decodingTolerance = 5e-5;
/** Losses and gradient norms of three steps against the CPU's: Muon and Adam amplify a last bit. */
const trainingTolerance = 2e-3;

interface Ended {
  readonly status: string;
  readonly out: readonly string[];
  readonly lastWords: string;
}

/** Chromium's folder holds the Vulkan loader too, for who has not libvulkan1. */
const swiftshaderEnvironment = { VK_ICD_FILENAMES: swiftshader.file, LD_LIBRARY_PATH: join(swiftshader.file, '..') };

async function run(args: readonly string[], environment: Record<string, string> = swiftshaderEnvironment) {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: processMs,
    killSignal: 'SIGKILL',
  });
  const text = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (part: string) => void (text.out += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => void (text.err += part));
  const status = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
  return { status, out: text.out.split('\n').filter(Boolean), lastWords: text.err.slice(-1000) } satisfies Ended;
}

/** What a job of the child found, by name; a name that it never came to tells how the process ended. */
async function runJob(job: string): Promise<(name: string) => Result> {
  const { status, out, lastWords } = await run(['--import', 'tsx', 'tests/support/webgpu-child.ts', job]);
  const lines = out.map((line) => JSON.parse(line) as ChildLine);
  const results = new Map(lines.flatMap((line) => ('begins' in line ? [] : [[line.name, line] as const])));
  const last = lines.at(-1);
  const during = last !== undefined && 'begins' in last ? ` while it computed '${last.begins}'` : '';
  return (name) => results.get(name) ?? { name, error: null, worst: `${status}${during}: ${lastWords}` };
}

function expectWithin({ name, error, worst }: Result, tolerance: number): void {
  expect(error ?? Number.POSITIVE_INFINITY, `${name}: off by ${error ?? 'what is no number'}: ${worst}`).toBeLessThan(
    tolerance,
  );
}

describe.skipIf(!swiftshader.isThere)(`WebGPU on ${needed}: primitives`, () => {
  let resultOf: (name: string) => Result;
  beforeAll(async () => {
    resultOf = await runJob('primitives');
  }, processMs + 10_000);

  const names = portableCases.flatMap(([primitive, cases]) =>
    Object.keys(cases).map((title) => `${primitive} ${title}`),
  );
  it.each(names)('%s', (name) => expectWithin(resultOf(name), primitiveTolerance));
});

describe.skipIf(!swiftshader.isThere)(`WebGPU on ${needed}: the model`, () => {
  it.each(['bailing_pure', 'hybrid_short'])(
    'golden case %s: logits, loss, gradients',
    async (name) => {
      const folder = join('tests', 'vectors', 'quasar_long', name);
      const { status, out, lastWords } = await run([
        'bin/accrete',
        'model',
        'check',
        folder,
        '--device',
        'webgpu',
        '--json',
      ]);
      expect(status, lastWords).toBe('exit code 0');
      const report = JSON.parse(out.join('')) as GoldenReport;
      expect(report.gradients.filter(({ ofTolerance }) => !(ofTolerance <= 1))).toEqual([]);
      expect(report).toMatchObject({ caseName: name, ok: true });
      // Far inside the tolerances of the case, and the bounds that the CPU is held to.
      expect(report.logitError).toBeLessThan(5e-5);
      expect(report.lossError).toBeLessThan(2e-6);
      expect(report.worstNorm.ofTolerance).toBeLessThan(0.02);
    },
    processMs + 10_000,
  );

  it(
    'decodes with and without a past',
    async () => {
      const resultOf = await runJob('decoding');
      for (const name of ['bailing_pure', 'local_window']) expectWithin(resultOf(name), decodingTolerance);
    },
    processMs + 10_000,
  );

  it(
    'trains as the CPU does',
    async () => expectWithin((await runJob('training'))('three steps'), trainingTolerance),
    processMs + 10_000,
  );
});

describe.skipIf(!swiftshader.isThere)(`WebGPU on ${needed}: what an operator reads`, () => {
  const doctorOn = async (environment: Record<string, string>) => {
    const { out, lastWords } = await run(['bin/accrete', 'doctor', '--json'], environment);
    const findings = out.map(
      (line) => JSON.parse(line) as { name: string; state: string; found: string; advice: string },
    );
    const finding = findings.find(({ name }) => name === 'webgpu');
    expect(finding, lastWords).toBeDefined();
    return finding!;
  };

  it(
    'doctor lists what falls back to the CPU, and products do not',
    async () => {
      const { state, found } = await doctorOn(swiftshaderEnvironment);
      expect({ state, found }).toMatchObject({ state: 'ok', found: expect.stringMatching(/\d+ of \d+ operators/) });
      const [, onDevice, all, fallbacks] = /(\d+) of (\d+) operators.*; on the CPU: (.*)$/.exec(found)!;
      expect(Number(onDevice) / Number(all), found).toBeGreaterThan(0.9);
      expect(fallbacks).toMatch(/\bCumSum \d+/);
      expect(fallbacks).not.toMatch(/MatMul|Softmax|LayerNormalization/);
    },
    processMs + 10_000,
  );

  it(
    'without a driver doctor is content, and a command says what is missing',
    async () => {
      const none = { VK_ICD_FILENAMES: '/dev/null' };
      expect(await doctorOn(none)).toMatchObject({ state: 'ok', found: expect.stringContaining('no adapter') });
      const folder = join('tests', 'vectors', 'quasar_long', 'bailing_pure');
      const { status, lastWords } = await run(['bin/accrete', 'model', 'check', folder, '--device', 'webgpu'], none);
      expect(status).toBe('exit code 1');
      expect(lastWords).toContain('NO_DEVICE');
    },
    processMs + 10_000,
  );
});
