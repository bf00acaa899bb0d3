/** @file What `deploy/` promises: units that systemd takes, a compose file of flags that exist, and no metric that nothing exports. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { commands } from '../src/cli/commands.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Service {
  readonly image?: string;
  readonly build?: unknown;
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly string[];
}
const compose = parse(read('deploy/compose.yaml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const unitNames = readdirSync(join(root, 'deploy/systemd'));
const execOf = (unit: string): string[] => /^ExecStart=(.*)$/m.exec(read(`deploy/systemd/${unit}`))![1]!.split(' ');

function unknownFlags([name, ...words]: readonly string[]): string[] {
  const command = commands.find((each) => each.name === name);
  if (command === undefined) return [`no command ${name}`];
  const flags = words.filter((word) => word.startsWith('--')).map((word) => word.split('=', 1)[0]!);
  return flags.filter((flag) => !command.options.some((option) => `--${option.name}` === flag));
}

const ours = ['orchestrator', 'miner', 'validator'];

describe('deploy/compose.yaml', () => {
  it('runs our roles with flags that they take', () => {
    const unknown = ours.flatMap((name) => unknownFlags(compose.services[name]!.command!));
    expect(unknown).toEqual([]);
  });

  it('pins every image, and names only services and volumes that are there', () => {
    for (const [name, { image = '', depends_on = {}, volumes = [] }] of Object.entries(compose.services)) {
      expect(image, name).toMatch(/^[a-z/]+:(\d+\.\d+\.\d+|v\d+\.\d+\.\d+|\d+\.\d+|RELEASE\.[\dTZ-]+)(-[a-z]+)?$/);
      for (const needed of Object.keys(depends_on)) expect(compose.services, name).toHaveProperty(needed);
      for (const volume of volumes.filter((each) => !each.startsWith('.')))
        expect(compose.volumes, name).toHaveProperty(volume.split(':')[0]!);
    }
    expect(read('deploy/Dockerfile')).toMatch(/^FROM node:\d+\.\d+\.\d+-/m);
  });
});

describe('deploy/systemd', () => {
  it('runs our roles with flags that they take, hardened', () => {
    expect(unitNames.sort()).toEqual(ours.map((name) => `accrete-${name}.service`).sort());
    for (const unit of unitNames) {
      expect(unknownFlags(execOf(unit).slice(1)), unit).toEqual([]);
      for (const line of ['DynamicUser=yes', 'ProtectSystem=strict', 'Restart=on-failure', 'NoNewPrivileges=yes'])
        expect(read(`deploy/systemd/${unit}`), unit).toContain(line);
      expect(read(`deploy/systemd/${unit}`), unit).toMatch(/^LoadCredential=/m);
    }
  });

  const isThere = spawnSync('systemd-analyze', ['--version']).status === 0;
  it.skipIf(!isThere)(
    'is what systemd takes (needs systemd-analyze)',
    () => {
      const dir = mkdtempSync(join(tmpdir(), 'accrete-units-'));
      try {
        for (const unit of unitNames) {
          const path = join(dir, unit);
          writeFileSync(path, read(`deploy/systemd/${unit}`).replaceAll('/opt/accrete/', `${root}/`));
          const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
            ...{ encoding: 'utf8', timeout: 60_000 },
          });
          const faults = `${stdout}${stderr}`.split('\n').filter((line) => line.includes(unit));
          expect(faults, `${unit} (${status})`).toEqual([]);
        }
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    },
    120_000,
  );
});

describe('metrics', () => {
  const dashboard = JSON.parse(read('deploy/grafana/accrete.json')) as {
    readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
  };
  const rules = parse(read('deploy/prometheus/rules.yml')) as {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
  };
  const alarms = rules.groups.flatMap((group) => group.rules);
  let exported: ReadonlySet<string>;

  beforeAll(async () => {
    const text = await metricsOfOrchestrator();
    exported = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!));
  }, 240_000);
  const dir = mkdtempSync(join(tmpdir(), 'accrete-metrics-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** Of a real run that has begun, after an answer of its API. */
  async function metricsOfOrchestrator(): Promise<string> {
    const port = await freePort();
    const args = ['orchestrate', '--preset', 'tiny', '--dir', dir, '--port', String(port), '--json'];
    const child = spawn(process.execPath, [join(root, 'bin/accrete'), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ACCRETE_LOG: 'error' },
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    try {
      for await (const line of createInterface(child.stdout)) if (line.includes('"ready"')) break;
      await fetch(`http://127.0.0.1:${port}/api/v1/overview`);
      return await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    } finally {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(timer);
    }
  }

  /** What has not happened is not exported yet, as errors and the first peer: their names stand in the source that the orchestrator runs. */
  const counted = (): ReadonlySet<string> => {
    const files = [
      'bus/link.ts',
      'bus/websocket.ts',
      'http/server.ts',
      'http/api/register.ts',
      'store/http-server.ts',
      'roles/orchestrator/shell.ts',
    ];
    const found = files.flatMap((file) => [
      ...read(`src/${file}`).matchAll(/metrics\??\.(?:count|gauge)\('([a-z_]+)'/g),
    ]);
    return new Set(found.map(([, name]) => `accrete_${name}`));
  };

  it('of rules and dashboard are those that are exported', () => {
    const expressions = [
      ...alarms.map(({ alert, expr }) => [alert, expr] as const),
      ...dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const)),
    ];
    expect(expressions.length).toBeGreaterThan(25);
    expect(exported.size).toBeGreaterThan(20);
    const lazily = counted();
    for (const [where, expression] of expressions)
      for (const [name] of expression.matchAll(/accrete_[a-z0-9_]+/g)) {
        const base = name.replace(/_(bucket|sum|count)$/, '');
        expect(exported.has(base) || lazily.has(name), `${where}: ${name}`).toBe(true);
      }
  });

  it('each alarm is told of in docs/operate.md', () => {
    const operate = read('docs/operate.md');
    expect(alarms.filter(({ alert }) => !operate.includes(`\`${alert}\``)).map(({ alert }) => alert)).toEqual([]);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
