import { useMemo } from 'preact/hooks';
import type { Run } from '../api/schema.gen';
import { ONLY_TRACED, sign, spoken } from '../model/cell';
import { type Column, columnsOf, fullName } from '../model/columns';
import type { Frame } from '../model/frame';
import type { Place } from '../model/grid';
import { PALETTES } from '../model/palette';
import { type Domain, level } from '../model/scale';
import { edge, gap, type Window } from './matrix-body';

interface Props {
  run: Run;
  frame: Frame;
  across: Window;
  /** The foot's place below all rows. */
  row: number;
  active: Place;
  domain: Domain;
  theme: 'light' | 'dark';
}

const UNKNOWN = { state: 'absent', norm: Number.NaN } as const;

/** While only tracing was seen, some None say nothing of the whole. */
function totalOf(column: Column, frame: Frame, i: number): ReturnType<Frame['total']> {
  const none = column.variables.every((variable) => frame.state(i, variable) === 'none');
  return column.tracedOnly && !none ? UNKNOWN : frame.total(i);
}

/** Each column's whole gradient: the L2 norm over all variables, whatever the filter hides. */
export function MatrixFoot({ run, frame, across, row, active, domain, theme }: Props) {
  const columns = columnsOf(run);
  const totals = useMemo(() => columns.map((column, i) => totalOf(column, frame, i)), [frame]);
  const palette = PALETTES[theme];
  const focus = (column: number) => (active.row === row && active.column === column ? 0 : -1);
  return (
    <tfoot>
      <tr aria-rowindex={row + 2}>
        <th
          scope="row"
          aria-colindex={1}
          data-at={`${row} -1`}
          tabIndex={focus(-1)}
          title="L2 norm over all variables"
        >
          Whole gradient
        </th>
        {gap(across.first, 'before')}
        {columns.slice(across.first, across.end).map((column, position) => {
          const i = across.first + position;
          const { state, norm } = totals[i] ?? UNKNOWN;
          const name = fullName(column);
          const fill = state === 'ok' ? level(norm, domain) : -1;
          return (
            <td
              key={i}
              class={`cell s-${state}${edge(columns, i)}`}
              style={fill < 0 ? '' : `background:${palette.fill[fill]};color:${palette.ink[fill]}`}
              aria-colindex={i + 2}
              aria-label={
                column.tracedOnly && state === 'absent'
                  ? `${name}, whole gradient: ${ONLY_TRACED}`
                  : spoken(name, 'whole gradient', state, norm)
              }
              data-at={`${row} ${i}`}
              tabIndex={focus(i)}
            >
              {sign(state, norm)}
            </td>
          );
        })}
        {gap(columns.length - across.end, 'behind')}
      </tr>
    </tfoot>
  );
}
