/** @file What every store over a network promises when the network or the server fails; run against each adapter behind a faulty proxy. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { artifactOf } from '../../src/protocol/artifact.ts';
import type { ArtifactRef } from '../../src/protocol/manifest.ts';
import type { FaultyProxy } from '../support/faulty-proxy.ts';
import { type OpenStore, randomBytes } from './store.ts';

export interface OpenFaultyStore extends OpenStore {
  /** All of the store's traffic passes through it. */
  readonly proxy: FaultyProxy;
  /** How often the store tries one request. */
  readonly attempts: number;
}

export function testStoreFaults(name: string, open: () => Promise<OpenFaultyStore>): void {
  describe(`store faults: ${name}`, () => {
    let opened: OpenFaultyStore;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());

    const put = async (artifact: ArtifactRef, bytes: Uint8Array) => {
      const grant = await opened.grant?.(artifact, bytes);
      return opened.store.put(artifact, bytes, grant === undefined ? {} : { grant });
    };
    const sample = (seed: number) => {
      const bytes = randomBytes(60_000, seed);
      return { bytes, artifact: artifactOf(bytes) };
    };
    const isThere = async ({ bytes, artifact }: ReturnType<typeof sample>) => {
      opened.proxy.heal();
      expect(Buffer.compare(await opened.store.get(artifact), bytes)).toBe(0);
    };

    for (const fault of ['slow-down', 'cut-request', 'lose-answer', 'silence'] as const)
      it(`writes through ${fault}, twice`, async () => {
        const { bytes, artifact } = sample(1);
        opened.proxy.inject(fault, 'PUT', 2);
        await put(artifact, bytes);
        expect(opened.proxy.hits).toBeGreaterThan(1);
        await isThere({ bytes, artifact });
      });

    for (const fault of ['slow-down', 'cut-answer', 'lose-answer', 'silence'] as const)
      it(`reads through ${fault}, twice`, async () => {
        const { bytes, artifact } = sample(2);
        await put(artifact, bytes);
        opened.proxy.inject(fault, 'GET', 2);
        expect(Buffer.compare(await opened.store.get(artifact), bytes)).toBe(0);
        expect(opened.proxy.hits).toBeGreaterThan(2);
      });

    it('gives up on a server that goes on throttling, after a bounded number of tries', async () => {
      const { bytes, artifact } = sample(3);
      opened.proxy.inject('slow-down', 'PUT');
      await expect(put(artifact, bytes)).rejects.toMatchObject({ code: 'BUSY', retryable: true });
      expect(opened.proxy.hits).toBe(opened.attempts);
      opened.proxy.heal();
      expect(await opened.store.stat(artifact.root)).toBeNull();
      await put(artifact, bytes);
      opened.proxy.inject('slow-down', 'GET');
      await expect(opened.store.get(artifact)).rejects.toMatchObject({ code: 'BUSY', retryable: true });
      expect(opened.proxy.hits).toBe(opened.attempts);
    });

    it('keeps nothing of uploads that are cut each time', async () => {
      const { bytes, artifact } = sample(4);
      opened.proxy.inject('cut-request', 'PUT');
      await expect(put(artifact, bytes)).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
      opened.proxy.heal();
      expect(await opened.store.stat(artifact.root)).toBeNull();
      await put(artifact, bytes);
      await isThere({ bytes, artifact });
    });

    it('does not try again what is forbidden', async () => {
      const { bytes, artifact } = sample(5);
      opened.proxy.inject('deny', 'PUT');
      await expect(put(artifact, bytes)).rejects.toMatchObject({ code: 'FORBIDDEN', retryable: false });
      expect(opened.proxy.hits).toBe(1);
      opened.proxy.heal();
      await put(artifact, bytes);
      opened.proxy.inject('deny', 'GET');
      await expect(opened.store.get(artifact)).rejects.toMatchObject({ code: 'FORBIDDEN', retryable: false });
      expect(opened.proxy.hits).toBe(1);
      await isThere({ bytes, artifact });
    });

    it('stores no byte that was changed on its way', async () => {
      const { bytes, artifact } = sample(6);
      opened.proxy.inject('corrupt-request', 'PUT');
      await expect(put(artifact, bytes)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
      opened.proxy.heal();
      expect(await opened.store.stat(artifact.root)).toBeNull();
      await put(artifact, bytes);
      await isThere({ bytes, artifact });
    });

    it('hands on no byte that was changed on its way back, and keeps what was right', async () => {
      const { bytes, artifact } = sample(7);
      await put(artifact, bytes);
      opened.proxy.inject('corrupt-answer', 'GET', 1);
      const first = await opened.store.get(artifact).catch((error: { code: string }) => error.code);
      if (typeof first === 'string') expect(first).toBe('HASH_MISMATCH');
      else expect(Buffer.compare(first, bytes)).toBe(0);
      await isThere({ bytes, artifact });
    });
  });
}
