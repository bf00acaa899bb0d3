/**
 * @file The artifact of every fragment version that a run has published. The fold keeps the present ones; a replay needs
 * those that a learner took in.
 */
import type { RunState } from '../journal/state.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { EventBody, JournalEntry } from '../protocol/messages.ts';

export class VersionHistory {
  /** By fragment, then version. */
  readonly #artifacts: ArtifactRef[][] = [];

  /** To be called after each entry was folded. */
  readonly onFold = (_: RunState, { message: { kind, body } }: JournalEntry): void => {
    if (kind === 'run') {
      for (const artifact of (body as EventBody<'run'>).start) this.#artifacts.push([artifact]);
    } else if (kind === 'fragment-published') {
      const { fragment, version, artifact } = body as EventBody<'fragment-published'>;
      this.#artifacts[fragment]![version] = artifact;
    }
  };

  /** Null for a version that never was. */
  artifactOf(fragment: number, version: number): ArtifactRef | null {
    return this.#artifacts[fragment]?.[version] ?? null;
  }
}
