/** @file The golden cases, each a whole model from its files: logits, loss and gradients of an independent float64 implementation. */
import { readdirSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkGoldenCase } from '../src/model/golden.ts';

const vectors = join(import.meta.dirname, 'vectors', 'quasar_long');

describe('golden cases of quasar_long', () => {
  const cases = readdirSync(vectors, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
  it.each(cases)('%s', async (name) => {
    const report = await checkGoldenCase(join(vectors, name));
    expect(report.gradients.filter(({ ofTolerance }) => !(ofTolerance <= 1))).toEqual([]);
    expect(report).toMatchObject({ caseName: name, ok: true });
    // Far inside the tolerances of the case: a float32 implementation of the same formulas gets this close.
    expect(report.logitError).toBeLessThan(5e-5);
    expect(report.lossError).toBeLessThan(2e-6);
    expect(report.worstNorm.ofTolerance).toBeLessThan(0.02);
  });

  it('fails where the weights are not those of the case', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'accrete-golden-'));
    try {
      await cp(join(vectors, 'bailing_pure'), folder, { recursive: true });
      const file = join(folder, 'model.safetensors');
      const bytes = await readFile(file);
      bytes.writeFloatLE(3, bytes.length - 400);
      await writeFile(file, bytes);
      expect((await checkGoldenCase(folder)).ok).toBe(false);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('says which file is missing', async () => {
    await expect(checkGoldenCase(join(vectors, 'nowhere'))).rejects.toMatchObject({ code: 'CHECKPOINT_UNREADABLE' });
  });
});
