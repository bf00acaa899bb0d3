/** @file What every place of names that are taken once promises. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WriteOnce } from '../../src/store/port.ts';
import { utf8 } from '../../src/util/bytes.ts';

export function testWriteOnce(name: string, open: () => Promise<{ place: WriteOnce; close(): Promise<void> }>): void {
  describe(`write-once contract: ${name}`, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    let place: WriteOnce;
    beforeEach(async () => {
      opened = await open();
      place = opened.place;
    });
    afterEach(() => opened.close());

    it('gives a name once, also to the same bytes, and never changes what it holds', async () => {
      expect(await place.get('log/000/001')).toBe(null);
      expect(await place.putNew('log/000/001', utf8('first'))).toBe(true);
      for (const text of ['second', 'first']) expect(await place.putNew('log/000/001', utf8(text)), text).toBe(false);
      expect(Buffer.from((await place.get('log/000/001'))!).toString()).toBe('first');
      expect(await place.putNew('log/000/002', utf8(''))).toBe(true);
      expect((await place.get('log/000/002'))!.byteLength).toBe(0);
    });

    it('lets one of many writers win, and shows all of its bytes', async () => {
      const writers = Array.from({ length: 8 }, (_, i) => utf8(String(i).repeat(100_000)));
      const won = await Promise.all(writers.map((bytes) => place.putNew('race', bytes)));
      expect(won.filter(Boolean)).toEqual([true]);
      expect(Buffer.compare((await place.get('race'))!, writers[won.indexOf(true)]!)).toBe(0);
    });

    it('refuses what is no name', async () => {
      for (const bad of ['', '/a', 'a/', 'a//b', '../a', 'a/../b', 'A', 'a\u0000', 'a.b', 'a'.repeat(201)])
        await expect(
          (async () => place.putNew(bad, utf8('x')))(),
          JSON.stringify(bad.slice(0, 20)),
        ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  });
}
