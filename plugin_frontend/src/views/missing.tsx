import { howOften, pairs, since, span } from '../model/missing';
import type { Shown, Store } from '../model/store';
import { counted } from '../model/text';
import { FateTable } from './fate-table';

/** Which losses do not reach which variables. */
export function MissingList({ store, shown }: { store: Store; shown: Shown }) {
  const { missing } = shown.run;
  if (missing.length === 0) {
    return (
      <div class="sheet">
        <h2>No gradient is missing</h2>
        <p class="muted">
          Every loss reached every variable it was asked for, at all recorded steps.
        </p>
      </div>
    );
  }
  return (
    <div class="sheet missing">
      <h2>{counted(pairs(missing), 'gradient')} missing</h2>
      <p class="muted">
        TensorFlow returned None for these: no path leads from the loss to the variable, or it was
        computed after the tape ended. An optimizer leaves such variables as they are, and sums with
        a None fail. As far as it was found out, why is among the{' '}
        <button
          type="button"
          class="link"
          onClick={() => {
            store.tab.value = 'findings';
          }}
        >
          findings
        </button>
        .
      </p>
      <FateTable
        run={shown.run}
        entries={missing}
        keyOf={({ loss, variables }) => `${loss} ${variables.join()}`}
        onChoose={({ loss }, variable) => store.lead({ variable, loss })}
        columns={[
          {
            head: 'Since',
            cell: (entry) => (
              <>
                {since(entry)}
                <div class="muted">{span(entry)}</div>
              </>
            ),
          },
          { head: 'None', cell: (entry) => <span class="whole">{howOften(entry)}</span> },
        ]}
      />
    </div>
  );
}
