/** @file With every codec and form of states a learner's segment passes its audit to the bit, the residue of earlier claims included. */
import { expect, it } from 'vitest';
import { decodeFragment, encodedSizeBytes } from '../../merge/codecs/fragment-file.ts';
import { codecNames } from '../../protocol/manifest.ts';
import { nodeSha256 as hash } from '../../util/node-sha256.ts';
import { Replayer } from './replay.ts';
import { TracedLearner } from './test-support.ts';
import { tinyRun } from './test-support-run.ts';

const machine = { threads: 1, device: 'cpu' } as const;

const forms = (['exact', 'rounded'] as const).flatMap((stateFormat) =>
  codecNames.map((codec) => ({ codec, stateFormat })),
);

it.each(forms)('$codec, $stateFormat states', { timeout: 60_000 }, async ({ codec, stateFormat }) => {
  const run = tinyRun({ codec, stateFormat });
  const { manifest, loaded, model } = run;
  const fragment = model.plan.fragments[0]!;
  const learner = new TracedLearner(run, machine);
  const replayer = new Replayer({ manifest, loaded, hash, ...machine });
  try {
    for (let step = 0; step < 8; step++) {
      if (step % 2 === 1) run.merge(0, [learner.claim(4 * step)]);
      if (step % 2 === 0 && step > 0) learner.takeIn(0);
      await learner.step();
    }
    for (const to of [4, 8]) {
      const finding = await replayer.replay(learner.segment(to), {
        isSameClass: true,
        signal: AbortSignal.timeout(50_000),
      });
      expect(finding).toMatchObject({ outcome: 'pass', measurements: { claims: 2, exact: 1 } });
    }
    const { bytes } = learner.claims.at(-1)!;
    expect(bytes!.byteLength).toBe(encodedSizeBytes(codec, fragment));
    const { residues } = learner.learner.buffers();
    const loses = stateFormat === 'exact' ? codec !== 'f32' : codec === 'int4' || codec === 'topk';
    expect(residues[0]!.some((value) => value !== 0)).toBe(loses);
    const sent = decodeFragment(codec, fragment, bytes!).params.filter((value) => value !== 0).length;
    if (codec === 'topk') expect(sent).toBeLessThan(fragment.elementCount / 50);
    else expect(sent).toBeGreaterThan(fragment.elementCount / 4);
  } finally {
    await learner.learner.close();
    await replayer.close();
  }
});
