import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { decades, logLabels, logTicks } from '../model/axis';
import { signed } from '../model/conflicts';
import { type Aligned, isolated, type Stretch } from '../model/series';
import { count, percent, precise, short } from '../model/text';
import { Readout } from './readout';
import { StateStrip } from './state-strip';
import { useSize } from './use-size';

/** The only file that knows uPlot. */

export interface Line {
  readonly label: string;
  readonly color: string;
  readonly dashed?: boolean;
  /** A level to compare with, not a measurement: it has no points. */
  readonly level?: boolean;
  readonly strong?: boolean;
  /** Steps back behind a strong one. */
  readonly faint?: boolean;
}

/** Recorded states that the axis cannot show, drawn below it. */
export interface Strip {
  readonly label: string;
  /** The same where there is little room. */
  readonly short?: string;
  readonly color: string;
  readonly stretches: readonly Stretch[];
}

interface Props {
  /** What the chart shows, in a sentence. */
  label: string;
  lines: readonly Line[];
  data: Aligned;
  /** `cosine`: from -1 to 1. */
  kind: 'log' | 'linear' | 'fraction' | 'cosine';
  /** The step chosen, marked by a line. */
  step: number;
  onStep: (step: number) => void;
  /** What to say of a line at a recorded step where it has no value, such as its state. */
  say?: (line: number, step: number) => string;
  theme: 'light' | 'dark';
  height: number;
  strips?: readonly Strip[];
}

const LEFT = 58;
const RIGHT = 14;
/** Steps are whole numbers: 1, 2, 5, 10, 20, 50… */
const WHOLE = Array.from(
  { length: 30 },
  (_, i) => ([1, 2, 5][i % 3] ?? 1) * 10 ** Math.floor(i / 3),
);

/** Lines over steps. A click chooses the step, dragging zooms, a double click shows all. */
export function Chart(props: Props) {
  const { label, lines, data, kind, step, theme, height, strips = [] } = props;
  const box = useRef<HTMLDivElement>(null);
  const { width } = useSize(box);
  const plot = useRef<uPlot | null>(null);
  const [range, setRange] = useState<readonly [number, number]>([0, 1]);
  const [hovered, setHovered] = useState<Hovered | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const look = JSON.stringify([lines, kind, theme, height]);

  // `look` stands for all that needs a new chart; the rest is set on the one there is.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || width === 0) return;
    const options = makeOptions(latest.current, width, element, {
      setScale: [
        (u, key) => {
          if (key === 'x') setRange([u.scales.x?.min ?? 0, u.scales.x?.max ?? 1]);
        },
      ],
      setCursor: [(u) => setHovered((before) => hoveredOf(u, before))],
    });
    const made = new uPlot(options, toData(latest.current.data), element);
    plot.current = made;
    const stop = onPlainClick(made, (x) => latest.current.onStep(x));
    return () => {
      stop();
      made.destroy();
      plot.current = null;
    };
  }, [look, width > 0]);

  useEffect(() => {
    plot.current?.setData(toData(data));
  }, [data]);

  useEffect(() => {
    if (width > 0) plot.current?.setSize({ width, height });
  }, [width, height]);

  // New data may have moved what was under the pointer.
  const under = hovered && data.steps[hovered.position] === hovered.step ? hovered : null;
  const readings = (position: number, at: number) =>
    data.values.map((row, line) => {
      const value = row[position];
      if (value === undefined) return '';
      if (value === null) return props.say?.(line, at) ?? '–';
      if (kind === 'cosine') return signed(value);
      return kind === 'fraction' ? percent(value) : precise(value);
    });
  const [from, to] = range;
  const inner = Math.max(0, width - LEFT - RIGHT);
  const at = to > from ? (step - from) / (to - from) : 0.5;
  return (
    <figure class="chart-and-strip">
      <div class="chart" ref={box} role="img" aria-label={label}>
        {at >= 0 && at <= 1 && (
          <div
            class="now"
            style={{ left: `${LEFT + at * inner}px`, top: '8px', height: `${height - 38}px` }}
          />
        )}
        {kind === 'cosine' && (
          <div
            class="zero"
            style={{ left: `${LEFT}px`, width: `${inner}px`, top: `${8 + (height - 38) / 2}px` }}
          />
        )}
        {under && (
          <Readout
            step={under.step}
            values={readings(under.position, under.step)}
            lines={lines}
            side={under.side}
            margin={under.side === 'left' ? LEFT + 8 : RIGHT + 8}
          />
        )}
      </div>
      {strips.length > 0 && (
        <StateStrip
          strips={strips}
          from={from}
          to={to}
          left={LEFT}
          width={inner}
          right={RIGHT}
          onStep={props.onStep}
        />
      )}
    </figure>
  );
}

interface Hovered {
  readonly position: number;
  readonly step: number;
  readonly side: 'left' | 'right';
}

/** The record under the pointer; the same object where it is the same, so that nothing is drawn. */
function hoveredOf(u: uPlot, before: Hovered | null): Hovered | null {
  const { idx: position, left = -1 } = u.cursor;
  const step = typeof position === 'number' && left >= 0 ? u.data[0][position] : undefined;
  if (typeof position !== 'number' || step === undefined) return null;
  const side = left > u.over.clientWidth / 2 ? 'left' : 'right';
  const same = before?.position === position && before.step === step && before.side === side;
  return same ? before : { position, step, side };
}

function toData(data: Aligned): uPlot.AlignedData {
  return [data.steps, ...data.values] as uPlot.AlignedData;
}

function makeOptions(
  { lines, kind, height }: Props,
  width: number,
  element: HTMLElement,
  hooks: uPlot.Hooks.Arrays,
): uPlot.Options {
  const style = getComputedStyle(element);
  const ink = style.getPropertyValue('--text-2').trim() || '#666';
  const grid = style.getPropertyValue('--line').trim() || '#ddd';
  const font = `11px ${style.getPropertyValue('--font').trim() || 'sans-serif'}`;
  const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  return {
    width,
    height,
    padding: [8, RIGHT, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
    scales: {
      x: { time: false, range: xRange },
      y: yScale(kind),
    },
    axes: [
      { ...axis, size: 30, space: 60, incrs: WHOLE, values: (_u, splits) => splits.map(count) },
      { ...axis, ...yTicks(kind), size: LEFT },
    ],
    series: [
      {},
      ...lines.map(
        (line): uPlot.Series => ({
          label: line.label,
          stroke: line.color,
          width: line.strong ? 2.5 : 1.5,
          alpha: line.faint ? 0.45 : 1,
          ...(line.dashed ? { dash: [6, 4] } : {}),
          points: line.level
            ? { show: false }
            : { size: 5, fill: line.color, width: 0, filter: pointsOf },
        }),
      ),
    ],
    hooks,
  };
}

/** All points where there is room, else those that no line goes through. */
function pointsOf(u: uPlot, line: number, show: boolean): number[] | null {
  if (show) return null;
  const found = isolated(u.data[line] as (number | null | undefined)[]);
  return found.length > 0 ? found : null;
}

/** A single step has no extent: uPlot would take some and put the step at its edge. */
function xRange(u: uPlot, low: number, high: number): [number, number] {
  const [steps] = u.data;
  return steps.length === 1 ? [(steps[0] ?? 0) - 1, (steps[0] ?? 0) + 1] : [low, high];
}

function yScale(kind: Props['kind']): uPlot.Scale {
  if (kind === 'fraction') return { range: [0, 1] };
  if (kind === 'cosine') return { range: [-1, 1] };
  if (kind === 'log') return { distr: 3, log: 10, range: (_u, low, high) => decades(low, high) };
  return { range: (_u, _low, high) => [0, high > 0 ? high * 1.06 : 1] };
}

function yTicks(kind: Props['kind']): Partial<uPlot.Axis> {
  switch (kind) {
    case 'log':
      return {
        splits: (u, _axis, low, high) => logTicks(low, high, u.height / 36),
        values: (_u, splits) => logLabels(splits),
        filter: (_u, splits) => splits,
      };
    case 'fraction':
      return {
        splits: () => [0, 0.25, 0.5, 0.75, 1],
        values: (_u, splits) => splits.map((x) => percent(x)),
      };
    case 'cosine':
      return {
        splits: () => [-1, -0.5, 0, 0.5, 1],
        values: () => ['−1', '−0.5', '0', '+0.5', '+1'],
      };
    default:
      return { values: (_u, splits) => splits.map((x) => short(x)) };
  }
}

/** Calls back with the step under a click, but not at the end of a drag. */
function onPlainClick(u: uPlot, callback: (x: number) => void): () => void {
  let startedAt = 0;
  const down = (event: MouseEvent) => {
    startedAt = event.clientX;
  };
  const click = (event: MouseEvent) => {
    if (Math.abs(event.clientX - startedAt) > 3 || event.detail > 1) return;
    callback(u.posToVal(event.offsetX, 'x'));
  };
  u.over.addEventListener('mousedown', down);
  u.over.addEventListener('click', click);
  return () => {
    u.over.removeEventListener('mousedown', down);
    u.over.removeEventListener('click', click);
  };
}
