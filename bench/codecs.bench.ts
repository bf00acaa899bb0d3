/** @file Encoding and decoding of a fragment in each codec, in bytes of its float32 values. */

import type { CodecName } from '../src/merge/codecs/codec.ts';
import { codecs, decodeFragment, encodeFragment } from '../src/merge/codecs/fragment-file.ts';
import { type Bench, type BenchRow, gigabytesPerSecond, time } from './measure.ts';
import { syntheticFragment, syntheticValues } from './synthetic.ts';

const elements = 2 ** 21;

export const codecsBench: Bench = {
  name: 'codecs',
  about: `a fragment of ${(elements / 1e6).toFixed(1)}M float32 parameters as a file and back, checks included`,
  async run() {
    const fragment = syntheticFragment(elements);
    const values = syntheticValues(elements, 7);
    const rows: BenchRow[] = [];
    for (const codec of Object.keys(codecs) as CodecName[]) {
      const { bytes } = encodeFragment(codec, fragment, values);
      const encoding = await time(() => encodeFragment(codec, fragment, values), { runs: 9 });
      const decoding = await time(() => decodeFragment(codec, fragment, bytes), { runs: 9 });
      rows.push({
        what: codec,
        value: `encode ${gigabytesPerSecond(4 * elements, encoding.medianMs)}, decode ${gigabytesPerSecond(4 * elements, decoding.medianMs)}`,
        detail: `${((4 * elements) / bytes.byteLength).toFixed(2)} times smaller than float32`,
      });
    }
    return rows;
  },
};
