/**
 * @file The processes of a chaos run and what can be done to them: one or two syncers, miners and validators, each behind a proxy and
 * (where this process may mount) on a disk of its own that can be filled.
 */
import { appendFileSync, copyFileSync, cpSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type Fault, isSyncer } from '../../../simulate/chaos/plan.ts';
import type { Progress } from '../../../simulate/chaos/progress.ts';
import { type ChildEvent, Children } from '../../up/children.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { SmallDisk } from './small-disk.ts';

export interface ChaosNetworkOptions {
  readonly dir: string;
  readonly seed: number;
  readonly roles: readonly string[];
  readonly tell: (line: string) => void;
}

export class ChaosNetwork {
  readonly failures: string[] = [];
  /** Ends of processes that no fault asked for, by name: they were started again. */
  readonly crashes = new Map<string, number>();
  /** Of each syncer. */
  readonly #ports: ReadonlyMap<string, number>;
  readonly #options: ChaosNetworkOptions;
  readonly #children: Children;
  /** Of each other process, one to each syncer. */
  readonly #proxies = new Map<string, readonly FaultyProxy[]>();
  readonly #disks = new Map<string, SmallDisk>();
  readonly #skewMs = new Map<string, number>();
  readonly #expected = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #tornAt: number | null = null;
  #progress: Progress | null = null;

  private constructor(options: ChaosNetworkOptions, ports: ReadonlyMap<string, number>) {
    this.#options = options;
    this.#ports = ports;
    mkdirSync(join(options.dir, 'logs'), { recursive: true });
    this.#children = new Children({ logDir: join(options.dir, 'logs'), onEvent: (event) => this.#onChild(event) });
  }

  static async open(options: ChaosNetworkOptions): Promise<ChaosNetwork> {
    const ports = new Map<string, number>();
    for (const role of options.roles.filter(isSyncer)) ports.set(role, await freePort());
    const network = new ChaosNetwork(options, ports);
    for (const role of options.roles) {
      const disk = await SmallDisk.mount(network.dirOf(role));
      if (disk !== null) network.#disks.set(role, disk);
    }
    return network;
  }

  get canFillDisks(): boolean {
    return this.#disks.size === this.#options.roles.length;
  }

  /** Of each syncer; one of them answers. */
  get urls(): readonly string[] {
    return [...this.#ports.values()].map((port) => `http://127.0.0.1:${port}`);
  }

  dirOf(role: string): string {
    return join(this.#options.dir, role === 'syncer' ? 'run' : role);
  }

  startSyncer(): void {
    this.#startSyncer('syncer');
  }

  async startOthers(progress: Progress): Promise<void> {
    this.#progress = progress;
    for (const role of this.#options.roles) {
      if (role === 'syncer') continue;
      if (isSyncer(role)) {
        copyOwner(this.dirOf('syncer'), this.dirOf(role));
        this.#startSyncer(role);
        continue;
      }
      const proxies = await Promise.all([...this.#ports.values()].map((port) => FaultyProxy.open(port)));
      this.#proxies.set(role, proxies);
      const command = role.startsWith('miner') ? 'mine' : 'validate';
      const join = proxies.map(({ url }) => url).join(',');
      const args = [command, '--join', join, '--dir', this.dirOf(role), '--name', role, '--threads', '1'];
      this.#start(role, args, command === 'mine' ? 5 : 0);
    }
  }

  #startSyncer(role: string): void {
    const { seed, roles, dir } = this.#options;
    const miners = roles.filter((each) => each.startsWith('miner')).length;
    const args = ['orchestrate', '--preset', 'tiny', '--dir', this.dirOf(role), '--port', `${this.#ports.get(role)}`];
    args.push('--seed', `${seed}`, '--miners', `${miners}`);
    if (this.#ports.size > 1) args.push('--shared', join(dir, 'shared'), '--as', role);
    this.#start(role, args, 0);
  }

  #start(name: string, args: readonly string[], niceness: number): void {
    const environment = (): Record<string, string> => ({ ACCRETE_CLOCK_SKEW_MS: `${this.#skewMs.get(name) ?? 0}` });
    this.#children.start({ name, args, niceness, environment });
  }

  async inject(fault: Fault): Promise<void> {
    const { kind, role, holdMs } = fault;
    switch (kind) {
      case 'torn-write':
      case 'clock-skew':
      case 'kill':
        if (kind === 'torn-write') this.#tornAt = fault.tornAt;
        if (kind === 'clock-skew') this.#skewMs.set(role, fault.skewMs);
        this.#expected.add(role);
        if (!this.#children.signal(role, 'SIGKILL')) this.#expected.delete(role); // it is being started just now
        return;
      case 'freeze':
        this.#children.signal(role, 'SIGSTOP');
        this.#after(holdMs, () => void this.#children.signal(role, 'SIGCONT'));
        return;
      case 'disk-full':
        await this.#disks.get(role)!.fill();
        this.#after(holdMs, () => void this.#disks.get(role)!.free());
        return;
      case 'drop':
        for (const proxy of this.#proxies.get(role)!) proxy.drop();
        return;
      default:
        for (const proxy of this.#proxies.get(role)!) proxy.disturb(kind, holdMs);
    }
  }

  /** Ends the processes (miners first, then the syncer, which anchors its end), and leaves the run's folder on the real disk. */
  async close(force: AbortSignal): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const role of this.#options.roles) this.#children.signal(role, 'SIGCONT');
    for (const disk of this.#disks.values()) await disk.free();
    await this.#children.stop('miner', { graceMs: 15_000, force });
    // One that follows ends at once; the leader makes a last release and anchors the end.
    await this.#children.stop('syncer', { graceMs: 60_000, force });
    await this.#children.stop('', { graceMs: 10_000, force });
    for (const proxy of [...this.#proxies.values()].flat()) await proxy.close();
    for (const [role, disk] of this.#disks) {
      const dir = this.dirOf(role);
      cpSync(dir, `${dir}.kept`, { recursive: true });
      await disk.unmount();
      renameSync(`${dir}.kept`, dir);
    }
  }

  #after(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }

  #onChild(event: ChildEvent): void {
    const { name } = event;
    if (event.kind === 'started') {
      this.#progress?.back(name, performance.now());
      return;
    }
    this.#progress?.away(name, Number.POSITIVE_INFINITY);
    if (event.kind === 'failed') {
      this.failures.push(`${name} cannot go on (${event.how}): ${event.lastLine}`);
      return;
    }
    if (isSyncer(name) && this.#tornAt !== null) this.#tear(name, this.#tornAt);
    if (this.#expected.delete(name)) return;
    this.crashes.set(name, (this.crashes.get(name) ?? 0) + 1);
    this.#options.tell(`${name} ended by itself (${event.how}) and is started again`);
  }

  /** What a crash in the middle of a write leaves: the beginning of a line. */
  #tear(syncer: string, at: number): void {
    this.#tornAt = null;
    const path = join(this.dirOf(syncer), 'journal.jsonl');
    const line = readFileSync(path).toString('latin1').trimEnd().split('\n').at(-1)!;
    appendFileSync(path, Buffer.from(line.slice(0, Math.max(1, Math.floor(at * line.length))), 'latin1'));
  }
}

/** The run's owner on a second machine: his hotkey, and a session key of its own, which he will name. */
function copyOwner(from: string, to: string): void {
  mkdirSync(join(to, 'syncer'), { recursive: true });
  copyFileSync(join(from, 'syncer', 'hotkey.json'), join(to, 'syncer', 'hotkey.json'));
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
