/** @file The numbers that a verdict rests on, as name and value. */
import { measured } from '../format/numbers.ts';

export function Measurements({ of }: { of: Readonly<Record<string, number>> }) {
  const entries = Object.entries(of);
  if (entries.length === 0) return null;
  return (
    <dl class="measurements">
      {entries.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd title={String(value)}>{measured(value)}</dd>
        </div>
      ))}
    </dl>
  );
}
