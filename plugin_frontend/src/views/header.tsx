import type { Label } from '../api/schema.gen';
import { anyFault, isFault } from '../model/findings';
import { pairs } from '../model/missing';
import type { Store } from '../model/store';
import { count, runTitle } from '../model/text';
import { TABS, type Tab } from '../model/url';

/** The run, the tabs, and which gradient the numbers are of. */
export function Header({ store }: { store: Store }) {
  const runs = store.index.value?.runs ?? [];
  const run = store.shown.value?.run;
  const missing = run ? pairs(run.missing) : 0;
  const nonfinite = run ? pairs(run.nonfinite) : 0;
  return (
    <header class="bar top">
      <h1 class="hidden">GradScope: {store.runName.value}</h1>
      {runs.length > 1 ? (
        <label class="field">
          Run
          <select
            class="select"
            value={store.runName.value}
            onChange={(event) => store.chooseRun(event.currentTarget.value)}
          >
            {runs.map(({ name }) => (
              <option key={name} value={name}>
                {runTitle(name)}
              </option>
            ))}
          </select>
        </label>
      ) : (
        <span class="field">
          Run <bdi class="mono">{runTitle(store.runName.value)}</bdi>
        </span>
      )}
      <div class="tabs" role="tablist" aria-label="Views">
        <TabButton store={store} tab="matrix" name="Matrix" />
        <TabButton store={store} tab="findings" name="Findings" {...findingsBadge(store)} />
        <TabButton store={store} tab="clipping" name="Clipping" badge={run?.clips.length} />
        <TabButton store={store} tab="updates" name="Updates" badge={run?.optimizers.length} />
        <TabButton store={store} tab="conflicts" name="Conflicts" badge={run?.cosines.length} />
        <TabButton
          store={store}
          tab="missing"
          name="Missing"
          badge={missing}
          strong={anyFault(store.findings.value, 'none')}
        />
        <TabButton
          store={store}
          tab="nonfinite"
          name="Not finite"
          badge={nonfinite}
          strong={anyFault(store.findings.value, 'nan', 'inf')}
        />
      </div>
      <span class="gradient-label" title="What tape.gradient returned, before any clipping">
        {run && sayLabels(run.losses.map(({ label }) => label))}
      </span>
    </header>
  );
}

/** Faults, or if there are none, what is only worth knowing. */
function findingsBadge(store: Store): { badge: number | undefined; strong: boolean } {
  const found = store.findings.value;
  const faults = found?.filter(isFault).length ?? 0;
  return { badge: faults || found?.length, strong: faults > 0 };
}

const FEW_LABELS = 2;

/** Which gradient the numbers are of. Losses mostly share one label. */
function sayLabels(labels: readonly Label[]): string {
  const texts = [...new Set(labels.map(({ text }) => text))];
  if (texts.length === 0) return '';
  const which = texts.length <= FEW_LABELS ? texts.join('; ') : 'see the head of each column';
  const counted = labels.every(({ step_source }) => step_source === 'calls');
  return `Gradients: ${which}${counted ? ' · step = number of the call' : ''}`;
}

interface TabProps {
  store: Store;
  tab: Tab;
  name: string;
  /** How much there is to see; none: nothing is recorded, and the tab says how to. */
  badge?: number | undefined;
  /** What there is to see is worth a look. */
  strong?: boolean;
}

function TabButton({ store, tab, name, badge, strong = false }: TabProps) {
  const selected = store.tab.value === tab;
  return (
    <button
      type="button"
      class={badge === 0 ? 'tab none' : 'tab'}
      role="tab"
      id={`tab-${tab}`}
      aria-selected={selected}
      aria-controls="panel"
      tabIndex={selected ? 0 : -1}
      onClick={() => {
        store.tab.value = tab;
      }}
      onKeyDown={(event) => moveTab(event, store)}
    >
      {name}
      {badge !== undefined && badge > 0 && (
        <span class={strong ? 'badge strong' : 'badge'}>{count(badge)}</span>
      )}
    </button>
  );
}

function moveTab(event: KeyboardEvent, store: Store): void {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by === undefined) return;
  const at = TABS.indexOf(store.tab.value);
  const tab = TABS[(at + by + TABS.length) % TABS.length] as Tab;
  store.tab.value = tab;
  document.getElementById(`tab-${tab}`)?.focus();
  event.preventDefault();
}
