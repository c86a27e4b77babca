import { columnsOf, fullName } from '../model/columns';
import type { SortBy } from '../model/order';
import type { Store } from '../model/store';
import { count, counted } from '../model/text';
import { Legend } from './legend';

/** A regular expression that names of variables must match, on every tab that lists them. */
export function FilterBox({ store }: { store: Store }) {
  const filter = store.parsedFilter.value;
  return (
    <input
      class="input"
      type="search"
      aria-label="Filter variables by regular expression"
      placeholder="Filter (regex)"
      spellcheck={false}
      autocomplete="off"
      value={store.filter.value}
      aria-invalid={'problem' in filter}
      aria-describedby="filter-says"
      onInput={(event) => {
        store.filter.value = event.currentTarget.value;
      }}
    />
  );
}

/** Filter, order and legend above the matrix. */
export function Tools({ store }: { store: Store }) {
  const filter = store.parsedFilter.value;
  const problem = 'problem' in filter ? filter.problem : '';
  const run = store.shown.value?.run;
  const kept = store.rows.value.filter((row) => row.kind === 'variable').length;
  const all = run?.variables.length ?? 0;
  return (
    <div class="tools">
      <FilterBox store={store} />
      <label class="field">
        Sort
        <select
          class="select"
          value={store.sortBy.value}
          onChange={(event) => {
            store.sortBy.value = event.currentTarget.value as SortBy;
          }}
        >
          <option value="model">order in model</option>
          <option value="name">name</option>
          <option value="norm">largest norm</option>
          <option value="worst">worst state</option>
        </select>
      </label>
      {store.sortBy.value === 'norm' && (
        <label class="field">
          of
          <select
            class="select"
            value={store.sortLoss.value}
            onChange={(event) => {
              store.sortLoss.value = event.currentTarget.value;
            }}
          >
            <option value="">any</option>
            {(run ? columnsOf(run) : []).map((column) => (
              <option key={column.id} value={column.id}>
                {fullName(column)}
              </option>
            ))}
          </select>
        </label>
      )}
      <span id="filter-says" role="status" class={problem ? 'problem' : 'count'}>
        {problem ||
          (kept === all
            ? counted(all, 'variable')
            : `${count(kept)} of ${counted(all, 'variable')}`)}
      </span>
      <Legend store={store} />
    </div>
  );
}
