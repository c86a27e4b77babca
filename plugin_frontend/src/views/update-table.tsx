import { useMemo, useState } from 'preact/hooks';
import { NOT_MEASURED, whyNot } from '../model/measured';
import type { Shown, Store } from '../model/store';
import { count, short } from '../model/text';
import {
  gauge,
  type RatioRow,
  ratioRows,
  sayRatio,
  type UpdateNumbers,
  USUAL_TEXT,
} from '../model/updates';
import { Ends } from './diverging';
import { Name } from './name';

interface Props {
  store: Store;
  shown: Shown;
  numbers: UpdateNumbers;
  /** Position in the optimizer's variables of the one chosen, -1 for none. */
  variable: number;
}

const FEW = 20;
const COLUMNS = ['ratio', 'update', 'variable'] as const;

/** How large each update is beside its variable, the most unusual first. */
export function RatioTable({ store, shown, numbers, variable }: Props) {
  const [all, setAll] = useState(false);
  const { run } = shown;
  const { optimizer } = numbers;
  const record = numbers.lastApplied(store.step.value);
  const filter = store.parsedFilter.value;
  const name = (row: RatioRow) =>
    run.variables[optimizer.variables[row.variable] ?? -1]?.name ?? '';
  const rows = useMemo(
    () => ratioRows(numbers, record).filter((row) => !('test' in filter) || filter.test(name(row))),
    [numbers, record, filter],
  );
  if (record < 0) return <p class="muted">No update was recorded up to this step.</p>;
  const at = optimizer.steps[record] ?? 0;
  const drawn = all ? rows : rows.slice(0, FEW);
  return (
    <section aria-label="Updates by variable">
      <h3>
        At step {count(at)}, farthest from {USUAL_TEXT} first
      </h3>
      <div class="wide">
        <table class="data ratios">
          <thead>
            <tr>
              <th scope="col">Variable</th>
              <td aria-hidden="true" class="gauge-head">
                <Ends ends={['1e-6', '1e-3', '1']} />
              </td>
              {COLUMNS.map((column) => (
                <th key={column} scope="col" class="number">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {drawn.map((row) => (
              <tr key={row.variable} class={row.variable === variable ? 'selected' : undefined}>
                <th scope="row">
                  <button
                    type="button"
                    class="link"
                    aria-pressed={row.variable === variable}
                    title="Show over time"
                    onClick={() => store.select({ variable: name(row), loss: '' })}
                  >
                    <Name text={name(row)} />
                  </button>
                </th>
                <td aria-hidden="true">
                  <Gauge ratio={row.ratio} />
                </td>
                {[
                  sayRatio(row) || short(row.ratio),
                  row.measured ? short(row.update) : NOT_MEASURED,
                  row.measured ? short(row.norm) : NOT_MEASURED,
                ].map((text, i) => (
                  <td
                    key={COLUMNS[i]}
                    class={i === 0 ? 'number' : 'number muted'}
                    title={whyNot(text) || undefined}
                  >
                    {text}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p class="muted">No variable passes the filter.</p>}
      {rows.length > FEW && (
        <button type="button" class="button more" onClick={() => setAll(!all)}>
          {all ? `Show ${FEW} only` : `Show ${count(rows.length - FEW)} more`}
        </button>
      )}
    </section>
  );
}

/** Where a ratio lies, on decades around the usual one in the middle. */
function Gauge({ ratio }: { ratio: number }) {
  const at = gauge(ratio);
  return (
    <div class="gauge">
      {Number.isNaN(at) ? null : <span class="dot" style={{ left: `${at * 100}%` }} />}
    </div>
  );
}
