/** @file Values side by side as bars: a row names what it is, its bar has the share of the longest, its number stands beside it. */

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly text: string;
  /** A second value to compare with, as a mark across the bar. */
  readonly mark?: { readonly value: number; readonly text: string };
  readonly tone?: 'plain' | 'warn' | 'good';
}

export function Bars({ label, bars }: { label: string; bars: readonly Bar[] }) {
  const most = Math.max(...bars.flatMap(({ value, mark }) => [value, mark?.value ?? 0]), 1e-12);
  const share = (value: number): string => `${(100 * Math.max(0, value)) / most}%`;
  return (
    <ul class="bars" aria-label={label}>
      {bars.map(({ name, value, text, mark, tone = 'plain' }) => (
        <li key={name}>
          <span class="bars-name">{name}</span>
          <span class="bars-track" aria-hidden="true">
            <span class={`bars-fill bars-${tone}`} style={{ width: share(value) }} />
            {mark !== undefined && <span class="bars-mark" style={{ left: share(mark.value) }} />}
          </span>
          <span class="bars-text">
            {text}
            {mark !== undefined && <span class="soft"> {mark.text}</span>}
          </span>
        </li>
      ))}
    </ul>
  );
}
