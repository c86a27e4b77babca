import type { ComponentChildren } from 'preact';
import type { Place, Run } from '../api/schema.gen';
import { ColumnName } from './column-name';
import { Variables } from './variables';
import { Where } from './where';

/** Variables of one loss that share one fate. */
interface Fate {
  readonly loss: string;
  readonly variables: readonly string[];
  readonly where: Place | null;
}

interface Props<F extends Fate> {
  run: Run;
  entries: readonly F[];
  /** What tells an entry from the others. */
  keyOf: (entry: F) => string;
  /** Leads to a variable of an entry. */
  onChoose: (entry: F, variable: string) => void;
  /** What is said of an entry between its variables and its place. */
  columns: readonly { readonly head: string; readonly cell: (entry: F) => ComponentChildren }[];
}

/** What happened to which gradients: a line for each loss and fate. */
export function FateTable<F extends Fate>({ run, entries, keyOf, onChoose, columns }: Props<F>) {
  return (
    <div class="wide">
      <table class="data">
        <thead>
          <tr>
            <th scope="col">Loss</th>
            <th scope="col">Variables</th>
            {columns.map(({ head }) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
            <th scope="col">Asked for at</th>
          </tr>
        </thead>
        <tbody>
          {entries.map((entry) => (
            <tr key={keyOf(entry)}>
              <th scope="row">
                <ColumnName run={run} id={entry.loss} />
              </th>
              <td>
                <Variables
                  names={entry.variables}
                  onChoose={(variable) => onChoose(entry, variable)}
                />
              </td>
              {columns.map(({ head, cell }) => (
                <td key={head}>{cell(entry)}</td>
              ))}
              <td>
                <Where place={entry.where} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
