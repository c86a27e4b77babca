import { useEffect, useState } from 'preact/hooks';
import { THRESHOLDS, type Threshold } from '../api/schema.gen';
import type { Store } from '../model/store';
import { count, counted } from '../model/text';
import { parseThreshold, sayNumber, withThreshold } from '../model/thresholds';

/** What findings compare numbers with: each may be changed, and set back. */
export function Thresholds({ store }: { store: Store }) {
  const changed = store.thresholds.value;
  const names = Object.keys(changed);
  return (
    <details class="thresholds">
      <summary>
        Thresholds{' '}
        <span class={names.length > 0 ? 'changes' : 'muted'}>
          {names.length > 0
            ? `${count(names.length)} changed: ${names.map((name) => `${name} ${sayNumber(changed[name] ?? 0)}`).join(', ')}`
            : 'all as they are by default'}
        </span>
      </summary>
      <p class="muted">
        Findings are found anew as soon as a number is changed here, and the address of this page
        keeps it. For <code>tb-gradscope report</code> they are flags: <code>--spike 50</code>.
      </p>
      <div class="wide">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">Threshold</th>
              <th scope="col">Meaning</th>
              <th scope="col">Value</th>
              <th scope="col">Default</th>
            </tr>
          </thead>
          <tbody>
            {THRESHOLDS.map((threshold) => (
              <Row key={threshold.name} store={store} threshold={threshold} />
            ))}
          </tbody>
        </table>
      </div>
      {names.length > 1 && (
        <button type="button" class="button" onClick={() => store.judgeBy({})}>
          All {counted(names.length, 'change')} back to default
        </button>
      )}
    </details>
  );
}

/** Opens the table at one of them. */
export function showThreshold(name: string): void {
  const input = document.getElementById(idOf(name));
  const details = input?.closest('details');
  if (!input || !details) return;
  details.open = true;
  input.focus();
  input.scrollIntoView({ block: 'center' });
}

function Row({ store, threshold }: { store: Store; threshold: Threshold }) {
  const { name, meaning } = threshold;
  const changed = store.thresholds.value[name];
  const value = changed ?? threshold.default;
  return (
    <tr class={changed === undefined ? undefined : 'changed'}>
      <th scope="row">
        <label for={idOf(name)} class="mono">
          {name}
        </label>
      </th>
      <td id={`${idOf(name)}-means`}>{meaning}</td>
      <td>
        <Input store={store} threshold={threshold} value={value} />
      </td>
      <td class="whole">
        {changed === undefined ? (
          sayNumber(threshold.default)
        ) : (
          <button
            type="button"
            class="link"
            aria-label={`${name} back to its default, ${sayNumber(threshold.default)}`}
            onClick={() => {
              store.judgeBy(withThreshold(store.thresholds.value, name, threshold.default));
              document.getElementById(idOf(name))?.focus();
            }}
          >
            back to {sayNumber(threshold.default)}
          </button>
        )}
      </td>
    </tr>
  );
}

interface InputProps {
  store: Store;
  threshold: Threshold;
  value: number;
}

function Input({ store, threshold, value }: InputProps) {
  const { name, unit } = threshold;
  const id = idOf(name);
  // What was typed and makes no sense: it stays to be mended, unless the value changes elsewhere.
  const [wrong, setWrong] = useState<string | null>(null);
  useEffect(() => setWrong(null), [value]);
  const problem = wrong === null ? '' : parseThreshold(threshold, wrong);
  return (
    <>
      <span class="amount">
        <input
          id={id}
          class="input"
          type="text"
          inputMode="decimal"
          autocomplete="off"
          spellcheck={false}
          value={wrong ?? sayNumber(value)}
          aria-invalid={problem !== ''}
          aria-describedby={`${id}-means ${id}-problem`}
          onChange={({ currentTarget }) => {
            const read = parseThreshold(threshold, currentTarget.value);
            setWrong(typeof read === 'string' ? currentTarget.value : null);
            if (typeof read === 'number') {
              store.judgeBy(withThreshold(store.thresholds.value, name, read));
            }
          }}
        />
        {unit}
      </span>
      <span id={`${id}-problem`} class="problem" role="alert">
        {problem}
      </span>
    </>
  );
}

function idOf(name: string): string {
  return `threshold-${name}`;
}
