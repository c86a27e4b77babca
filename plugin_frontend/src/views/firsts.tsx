import type { Nonfinite, Run } from '../api/schema.gen';
import { firstWords } from '../model/nonfinite';
import type { Store } from '../model/store';
import { count } from '../model/text';
import { ColumnName } from './column-name';

interface Props {
  store: Store;
  run: Run;
  entries: readonly Nonfinite[];
  /** Whether it must be said which loss it is. */
  named: boolean;
}

/** When gradients stopped being finite; each step is a way there. */
export function Firsts({ store, run, entries, named }: Props) {
  if (entries.length === 0) return null;
  return (
    <ul class="firsts" aria-label="Not finite">
      {entries.map((entry) => (
        <li key={`${entry.loss} ${entry.state}`}>
          {named && (
            <>
              <ColumnName run={run} id={entry.loss} />:{' '}
            </>
          )}
          {firstWords(entry)}{' '}
          <button
            type="button"
            class="link"
            title="Go to this step"
            onClick={() => store.goTo(entry.first_step)}
          >
            step {count(entry.first_step)}
          </button>
        </li>
      ))}
    </ul>
  );
}
