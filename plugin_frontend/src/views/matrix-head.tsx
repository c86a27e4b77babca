import type { Run } from '../api/schema.gen';
import { type Column, columnsOf, fullName } from '../model/columns';
import type { Place } from '../model/grid';
import type { Store } from '../model/store';
import { placeName, twoLines, visible } from '../model/text';
import { edge, type Window } from './matrix-body';

interface Props {
  store: Store;
  run: Run;
  active: Place;
  /** Width of a column. */
  cell: number;
  /** Height of the head. */
  height: number;
  across: Window;
}

/** Of a letter in the head, on average; and what is beside the letters. */
const LETTER = 6.6;
const BESIDE = 9;

/** The losses and the optimizers. Choosing one sorts by its norms. */
export function MatrixHead({ store, run, active, cell, height, across }: Props) {
  const by = store.sortBy.value;
  const columns = columnsOf(run);
  const focus = (column: number) => (active.row === -1 && active.column === column ? 0 : -1);
  const style = { height: `${height}px` };
  return (
    <thead>
      <tr aria-rowindex={1}>
        <th
          scope="col"
          aria-colindex={1}
          data-at="-1 -1"
          tabIndex={focus(-1)}
          aria-sort={by === 'name' ? 'ascending' : 'none'}
          title="Sort by name, or by order in the model"
          style={style}
        >
          Variable {by === 'name' && <span class="arrow">↑</span>}
        </th>
        {across.first > 0 && <td aria-hidden="true" colSpan={across.first} />}
        {columns.slice(across.first, across.end).map((column, position) => {
          const i = across.first + position;
          const sorted = by === 'norm' && store.sortLoss.value === column.id;
          const line = edge(columns, i);
          return (
            <th
              key={i}
              scope="col"
              class={`${column.kind}${line}${inSum(columns, i)}`}
              aria-colindex={i + 2}
              aria-label={visible(fullName(column))}
              data-at={`-1 ${i}`}
              tabIndex={focus(i)}
              aria-sort={sorted ? 'descending' : 'none'}
              title={`${fullName(column)}${fromWhere(column)}: sort by its norms`}
              style={style}
            >
              <div class="stack">
                <ColumnName
                  name={visible(column.title)}
                  letters={
                    Math.floor((cell - BESIDE) / LETTER) -
                    (sorted || column.sign ? 2 : 0) -
                    (line ? 2 : 0)
                  }
                />
                {column.which && <bdi class="subtitle">{visible(column.which)}</bdi>}
              </div>
              {column.sign && <span class="sum-sign">{column.sign}</span>}
              {sorted && <span class="arrow">↓</span>}
            </th>
          );
        })}
        {across.end < columns.length && (
          <td aria-hidden="true" colSpan={columns.length - across.end} />
        )}
      </tr>
    </thead>
  );
}

function fromWhere({ where }: Column): string {
  return where ? ` (${placeName(where)})` : '';
}

/** A total and its parts have one line above them all. */
function inSum(columns: readonly Column[], i: number): string {
  const part = columns[i]?.sign;
  return part || columns[i + 1]?.sign === '=' ? ' in-sum' : '';
}

/** In two lines where one is too short: losses mostly differ at their ends. */
function ColumnName({ name, letters }: { name: string; letters: number }) {
  const [head, tail] = twoLines(name, letters);
  return (
    <bdi class={tail ? 'loss two' : 'loss'}>
      <span class="head">{head}</span>
      {tail && <span class="tail">{tail}</span>}
    </bdi>
  );
}
