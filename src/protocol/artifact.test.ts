/** @file Names of bytes that lie in parts. */
import { describe, expect, it } from 'vitest';
import { nodeSha256 } from '../util/node-sha256.ts';
import { artifactOf, artifactOfParts, pieceBytes } from './artifact.ts';

describe('artifactOfParts', () => {
  it('names parts as the bytes in a row, wherever they are cut', () => {
    const bytes = new Uint8Array(2 * pieceBytes + 1000);
    for (let i = 0; i < bytes.length; i += 997) bytes[i] = i % 251;
    const cuts = [
      [],
      [0, 0],
      [1, pieceBytes - 1, pieceBytes],
      [64, 2 * pieceBytes, 2 * pieceBytes + 3],
      [bytes.length],
    ];
    for (const length of [0, 1, pieceBytes, pieceBytes + 1, bytes.length])
      for (const cut of cuts) {
        const whole = bytes.subarray(0, length);
        const ends = [...cut.map((end) => Math.min(end, length)), length];
        const parts = ends.map((end, i) => whole.subarray(ends[i - 1] ?? 0, end));
        expect(artifactOfParts(parts, nodeSha256), `${length} cut at ${cut}`).toEqual(artifactOf(whole, nodeSha256));
      }
  });
});
