/**
 * @file A table whose rows all have one height, of which only those in view (and a few around them) are in the document. Screen
 * readers are told how many there are; the head sorts.
 */
import { useSignal } from '@preact/signals';
import { Component, type ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

export interface Column<Row, Id extends string> {
  /** Null: not to be sorted by. */
  readonly id: Id | null;
  readonly title: string;
  readonly width: string;
  readonly isNumber?: boolean;
  readonly draw: (row: Row) => ComponentChildren;
}

export interface VirtualTableProps<Row, Id extends string> {
  readonly label: string;
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row, Id>[];
  readonly keyOf: (row: Row) => string;
  readonly sort: { readonly column: Id; readonly isAscending: boolean; readonly onSort: (column: Id) => void };
}

const rowHeight = 32;
const around = 8;

export function VirtualTable<Row, Id extends string>({
  label,
  rows,
  columns,
  keyOf,
  sort,
}: VirtualTableProps<Row, Id>) {
  const place = useRef<HTMLElement>(null);
  const first = useSignal(0);
  const count = useSignal(24);
  useEffect(() => {
    const box = place.current!;
    let frame = 0;
    const measure = (): void => {
      frame = 0;
      first.value = Math.max(0, Math.floor(box.scrollTop / rowHeight) - around);
      count.value = Math.ceil(box.clientHeight / rowHeight) + 2 * around;
    };
    const ask = (): void => {
      frame ||= requestAnimationFrame(measure);
    };
    const resize = new ResizeObserver(ask);
    resize.observe(box);
    box.addEventListener('scroll', ask, { passive: true });
    return () => {
      resize.disconnect();
      box.removeEventListener('scroll', ask);
      cancelAnimationFrame(frame);
    };
  }, []);
  const from = Math.min(first.value, Math.max(0, rows.length - count.value));
  const shown = rows.slice(from, from + count.value);
  const after = rows.length - from - shown.length;
  return (
    <section
      ref={place}
      class="virtual"
      style={{ height: `calc(${(rows.length + 1) * rowHeight}px + 0.9rem)` }}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
      tabIndex={0}
      aria-label={`${label}, scrolls`}
    >
      <table class="table" aria-label={label} aria-rowcount={rows.length + 1}>
        <colgroup>
          {columns.map(({ title, width }, i) => (
            <col key={title || i} style={{ width }} />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column, i) => (
              <Head key={column.title || i} column={column} sort={sort} />
            ))}
          </tr>
        </thead>
        <tbody>
          {from > 0 && <Spacer rows={from} columns={columns.length} />}
          {shown.map((row, i) => (
            <Row key={keyOf(row)} row={row} columns={columns} rowIndex={from + i + 2} />
          ))}
          {after > 0 && <Spacer rows={after} columns={columns.length} />}
        </tbody>
      </table>
    </section>
  );
}

interface RowProps<R, Id extends string> {
  readonly row: R;
  readonly columns: readonly Column<R, Id>[];
  readonly rowIndex: number;
}

/** Drawn once: scrolling draws the rows that come into view, not those that stay. */
class Row<R, Id extends string> extends Component<RowProps<R, Id>> {
  override shouldComponentUpdate({ row, columns, rowIndex }: RowProps<R, Id>): boolean {
    return row !== this.props.row || columns !== this.props.columns || rowIndex !== this.props.rowIndex;
  }

  override render() {
    const { row, columns, rowIndex } = this.props;
    return (
      <tr aria-rowindex={rowIndex} style={{ height: `${rowHeight}px` }}>
        {columns.map(({ title, isNumber, draw }, i) => (
          <td key={title || i} class={isNumber ? 'number' : undefined}>
            {draw(row)}
          </td>
        ))}
      </tr>
    );
  }
}

const Spacer = ({ rows, columns }: { rows: number; columns: number }) => (
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: nothing in it can take the focus; it only takes room.
  <tr aria-hidden="true" class="spacer">
    <td colSpan={columns} style={{ height: `${rows * rowHeight}px` }} />
  </tr>
);

interface HeadProps<Row, Id extends string> {
  readonly column: Column<Row, Id>;
  readonly sort: VirtualTableProps<Row, Id>['sort'];
}

function Head<Row, Id extends string>({ column: { id, title, isNumber }, sort }: HeadProps<Row, Id>) {
  const shape = isNumber ? 'number' : undefined;
  if (id === null) return title === '' ? <td class={shape} /> : <th class={shape}>{title}</th>;
  const isSorted = sort.column === id;
  return (
    <th class={shape} aria-sort={isSorted ? (sort.isAscending ? 'ascending' : 'descending') : 'none'}>
      <button type="button" class="sort" onClick={() => sort.onSort(id)}>
        {title}
        <span aria-hidden="true">{isSorted ? (sort.isAscending ? ' ↑' : ' ↓') : ''}</span>
      </button>
    </th>
  );
}
