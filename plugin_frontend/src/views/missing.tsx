import type { Missing } from '../api/schema.gen';
import { whyMissing } from '../model/findings';
import { howOften, pairs, since, span } from '../model/missing';
import type { Shown, Store } from '../model/store';
import { counted, placeName } from '../model/text';
import { FateTable } from './fate-table';
import { showFinding } from './findings';

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
        a None fail.
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
          { head: 'Why', cell: (entry) => <Why store={store} entry={entry} /> },
        ]}
      />
    </div>
  );
}

/** The cause, as far as it was found out: the finding says all of it. */
function Why({ store, entry }: { store: Store; entry: Missing }) {
  const found = store.findings.value;
  if (!found) return null;
  const at = whyMissing(found, entry.loss, entry.variables);
  const finding = at === undefined ? undefined : found[at];
  if (at === undefined || !finding) return <span class="muted">not known</span>;
  const { cause, where, severity } = finding;
  return (
    <>
      <button
        type="button"
        class="link"
        title="Show it among the findings"
        onClick={() => showFinding(store, at)}
      >
        {cause === 'unknown' ? 'not known' : cause}
      </button>
      <div class="muted">{severity === 'info' ? 'often intended' : where && placeName(where)}</div>
    </>
  );
}
