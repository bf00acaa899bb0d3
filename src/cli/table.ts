/** @file Tables without borders, by cli-table3, which measures wide and coloured cells. */
import Table from 'cli-table3';

const noBorders = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid', 'middle'].flatMap((part) =>
    ['', '-mid', '-left', '-right'].map((suffix) => [`${part}${suffix}`, '']),
  ),
);

/** A column is named with a leading `>` where it is aligned to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const table = new Table({
    head: head.map((name) => name.replace(/^>/, '')),
    chars: noBorders,
    colAligns: head.map((name) => (name.startsWith('>') ? 'right' : 'left')),
    style: { 'padding-left': 0, 'padding-right': 2, head: [], border: [] },
  });
  for (const row of rows) table.push([...row]);
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
}
