import { useMemo, useState } from 'preact/hooks';
import { type Spot, spotsOf } from '../model/marks';
import type { Store } from '../model/store';

/**
 * Below the slider: the records that the sentinel made, because something happened there.
 *
 * All together are one stop of the Tab key; arrows go from one to the next.
 */
export function SliderMarks({ store }: { store: Store }) {
  const run = store.shown.value?.run;
  const steps = store.steps.value;
  const spots = useMemo(() => (run ? spotsOf(run, steps) : []), [run, steps]);
  const [active, setActive] = useState(0);
  if (spots.length === 0) return null;
  const stop = Math.min(active, spots.length - 1);
  const move = (event: KeyboardEvent, i: number) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: spots.length - 1 }[event.key];
    if (to === undefined || !spots[to]) return;
    setActive(to);
    const group = (event.currentTarget as HTMLElement).parentElement;
    group?.querySelectorAll('button')[to]?.focus();
    event.preventDefault();
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: marks are no fieldset
    <div class="spots" role="group" aria-label="What the sentinel saw">
      {spots.map((spot, i) => (
        <button
          key={spot.step}
          type="button"
          class={`spot ${spot.kind}`}
          style={{ left: `calc(7px + (100% - 14px) * ${spot.at})` }}
          tabIndex={i === stop ? 0 : -1}
          aria-label={`${spot.text}. Go there`}
          title={spot.text}
          onClick={() => {
            setActive(i);
            void store.chooseStep(spot.step);
          }}
          onKeyDown={(event) => move(event, i)}
        >
          <Shape {...spot} />
        </button>
      ))}
    </div>
  );
}

/** Told apart by shape: a cross, a peak or its reverse, a ring. */
function Shape({ kind, down }: Spot) {
  const peak = down ? 'M5 9.5 0.5 0.5 H9.5 Z' : 'M5 0.5 9.5 9.5 H0.5 Z';
  const line = { fill: 'none', stroke: 'currentColor', 'stroke-width': 2 };
  return (
    <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
      {kind === 'nonfinite' && <path d="M1.5 1.5 8.5 8.5 M8.5 1.5 1.5 8.5" {...line} />}
      {kind === 'spike' && <path d={peak} fill="currentColor" />}
      {kind === 'skipped' && <circle cx="5" cy="5" r="3.5" {...line} />}
    </svg>
  );
}
