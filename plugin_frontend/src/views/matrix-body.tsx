import type { JSX } from 'preact';
import { shownStep, sign, spoken, stateWords } from '../model/cell';
import type { Frame } from '../model/frame';
import type { Place } from '../model/grid';
import type { Row } from '../model/order';
import { PALETTES } from '../model/palette';
import { type Domain, level } from '../model/scale';
import type { Shown } from '../model/store';
import { count, visible } from '../model/text';
import type { Selection } from '../model/url';
import { Name } from './name';

interface Props {
  shown: Shown;
  frame: Frame;
  rows: readonly Row[];
  /** The rows that exist: the rest is empty space above and below. */
  first: number;
  end: number;
  rowHeight: number;
  active: Place;
  tip: Place | null;
  domain: Domain;
  theme: 'light' | 'dark';
  selection: Selection | null;
}

export function MatrixBody(props: Props) {
  const { rows, first, end, rowHeight } = props;
  const drawn: JSX.Element[] = [];
  for (let i = first; i < end; i++) drawn.push(rowAt(props, i));
  return (
    <tbody>
      <Space height={first * rowHeight} />
      {drawn}
      <Space height={(rows.length - end) * rowHeight} />
    </tbody>
  );
}

function Space({ height }: { height: number }) {
  if (height <= 0) return null;
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: an empty row takes no focus
  return <tr aria-hidden="true" style={{ height: `${height}px` }} />;
}

/** One row. No components below: at each step a thousand cells are drawn anew. */
function rowAt({ shown, frame, rows, active, tip, domain, theme, selection }: Props, i: number) {
  const { run, names } = shown;
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
        <td colSpan={run.losses.length} />
      </tr>
    );
  }
  const { variable } = row;
  const name = names.name(variable);
  const palette = PALETTES[theme];
  const chosen = selection?.variable === name;
  const focus = (column: number) => (active.row === i && active.column === column ? 0 : -1);
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
        tabIndex={focus(-1)}
      >
        <Name text={row.text} title={name} />
      </th>
      {run.losses.map((loss, column) => {
        const state = frame.state(column, variable);
        const norm = frame.norm(column, variable);
        const step = shownStep(run, frame, column, variable);
        const stale = step !== undefined && step !== frame.step;
        const here = chosen && selection?.loss === loss.name;
        const words = stateWords(run, column, variable, state);
        const fill = state === 'ok' ? level(norm, domain) : -1;
        return (
          <td
            key={column}
            class={`cell s-${state}${stale ? ' stale' : ''}${here ? ' chosen' : ''}`}
            style={fill < 0 ? '' : `background:${palette.fill[fill]};color:${palette.ink[fill]}`}
            aria-colindex={column + 2}
            aria-label={spoken(loss.name, name, state, norm, stale ? step : undefined, words)}
            aria-describedby={tip?.row === i && tip.column === column ? 'cell-tip' : undefined}
            data-at={`${i} ${column}`}
            tabIndex={focus(column)}
          >
            {sign(state, norm)}
          </td>
        );
      })}
    </tr>
  );
}
