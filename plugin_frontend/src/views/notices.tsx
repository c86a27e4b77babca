import type { Shown, Store } from '../model/store';
import { counted } from '../model/text';

/** What went wrong, in the page, with a way on. */
export function Notices({ store, shown }: { store: Store; shown: Shown | null }) {
  const failure = store.failure.value;
  const notice = store.notice.value;
  const problems = shown?.run.problems ?? [];
  const traced = shown?.run.losses.filter((loss) => loss.traced_only) ?? [];
  return (
    <>
      {failure && (
        <div class="notice bad" role="alert">
          <span class="text">{failure}</span>
          <button type="button" class="button" onClick={() => store.refresh()}>
            Try again
          </button>
        </div>
      )}
      {notice && (
        <div class="notice" role="status">
          <span class="text">{notice}</span>
          <Close
            onClick={() => {
              store.notice.value = '';
            }}
          />
        </div>
      )}
      {traced.length > 0 && (
        <div class="notice" role="status">
          <span class="text">
            {traced.length === shown?.run.losses.length
              ? 'Only tracing was seen: the program ended before the first number came. What is None is known all the same.'
              : `Of ${traced.map(({ name, label }) => `"${name}"${label.subtitle && ` (${label.subtitle})`}`).join(', ')} only tracing was seen: no number came.`}
          </span>
        </div>
      )}
      {problems.length === 1 && (
        <div class="notice" role="status">
          <span class="text">{problems[0]}</span>
        </div>
      )}
      {problems.length > 1 && (
        <details class="notice">
          <summary class="text">
            {counted(problems.length, 'problem')} while reading this run
          </summary>
          <ul>
            {problems.map((problem) => (
              <li key={problem}>{problem}</li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function Close({ onClick }: { onClick: () => void }) {
  return (
    <button type="button" class="button icon plain" aria-label="Dismiss" onClick={onClick}>
      ✕
    </button>
  );
}
