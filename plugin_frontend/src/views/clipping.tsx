import { useMemo, useState } from 'preact/hooks';
import type { Clip } from '../api/schema.gen';
import { band, callsOf, cumulative, METHODS, type Totals } from '../model/clipping';
import { fullName } from '../model/columns';
import { lastAtOrBefore } from '../model/series';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { count, percent, visible } from '../model/text';
import { FractionChart, NormChart } from './clip-charts';
import { ClipTable } from './clip-table';
import { Shares } from './shares';
import { TryAgain } from './try-again';
import { useLoaded } from './use-loaded';
import { useSeen } from './use-seen';
import { Where } from './where';

interface Props {
  store: Store;
  shown: Shown;
  source: Source;
}

/** Every clip site of the run. */
export function Clipping({ store, shown, source }: Props) {
  const { clips } = shown.run;
  if (clips.length === 0) {
    return (
      <div class="sheet">
        <h2>No clipping recorded</h2>
        <p class="muted">
          Use <code>gs.clip_by_global_norm(grads, 1.0, variables=variables)</code> where you have{' '}
          <code>tf.clip_by_global_norm(grads, 1.0)</code>, and likewise <code>clip_by_norm</code>{' '}
          and <code>clip_by_value</code>. For another clipper,{' '}
          <code>gs.record_clipping(before, after, name=…)</code>. What an optimizer clips by itself
          (<code>clipnorm</code>, <code>global_clipnorm</code>, <code>clipvalue</code>) shows here
          once it is watched: <code>opt = gs.watch_optimizer(opt)</code>.
        </p>
      </div>
    );
  }
  return (
    <div class="sheet">
      {clips.map((clip) => (
        <Site key={clip.id} store={store} shown={shown} source={source} clip={clip} />
      ))}
    </div>
  );
}

interface SiteProps extends Props {
  clip: Clip;
}

function Site({ store, shown, source, clip }: SiteProps) {
  const [card, seen] = useSeen();
  const totals = useMemo(() => cumulative(clip), [clip]);
  const last = totals.at(-1) ?? { calls: 0, clipped: 0, nonfinite: 0 };
  const judged = band(last.calls > 0 ? last.clipped / last.calls : 0, last.calls);
  const method = METHODS[clip.method];
  return (
    <section
      class="card"
      ref={card}
      aria-label={`Clip site ${fullName({ title: clip.name, subtitle: clip.label.subtitle })}`}
    >
      <header>
        <h2>
          <bdi>{visible(clip.name)}</bdi>
        </h2>
        {clip.label.subtitle && <span class="chip">{clip.label.subtitle}</span>}
        <span class={`chip level-${judged.level}`} title={judged.meaning}>
          {judged.word}
        </span>
        <span>{sayTotals(last, clip)}</span>
        <span class="muted">{judged.meaning}</span>
      </header>
      {clip.label.text && <p>{clip.label.text}</p>}
      <p class="muted">
        {method.name}: {method.text}
        {clip.after && (
          <>
            {' '}
            It clips again what came out of <bdi>{visible(clip.after)}</bdi>.
          </>
        )}
      </p>
      <Where place={clip.where} />
      {seen && <SiteNumbers {...{ store, shown, source, clip, totals }} />}
    </section>
  );
}

function sayTotals({ calls, clipped, nonfinite }: Totals, clip: Clip): string {
  const step = clip.steps.at(-1);
  const share = calls > 0 ? ` (${percent(clipped / calls)})` : '';
  const until = step === undefined ? '' : ` up to step ${count(step)}`;
  const apart = nonfinite > 0 ? `; ${count(nonfinite)} with a norm that is not finite` : '';
  return `clipped in ${count(clipped)} of ${count(calls)} ${callsOf(clip)}${share}${until}${apart}`;
}

function SiteNumbers({ store, shown, source, clip, totals }: SiteProps & { totals: Totals[] }) {
  const { run } = shown;
  const [answer, retry] = useLoaded(() => source.clip(run, clip), [run, clip.id]);
  const [asTable, setAsTable] = useState(false);
  if (answer.failure) {
    return <TryAgain failure={answer.failure} retry={retry} />;
  }
  const numbers = answer.value;
  if (!numbers) return <p class="muted">Loading…</p>;
  const record = lastAtOrBefore(clip.steps, store.step.value);
  return (
    <div class="clip-body">
      <div class="clip-charts">
        <div class="row between">
          <h3>Norm before and after</h3>
          <button
            type="button"
            class="button"
            aria-pressed={asTable}
            onClick={() => setAsTable(!asTable)}
          >
            Show as table
          </button>
        </div>
        {asTable ? (
          <ClipTable clip={clip} numbers={numbers} totals={totals} step={store.step.value} />
        ) : (
          <>
            <NormChart store={store} steps={run.steps} clip={clip} numbers={numbers} />
            <FractionChart store={store} steps={run.steps} clip={clip} totals={totals} />
          </>
        )}
      </div>
      <Shares clip={clip} numbers={numbers} record={record} />
    </div>
  );
}
