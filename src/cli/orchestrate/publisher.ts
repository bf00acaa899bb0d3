/**
 * @file Publishes each release of a running orchestrator, in order, by `accrete publish` in a process of its own: a hub that is
 * slow, gone or refusing never holds the run up. What failed is tried again with the next release.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Log } from '../../util/clock.ts';

export interface PublisherOptions {
  /** Arguments of node before the program's: the program itself. */
  readonly program: readonly string[];
  /** `accrete publish` arguments after `--checkpoint FOLDER`. */
  readonly publishArguments: readonly string[];
  readonly log: Log;
  /** At the end, a publishing that runs may go on for so long. */
  readonly graceMs: number;
}

const maxSentence = 600;
/** At the end of the run a child that does not end at SIGTERM is killed. */
const killAfterMs = 5_000;

export class ReleasePublisher {
  readonly #options: PublisherOptions;
  /** Folders that are not published yet, oldest first. */
  readonly #pending: string[] = [];
  #work: Promise<void> = Promise.resolve();
  #isWorking = false;
  #child: ChildProcess | null = null;
  #isClosing = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** A release's folder is written, and named in the journal. Never throws. */
  add(folder: string): void {
    if (!this.#pending.includes(folder)) this.#pending.push(folder);
    if (!this.#isWorking) this.#work = this.#publishPending();
  }

  /** Waits for what is under way, within bounds. What is left can be published by hand. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const { graceMs, log } = this.#options;
    const timers = [
      setTimeout(() => this.#child?.kill('SIGTERM'), graceMs),
      setTimeout(() => this.#child?.kill('SIGKILL'), graceMs + killAfterMs),
    ];
    await this.#work;
    for (const timer of timers) clearTimeout(timer);
    if (this.#pending.length > 0)
      log.warn('releases are not published; accrete publish goes on with them', { folders: [...this.#pending] });
  }

  async #publishPending(): Promise<void> {
    this.#isWorking = true;
    try {
      // One that fails holds back those after it, as the branch's order is that of the releases.
      while (this.#pending.length > 0) {
        if (!(await this.#tryPublish(this.#pending[0]!))) return;
        this.#pending.shift();
      }
    } finally {
      this.#isWorking = false;
    }
  }

  /** Whether the folder is dealt with. */
  async #tryPublish(folder: string): Promise<boolean> {
    if (existsSync(folder)) return await this.#publish(folder);
    this.#options.log.warn('a release was not published: its folder is no longer kept', { folder });
    return true;
  }

  async #publish(folder: string): Promise<boolean> {
    const { program, publishArguments, log } = this.#options;
    const args = [...program, 'publish', '--checkpoint', folder, ...publishArguments, '--json'];
    const { exitCode, out, error } = await this.#spawn(args);
    if (exitCode === 0) {
      log.info('release published', { folder, ...parse(out) });
      return true;
    }
    const again = this.#isClosing ? 'accrete publish goes on with it' : 'it is tried again with the next release';
    log.error(`a release was not published; ${again}`, { folder, reason: sentenceOf(error) });
    return false;
  }

  async #spawn(args: readonly string[]): Promise<{ exitCode: number; out: string; error: string }> {
    return await new Promise((resolve) => {
      const { ACCRETE_SUPERVISED: _, ...env } = process.env; // it has no supervisor's pipe as standard input
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
      this.#child = child;
      let [out, error] = ['', ''];
      // The last lines count.
      child.stdout.on('data', (chunk: Buffer) => void (out = (out + chunk.toString()).slice(-8_192)));
      child.stderr.on('data', (chunk: Buffer) => void (error = (error + chunk.toString()).slice(-8_192)));
      const end = (exitCode: number): void => {
        this.#child = null;
        resolve({ exitCode, out, error });
      };
      child.once('error', (cause) => {
        error = cause.message;
        end(1);
      });
      child.once('close', (code) => end(code ?? 1));
    });
  }
}

function parse(out: string): { readonly url?: string; readonly revision?: string } {
  try {
    const { url, revision } = JSON.parse(out.trim().split('\n').at(-1) ?? '');
    return { url: String(url), revision: String(revision) };
  } catch {
    return {};
  }
}

/** `{"error": {"sentence": …}}` is the last line of a command that failed. */
function sentenceOf(error: string): string {
  const last = error.trim().split('\n').at(-1) ?? '';
  try {
    return String(JSON.parse(last).error.sentence).slice(0, maxSentence);
  } catch {
    return last.slice(0, maxSentence);
  }
}
