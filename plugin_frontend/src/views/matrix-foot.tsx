import { useMemo } from 'preact/hooks';
import type { Loss, Run } from '../api/schema.gen';
import { ONLY_TRACED, sign, spoken } from '../model/cell';
import type { Frame } from '../model/frame';
import type { Place } from '../model/grid';
import { PALETTES } from '../model/palette';
import { type Domain, level } from '../model/scale';

interface Props {
  run: Run;
  frame: Frame;
  /** The foot's place below all rows. */
  row: number;
  active: Place;
  domain: Domain;
  theme: 'light' | 'dark';
}

const UNKNOWN = { state: 'absent', norm: Number.NaN } as const;

/** While only tracing was seen, some None say nothing of the whole. */
function totalOf(loss: Loss, frame: Frame, i: number): ReturnType<Frame['total']> {
  const none = loss.variables.every((variable) => frame.state(i, variable) === 'none');
  return loss.traced_only && !none ? UNKNOWN : frame.total(i);
}

/** Each loss's whole gradient: the L2 norm over all variables, whatever the filter hides. */
export function MatrixFoot({ run, frame, row, active, domain, theme }: Props) {
  const totals = useMemo(() => run.losses.map((loss, i) => totalOf(loss, frame, i)), [run, frame]);
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
        {totals.map(({ state, norm }, i) => {
          const name = run.losses[i]?.name ?? '';
          const fill = state === 'ok' ? level(norm, domain) : -1;
          return (
            <td
              key={name}
              class={`cell s-${state}`}
              style={fill < 0 ? '' : `background:${palette.fill[fill]};color:${palette.ink[fill]}`}
              aria-colindex={i + 2}
              aria-label={
                run.losses[i]?.traced_only && state === 'absent'
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
      </tr>
    </tfoot>
  );
}
