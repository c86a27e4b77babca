import type { Store } from '../model/store';
import { count } from '../model/text';
import { SliderMarks } from './slider-marks';

/** Chooses a recorded step: one notch of the slider is one record. */
export function StepSlider({ store }: { store: Store }) {
  const steps = store.steps.value;
  const position = store.position.value;
  const live = store.live.value;
  const step = store.step.value;
  if (steps.length === 0) return null;
  const place = `${count(position + 1)} of ${count(steps.length)} recorded`;
  return (
    <div class="bar steps">
      <div class="stepper">
        <button
          type="button"
          class="button icon"
          aria-label="Previous recorded step"
          title="Previous recorded step"
          disabled={position <= 0}
          onClick={() => store.moveStep(-1)}
        >
          <Arrow left />
        </button>
        <div class="slider">
          <input
            type="range"
            aria-label="Step"
            aria-valuetext={`step ${count(step)}, ${place}`}
            min={0}
            max={Math.max(steps.length - 1, 0)}
            step={1}
            value={position}
            style={{ '--done': `${(position / Math.max(steps.length - 1, 1)) * 100}%` }}
            disabled={steps.length < 2}
            onInput={(event) => store.chooseStep(steps[Number(event.currentTarget.value)] ?? step)}
          />
          <SliderMarks store={store} />
        </div>
        <button
          type="button"
          class="button icon"
          aria-label="Next recorded step"
          title="Next recorded step"
          disabled={position >= steps.length - 1}
          onClick={() => store.moveStep(1)}
        >
          <Arrow />
        </button>
        <span class="step-name">
          step <strong>{count(step)}</strong> <span class="muted">· {place}</span>
        </span>
        <button
          type="button"
          class="button live"
          aria-pressed={live}
          title="Follow the newest step while the training runs"
          onClick={() => store.chooseStep(live ? step : null)}
        >
          <span class="live-dot" />
          Live
        </button>
      </div>
    </div>
  );
}

function Arrow({ left = false }: { left?: boolean }) {
  return (
    <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      <path
        d={left ? 'M8 1.5 3.5 6 8 10.5' : 'M4 1.5 8.5 6 4 10.5'}
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
