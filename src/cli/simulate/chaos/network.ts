/**
 * @file The processes of a chaos run and what can be done to them: a syncer, miners and validators, each behind a proxy and
 * (where this process may mount) on a disk of its own that can be filled.
 */
import { appendFileSync, cpSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { Fault } from '../../../simulate/chaos/plan.ts';
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
  readonly port: number;
  readonly #options: ChaosNetworkOptions;
  readonly #children: Children;
  readonly #proxies = new Map<string, FaultyProxy>();
  readonly #disks = new Map<string, SmallDisk>();
  readonly #skewMs = new Map<string, number>();
  readonly #expected = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #tornAt: number | null = null;
  #progress: Progress | null = null;

  private constructor(options: ChaosNetworkOptions, port: number) {
    this.#options = options;
    this.port = port;
    mkdirSync(join(options.dir, 'logs'), { recursive: true });
    this.#children = new Children({ logDir: join(options.dir, 'logs'), onEvent: (event) => this.#onChild(event) });
  }

  static async open(options: ChaosNetworkOptions): Promise<ChaosNetwork> {
    const network = new ChaosNetwork(options, await freePort());
    for (const role of options.roles) {
      const disk = await SmallDisk.mount(network.dirOf(role));
      if (disk !== null) network.#disks.set(role, disk);
    }
    return network;
  }

  get canFillDisks(): boolean {
    return this.#disks.size === this.#options.roles.length;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  dirOf(role: string): string {
    return join(this.#options.dir, role === 'syncer' ? 'run' : role);
  }

  startSyncer(): void {
    const { seed, roles } = this.#options;
    const miners = roles.filter((role) => role.startsWith('miner')).length;
    const args = ['orchestrate', '--preset', 'tiny', '--dir', this.dirOf('syncer'), '--port', `${this.port}`];
    this.#start('syncer', [...args, '--seed', `${seed}`, '--miners', `${miners}`], 0);
  }

  async startOthers(progress: Progress): Promise<void> {
    this.#progress = progress;
    for (const role of this.#options.roles) {
      if (role === 'syncer') continue;
      const proxy = await FaultyProxy.open(this.port);
      this.#proxies.set(role, proxy);
      const command = role.startsWith('miner') ? 'mine' : 'validate';
      const args = [command, '--join', proxy.url, '--dir', this.dirOf(role), '--name', role, '--threads', '1'];
      this.#start(role, args, command === 'mine' ? 5 : 0);
    }
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
        this.#proxies.get(role)!.drop();
        return;
      default:
        this.#proxies.get(role)!.disturb(kind, holdMs);
    }
  }

  /** Ends the processes (miners first, then the syncer, which anchors its end), and leaves the run's folder on the real disk. */
  async close(force: AbortSignal): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const role of this.#options.roles) this.#children.signal(role, 'SIGCONT');
    for (const disk of this.#disks.values()) await disk.free();
    await this.#children.stop('miner', { graceMs: 15_000, force });
    await this.#children.stop('syncer', { graceMs: 60_000, force });
    await this.#children.stop('', { graceMs: 10_000, force });
    for (const proxy of this.#proxies.values()) await proxy.close();
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
    if (name === 'syncer' && this.#tornAt !== null) this.#tear(this.#tornAt);
    if (this.#expected.delete(name)) return;
    this.crashes.set(name, (this.crashes.get(name) ?? 0) + 1);
    this.#options.tell(`${name} ended by itself (${event.how}) and is started again`);
  }

  /** What a crash in the middle of a write leaves: the beginning of a line. */
  #tear(at: number): void {
    this.#tornAt = null;
    const path = join(this.dirOf('syncer'), 'journal.jsonl');
    const line = readFileSync(path).toString('latin1').trimEnd().split('\n').at(-1)!;
    appendFileSync(path, Buffer.from(line.slice(0, Math.max(1, Math.floor(at * line.length))), 'latin1'));
  }
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
