/**
 * @file Bytes that are no longer in the store. Retention may drop those of a segment once its validators have attested it
 * and enough releases have passed: then the report says by whom it is attested. Any other loss is a divergence.
 */
import { manifestOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { CheckName, Findings } from './findings.ts';

interface Gone {
  readonly check: CheckName;
  /** Number of the release that closes it. */
  readonly segment: number;
  count: number;
  /** The first one. */
  readonly seq: number;
  readonly event: string;
  readonly artifact: ArtifactRef;
}

/** As it is kept between two sessions. */
export type GoneJson = readonly Gone[];

export class GoneBytes {
  readonly #gone = new Map<string, Gone>();

  note(
    check: CheckName,
    { seq, kind }: { readonly seq: number; readonly kind: string },
    /** Number of the release that closes it. */
    segment: number,
    artifact: ArtifactRef,
  ): void {
    const key = `${check} ${segment}`;
    const known = this.#gone.get(key);
    if (known !== undefined) known.count++;
    else this.#gone.set(key, { check, segment, count: 1, seq, event: kind, artifact });
  }

  toJson(): GoneJson {
    return structuredClone([...this.#gone.values()]);
  }

  restore(json: GoneJson): void {
    for (const each of json) this.#gone.set(`${each.check} ${each.segment}`, { ...each });
  }

  /** Judged by the whole journal: an attestation may come after what it is about. */
  settle(state: RunState, findings: Findings): void {
    const attested = new Map<CheckName, { count: number; segments: number[]; by: Set<string> }>();
    for (const gone of [...this.#gone.values()].sort((a, b) => a.segment - b.segment)) {
      const { check, segment, count, artifact } = gone;
      if (!mayBeGone(state, segment)) {
        findings.fail({
          check,
          seq: gone.seq,
          event: gone.event,
          expected: `artifact ${artifact.root} of ${artifact.sizeBytes} bytes: its segment (release ${segment}) may not be dropped yet`,
          found: 'nothing in the store',
        });
        continue;
      }
      const { attestedBy } = state.releases[segment]!;
      if (attestedBy.length === 0) {
        findings.unchecked(check, `${count} of segment ${segment} dropped by retention, and nobody attested it`);
        continue;
      }
      const sum = attested.get(check) ?? { count: 0, segments: [], by: new Set<string>() };
      attested.set(check, sum);
      sum.count += count;
      sum.segments.push(segment);
      for (const hotkey of attestedBy) sum.by.add(hotkey);
    }
    for (const [check, { count, segments, by }] of attested)
      findings.attested(
        check,
        `${count} of segments ${segments[0]} to ${segments.at(-1)} dropped by retention: attested by ${[...by].join(', ')}`,
      );
  }
}

/** Whether the rules of retention allow that the bytes of a segment are gone. */
export function mayBeGone(state: RunState, segment: number): boolean {
  const { keepReleases, attestations } = manifestOf(state).release;
  const record = state.releases[segment];
  return (
    record !== undefined && state.releases.length > segment + keepReleases && record.attestedBy.length >= attestations
  );
}
