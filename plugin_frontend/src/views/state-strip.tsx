import { useState } from 'preact/hooks';
import type { Stretch } from '../model/series';
import { STATE_SHORT, STATE_SIGN } from '../model/statistic';
import { count, counted, visible } from '../model/text';
import type { Strip } from './chart';

interface Props {
  strips: readonly Strip[];
  /** The steps that the chart above shows. */
  from: number;
  to: number;
  /** The chart's margins and inner width, so that both line up. */
  left: number;
  width: number;
  right: number;
  onStep: (step: number) => void;
}

const LINE = 18;
const NARROWEST = 4;
/** The name of the drawing says no more than these of a loss; each mark has its own name. */
const MOST_SAID = 6;
/** What a pointer must be able to hit. */
const TARGET = 10;

/**
 * What a log axis cannot show: where each loss's gradient was None, zero, NaN or infinite.
 *
 * Each mark leads to the step it begins at. The marks of a loss are one stop of
 * the Tab key, arrows go from one to the next: there may be hundreds.
 */
export function StateStrip({ strips, from, to, left, width, right, onStep }: Props) {
  const height = strips.length * LINE + 2;
  const said = strips.map((strip) => sayStrip(strip)).join('; ');
  return (
    // biome-ignore lint/a11y/useSemanticElements: a drawing is no fieldset
    <svg
      class="strip"
      role="group"
      aria-label={`States: ${said}`}
      width={left + width + right}
      height={height}
    >
      <defs>
        <pattern
          id="hatch"
          width="5"
          height="5"
          patternUnits="userSpaceOnUse"
          patternTransform="rotate(45)"
        >
          <rect width="5" height="5" fill="var(--bg)" />
          <rect width="1.6" height="5" fill="var(--none-edge)" />
        </pattern>
      </defs>
      {strips.map(({ label, short = label, color, stretches }, i) => (
        <g key={label} transform={`translate(0 ${i * LINE})`}>
          <text x={left - 16} y={LINE - 5} text-anchor="end">
            {shortened(short)}
            <title>{label}</title>
          </text>
          <rect x={left - 12} y={LINE / 2 - 1.5} width="8" height="3" fill={color} />
          <line
            x1={left}
            x2={left + width}
            y1={LINE / 2}
            y2={LINE / 2}
            stroke="var(--line)"
            stroke-width="1"
          />
          <Marks
            label={label}
            stretches={stretches.filter(({ first, last }) => last >= from && first <= to)}
            x={(step) => left + clampTo01((step - from) / (to - from)) * width}
            onStep={onStep}
          />
        </g>
      ))}
    </svg>
  );
}

interface MarksProps {
  label: string;
  stretches: readonly Stretch[];
  x: (step: number) => number;
  onStep: (step: number) => void;
}

function Marks({ label, stretches, x, onStep }: MarksProps) {
  const [active, setActive] = useState(0);
  const stop = Math.min(active, stretches.length - 1);
  const move = (event: KeyboardEvent, i: number) => {
    const key = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: stretches.length - 1 }[
      event.key
    ];
    const stretch = stretches[i];
    if ((event.key === 'Enter' || event.key === ' ') && stretch) onStep(stretch.first);
    else if (key !== undefined && stretches[key]) {
      setActive(key);
      const marks = (event.currentTarget as Element).parentElement?.querySelectorAll('.mark');
      (marks?.[key] as SVGElement | undefined)?.focus();
    } else return;
    event.preventDefault();
  };
  return (
    <g>
      {stretches.map((stretch, i) => (
        // biome-ignore lint/a11y/useSemanticElements: a drawing has no buttons of its own
        <g
          key={stretch.first}
          class="mark"
          role="button"
          tabindex={i === stop ? 0 : -1}
          aria-label={`${label}: ${sayStretch(stretch)}, go to step ${count(stretch.first)}`}
          onClick={() => {
            setActive(i);
            onStep(stretch.first);
          }}
          onKeyDown={(event) => move(event, i)}
        >
          <Mark label={label} stretch={stretch} x={x} />
        </g>
      ))}
    </g>
  );
}

interface MarkProps {
  label: string;
  stretch: Stretch;
  x: (step: number) => number;
}

function Mark({ label, stretch, x }: MarkProps) {
  const [begin, end] = [x(stretch.first), x(stretch.last)];
  const width = Math.max(NARROWEST, end - begin);
  const start = end - begin < NARROWEST ? (begin + end) / 2 - NARROWEST / 2 : begin;
  const { state } = stretch;
  const sign = STATE_SIGN[state];
  const look = LOOKS[state] ?? LOOKS.none;
  const target = Math.max(TARGET, width);
  return (
    <>
      <title>{`${label}: ${sayStretch(stretch)}. Go to step ${count(stretch.first)}`}</title>
      <rect
        class="target"
        x={start - (target - width) / 2}
        width={target}
        height={LINE}
        fill="transparent"
      />
      <rect
        class="look"
        x={start}
        y="3"
        width={width}
        height={LINE - 6}
        rx="1.5"
        fill={look?.fill}
        stroke={look?.edge}
        stroke-width="1"
        stroke-dasharray={state === 'none' || state === 'skipped' ? '2 2' : undefined}
      />
      {width > 30 ? (
        <text
          class={state === 'none' ? 'on-hatch' : undefined}
          x={start + width / 2}
          y={LINE - 5}
          text-anchor="middle"
          style={{ fill: look?.ink }}
        >
          {sign}
        </text>
      ) : null}
    </>
  );
}

const LOOKS: Record<string, { fill: string; edge: string; ink: string }> = {
  none: { fill: 'url(#hatch)', edge: 'var(--none-edge)', ink: 'var(--text)' },
  zero: { fill: 'var(--bg)', edge: 'var(--control)', ink: 'var(--text)' },
  nan: { fill: 'var(--nan-bg)', edge: 'var(--nan-bg)', ink: 'var(--nan-ink)' },
  skipped: { fill: 'var(--warn-soft)', edge: 'var(--warn)', ink: 'var(--text)' },
  inf: { fill: 'var(--inf-bg)', edge: 'var(--accent)', ink: 'var(--inf-ink)' },
};

function sayStrip({ label, stretches }: Strip): string {
  const more = stretches.length - MOST_SAID;
  const said = stretches.slice(0, MOST_SAID).map(sayStretch);
  if (more > 0) said.push(`${count(more)} more`);
  return `${label}: ${said.join(', ')}`;
}

function sayStretch({ state, first, last, records }: Stretch): string {
  const steps = first === last ? `step ${count(first)}` : `steps ${count(first)} to ${count(last)}`;
  return `${STATE_SHORT[state]} at ${steps} (${counted(records, 'record')})`;
}

/** As much of a loss's name as fits left of the axis. */
function shortened(label: string): string {
  const letters = Array.from(visible(label));
  return letters.length > 7 ? `${letters.slice(0, 6).join('')}…` : letters.join('');
}

function clampTo01(x: number): number {
  return Math.min(1, Math.max(0, x));
}
