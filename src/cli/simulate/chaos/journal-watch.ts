/** @file Reads a journal file while its owner writes it, is killed and writes on: whole lines, each once, and who signed it. */
import { open } from 'node:fs/promises';
import type { EventBody, JournalEntry } from '../../../protocol/messages.ts';
import type { SeenEntry } from '../../../simulate/chaos/progress.ts';

export class JournalWatch {
  readonly #path: string;
  readonly #roles = new Map<string, string>();
  readonly lines: string[] = [];
  #offset = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** What is new since the last call. A line without its end is not there yet. */
  async read(): Promise<SeenEntry[]> {
    const file = await open(this.#path, 'r').catch(() => null);
    if (file === null) return [];
    try {
      const { size } = await file.stat();
      if (size <= this.#offset) return [];
      const bytes = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, this.#offset);
      const end = bytes.subarray(0, bytesRead).lastIndexOf(10) + 1;
      this.#offset += end;
      return bytes
        .toString('utf8', 0, end)
        .split('\n')
        .slice(0, -1)
        .map((line) => this.#see(line));
    } finally {
      await file.close();
    }
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
