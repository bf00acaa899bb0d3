/** @file Names that are taken once, in memory; held to the same contract as the others. */
import { StoreError } from './errors.ts';
import { isObjectName, type WriteOnce } from './port.ts';

export class WriteOnceMemory implements WriteOnce {
  readonly #objects = new Map<string, Uint8Array>();

  async putNew(name: string, bytes: Uint8Array): Promise<boolean> {
    check(name);
    if (this.#objects.has(name)) return false;
    this.#objects.set(name, bytes.slice());
    return true;
  }

  async get(name: string): Promise<Uint8Array | null> {
    check(name);
    return this.#objects.get(name)?.slice() ?? null;
  }
}

function check(name: string): void {
  if (!isObjectName(name))
    throw new StoreError('NOT_FOUND', `${JSON.stringify(name).slice(0, 80)} is no name of an object`);
}
