/** @file Encoding and decoding of a fragment in each codec, in bytes of its float32 values. */

import type { CodecName } from '../src/merge/codecs/codec.ts';
import { codecs, decodeFragment, encodeFragment } from '../src/merge/codecs/fragment-file.ts';
import { emptyFragment } from '../src/merge/fragment-values.ts';
import { type Bench, type BenchRow, gigabytesPerSecond, spread, time } from './measure.ts';
import { syntheticFragment, syntheticValues } from './synthetic.ts';

const elements = 2 ** 21;

export const codecsBench: Bench = {
  name: 'codecs',
  about: `a fragment of ${(elements / 1e6).toFixed(1)}M float32 parameters as a file and back, checks included`,
  async run() {
    const fragment = syntheticFragment(elements);
    const values = syntheticValues(elements, 7);
    const into = emptyFragment(fragment);
    const rows: BenchRow[] = [];
    for (const codec of Object.keys(codecs) as CodecName[]) {
      const { bytes } = encodeFragment(codec, fragment, values);
      // Into arrays that are there, as learners and merges have them.
      const residue = into.params;
      const encoding = await time(() => encodeFragment(codec, fragment, values, undefined, residue), { runs: 9 });
      const decoding = await time(() => decodeFragment(codec, fragment, bytes, undefined, into), { runs: 9 });
      const speed = (ms: number): string => gigabytesPerSecond(4 * elements, ms);
      rows.push({
        what: codec,
        value: `encode ${speed(encoding.medianMs)}, decode ${speed(decoding.medianMs)}, both ${speed(encoding.medianMs + decoding.medianMs)}`,
        detail: `${((4 * elements) / bytes.byteLength).toFixed(2)} times smaller than float32`,
      });
    }
    const copy = await time(() => into.params.set(values.params), { runs: 9 });
    rows.push({ what: 'memory copy', value: gigabytesPerSecond(4 * elements, copy.medianMs), detail: spread(copy) });
    return rows;
  },
};
