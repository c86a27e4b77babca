import type { SortBy } from '../model/order';
import type { Store } from '../model/store';
import { count, counted } from '../model/text';
import { Legend } from './legend';

/** Filter, order and legend above the matrix. */
export function Tools({ store }: { store: Store }) {
  const filter = store.parsedFilter.value;
  const problem = 'problem' in filter ? filter.problem : '';
  const run = store.shown.value?.run;
  const kept = store.rows.value.filter((row) => row.kind === 'variable').length;
  const all = run?.variables.length ?? 0;
  return (
    <div class="tools">
      <input
        class="input"
        type="search"
        aria-label="Filter variables by regular expression"
        placeholder="Filter (regex)"
        spellcheck={false}
        autocomplete="off"
        value={store.filter.value}
        aria-invalid={problem !== ''}
        aria-describedby="filter-says"
        onInput={(event) => {
          store.filter.value = event.currentTarget.value;
        }}
      />
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
            <option value="">any loss</option>
            {run?.losses.map(({ name }) => (
              <option key={name} value={name}>
                {name}
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
