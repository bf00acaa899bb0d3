/** @file What differs between two runs, field by field, and whether the owner may amend it. */
import { type AmendmentChanges, unamendable } from '../../protocol/amendment.ts';
import type { Phase, RunManifest } from '../../protocol/manifest.ts';
import type { RunFile } from '../../roles/run-file.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { UsageError } from '../../util/errors.ts';

export interface Difference {
  /** `phases.1.targetTokens` */
  readonly field: string;
  /** Absent: the run does not have it. */
  readonly before: unknown;
  readonly after: unknown;
  /** Null: an amendment can make it. */
  readonly refusal: string | null;
}

/** In order of field. `begun`: phases that have begun; 0 for a run that is not there. */
export function differencesBetween(before: unknown, after: unknown, begun: number): Difference[] {
  return [...leaves(before, after, [])]
    .map(([path, a, b]) => ({ field: path.join('.'), before: a, after: b, refusal: refusalOf(path, begun) }))
    .sort((a, b) => (a.field < b.field ? -1 : 1));
}

function* leaves(a: unknown, b: unknown, path: readonly string[]): Generator<[readonly string[], unknown, unknown]> {
  if (same(a, b)) return;
  if (isBranch(a) && isBranch(b) && Array.isArray(a) === Array.isArray(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    for (const key of keys) yield* leaves(a[key], b[key], [...path, key]);
  } else yield [path, a, b];
}

const isBranch = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const same = (a: unknown, b: unknown): boolean =>
  a === b || (a !== undefined && b !== undefined && canonicalJson(a as never) === canonicalJson(b as never));

const amendable: ReadonlySet<string> = new Set([
  ...['sync.quorum', 'sync.deadlineMs', 'sync.leaseMs', 'audit.perTempo'],
  ...['evaluation.gainShare', 'evaluation.recheckShare', 'evaluation.committee'],
  ...['release.everyMerges', 'release.keepReleases', 'release.attestations'],
]);
const ofCurrentPhase: ReadonlySet<string> = new Set(['targetTokens', 'gates', 'release']);

function refusalOf(path: readonly string[], begun: number): string | null {
  const [section, member] = path;
  if (section === 'phases') {
    const phase = Number(member);
    if (phase >= begun) return null;
    if (phase === begun - 1 && ofCurrentPhase.has(path[2] ?? '')) return null;
    return phase === begun - 1
      ? 'of the phase that goes on only targetTokens, gates and release: its steps are replayed by the rest'
      : 'the phase is over';
  }
  if (amendable.has(`${section}.${member}`)) return null;
  return unamendable[section!] ?? 'work that is done or under way is judged by it';
}

/** What an amendment must hold to make the manifest in force what the file says. @throws UsageError for what may not be amended */
export function changesBetween(manifest: RunManifest, file: RunFile, phase: number): AmendmentChanges {
  const phases = file.phases.map(
    (each, i): Phase => ({
      ...each,
      // Without one, as it was; of a new phase as of the first.
      mixture: each.mixture ?? manifest.phases[i]?.mixture ?? manifest.phases[0]!.mixture,
    }),
  );
  const [before, after] = [sections(manifest), { ...sections(file), phases }];
  const differences = differencesBetween(before, after, phase + 1);
  const refused = differences.filter(({ refusal }) => refusal !== null);
  if (refused.length > 0)
    throw new UsageError(
      `these cannot be amended:\n${refused.map(({ field, refusal }) => `  ${field}: ${refusal}`).join('\n')}`,
    );
  const changed = (prefix: string): boolean => differences.some(({ field }) => field.startsWith(prefix));
  const member = <T extends object>(section: T, name: string): Partial<T> =>
    Object.fromEntries(Object.entries(section).filter(([key]) => changed(`${name}.${key}`))) as Partial<T>;
  const later = phases.slice(phase + 1);
  const current = phases[phase]!;
  return {
    ...(changed('sync.') ? { sync: member(file.sync, 'sync') as NonNullable<AmendmentChanges['sync']> } : {}),
    ...(changed('evaluation.')
      ? { evaluation: member(file.evaluation, 'evaluation') as NonNullable<AmendmentChanges['evaluation']> }
      : {}),
    ...(changed('audit.') ? { audit: member(file.audit, 'audit') as NonNullable<AmendmentChanges['audit']> } : {}),
    ...(changed('release.')
      ? { release: member(file.release, 'release') as NonNullable<AmendmentChanges['release']> }
      : {}),
    ...(same(later, manifest.phases.slice(phase + 1)) ? {} : { phases: { from: phase + 1, list: later } }),
    ...(changed(`phases.${phase}.`) ? { current: currentChanges(manifest.phases[phase]!, current) } : {}),
  };
}

function currentChanges(before: Phase, after: Phase): NonNullable<AmendmentChanges['current']> {
  const { targetTokens, gates, release } = after;
  if (before.release !== undefined && release === undefined)
    throw new UsageError('phases: the cadence of the phase that goes on can be changed, not taken away');
  return {
    ...(targetTokens === before.targetTokens ? {} : { targetTokens }),
    ...(same(gates ?? [], before.gates ?? []) ? {} : { gates: gates ?? [] }),
    ...(same(release, before.release) ? {} : { release }),
  };
}

const sections = (run: RunManifest | RunFile) => ({
  ...{ name: run.name, model: { preset: run.model.preset }, phases: run.phases, recipe: run.recipe },
  ...{ fragments: run.fragments, sync: run.sync, codec: run.codec, merge: run.merge, evaluation: run.evaluation },
  ...{ audit: run.audit, rewards: run.rewards, release: run.release },
});
