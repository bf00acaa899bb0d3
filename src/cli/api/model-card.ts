/** @file The model card of a release, from its folder: bounded, and null once the folder is gone. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';

const maxBytes = 262_144;

export function modelCardsIn(releases: string): (release: number) => Promise<string | null> {
  return async (release) => {
    const file = await open(join(releases, `release-${release}`, 'README.md'), 'r').catch(() => null);
    if (file === null) return null;
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  };
}
