/** @file The weights matrix: a row a validator, a column a hotkey that got weight, the consensus of the epoch below. */
import type { ApiWeights } from '../../../../src/protocol/api/participants.ts';
import { percent, plural, shortHotkey, whole } from '../../format/numbers.ts';

/** More columns than a screen has are cut to those with the most consensus. */
const shownColumns = 48;
const shownRows = 64;

export function WeightsMatrix({ weights: { neurons, rows, atBlock, tempo, expected } }: { weights: ApiWeights }) {
  const nameOf = new Map(neurons.map(({ uid, hotkey }) => [uid, shortHotkey(hotkey)]));
  const expectedOf = new Map(expected.map(({ hotkey, weight }) => [hotkey as string, weight]));
  const set = new Set(rows.flatMap((row) => row.weights.map(([uid]) => uid)));
  const columns = neurons.filter(({ uid }) => set.has(uid)).sort((a, b) => b.consensus - a.consensus);
  const shown = columns.slice(0, shownColumns);
  const most = Math.max(1e-9, ...rows.flatMap((row) => row.weights.map(([, share]) => share)));
  return (
    <>
      <p class="soft">
        {atBlock === null ? 'Before the first epoch' : `Epoch at block ${whole(atBlock)}, tempo ${whole(tempo)}`}:{' '}
        {plural(rows.length, 'validator')} set weights for {plural(columns.length, 'hotkey')}
        {columns.length > shownColumns && `; the ${shownColumns} with the most consensus are drawn`}. Consensus clips
        what only a minority of the stake says.
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys. */}
      <section class="table-scroll" tabIndex={0} aria-label="Weights matrix">
        <table class="table matrix">
          <thead>
            <tr>
              <th>Validator</th>
              {shown.map(({ uid, hotkey }) => (
                <th key={uid} class="number" title={hotkey}>
                  {uid}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, shownRows).map((row) => {
              const of = new Map(row.weights);
              return (
                <tr key={row.uid}>
                  <th scope="row">{nameOf.get(row.uid) ?? row.uid}</th>
                  {shown.map(({ uid }) => (
                    <Cell key={uid} value={of.get(uid) ?? 0} most={most} />
                  ))}
                </tr>
              );
            })}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">Consensus</th>
              {shown.map(({ uid, consensus }) => (
                <Cell key={uid} value={consensus} most={Math.max(1e-9, ...shown.map((s) => s.consensus))} />
              ))}
            </tr>
            <tr>
              <th scope="row">Incentive</th>
              {shown.map(({ uid, incentive }) => (
                <td key={uid} class="number">
                  {percent(incentive)}
                </td>
              ))}
            </tr>
            <tr>
              <th scope="row">By the journal now</th>
              {shown.map(({ uid, hotkey }) => (
                <td key={uid} class="number">
                  {percent(expectedOf.get(hotkey) ?? 0)}
                </td>
              ))}
            </tr>
          </tfoot>
        </table>
      </section>
    </>
  );
}

function Cell({ value, most }: { value: number; most: number }) {
  const depth = Math.round((value / most) * 28);
  return (
    <td class="number" style={{ background: `color-mix(in srgb, var(--series-2) ${depth}%, transparent)` }}>
      {value === 0 ? <span class="faint">0</span> : percent(value)}
    </td>
  );
}
