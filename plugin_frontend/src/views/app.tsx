import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import type { Selection } from '../model/url';
import { Clipping } from './clipping';
import { Detail } from './detail';
import { Header } from './header';
import { Matrix } from './matrix';
import { MissingList } from './missing';
import { NonfiniteList } from './nonfinite';
import { Notices } from './notices';
import { StepSlider } from './step-slider';
import { Teach } from './teach';
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

function Panel({ store, source, shown }: { store: Store; source: Source; shown: Shown }) {
  const tab = store.tab.value;
  const matrix = tab === 'matrix';
  const spare = useWindowWidth() - NAMES - shown.run.losses.length * CELL;
  const numbers = shown.run.losses.some((loss) => !loss.traced_only);
  const overview = spare >= OVERVIEW && numbers && !store.overviewClosed.value ? WHOLE : null;
  const selection = store.selection.value ?? overview;
  const withDetail = matrix && selection !== null;
  const look = `panel${matrix ? '' : ' scroll'}${withDetail ? ' with-detail' : ''}`;
  return (
    <main>
      {(matrix || tab === 'clipping') && <StepSlider store={store} />}
      <div class={look} id="panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
        {matrix && shown.run.losses.length > 0 && (
          <Matrix store={store} shown={shown} source={source} />
        )}
        {matrix && shown.run.losses.length === 0 && (
          <p class="nothing">
            No gradient was recorded in this run, only clipping: see the tab beside.
          </p>
        )}
        {withDetail && <Detail {...{ store, shown, source, selection }} />}
        {tab === 'clipping' && <Clipping store={store} shown={shown} source={source} />}
        {tab === 'missing' && <MissingList store={store} shown={shown} />}
        {tab === 'nonfinite' && <NonfiniteList store={store} shown={shown} />}
      </div>
    </main>
  );
}
