import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { shownStep, spoken, stateCounts, stateWords, statistics } from '../model/cell';
import { columnsOf, fullName } from '../model/columns';
import { about, sayFirst } from '../model/nonfinite';
import { countStates } from '../model/series';
import type { Source } from '../model/source';
import type { Shown } from '../model/store';
import { count, shape, visible } from '../model/text';

export interface TipAt {
  /** Position in the run's columns. */
  readonly column: number;
  readonly variable: number;
  /** The cell's place on screen. */
  readonly box: DOMRect;
}

const GAP = 6;

/** Everything that is known of a cell at the step shown. */
export function Tooltip({ shown, source, at }: { shown: Shown; source: Source; at: TipAt }) {
  const element = useRef<HTMLDivElement>(null);
  const { run, frame } = shown;
  const column = columnsOf(run)[at.column];
  const variable = run.variables[at.variable];
  const past = usePast(shown, source, at);
  useLayoutEffect(() => {
    const tip = element.current;
    if (!tip) return;
    const { width, height } = tip.getBoundingClientRect();
    const below = at.box.bottom + GAP + height <= window.innerHeight;
    const top = below ? at.box.bottom + GAP : at.box.top - GAP - height;
    const left = Math.min(at.box.left, window.innerWidth - width - GAP);
    tip.style.top = `${Math.max(GAP, top)}px`;
    tip.style.left = `${Math.max(GAP, left)}px`;
  });
  if (!frame || !column || !variable) return null;
  const state = frame.state(at.column, at.variable);
  const words = stateWords(run, at.column, at.variable, state);
  const step = shownStep(run, frame, at.column, at.variable);
  const norm = frame.norm(at.column, at.variable);
  const lines = statistics(run, frame, at.column, at.variable);
  const why = lines.find((line) => line.why);
  return (
    <div ref={element} class="tip" role="tooltip" id="cell-tip">
      <p class="title">{visible(fullName(column))}</p>
      <p class="of">{visible(variable.name)}</p>
      <p class="of">
        {variable.kind} {shape(variable.shape)} {variable.dtype}
        {!variable.trainable && ', not trainable'}
      </p>
      <p class="state">
        {words}
        {step !== undefined && step !== frame.step && (
          <span class="as-of"> · as of step {count(step)}</span>
        )}
      </p>
      <dl class="stats">
        {lines.map(({ name, value, bad }) => (
          <>
            <dt key={name}>{name}</dt>
            <dd key={`${name} value`}>
              {bad ? (
                <span class="bad">
                  {value}: {bad}
                </span>
              ) : (
                value
              )}
            </dd>
          </>
        ))}
      </dl>
      {/* No pointer rests on a tooltip: what is a title elsewhere is a line here. */}
      {why && (
        <p class="of">
          {why.value}: {why.why}
        </p>
      )}
      {about(run.nonfinite, column.id, variable.name).map((entry) => (
        <p key={entry.state} class="bad">
          {sayFirst(entry)}
        </p>
      ))}
      {past && <p class="of">{past}</p>}
      <span class="hidden">
        {spoken(fullName(column), variable.name, state, norm, undefined, words)}
      </span>
    </div>
  );
}

/** The states so far; loaded once somebody rests on a cell. */
function usePast(shown: Shown, source: Source, at: TipAt): string {
  const [past, setPast] = useState('');
  const { run, frame } = shown;
  useEffect(() => {
    let gone = false;
    setPast('');
    const timer = setTimeout(async () => {
      const tracks = await source.tracks(run, at.variable).catch(() => []);
      const track = tracks.find(({ column }) => column === at.column);
      if (!gone && track && frame) setPast(stateCounts(countStates(track, frame.step)));
    }, 120);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [run, frame, at.variable, at.column, source]);
  return past;
}
