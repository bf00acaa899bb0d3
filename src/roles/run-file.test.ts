/** @file Run files: templates are right, every fault is told with its field, and the outline adds up. */
import { describe, expect, it } from 'vitest';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { parseRunFile, type RunFile } from './run-file.ts';
import { outlineOf } from './run-outline.ts';
import { templates } from './run-templates.ts';

const { demo } = templates;
const faultsOf = (file: unknown, sources: ReadonlySet<string> | null = null): string[] => {
  const parsed = parseRunFile(JSON.parse(JSON.stringify(file)), sources);
  return 'file' in parsed ? [] : parsed.faults.map(({ field }) => field);
};
const withPhase = (changes: object, at = 0): unknown => ({
  ...demo,
  phases: demo.phases.map((phase, i) => (i === at ? { ...phase, ...changes } : phase)),
});

describe('a run file', () => {
  it('of each template is right', () => {
    for (const [name, file] of Object.entries(templates)) expect(faultsOf(file), name).toEqual([]);
  });

  it('tells each fault by its field', () => {
    const [{ schedule }] = demo.phases as [RunFile['phases'][number]];
    const cases: [unknown, string][] = [
      [{ ...demo, version: 2 }, 'version'],
      [{ ...demo, more: 1 }, '(file)'],
      [{ ...demo, model: { preset: 'huge' } }, 'model.preset'],
      [{ ...demo, fragments: { count: 0 } }, 'fragments.count'],
      [withPhase({ sequenceLength: 96 }), 'phases.0.sequenceLength'],
      [withPhase({ batch: { startSequences: 3, rampTokens: 100 } }), 'phases.0.batch.startSequences'],
      [withPhase({ batch: { startSequences: 2, rampTokens: 1e9 } }), 'phases.0.batch.rampTokens'],
      [withPhase({ schedule: { ...schedule, warmupTokens: 130_000 } }), 'phases.0.schedule.warmupTokens'],
      [withPhase({ schedule: { ...schedule, decayTokens: 119_000 } }), 'phases.0.schedule.decayTokens'],
      [withPhase({ schedule: { ...schedule, peakLearningRate: '0' } }), 'phases.0.schedule.peakLearningRate'],
      [withPhase({ schedule: { ...schedule, finalLearningRate: '0.1' } }), 'phases.0.schedule.finalLearningRate'],
      [withPhase({ schedule: { ...schedule, warmupFrom: '1' } }), 'phases.0.schedule.warmupFrom'],
      [withPhase({ schedule: { ...schedule, totalTokens: 1e9 } }), 'phases.0.schedule.totalTokens'],
      [withPhase({ schedule: { ...schedule, peakLearningRate: 0.1 } }), 'phases.0.schedule.peakLearningRate'],
      [withPhase({ context: { useNope: false, nopeAfterPosition: 3 } }), 'phases.0.context.nopeAfterPosition'],
      [withPhase({ gates: [{ metric: 'vibes', atMost: '1' }] }), 'phases.0.gates.0.metric'],
      [withPhase({ gates: [{ metric: 'held-out' }] }), 'phases.0.gates.0'],
      [withPhase({ name: 'base' }, 1), 'phases.1.name'],
      [withPhase({ mixture: {} }), 'phases.0.mixture'],
      [{ ...demo, sync: { ...demo.sync, leaseSequences: 2 } }, 'sync.leaseSequences'],
      [{ ...demo, sync: { ...demo.sync, grace: { ...demo.sync.grace, minMs: 9_000 } } }, 'sync.grace.minMs'],
      [{ ...demo, evaluation: { ...demo.evaluation, gainShare: '2' } }, 'evaluation.gainShare'],
      [{ ...demo, recipe: { ...demo.recipe, beta2: '1' } }, 'recipe.beta2'],
      [{ ...demo, recipe: { ...demo.recipe, epsilon: '0' } }, 'recipe.epsilon'],
      [
        { ...demo, recipe: { ...demo.recipe, frozen: { tensors: ['*.nothing'], dtype: 'f32' } } },
        'recipe.frozen.tensors',
      ],
      [{ ...demo, merge: { ...demo.merge, outerMomentum: '1' } }, 'merge.outerMomentum'],
      [{ ...demo, audit: { ...demo.audit, minCosine: '1.5' } }, 'audit.minCosine'],
      [{ ...demo, rewards: { ...demo.rewards, halfLifeTempos: '0' } }, 'rewards.halfLifeTempos'],
      [{ ...demo, fragments: { count: 4_000 } }, 'fragments.count'],
      [withPhase({ gates: [{ metric: 'held-out', atLeast: '1' }] }), 'phases.0.gates.0.atLeast'],
    ];
    for (const [file, field] of cases) expect(faultsOf(file), field).toContain(field);
    expect(faultsOf(withPhase({ mixture: { web: 1 } }), new Set(['books']))).toEqual(['phases.0.mixture.web']);
  });

  it('comes to its tokens, and to as many steps as the batch allows', () => {
    const outline = outlineOf(demo, presetConfig('tiny'));
    expect(outline.tokens).toBe(demo.phases.reduce((sum, { targetTokens }) => sum + targetTokens, 0));
    const { recipe, phases } = demo;
    for (const [i, { innerSteps, targetTokens, sequenceLength }] of outline.phases.entries()) {
      const least = Math.ceil(targetTokens / sequenceLength / recipe.batchSequences);
      const first = phases[i]!.batch?.startSequences ?? recipe.batchSequences;
      expect(innerSteps, `${i}`).toBeGreaterThanOrEqual(least);
      expect(innerSteps, `${i}`).toBeLessThanOrEqual(Math.ceil(targetTokens / sequenceLength / first));
    }
    const quasar = outlineOf(templates['quasar-10t'], presetConfig('quasar-preview'));
    expect(quasar).toMatchObject({ parameters: 16_553_949_296, fragments: 24, releaseBytes: 2 * 16_553_949_296 });
    expect(quasar.tokens).toBe(10.1e12);
  });
});
