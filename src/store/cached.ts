/** @file A store in front of another: what was read once stays near, checked like everything else. Writes pass through. */
import type { ArtifactRef } from '../protocol/manifest.ts';
import { StoreError } from './errors.ts';
import type { Store } from './port.ts';

/** `isKept` says which artifacts are worth keeping (data shards are; fragments that are read once are not). */
export function cachedStore(remote: Store, near: Store, isKept: (artifact: ArtifactRef) => boolean): Store {
  return {
    ...remote,
    ...(remote.parts === undefined ? {} : { parts: remote.parts }),
    put: (expected, bytes, options) => remote.put(expected, bytes, options),
    stat: (root) => remote.stat(root),
    remove: (root) => remote.remove(root),
    async get(artifact, options) {
      if (!isKept(artifact)) return remote.get(artifact, options);
      try {
        return await near.get(artifact, options);
      } catch (error) {
        // Absent or damaged: the remote has it, and a damaged copy makes way for a good one.
        if (!(error instanceof StoreError)) throw error;
        if (error.code !== 'NOT_FOUND') await near.remove(artifact.root);
      }
      const bytes = await remote.get(artifact, options);
      await near.put(artifact, bytes);
      return bytes;
    },
  };
}
