import { useMemo, useState } from 'preact/hooks';
import type { Clip } from '../api/schema.gen';
import {
  band,
  type ClipNumbers,
  clippedFraction,
  cumulative,
  METHODS,
  type Totals,
} from '../model/clipping';
import { LINES } from '../model/palette';
import { align, lastAtOrBefore, nearest } from '../model/series';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { count, percent, visible } from '../model/text';
import { Chart, type Line } from './chart';
import { ClipTable } from './clip-table';
import { Shares } from './shares';
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
          <code>gs.record_clipping(before, after, name=…)</code>.
        </p>
      </div>
    );
  }
  return (
    <div class="sheet">
      {clips.map((clip) => (
        <Site key={clip.name} store={store} shown={shown} source={source} clip={clip} />
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
  const judged = band(last.calls > 0 ? last.clipped / last.calls : 0);
  const method = METHODS[clip.method];
  return (
    <section class="card" ref={card} aria-label={`Clip site ${clip.name}`}>
      <header>
        <h2>
          <bdi>{visible(clip.name)}</bdi>
        </h2>
        <span class={`chip level-${judged.level}`} title={judged.meaning}>
          {judged.word}
        </span>
        <span>{sayTotals(last)}</span>
        <span class="muted">{judged.meaning}</span>
      </header>
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

function sayTotals({ calls, clipped, nonfinite }: Totals): string {
  const share = calls > 0 ? ` (${percent(clipped / calls)})` : '';
  const apart = nonfinite > 0 ? `; ${count(nonfinite)} with a norm that is not finite` : '';
  return `clipped in ${count(clipped)} of ${count(calls)} calls${share}${apart}`;
}

function SiteNumbers({ store, shown, source, clip, totals }: SiteProps & { totals: Totals[] }) {
  const { run } = shown;
  const [answer, retry] = useLoaded(() => source.clip(run, clip), [run, clip.name]);
  const [asTable, setAsTable] = useState(false);
  if (answer.failure) {
    return (
      <p>
        {answer.failure}{' '}
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      </p>
    );
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

interface ChartProps {
  store: Store;
  /** The run's steps: what a click may choose. */
  steps: readonly number[];
  clip: Clip;
}

function NormChart({ store, steps, clip, numbers }: ChartProps & { numbers: ClipNumbers }) {
  const theme = store.theme.value;
  const [before, after, threshold] = [LINES[theme][0], LINES[theme][2], LINES[theme][6]] as [
    string,
    string,
    string,
  ];
  // A bound on elements is no norm: a line for it would mislead.
  const hasThreshold =
    clip.method !== 'value' && clip.steps.some((_, i) => Number.isFinite(numbers.threshold(i)));
  // A limit on each gradient says nothing of their joint norm.
  const each = clip.method === 'norm';
  const lines: Line[] = [
    { label: 'before', color: before },
    { label: 'after', color: after, strong: true },
    ...(hasThreshold ? [{ label: 'threshold', color: threshold, dashed: true }] : []),
  ];
  const data = useMemo(() => {
    const line = (value: (record: number) => number) => ({
      steps: clip.steps,
      values: clip.steps.map((_, i) => value(i)),
    });
    return align(
      [
        line((i) => (each ? numbers.largest(i, 0) : numbers.before(i))),
        line((i) => (each ? numbers.largest(i, 1) : numbers.after(i))),
        ...(hasThreshold ? [line((i) => numbers.threshold(i))] : []),
      ],
      (norm) => Number.isFinite(norm) && norm > 0,
    );
  }, [clip, numbers, hasThreshold, each]);
  return (
    <>
      <Keys lines={lines} />
      <Chart
        label={`Norm before and after clipping by step${hasThreshold ? ', with the threshold' : ''}`}
        lines={lines}
        data={data}
        kind="log"
        step={store.step.value}
        onStep={(step) => store.chooseStep(nearest(steps, step) ?? null)}
        theme={theme}
        height={230}
        strips={unfinite(clip, numbers, before)}
      />
    </>
  );
}

/** The records whose norm no axis can show. */
function unfinite(clip: Clip, numbers: ClipNumbers, color: string) {
  const stretches = clip.steps.flatMap((step, i) => {
    const norm = numbers.before(i);
    if (Number.isFinite(norm) && norm > 0) return [];
    const state = Number.isNaN(norm)
      ? ('nan' as const)
      : norm > 0
        ? ('inf' as const)
        : ('zero' as const);
    return [{ state, first: step, last: step, records: 1 }];
  });
  return stretches.length > 0 ? [{ label: 'norm before', color, stretches }] : [];
}

function Keys({ lines }: { lines: readonly Line[] }) {
  return (
    <div class="row muted">
      {lines.map(({ label, color, dashed }) => (
        <span key={label} class="row" style={{ gap: '6px' }}>
          <span
            class="swatch-line"
            style={{ borderTop: `3px ${dashed ? 'dashed' : 'solid'} ${color}`, width: '18px' }}
          />
          {label}
        </span>
      ))}
    </div>
  );
}

const WINDOWS = [10, 50, 100, 500, 1000];

function FractionChart({ store, steps, clip, totals }: ChartProps & { totals: readonly Totals[] }) {
  const calls = totals.at(-1)?.calls ?? 0;
  const [window, setWindow] = useState(100);
  const theme = store.theme.value;
  const data = useMemo(
    () =>
      align([{ steps: clip.steps, values: clippedFraction(totals, window) }], (x) =>
        Number.isFinite(x),
      ),
    [clip, totals, window],
  );
  return (
    <>
      <div class="row between">
        <h3>Fraction of calls clipped</h3>
        <label class="field">
          over the last
          <select
            class="select"
            value={String(window)}
            onChange={(event) => setWindow(Number(event.currentTarget.value))}
          >
            {WINDOWS.filter((size) => size <= Math.max(calls, 100)).map((size) => (
              <option key={size} value={String(size)}>
                {count(size)} calls
              </option>
            ))}
            <option value="Infinity">all calls</option>
          </select>
        </label>
      </div>
      <Chart
        label="Fraction of calls clipped by step"
        lines={[{ label: 'clipped', color: LINES[theme][1] ?? '#c60' }]}
        data={data}
        kind="fraction"
        step={store.step.value}
        onStep={(step) => store.chooseStep(nearest(steps, step) ?? null)}
        theme={theme}
        height={150}
      />
    </>
  );
}
