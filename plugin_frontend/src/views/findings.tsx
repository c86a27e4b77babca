import { useEffect } from 'preact/hooks';
import type { Finding } from '../api/schema.gen';
import { isFault } from '../model/findings';
import type { Shown, Store } from '../model/store';
import { count, counted } from '../model/text';
import type { Tab } from '../model/url';
import { ColumnName } from './column-name';
import { SeverityChip } from './severity-chip';
import { showThreshold, Thresholds } from './thresholds';
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
  return (
    <div class="sheet" aria-busy={store.judging.value}>
      {failure ? (
        <TryAgain failure={failure} retry={() => store.judge(run)} />
      ) : (
        <Summary store={store} />
      )}
      <Thresholds store={store} />
      {!failure && found && (
        <ul class="findings">
          {found.map((finding, i) => (
            <li key={i}>
              <Card store={store} shown={shown} finding={finding} id={idOf(i)} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** Leads to a finding by its position among all. */
export function showFinding(store: Store, at: number): void {
  store.tab.value = 'findings';
  requestAnimationFrame(() => {
    const card = document.getElementById(idOf(at));
    card?.focus();
    card?.scrollIntoView({ block: 'center' });
  });
}

function idOf(at: number): string {
  return `finding-${at}`;
}

function Summary({ store }: { store: Store }) {
  const found = store.findings.value;
  if (!found) return <p role="status">Judging…</p>;
  const faults = found.filter(isFault).length;
  const rest = found.length - faults;
  return (
    <div role="status">
      <h2>{faults > 0 ? `${counted(faults, 'fault')} found` : 'No fault found'}</h2>
      <p class="muted">
        {rest > 0 && `${count(rest)} worth knowing. `}
        Judged by rules over all records, each variable against its own past and its peers.
      </p>
    </div>
  );
}

/** Kinds of which another tab than the matrix shows more. */
const TABS: Record<string, { tab: Tab; name: string }> = {
  clip_saturated: { tab: 'clipping', name: 'Clipping' },
  clip_never: { tab: 'clipping', name: 'Clipping' },
  conflict: { tab: 'conflicts', name: 'Conflicts' },
  domination: { tab: 'conflicts', name: 'Conflicts' },
  update_ratio: { tab: 'updates', name: 'Updates' },
};

interface CardProps extends Props {
  finding: Finding;
  id: string;
}

function Card({ store, shown, finding, id }: CardProps) {
  const { severity, kind, cause, loss, variables, first_step: first, op, threshold } = finding;
  const lead = (variable: string) => store.lead({ variable, loss }, first);
  const more = TABS[kind];
  return (
    <article
      id={id}
      class={`card finding ${severity}`}
      tabIndex={-1}
      aria-label={`${severity}: ${finding.message}`}
    >
      <header>
        <SeverityChip severity={severity} />
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
        {more && (
          <button type="button" class="link" onClick={() => store.leadToTab(more.tab, finding)}>
            see {more.name}
          </button>
        )}
      </header>
      <p>{finding.message}</p>
      {finding.where && <Where place={finding.where} op={op} />}
      <p class="muted">{finding.advice}</p>
      {variables.length > 0 && <Variables names={variables} onChoose={lead} />}
      {threshold && (
        <p class="muted">
          compared with the threshold{' '}
          <button
            type="button"
            class="link mono"
            title="Show it among the thresholds"
            onClick={() => showThreshold(threshold)}
          >
            {threshold}
          </button>{' '}
          ({finding.limit})
        </p>
      )}
    </article>
  );
}
