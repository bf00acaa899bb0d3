/** @file What every store promises; run against each adapter. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { artifactOf, pieceBytes } from '../../src/protocol/artifact.ts';
import type { ArtifactRef } from '../../src/protocol/manifest.ts';
import type { Hash } from '../../src/protocol/names.ts';
import type { Store, WriteGrant } from '../../src/store/port.ts';
import { Rng } from '../../src/util/rng.ts';

export interface OpenStore {
  readonly store: Store;
  /** A remote store's permission; left out where none is needed. */
  readonly grant?: (artifact: ArtifactRef, bytes: Uint8Array) => WriteGrant | Promise<WriteGrant>;
  /** Flips one byte of a stored artifact behind the store's back; left out where nobody could. */
  readonly damage?: (root: Hash) => Promise<void>;
  /** Only the owner of a store removes from it. */
  readonly isRemote?: boolean;
  close(): Promise<void>;
}

export function randomBytes(sizeBytes: number, seed: number): Uint8Array {
  // Xorshift (Marsaglia 2003), for its speed: some of them are many megabytes.
  const words = new Uint32Array(Math.ceil(sizeBytes / 4));
  let word = new Rng(seed).uint32() || 1;
  for (let i = 0; i < words.length; i++) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    words[i] = word;
  }
  return new Uint8Array(words.buffer, 0, sizeBytes);
}

/** `isInMemory`: nobody but the store has its bytes (it copies them in and out), so there is no damage to find. */
export function testStore(
  name: string,
  open: () => Promise<OpenStore>,
  { isInMemory = false }: { readonly isInMemory?: boolean } = {},
): void {
  describe(`store contract: ${name}`, () => {
    let opened: OpenStore;
    let store: Store;
    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened.close());

    const put = async (artifact: ArtifactRef, bytes: Uint8Array) =>
      store.put(artifact, bytes, opened.grant === undefined ? {} : { grant: await opened.grant(artifact, bytes) });

    it('gives back what was put, of every size', async () => {
      const sizes = [0, 1, 1_000, pieceBytes - 1, pieceBytes, pieceBytes + 1, 2 * pieceBytes + 17];
      for (const [seed, sizeBytes] of sizes.entries()) {
        const bytes = randomBytes(sizeBytes, seed);
        const artifact = artifactOf(bytes);
        expect(await store.stat(artifact.root), `${sizeBytes} bytes`).toBeNull();
        await put(artifact, bytes);
        expect(await store.stat(artifact.root), `${sizeBytes} bytes`).toBe(sizeBytes);
        expect(Buffer.compare(await store.get(artifact), bytes), `${sizeBytes} bytes`).toBe(0);
      }
    });

    it('takes the same bytes twice, also at once', async () => {
      const bytes = randomBytes(100_000, 1);
      const artifact = artifactOf(bytes);
      await Promise.all([put(artifact, bytes), put(artifact, bytes), put(artifact, bytes)]);
      await put(artifact, bytes);
      expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    });

    it('refuses bytes with a lying hash or size, and keeps nothing of them', async () => {
      const bytes = randomBytes(5_000, 2);
      const artifact = artifactOf(bytes);
      const lie = randomBytes(5_000, 3);
      await expect(put(artifact, lie)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
      await expect(put(artifact, bytes.subarray(1))).rejects.toMatchObject({ code: 'SIZE_MISMATCH' });
      await expect(put({ ...artifact, sizeBytes: 4_999 }, bytes)).rejects.toMatchObject({ code: 'SIZE_MISMATCH' });
      expect(await store.stat(artifact.root)).toBeNull();
      await put(artifact, bytes);
    });

    it('write-once: a lie about a stored artifact changes nothing', async () => {
      const bytes = randomBytes(5_000, 4);
      const artifact = artifactOf(bytes);
      await put(artifact, bytes);
      await expect(put(artifact, randomBytes(5_000, 5))).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
      expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    });

    it('what is not there: NOT_FOUND, and null as its size', async () => {
      const artifact = artifactOf(randomBytes(10, 6));
      await expect(store.get(artifact)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(await store.stat(artifact.root)).toBeNull();
    });

    it('a reference of another size: SIZE_MISMATCH', async () => {
      const bytes = randomBytes(5_000, 7);
      const artifact = artifactOf(bytes);
      await put(artifact, bytes);
      for (const sizeBytes of [0, 4_999, 5_001]) {
        await expect(store.get({ ...artifact, sizeBytes }), String(sizeBytes)).rejects.toMatchObject({
          code: 'SIZE_MISMATCH',
        });
      }
    });

    it("keeps its own copy of a caller's buffer", async () => {
      const bytes = randomBytes(1_000, 8);
      const artifact = artifactOf(bytes);
      await put(artifact, bytes);
      bytes.fill(0);
      (await store.get(artifact)).fill(0);
      expect(artifactOf(await store.get(artifact))).toEqual(artifact);
    });

    it('a root that is none is not there, and leads nowhere else', async () => {
      const control = ['\u0000', '\r\n', '\u007f', '\u2028'].map((text) => 'ab'.repeat(30) + text);
      for (const root of ['../../etc/passwd', '..', '', 'AB'.repeat(32), 'ab'.repeat(31), ...control]) {
        const name = JSON.stringify(root);
        const outcome = await store.stat(root as Hash).catch((error: { code: string }) => error.code);
        expect([null, 'NOT_FOUND'], name).toContain(outcome);
        const got = await store
          .get({ root: root as Hash, sizeBytes: 3 })
          .catch((error: { code: string }) => error.code);
        expect(got, name).toBe('NOT_FOUND');
        const bytes = randomBytes(3, 12);
        const options = opened.grant === undefined ? {} : { grant: await opened.grant(artifactOf(bytes), bytes) };
        const putting = store.put({ root: root as Hash, sizeBytes: 3 }, bytes, options);
        await expect(putting, name).rejects.toMatchObject({
          code: expect.stringMatching(/^(HASH_MISMATCH|NOT_FOUND)$/),
        });
      }
    });

    it('many writers of one artifact at once, among them liars: all honest ones succeed, and it is right', async () => {
      const bytes = randomBytes(70_000, 13);
      const artifact = artifactOf(bytes);
      const writers = Array.from({ length: 16 }, (_, i) =>
        i % 4 === 3
          ? put(artifact, randomBytes(70_000, 14 + i)).catch((error: { code: string }) => error.code)
          : put(artifact, bytes),
      );
      const outcomes = await Promise.all(writers);
      expect(outcomes).toEqual(outcomes.map((_, i) => (i % 4 === 3 ? 'HASH_MISMATCH' : undefined)));
      expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    });

    it('reads parts of an artifact', async () => {
      const bytes = randomBytes(pieceBytes + 1_000, 12);
      const artifact = artifactOf(bytes);
      await put(artifact, bytes);
      for (const [from, to] of [
        [0, 10],
        [pieceBytes - 5, pieceBytes + 5],
        [bytes.byteLength - 1, bytes.byteLength],
        [0, bytes.byteLength],
      ] as const) {
        const part = await store.parts!.read(artifact, { from, to });
        expect(Buffer.compare(part, bytes.subarray(from, to)), `${from} to ${to}`).toBe(0);
      }
      const other = artifactOf(randomBytes(10, 13));
      await expect(store.parts!.read(other, { from: 0, to: 10 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    it('takes an artifact that is named at its end, if it is its own, or nothing of it', async () => {
      if (opened.isRemote) {
        expect(store.parts!.create).toBeUndefined();
        return;
      }
      const bytes = randomBytes(pieceBytes + 1_000, 14);
      const artifact = artifactOf(bytes);
      const buffer = new Uint8Array(700_000);
      const write = async (sizeBytes: number) => {
        const writer = await store.parts!.create!(sizeBytes);
        for (let at = 0; at < bytes.byteLength; at += buffer.byteLength) {
          const part = buffer.subarray(0, Math.min(buffer.byteLength, bytes.byteLength - at));
          part.set(bytes.subarray(at, at + part.byteLength));
          await writer.write(part);
        }
        return writer;
      };
      await (await write(bytes.byteLength)).abort();
      const wrong = await write(bytes.byteLength + 1);
      await expect(wrong.finish()).rejects.toMatchObject({ code: 'SIZE_MISMATCH' });
      await wrong.abort();
      expect(await store.stat(artifact.root)).toBeNull();
      expect(await (await write(bytes.byteLength)).finish()).toEqual(artifact);
      expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    });

    const itsBytesAreElsewhere = isInMemory ? () => undefined : it;
    itsBytesAreElsewhere('finds damage when it reads, and takes the artifact again', async () => {
      const bytes = randomBytes(pieceBytes + 10, 9);
      const artifact = artifactOf(bytes);
      await put(artifact, bytes);
      await opened.damage!(artifact.root);
      await expect(store.get(artifact)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
      if (opened.isRemote) return;
      await put(artifact, bytes);
      expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    });

    it('removes, if it is its own', async () => {
      const bytes = randomBytes(10, 10);
      const artifact = artifactOf(bytes);
      await put(artifact, bytes);
      if (opened.isRemote) {
        await expect(store.remove(artifact.root)).rejects.toMatchObject({ code: 'FORBIDDEN' });
        expect(await store.stat(artifact.root)).toBe(10);
        return;
      }
      expect(await store.remove(artifact.root)).toBe(true);
      expect(await store.remove(artifact.root)).toBe(false);
      expect(await store.stat(artifact.root)).toBeNull();
    });

    it('does nothing for a caller who has given up', async () => {
      const bytes = randomBytes(10, 11);
      const artifact = artifactOf(bytes);
      const signal = AbortSignal.abort(new Error('given up'));
      const grant = await opened.grant?.(artifact, bytes);
      const options = { signal, ...(grant === undefined ? {} : { grant }) };
      await expect(store.put(artifact, bytes, options)).rejects.toThrow('given up');
      await expect(store.get(artifact, { signal })).rejects.toThrow('given up');
      expect(await store.stat(artifact.root)).toBeNull();
    });
  });
}
