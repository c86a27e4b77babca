import type { Nonfinite } from '../api/schema.gen';
import { firstWords } from '../model/nonfinite';
import type { Store } from '../model/store';
import { count, visible } from '../model/text';

interface Props {
  store: Store;
  entries: readonly Nonfinite[];
  /** Whether it must be said which loss it is. */
  named: boolean;
}

/** When gradients stopped being finite; each step is a way there. */
export function Firsts({ store, entries, named }: Props) {
  if (entries.length === 0) return null;
  return (
    <ul class="firsts" aria-label="Not finite">
      {entries.map((entry) => (
        <li key={`${entry.loss} ${entry.state}`}>
          {named && (
            <>
              <bdi>{visible(entry.loss)}</bdi>:{' '}
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
