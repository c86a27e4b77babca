import type { Run } from '../api/schema.gen';
import type { Place } from '../model/grid';
import type { Store } from '../model/store';
import { placeName, twoLines, visible } from '../model/text';

interface Props {
  store: Store;
  run: Run;
  active: Place;
  /** Width of a column. */
  cell: number;
}

/** Of a letter in the head, on average; and what is beside the letters. */
const LETTER = 6.6;
const BESIDE = 9;

/** The losses. Choosing one sorts by its norms. */
export function MatrixHead({ store, run, active, cell }: Props) {
  const by = store.sortBy.value;
  const focus = (column: number) => (active.row === -1 && active.column === column ? 0 : -1);
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
        >
          Variable {by === 'name' && <span class="arrow">↑</span>}
        </th>
        {run.losses.map(({ name, where }, i) => {
          const sorted = by === 'norm' && store.sortLoss.value === name;
          const from = where ? ` (${placeName(where)})` : '';
          return (
            <th
              key={name}
              scope="col"
              aria-colindex={i + 2}
              data-at={`-1 ${i}`}
              tabIndex={focus(i)}
              aria-sort={sorted ? 'descending' : 'none'}
            >
              <LossName
                name={visible(name)}
                title={`${name}${from}: sort by its norms`}
                letters={Math.floor((cell - BESIDE) / LETTER) - (sorted ? 2 : 0)}
              />
              {sorted && <span class="arrow">↓</span>}
            </th>
          );
        })}
      </tr>
    </thead>
  );
}

/** In two lines where one is too short: losses mostly differ at their ends. */
function LossName({ name, title, letters }: { name: string; title: string; letters: number }) {
  const [head, tail] = twoLines(name, letters);
  return (
    <bdi class={tail ? 'loss two' : 'loss'} title={title}>
      <span class="head">{head}</span>
      {tail && <span class="tail">{tail}</span>}
    </bdi>
  );
}
