/** @file A cell for each fragment. Its ground tells its age beside the others', its words tell version, age and what happens now. */
import type { ApiFragments } from '../../../../src/protocol/api/training.ts';
import { age, briefAge } from '../../format/time.ts';

export type FragmentRow = ApiFragments['fragments'][number];

export interface FragmentGridProps {
  readonly fragments: readonly FragmentRow[];
  readonly nowMs: number;
  readonly isSmall?: boolean;
  readonly selected?: number;
  readonly onSelect?: (fragment: number) => void;
}

export function FragmentGrid({ fragments, nowMs, isSmall = false, selected, onSelect }: FragmentGridProps) {
  const oldestMs = Math.max(1, ...fragments.map((f) => (f.lastMergeMs === null ? 0 : nowMs - f.lastMergeMs)));
  return (
    <ul class={`fragments${isSmall ? ' fragments-small' : ''}`}>
      {fragments.map((f) => {
        const cell = <CellText fragment={f} nowMs={nowMs} isSmall={isSmall} />;
        const style = {
          '--fresh':
            f.lastMergeMs === null ? '0' : (1 - Math.min(1, (nowMs - f.lastMergeMs) / oldestMs) * 0.9).toFixed(2),
        };
        const state = f.isMerging ? ' is-merging' : f.isDue ? ' is-due' : '';
        return (
          <li key={f.fragment}>
            {onSelect === undefined ? (
              <div class={`fragment${state}`} style={style}>
                {cell}
              </div>
            ) : (
              <button
                type="button"
                class={`fragment${state}`}
                style={style}
                aria-pressed={selected === f.fragment}
                onClick={() => onSelect(f.fragment)}
              >
                {cell}
              </button>
            )}
          </li>
        );
      })}
    </ul>
  );
}

function CellText({ fragment: f, nowMs, isSmall }: { fragment: FragmentRow; nowMs: number; isSmall: boolean }) {
  return (
    <>
      <span class="fragment-name">
        <span class="visually-hidden">Fragment </span>
        {f.fragment}
      </span>
      <span class="fragment-version">v{f.version}</span>
      <span class="fragment-state">
        {f.isMerging
          ? 'merging'
          : f.isDue
            ? `due · ${f.openClaims}`
            : f.lastMergeMs === null
              ? 'as begun'
              : (isSmall ? briefAge : age)(nowMs - f.lastMergeMs)}
      </span>
    </>
  );
}
