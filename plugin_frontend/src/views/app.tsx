import { columnsOf } from '../model/columns';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import type { Selection, Tab } from '../model/url';
import { Clipping } from './clipping';
import { Conflicts } from './conflicts';
import { Detail } from './detail';
import { FindingList } from './findings';
import { Header } from './header';
import { Matrix } from './matrix';
import { MissingList } from './missing';
import { NonfiniteList } from './nonfinite';
import { Notices } from './notices';
import { StepSlider } from './step-slider';
import { Teach } from './teach';
import { Updates } from './updates';
import { useWindowWidth } from './use-size';

/** The page: what is where, and what shows when there is nothing to show. */
export function App({ store, source }: { store: Store; source: Source }) {
  const index = store.index.value;
  const shown = store.shown.value;
  if (index && index.runs.length === 0) {
    return (
      <div class="page">
        <Notices store={store} shown={null} />
        <div class="panel scroll">
          <Teach store={store} />
        </div>
      </div>
    );
  }
  return (
    <div class="page">
      {index && <Header store={store} />}
      <Notices store={store} shown={shown} />
      {shown ? (
        <Panel store={store} source={source} shown={shown} />
      ) : (
        <p class="nothing" role="status">
          {store.failure.value ? 'Nothing could be loaded.' : 'Loading…'}
        </p>
      )}
    </div>
  );
}

/** Where the matrix leaves room, the whole gradient is shown until something is chosen. */
const WHOLE: Selection = { variable: '', loss: '' };
const NAMES = 300;
const CELL = 64;
const OVERVIEW = 480;
/** The tabs that show one step. */
const STEPPED: ReadonlySet<Tab> = new Set(['matrix', 'clipping', 'updates', 'conflicts'] as const);

function Panel({ store, source, shown }: { store: Store; source: Source; shown: Shown }) {
  const tab = store.tab.value;
  const matrix = tab === 'matrix';
  const columns = columnsOf(shown.run);
  const spare = useWindowWidth() - NAMES - columns.length * CELL;
  const numbers = columns.some(({ tracedOnly }) => !tracedOnly);
  const overview = spare >= OVERVIEW && numbers && !store.overviewClosed.value ? WHOLE : null;
  const selection = store.selection.value ?? overview;
  const withDetail = matrix && selection !== null;
  const look = `panel${matrix ? '' : ' scroll'}${withDetail ? ' with-detail' : ''}`;
  return (
    <main>
      {STEPPED.has(tab) && <StepSlider store={store} />}
      <div class={look} id="panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
        {matrix && columns.length > 0 && <Matrix store={store} shown={shown} source={source} />}
        {matrix && columns.length === 0 && (
          <p class="nothing">
            No gradient was recorded in this run, only clipping: see the tab beside.
          </p>
        )}
        {withDetail && <Detail {...{ store, shown, source, selection }} />}
        {tab === 'findings' && <FindingList store={store} shown={shown} />}
        {tab === 'clipping' && <Clipping store={store} shown={shown} source={source} />}
        {tab === 'updates' && <Updates store={store} shown={shown} source={source} />}
        {tab === 'conflicts' && <Conflicts store={store} shown={shown} source={source} />}
        {tab === 'missing' && <MissingList store={store} shown={shown} />}
        {tab === 'nonfinite' && <NonfiniteList store={store} shown={shown} />}
      </div>
    </main>
  );
}
