import { useLayoutEffect, useRef } from 'preact/hooks';
import { columnsOf } from '../model/columns';
import { PALETTES } from '../model/palette';
import { LEVELS, ticks } from '../model/scale';
import { STATE_SHORT, STATE_SIGN, type StateName } from '../model/statistic';
import type { Store } from '../model/store';

const SIGNS: readonly StateName[] = ['none', 'zero', 'nan', 'inf', 'absent'];

/** What the colours and signs of the matrix mean. */
export function Legend({ store }: { store: Store }) {
  const domain = store.domain.value;
  const span = domain.high - domain.low;
  const run = store.shown.value?.run;
  const anySkipped = run !== undefined && columnsOf(run).some(({ skipped }) => skipped.size > 0);
  const signs: readonly StateName[] = anySkipped ? [...SIGNS, 'skipped'] : SIGNS;
  return (
    <section class="legend" aria-label="Legend">
      <span>L2 norm</span>
      <div class="ramp" title="Norms beyond the ends have the colour of the end">
        <Ramp theme={store.theme.value} />
        <div class="marks">
          {ticks(domain).map((exponent) => (
            <span key={exponent} style={{ left: `${((exponent - domain.low) / span) * 100}%` }}>
              10<sup>{exponent}</sup>
            </span>
          ))}
        </div>
      </div>
      <div class="signs">
        {signs.map((state) => (
          <span key={state} class={`sign s-${state}`} title={STATE_SHORT[state]}>
            {STATE_SIGN[state]}
            {state === 'absent' && ` ${STATE_SHORT.absent}`}
          </span>
        ))}
      </div>
    </section>
  );
}

function Ramp({ theme }: { theme: 'light' | 'dark' }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    PALETTES[theme].fill.forEach((color, i) => {
      context.fillStyle = color;
      context.fillRect(i, 0, 1, 1);
    });
  }, [theme]);
  return <canvas ref={canvas} width={LEVELS} height={1} />;
}
