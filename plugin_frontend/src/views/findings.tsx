import { useEffect } from 'preact/hooks';
import type { Finding } from '../api/schema.gen';
import type { Shown, Store } from '../model/store';
import { count, counted } from '../model/text';
import { ColumnName } from './column-name';
import { TryAgain } from './try-again';
import { Variables } from './variables';
import { Where } from './where';

interface Props {
  store: Store;
  shown: Shown;
}

/** What is wrong with the run, worst first: each leads to its cell, its step and its line. */
export function FindingList({ store, shown }: Props) {
  const { run } = shown;
  useEffect(() => {
    void store.judge(run);
  }, [store, run]);
  const found = store.findings.value;
  const failure = store.judgeFailure.value;
  if (failure) {
    return <TryAgain failure={failure} retry={() => store.judge(run)} class="sheet" />;
  }
  if (!found) return <p class="nothing">Judging…</p>;
  const faults = found.filter(({ severity }) => severity !== 'info').length;
  return (
    <div class="sheet">
      <h2>{faults > 0 ? `${counted(faults, 'fault')} found` : 'No fault found'}</h2>
      <p class="muted">
        {found.length > faults && `${count(found.length - faults)} worth knowing. `}
        Judged by rules over all records, each variable against its own past and its peers.
      </p>
      <ul class="findings">
        {found.map((finding, i) => (
          <li key={i}>
            <Card store={store} shown={shown} finding={finding} />
          </li>
        ))}
      </ul>
    </div>
  );
}

const SIGNS: Record<Finding['severity'], string> = { error: '✕', warning: '▲', info: 'i' };

function Card({ store, shown, finding }: Props & { finding: Finding }) {
  const { severity, kind, cause, loss, variables, first_step: first, op } = finding;
  const lead = (variable: string) => store.lead({ variable, loss }, first);
  return (
    <article class={`card finding ${severity}`} aria-label={`${severity}: ${finding.message}`}>
      <header>
        <span class={`chip ${severity}`}>
          <span aria-hidden="true">{SIGNS[severity]} </span>
          {severity}
        </span>
        <span class="mono">{cause ? `${kind} · ${cause}` : kind}</span>
        {loss && (
          <span>
            <ColumnName run={shown.run} id={loss} />
          </span>
        )}
        <button
          type="button"
          class="link"
          title="Show this step in the matrix"
          onClick={() => lead(variables[0] ?? '')}
        >
          step {count(first)}
        </button>
      </header>
      <p>{finding.message}</p>
      <p class="muted">{finding.advice}</p>
      <Variables names={variables} onChoose={lead} />
      {finding.where && <Where place={finding.where} />}
      {op && (
        <p class="muted">
          operation <span class="mono">{op}</span>
        </p>
      )}
    </article>
  );
}
