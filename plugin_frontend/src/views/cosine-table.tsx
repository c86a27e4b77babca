import { useMemo, useState } from 'preact/hooks';
import type { Cosine } from '../api/schema.gen';
import { type CosineRow, cosineRows, recordAt, sayCosine, signed } from '../model/conflicts';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { count } from '../model/text';
import { ColumnName } from './column-name';
import { Diverging, Ends } from './diverging';
import { Name } from './name';
import { FilterBox } from './tools';
import { TryAgain } from './try-again';
import { useLoaded } from './use-loaded';

interface Props {
  store: Store;
  shown: Shown;
  source: Source;
  pair: Cosine;
}

const FEW = 25;

/** How the gradients of two losses lie to each other on each variable, most opposed first. */
export function CosineTable({ store, shown, source, pair }: Props) {
  const { run } = shown;
  const [all, setAll] = useState(false);
  const [answer, retry] = useLoaded(() => source.cosine(run, pair), [run, pair.one, pair.other]);
  const record = recordAt(pair, store.step.value);
  const filter = store.parsedFilter.value;
  const name = ({ variable }: CosineRow) =>
    run.variables[pair.variables[variable] ?? -1]?.name ?? '';
  const rows = useMemo(() => {
    if (!answer.value || record < 0) return [];
    const found = cosineRows(pair, answer.value, record);
    return found.filter((row) => !('test' in filter) || filter.test(name(row)));
  }, [answer.value, pair, record, filter]);
  const drawn = all ? rows : rows.slice(0, FEW);
  return (
    <section aria-label="Cosines by variable">
      <div class="row between">
        <h3>
          <ColumnName run={run} id={pair.one} /> · <ColumnName run={run} id={pair.other} />
          {record >= 0 && `, at step ${count(pair.steps[record] ?? 0)}`}
        </h3>
        <FilterBox store={store} />
      </div>
      {answer.failure && <TryAgain failure={answer.failure} retry={retry} />}
      {record < 0 && <p class="muted">Nothing was recorded up to this step.</p>}
      {drawn.length > 0 && (
        <div class="wide">
          <table class="data ratios">
            <thead>
              <tr>
                <th scope="col">Variable</th>
                <td aria-hidden="true" class="gauge-head">
                  <Ends ends={['−1', '0', '+1']} />
                </td>
                <th scope="col" class="number">
                  cosine
                </th>
                <th scope="col" class="word">
                  <span class="hidden">in words</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {drawn.map((row) => (
                <tr key={row.variable}>
                  <th scope="row">
                    <button
                      type="button"
                      class="link"
                      title="Show in the matrix"
                      onClick={() => store.lead({ variable: name(row), loss: pair.one })}
                    >
                      <Name text={name(row)} />
                    </button>
                  </th>
                  <td aria-hidden="true">
                    <Diverging value={row.cosine} />
                  </td>
                  <td class="number">{signed(row.cosine)}</td>
                  <td class="muted">{sayCosine(row.cosine)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {answer.value && record >= 0 && rows.length === 0 && (
        <p class="muted">No variable passes the filter.</p>
      )}
      {rows.length > FEW && (
        <button type="button" class="button more" onClick={() => setAll(!all)}>
          {all ? `Show ${FEW} only` : `Show ${count(rows.length - FEW)} more`}
        </button>
      )}
    </section>
  );
}
