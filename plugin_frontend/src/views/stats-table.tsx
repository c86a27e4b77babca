import { shownStep, stateWords, statistics } from '../model/cell';
import { columnsOf } from '../model/columns';
import { columnsWith } from '../model/series';
import type { Shown } from '../model/store';
import { count, visible } from '../model/text';
import { Name } from './name';

interface Props {
  shown: Shown;
  variable: number;
  /** Id of the column that was clicked, or empty. */
  loss: string;
}

/** All statistics of a variable at the step shown, one column a loss or an optimizer. */
export function StatsTable({ shown, variable, loss }: Props) {
  const { run, frame } = shown;
  if (!frame) return null;
  const all = columnsOf(run);
  const isChosen = (i: number) => all[i]?.id === loss;
  const shownOnes = columnsWith(run, variable);
  // The one that was asked about comes first: with twenty losses it might be out of sight.
  shownOnes.sort((a, b) => Number(isChosen(b)) - Number(isChosen(a)) || a - b);
  const columns = shownOnes.map(
    (i) => new Map(statistics(run, frame, i, variable).map((line) => [line.name, line])),
  );
  const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  return (
    <section aria-label="Statistics">
      <h3>At step {count(frame.step)}</h3>
      <div class="wide">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">Of</th>
              {shownOnes.map((i) => {
                const { id = '', title = '', which = '' } = all[i] ?? {};
                return (
                  <th key={id} scope="col" class="number" title={title}>
                    {id === loss ? <strong>{visible(title)}</strong> : <Name text={title} />}
                    {which && <div class="muted">{visible(which)}</div>}
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            <tr>
              <th scope="row">state</th>
              {shownOnes.map((i) => {
                const step = shownStep(run, frame, i, variable);
                return (
                  <td key={i} class="number">
                    {stateWords(run, i, variable, frame.state(i, variable)).split(':')[0]}
                    {step !== undefined && step !== frame.step && (
                      <div class="muted">as of step {count(step)}</div>
                    )}
                  </td>
                );
              })}
            </tr>
            {names.map((name) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {shownOnes.map((i, column) => {
                  const line = columns[column]?.get(name);
                  return (
                    <td
                      key={i}
                      class={line?.bad ? 'number bad' : 'number'}
                      title={line?.why || undefined}
                    >
                      {line?.value ?? '–'}
                      {line?.bad && <div>{line.bad}</div>}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
