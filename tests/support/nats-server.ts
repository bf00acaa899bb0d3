/** @file A real nats-server for tests: Debian's, on a free port, with JetStream in a temporary folder that a restart finds again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debianProgram } from './debian.ts';

export const natsProgram = debianProgram('nats-server');

export interface NatsServerOptions {
  /** Lines of the configuration besides port and JetStream. */
  readonly config?: string;
}

export class NatsServer {
  readonly port: number;
  readonly dir: string;
  #child: ChildProcess | null = null;
  #words = '';

  private constructor(port: number, dir: string) {
    this.port = port;
    this.dir = dir;
  }

  static async start({ config = '' }: NatsServerOptions = {}): Promise<NatsServer> {
    const dir = mkdtempSync(join(tmpdir(), 'accrete-nats-'));
    const server = new NatsServer(await freePort(), dir);
    mkdirSync(join(dir, 'jetstream'));
    writeFileSync(
      join(dir, 'server.conf'),
      `host: 127.0.0.1\nport: ${server.port}\njetstream { store_dir: "${join(dir, 'jetstream')}" }\n${config}\n`,
    );
    await server.restart();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** What the server has said. */
  get words(): string {
    return this.#words;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** As a crash would: no goodbye. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async restart(): Promise<void> {
    const child = spawn(natsProgram.file, ['-c', join(this.dir, 'server.conf')], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    child.stdout.on('data', (bytes: Buffer) => void (this.#words += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => void (this.#words += bytes.toString()));
    const endsAt = performance.now() + 10_000;
    while (!(await answers(this.port))) {
      if (child.exitCode !== null || performance.now() > endsAt)
        throw new Error(`nats-server did not start:\n${this.#words}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whether a server greets there. */
async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('data', () => end(true));
    socket.once('error', () => end(false));
    socket.setTimeout(1_000, () => end(false));
  });
}
