/**
 * @file Lets `toEqual` compare typed arrays of one kind by their bytes: it goes through their elements as keys of an object, a second for
 * some megabytes. Where bytes differ it says what it always says.
 */
import { expect } from 'vitest';

const isAdded = Symbol.for('accrete compares bytes');

/** Once a process, whose files share the equality. */
export function compareBytesFast(): void {
  const process = globalThis as { [isAdded]?: true };
  if (process[isAdded]) return;
  process[isAdded] = true;
  expect.addEqualityTesters([haveEqualBytes]);
}

/** Undefined: the usual comparison decides. */
function haveEqualBytes(a: unknown, b: unknown): true | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
  if (a.constructor !== b.constructor || a.byteLength !== b.byteLength) return undefined;
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0 || undefined;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
