/**
 * @file A short chaos run of real processes: 20 seeded faults, after which everybody is back at work, nothing is lost or
 * counted twice, and the record verifies. `accrete simulate --chaos SEED` runs the long one.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const program = join(import.meta.dirname, '..', 'bin', 'accrete');
const folder = mkdtempSync(join(tmpdir(), 'accrete-chaos-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** SIGTERM first, so that what it has frozen is thawed, ended and unmounted. */
function simulate(args: readonly string[], limitMs: number): Promise<Outcome> {
  const child = spawn(process.execPath, [program, 'simulate', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const timers = [
    setTimeout(() => child.kill('SIGTERM'), limitMs),
    setTimeout(() => child.kill('SIGKILL'), limitMs + 60_000),
  ];
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.on('data', (chunk) => out.push(String(chunk)));
  child.stderr.on('data', (chunk) => err.push(String(chunk)));
  return new Promise((resolve) =>
    child.once('close', (code) => {
      for (const timer of timers) clearTimeout(timer);
      resolve({ code, out: out.join(''), err: err.join('') });
    }),
  );
}

describe('accrete simulate --chaos', () => {
  it('recovers from 20 faults and leaves a record that verifies', { timeout: 420_000 }, async () => {
    const dir = join(folder, 'run');
    const args = ['--chaos', '1', '--faults', '20', '--minutes', '0.7', '--dir', dir, '--json'];
    const { code, out, err } = await simulate(args, 330_000);
    const report = JSON.parse(out.trim().split('\n').at(-1) ?? '{}');
    expect(report.problems, err).toEqual([]);
    expect(code).toBe(0);
    expect(report.faults).toBe(20);
    const byKind = Object.fromEntries(report.rows.map((row: { kind: string }) => [row.kind, row]));
    for (const kind of ['kill', 'freeze', 'clock-skew', 'torn-write', 'drop', 'delay', 'duplicate', 'reorder'])
      expect(byKind[kind].recovered, kind).toBe(byKind[kind].count);
    expect(report.merges).toBeGreaterThan(4);
    // Where a disk cannot be mounted, the report says what was not tried.
    expect(byKind['disk-full'] !== undefined || /^disk-full: /.test(report.skipped[0])).toBe(true);
  });

  it('refuses a folder with something in it, and an attack at the same time', { timeout: 60_000 }, async () => {
    const taken = await simulate(['--chaos', '1', '--dir', import.meta.dirname], 50_000);
    expect(taken.code).toBe(2);
    expect(taken.err).toContain('is not empty');
    const both = await simulate(['--chaos', '1', '--attack', 'noise', '--dir', join(folder, 'both')], 50_000);
    expect(both.code).toBe(2);
    expect(both.err).toContain('--chaos and --attack');
  });
});
