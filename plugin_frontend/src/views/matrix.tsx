import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { columnsOf } from '../model/columns';
import { moved, type Place, windowOf } from '../model/grid';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { cellAt, FOOT, headOf, type Measures, placeOf, ROW, scrollTo } from './grid-dom';
import { MatrixBody } from './matrix-body';
import { MatrixFoot } from './matrix-foot';
import { MatrixHead } from './matrix-head';
import { Minimap } from './minimap';
import { Tools } from './tools';
import { Tooltip } from './tooltip';
import { useSize } from './use-size';

const MAP = 90;
const START: Place = { row: -1, column: -1 };

interface Props {
  store: Store;
  shown: Shown;
  source: Source;
}

/**
 * Variables down; losses, then optimizers, across.
 *
 * A real table of which only the rows and columns in view exist.
 */
export function Matrix({ store, shown, source }: Props) {
  const side = useRef<HTMLDivElement>(null);
  const grid = useRef<HTMLDivElement>(null);
  const size = useSize(side);
  const view = useSize(grid);
  const [top, setTop] = useState(0);
  const [left, setLeft] = useState(0);
  const [active, setActive] = useState<Place>(START);
  const [tip, setTip] = useState<Place | null>(null);
  const wantsFocus = useRef(false);

  const { run, frame } = shown;
  const rows = store.rows.value;
  const columns = columnsOf(run);
  const head = headOf(columns);
  const inner = Math.max(ROW, view.height - head - FOOT);
  const drawn = windowOf(top, inner, ROW, rows.length);
  const overflows = rows.length * ROW > inner && frame !== null;
  const measures = useMeasures(size.width - (overflows ? MAP : 0) - 16, columns.length, head);
  const across = columnWindow(left, view.width, measures, columns.length);
  const place = clamp(active, rows.length, columns.length);

  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    cellAt(grid.current, place)?.focus({ preventScroll: true });
  });

  // What was chosen elsewhere, in a link or among the missing, must come into view.
  const wanted = store.selection.value?.variable;
  useLayoutEffect(() => {
    const box = grid.current;
    const row = rows.findIndex(
      (entry) => entry.kind === 'variable' && shown.names.name(entry.variable) === wanted,
    );
    if (!box || row < 0 || inner <= ROW) return;
    const above = row * ROW < box.scrollTop;
    const below = (row + 1) * ROW > box.scrollTop + inner;
    if (above || below) box.scrollTop = (row + 0.5) * ROW - inner / 2;
    // Not at each new order of rows: sorting and filtering leave the view alone.
  }, [wanted, inner <= ROW]);

  const goTo = (next: Place) => {
    const box = grid.current;
    if (!box) return;
    scrollTo(box, next, measures);
    wantsFocus.current = true;
    setTop(box.scrollTop);
    setLeft(box.scrollLeft);
    setActive(next);
  };

  const activate = ({ row, column }: Place) => {
    const loss = columns[column]?.id ?? '';
    const entry = rows[row];
    if (row < 0) {
      if (loss === '') store.sortBy.value = store.sortBy.value === 'name' ? 'model' : 'name';
      else {
        const again = store.sortBy.value === 'norm' && store.sortLoss.value === loss;
        store.sortBy.value = again ? 'model' : 'norm';
        store.sortLoss.value = loss;
      }
    } else if (entry?.kind === 'variable') {
      store.select({ variable: run.variables[entry.variable]?.name ?? '', loss });
    } else if (row >= rows.length) store.select({ variable: '', loss });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Escape' && tip) {
      setTip(null);
      event.stopPropagation();
      return;
    }
    if (event.key === 'Enter' || event.key === ' ') {
      activate(place);
      event.preventDefault();
      return;
    }
    const page = Math.max(1, Math.floor(inner / ROW) - 1);
    const next = moved(place, event.key, event.ctrlKey || event.metaKey, {
      rows,
      columns: columns.length,
      page,
    });
    if (!next) return;
    event.preventDefault();
    goTo(next);
  };

  const tipRow = tip && rows[tip.row];
  const tipBox = tip && cellAt(grid.current, tip)?.getBoundingClientRect();
  return (
    <div class="matrix-side" ref={side}>
      <Tools store={store} />
      <div class="grid-and-map">
        {/* biome-ignore lint/a11y/noStaticElementInteractions: the table in it has the roles */}
        <div
          class="grid"
          ref={grid}
          onScroll={(event) => {
            setTop(event.currentTarget.scrollTop);
            setLeft(event.currentTarget.scrollLeft);
            setTip(null);
          }}
          onKeyDown={onKeyDown}
          onClick={(event) => {
            const clicked = placeOf(event.target);
            if (!clicked) return;
            setActive(clicked);
            activate(clicked);
          }}
          onPointerOver={(event) => {
            const hovered = placeOf(event.target);
            setTip(hovered && hovered.column >= 0 ? hovered : null);
          }}
          onPointerLeave={() => setTip(null)}
          onFocusIn={(event) => {
            const focused = placeOf(event.target);
            if (!focused) return;
            setActive(focused);
            const byKey = event.target instanceof Element && event.target.matches(':focus-visible');
            setTip(byKey && focused.column >= 0 ? focused : null);
          }}
          onFocusOut={() => setTip(null)}
        >
          <table
            // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: cells take the focus, so it is a grid
            role="grid"
            aria-label="Gradients: variables by losses and optimizers"
            aria-rowcount={rows.length + 2}
            aria-colcount={columns.length + 1}
            aria-busy={frame?.step !== store.step.value}
            style={{ width: `${measures.name + measures.cell * columns.length}px` }}
          >
            <colgroup>
              <col style={{ width: `${measures.name}px` }} />
              {columns.map(({ id }) => (
                <col key={id} style={{ width: `${measures.cell}px` }} />
              ))}
            </colgroup>
            <MatrixHead
              store={store}
              run={run}
              active={place}
              cell={measures.cell}
              height={head}
              across={across}
            />
            {frame && (
              <MatrixBody
                shown={shown}
                frame={frame}
                rows={rows}
                drawn={drawn}
                across={across}
                rowHeight={ROW}
                active={place}
                tip={tip}
                domain={store.domain.value}
                theme={store.theme.value}
                selection={store.selection.value}
              />
            )}
            {frame && (
              <MatrixFoot
                run={run}
                frame={frame}
                across={across}
                row={rows.length}
                active={place}
                domain={store.domain.value}
                theme={store.theme.value}
              />
            )}
          </table>
          {rows.length === 0 && <p class="nothing">No variable passes the filter.</p>}
        </div>
        {overflows && (
          <Minimap
            frame={frame}
            rows={rows}
            domain={store.domain.value}
            theme={store.theme.value}
            height={view.height}
            from={top / (rows.length * ROW)}
            to={Math.min(1, (top + inner) / (rows.length * ROW))}
            onMove={(fraction) => {
              const middle = fraction * rows.length * ROW - inner / 2;
              grid.current?.scrollTo({ top: middle });
            }}
          />
        )}
      </div>
      {tip && tipRow?.kind === 'variable' && tipBox && (
        <Tooltip
          shown={shown}
          source={source}
          at={{ column: tip.column, variable: tipRow.variable, box: tipBox }}
        />
      )}
    </div>
  );
}

function useMeasures(width: number, columns: number, head: number): Measures {
  return useMemo(() => {
    const cell = Math.floor((width * 0.66) / Math.max(columns, 1));
    const fitted = Math.min(128, Math.max(54, cell));
    // Where it must scroll sideways anyway, names may as well be readable.
    const least = fitted * columns + 170 > width ? 240 : 170;
    const name = Math.max(least, Math.min(380, width - fitted * columns));
    return { name, cell: fitted, head };
  }, [width, columns, head]);
}

/** The columns in view; all of them while nothing is known of the view. */
function columnWindow(left: number, width: number, { name, cell }: Measures, columns: number) {
  if (width === 0) return { first: 0, end: columns };
  return windowOf(left, Math.max(cell, width - name), cell, columns, 2);
}

function clamp(place: Place, rows: number, columns: number): Place {
  return { row: Math.min(place.row, rows), column: Math.min(place.column, columns - 1) };
}
