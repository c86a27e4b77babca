import type { Nonfinite, Overflow } from '../api/schema.gen';
import { whyLeftOut } from '../model/findings';
import { pairs } from '../model/missing';
import { howOften, spots } from '../model/nonfinite';
import { STATE_SHORT, STATE_SIGN } from '../model/statistic';
import type { Shown, Store } from '../model/store';
import { count, counted } from '../model/text';
import { ColumnName } from './column-name';
import { FateTable } from './fate-table';
import { showFinding } from './findings';

interface Props {
  store: Store;
  shown: Shown;
}

/** Which gradients held NaN or infinity, and since when: the earliest first. */
export function NonfiniteList({ store, shown }: Props) {
  const { nonfinite, overflows } = shown.run;
  return (
    <div class="sheet missing">
      {nonfinite.length === 0 ? (
        <>
          <h2>All gradients are finite</h2>
          <p class="muted">
            No recorded gradient held NaN or infinity
            {overflows.length > 0 && ', but for the skipped steps below'}.
          </p>
        </>
      ) : (
        <Faults store={store} shown={shown} />
      )}
      {overflows.length > 0 && <Overflows store={store} shown={shown} />}
    </div>
  );
}

function Faults({ store, shown }: Props) {
  const { nonfinite } = shown.run;
  const watched = nonfinite.every(({ exact }) => exact);
  return (
    <>
      <h2>{counted(pairs(nonfinite), 'gradient')} not finite</h2>
      <p class="muted">
        At least one element was NaN or infinite. What went wrong first is on top: later ones often
        only follow from it, once the weights themselves are NaN.
        {watched && ' First steps are exact: the sentinel watched every call between the records.'}
      </p>
      <FateTable
        run={shown.run}
        entries={nonfinite}
        keyOf={({ loss, state, variables }) => `${loss} ${state} ${variables.join()}`}
        onChoose={({ loss, first_step }, variable) => store.lead({ variable, loss }, first_step)}
        columns={[
          {
            head: 'State',
            cell: ({ state }) => (
              <span class={`sign s-${state}`} title={STATE_SHORT[state]}>
                {STATE_SIGN[state]}
              </span>
            ),
          },
          { head: 'When', cell: (entry) => <Spots store={store} entry={entry} /> },
          { head: 'Records', cell: (entry) => <span class="whole">{howOften(entry)}</span> },
        ]}
      />
    </>
  );
}

function Spots({ store, entry }: { store: Store; entry: Nonfinite }) {
  const variable = entry.variables[0] ?? '';
  return (
    <>
      {spots(entry).map(({ words, step }) => (
        <div key={words}>
          {words}{' '}
          <button
            type="button"
            class="link"
            title="Show this step in the matrix"
            onClick={() => store.lead({ variable, loss: entry.loss }, step)}
          >
            step {count(step)}
          </button>
        </div>
      ))}
    </>
  );
}

/** Steps named before the rest is only counted. */
const MOST = 24;

function Overflows({ store, shown }: Props) {
  return (
    <section class="overflows" aria-label="Skipped steps">
      <h2>Skipped steps: loss scale overflow</h2>
      <p class="muted">
        No fault by itself. Mixed precision multiplies the loss before its gradients are taken; now
        and then the product is too large for float16. The optimizer then leaves the update out and
        lowers the scale.
      </p>
      <ul>
        {shown.run.overflows.map((entry) => (
          <li key={entry.loss}>
            <ColumnName run={shown.run} id={entry.loss} />: {counted(entry.variables, 'gradient')}{' '}
            not finite, in {counted(entry.records, 'skipped step')}:{' '}
            <Steps store={store} entry={entry} />
            <Doubt store={store} entry={entry} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Where the scale was not to blame, the finding says so. */
function Doubt({ store, entry }: { store: Store; entry: Overflow }) {
  const at = whyLeftOut(store.findings.value ?? [], entry);
  if (at === undefined) return null;
  return (
    <>
      {'. '}
      <button type="button" class="link" onClick={() => showFinding(store, at)}>
        The loss scale was not to blame
      </button>
    </>
  );
}

function Steps({ store, entry: { loss, steps } }: { store: Store; entry: Overflow }) {
  return (
    <>
      {steps.slice(0, MOST).map((step, i) => (
        <>
          {i > 0 && ', '}
          <button
            key={step}
            type="button"
            class="link"
            title="Show this step in the matrix"
            onClick={() => store.lead({ variable: '', loss }, step)}
          >
            {count(step)}
          </button>
        </>
      ))}
      {steps.length > MOST && ` and ${count(steps.length - MOST)} more`}
    </>
  );
}
