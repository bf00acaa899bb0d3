/** @file A process that a benchmark asks and that answers each line by a line, so that sides can take turns. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Questions and answers are JSON; the first line that the process writes says that it is ready. */
export class Side<Question, Answer> {
  readonly ready: Promise<void>;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(command: string, args: readonly string[], environment: Record<string, string> = {}) {
    this.#child = spawn(command, args, {
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.ready = this.#next().then(() => {});
  }

  /** Null where the answer takes longer than `limitMs`: the process is then ended. */
  async askWithin(question: Question, limitMs: number): Promise<Answer | null> {
    const timer = setTimeout(() => this.#child.kill(), limitMs);
    try {
      return await this.ask(question);
    } catch (error) {
      if (this.#child.killed) return null;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async ask(question: Question): Promise<Answer> {
    this.#child.stdin!.write(`${JSON.stringify(question)}\n`);
    return JSON.parse(await this.#next()) as Answer;
  }

  close(): void {
    this.#child.stdin!.end();
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#child.spawnfile} ended before it answered; its message is above`);
    return value;
  }
}
