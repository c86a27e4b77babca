import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { Clipping } from './clipping';
import { Detail } from './detail';
import { Header } from './header';
import { Matrix } from './matrix';
import { MissingList } from './missing';
import { Notices } from './notices';
import { StepSlider } from './step-slider';
import { Teach } from './teach';

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

function Panel({ store, source, shown }: { store: Store; source: Source; shown: Shown }) {
  const tab = store.tab.value;
  const selection = store.selection.value;
  const matrix = tab === 'matrix';
  const withDetail = matrix && selection !== null;
  const look = `panel${matrix ? '' : ' scroll'}${withDetail ? ' with-detail' : ''}`;
  return (
    <>
      {tab !== 'missing' && <StepSlider store={store} />}
      <div class={look} id="panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
        {matrix && <Matrix store={store} shown={shown} source={source} />}
        {withDetail && <Detail {...{ store, shown, source, selection }} />}
        {tab === 'clipping' && <Clipping store={store} shown={shown} source={source} />}
        {tab === 'missing' && <MissingList store={store} shown={shown} />}
      </div>
    </>
  );
}
