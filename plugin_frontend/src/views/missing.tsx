import { howOften, pairs, since, span } from '../model/missing';
import type { Shown, Store } from '../model/store';
import { counted, visible } from '../model/text';
import { Variables } from './variables';
import { Where } from './where';

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
      <div class="wide">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">Loss</th>
              <th scope="col">Variables</th>
              <th scope="col">Since</th>
              <th scope="col">None</th>
              <th scope="col">Asked for at</th>
            </tr>
          </thead>
          <tbody>
            {missing.map((entry) => (
              <tr key={`${entry.loss} ${entry.variables.join()}`}>
                <th scope="row">
                  <bdi>{visible(entry.loss)}</bdi>
                </th>
                <td>
                  <Variables
                    names={entry.variables}
                    onChoose={(variable) => store.lead({ variable, loss: entry.loss })}
                  />
                </td>
                <td>
                  {since(entry)}
                  <div class="muted">{span(entry)}</div>
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
