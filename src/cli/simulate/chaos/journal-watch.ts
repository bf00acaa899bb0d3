/**
 * @file Reads journal files while their owners write them, are killed and write on: whole lines, each once, and who signed it.
 * Copies of one journal are read side by side: what one of them has first is seen once, and they must not differ.
 */
import { open } from 'node:fs/promises';
import type { EventBody, JournalEntry } from '../../../protocol/messages.ts';
import type { SeenEntry } from '../../../simulate/chaos/progress.ts';

export class JournalWatch {
  readonly #files: readonly JournalFile[];
  readonly #roles = new Map<string, string>();
  readonly lines: string[] = [];
  /** Entries in which two copies differ. */
  readonly forks: number[] = [];

  constructor(paths: readonly string[]) {
    this.#files = paths.map((path) => new JournalFile(path));
  }

  /** What is new since the last call. A line without its end is not there yet. */
  async read(): Promise<SeenEntry[]> {
    const seen: SeenEntry[] = [];
    for (const file of this.#files)
      for (const line of await file.read()) {
        const seq = file.count++;
        if (seq === this.lines.length) seen.push(this.#see(line));
        else if (this.lines[seq] !== line) this.forks.push(seq);
      }
    return seen;
  }

  #see(line: string): SeenEntry {
    this.lines.push(line);
    const { message } = JSON.parse(line) as JournalEntry;
    if (message.kind === 'delegate') {
      const { sessionKey, name } = message.body as EventBody<'delegate'>;
      this.#roles.set(sessionKey, name);
    }
    return { kind: message.kind, role: this.#roles.get(message.signer.slice(message.signer.indexOf(':') + 1)) ?? null };
  }
}

class JournalFile {
  /** Lines that were read. */
  count = 0;
  readonly #path: string;
  #offset = 0;

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<string[]> {
    const file = await open(this.#path, 'r').catch(() => null);
    if (file === null) return [];
    try {
      const { size } = await file.stat();
      if (size <= this.#offset) return [];
      const bytes = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, this.#offset);
      const end = bytes.subarray(0, bytesRead).lastIndexOf(10) + 1;
      this.#offset += end;
      return bytes.toString('utf8', 0, end).split('\n').slice(0, -1);
    } finally {
      await file.close();
    }
  }
}
