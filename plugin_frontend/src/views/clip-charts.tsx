import { useMemo, useState } from 'preact/hooks';
import type { Clip } from '../api/schema.gen';
import {
  type ClipNumbers,
  callsOf,
  clippedFraction,
  shownNorms,
  type Totals,
} from '../model/clipping';
import { LINES } from '../model/palette';
import { align, nearest } from '../model/series';
import type { Store } from '../model/store';
import { count, precise } from '../model/text';
import { Chart, type Line } from './chart';
import { Keys } from './keys';

interface ChartProps {
  store: Store;
  /** The run's steps: what a click may choose. */
  steps: readonly number[];
  clip: Clip;
}

/** Norms before and after, with the threshold where it is one of norms. */
export function NormChart({ store, steps, clip, numbers }: ChartProps & { numbers: ClipNumbers }) {
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
    { label: each ? 'largest before' : 'before', color: before },
    { label: each ? 'largest after' : 'after', color: after, strong: true },
    ...(hasThreshold ? [{ label: 'threshold', color: threshold, dashed: true, level: true }] : []),
  ];
  const data = useMemo(() => {
    const line = (value: (record: number) => number) => ({
      steps: clip.steps,
      values: clip.steps.map((_, i) => value(i)),
    });
    return align(
      [
        line((i) => shownNorms(clip, numbers, i)[0]),
        line((i) => shownNorms(clip, numbers, i)[1]),
        ...(hasThreshold ? [line((i) => numbers.threshold(i))] : []),
      ],
      (norm) => Number.isFinite(norm) && norm > 0,
    );
  }, [clip, numbers, hasThreshold]);
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
        say={(line, step) => {
          const record = clip.steps.indexOf(step);
          if (line > 1) return precise(numbers.threshold(record));
          return precise(shownNorms(clip, numbers, record)[line as 0 | 1]);
        }}
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
  return stretches.length > 0 ? [{ label: 'before', color, stretches }] : [];
}

const WINDOWS = [10, 50, 100, 500, 1000];

/** How many of the last calls were clipped; those between records too, where they are counted. */
export function FractionChart({
  store,
  steps,
  clip,
  totals,
}: ChartProps & { totals: readonly Totals[] }) {
  const calls = totals.at(-1)?.calls ?? 0;
  const what = callsOf(clip);
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
        <h3>Fraction of {what} clipped</h3>
        <label class="field">
          over the last
          <select
            class="select"
            value={String(window)}
            onChange={(event) => setWindow(Number(event.currentTarget.value))}
          >
            {WINDOWS.filter((size) => size <= Math.max(calls, 100)).map((size) => (
              <option key={size} value={String(size)}>
                {count(size)} {what}
              </option>
            ))}
            <option value="Infinity">all {what}</option>
          </select>
        </label>
      </div>
      <Chart
        label={`Fraction of ${what} clipped by step`}
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
