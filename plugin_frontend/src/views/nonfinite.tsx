import type { Nonfinite } from '../api/schema.gen';
import { pairs } from '../model/missing';
import { howOften, spots } from '../model/nonfinite';
import { STATE_SHORT, STATE_SIGN } from '../model/statistic';
import type { Shown, Store } from '../model/store';
import { count, counted, visible } from '../model/text';
import { Variables } from './variables';
import { Where } from './where';

interface Props {
  store: Store;
  shown: Shown;
}

/** Which gradients held NaN or infinity, and since when: the earliest first. */
export function NonfiniteList({ store, shown }: Props) {
  const { nonfinite } = shown.run;
  if (nonfinite.length === 0) {
    return (
      <div class="sheet">
        <h2>All gradients are finite</h2>
        <p class="muted">No recorded gradient held NaN or infinity.</p>
      </div>
    );
  }
  return (
    <div class="sheet missing">
      <h2>{counted(pairs(nonfinite), 'gradient')} not finite</h2>
      <p class="muted">
        At least one element was NaN or infinite. What went wrong first is on top: later ones often
        only follow from it, once the weights themselves are NaN.
      </p>
      <div class="wide">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">Loss</th>
              <th scope="col">Variables</th>
              <th scope="col">State</th>
              <th scope="col">When</th>
              <th scope="col">Records</th>
              <th scope="col">Asked for at</th>
            </tr>
          </thead>
          <tbody>
            {nonfinite.map((entry) => (
              <tr key={`${entry.loss} ${entry.state} ${entry.variables.join()}`}>
                <th scope="row">
                  <bdi>{visible(entry.loss)}</bdi>
                </th>
                <td>
                  <Variables
                    names={entry.variables}
                    onChoose={(variable) =>
                      store.lead({ variable, loss: entry.loss }, entry.first_step)
                    }
                  />
                </td>
                <td>
                  <span class={`sign s-${entry.state}`} title={STATE_SHORT[entry.state]}>
                    {STATE_SIGN[entry.state]}
                  </span>
                </td>
                <td>
                  <Spots store={store} entry={entry} />
                </td>
                <td style={{ whiteSpace: 'nowrap' }}>{howOften(entry)}</td>
                <td>
                  <Where place={entry.where} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
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
