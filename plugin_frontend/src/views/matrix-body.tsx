import type { JSX } from 'preact';
import { shownStep, sign, spoken, stateWords } from '../model/cell';
import { columnsOf, fullName } from '../model/columns';
import type { Frame } from '../model/frame';
import type { Place } from '../model/grid';
import type { Row } from '../model/order';
import { PALETTES } from '../model/palette';
import { type Domain, level } from '../model/scale';
import type { Shown } from '../model/store';
import { count, visible } from '../model/text';
import type { Selection } from '../model/url';
import { Name } from './name';

/** Rows or columns that exist: the rest is empty space before and behind. */
export interface Window {
  readonly first: number;
  readonly end: number;
}

interface Props {
  shown: Shown;
  frame: Frame;
  rows: readonly Row[];
  drawn: Window;
  across: Window;
  rowHeight: number;
  active: Place;
  tip: Place | null;
  domain: Domain;
  theme: 'light' | 'dark';
  selection: Selection | null;
}

export function MatrixBody(props: Props) {
  const { rows, drawn, rowHeight } = props;
  const made: JSX.Element[] = [];
  for (let i = drawn.first; i < drawn.end; i++) made.push(rowAt(props, i));
  return (
    <tbody>
      <Space height={drawn.first * rowHeight} />
      {made}
      <Space height={(rows.length - drawn.end) * rowHeight} />
    </tbody>
  );
}

function Space({ height }: { height: number }) {
  if (height <= 0) return null;
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: an empty row takes no focus
  return <tr aria-hidden="true" style={{ height: `${height}px` }} />;
}

/** Columns that do not exist, as one cell. */
export function gap(columns: number, key: string) {
  return columns > 0 ? <td key={key} aria-hidden="true" colSpan={columns} /> : null;
}

/** One row. No components below: at each step a thousand cells are drawn anew. */
function rowAt(props: Props, i: number) {
  const { shown, rows, active, selection } = props;
  const row = rows[i] as Row;
  if (row.kind === 'layer') {
    return (
      <tr key={i} class="layer" aria-rowindex={i + 2}>
        <th scope="rowgroup">
          <span>
            <Name text={row.layer} />
            <span class="size">{count(row.size)}</span>
          </span>
        </th>
        <td colSpan={columnsOf(shown.run).length} />
      </tr>
    );
  }
  const name = shown.names.name(row.variable);
  const chosen = selection?.variable === name;
  return (
    <tr
      key={i}
      class={`${row.grouped ? 'grouped' : ''}${chosen ? ' selected' : ''}`}
      aria-rowindex={i + 2}
    >
      <th
        scope="row"
        aria-colindex={1}
        aria-label={visible(name)}
        data-at={`${i} -1`}
        tabIndex={active.row === i && active.column === -1 ? 0 : -1}
      >
        <Name text={row.text} title={name} />
      </th>
      {cellsOf(props, i, row.variable, chosen ? (selection?.loss ?? '') : undefined)}
    </tr>
  );
}

/** The cells of a row. `chosen`: the column chosen, if the row is. */
function cellsOf(props: Props, i: number, variable: number, chosen: string | undefined) {
  const { shown, frame, across, active, tip, domain, theme } = props;
  const { run, names } = shown;
  const columns = columnsOf(run);
  const name = names.name(variable);
  const { fill, ink } = PALETTES[theme];
  const cells: (JSX.Element | null)[] = [gap(across.first, 'before')];
  for (let c = across.first; c < across.end; c++) {
    const column = columns[c];
    if (!column) continue;
    const state = frame.state(c, variable);
    const norm = frame.norm(c, variable);
    const step = shownStep(run, frame, c, variable);
    const stale = step !== undefined && step !== frame.step;
    const at = state === 'ok' ? level(norm, domain) : -1;
    const words = stateWords(run, c, variable, state);
    cells.push(
      <td
        key={c}
        class={`cell s-${state}${stale ? ' stale' : ''}${chosen === column.id ? ' chosen' : ''}${edge(columns, c)}`}
        style={at < 0 ? '' : `background:${fill[at]};color:${ink[at]}`}
        aria-colindex={c + 2}
        aria-label={spoken(fullName(column), name, state, norm, stale ? step : undefined, words)}
        aria-describedby={tip?.row === i && tip.column === c ? 'cell-tip' : undefined}
        data-at={`${i} ${c}`}
        tabIndex={active.row === i && active.column === c ? 0 : -1}
      >
        {sign(state, norm)}
      </td>,
    );
  }
  cells.push(gap(columns.length - across.end, 'behind'));
  return cells;
}

/** The class of a column before which a line is drawn: that of the first optimizer. */
export function edge(columns: readonly { readonly kind: string }[], i: number): string {
  return columns[i]?.kind === 'optimizer' && columns[i - 1]?.kind !== 'optimizer' ? ' edge' : '';
}
