import type { Run } from '../api/schema.gen';
import type { Place } from '../model/grid';
import type { Store } from '../model/store';
import { placeName } from '../model/text';
import { Name } from './name';

interface Props {
  store: Store;
  run: Run;
  active: Place;
}

/** The losses. Choosing one sorts by its norms. */
export function MatrixHead({ store, run, active }: Props) {
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
              <Name text={name} title={`${name}${from}: sort by its norms`} />
              {sorted && <span class="arrow">↓</span>}
            </th>
          );
        })}
      </tr>
    </thead>
  );
}
