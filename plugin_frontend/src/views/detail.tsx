import { useMemo, useState } from 'preact/hooks';
import type { Run } from '../api/schema.gen';
import { reading } from '../model/cell';
import { columnsOf, fullName } from '../model/columns';
import { about as aboutGradient, firsts } from '../model/nonfinite';
import { LINES } from '../model/palette';
import { align, nearest, stretches, type Track } from '../model/series';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { counted, shape, visible } from '../model/text';
import type { Selection } from '../model/url';
import { CellFindings } from './cell-findings';
import { Chart, type Line, type Strip } from './chart';
import { Firsts } from './firsts';
import { StatsTable } from './stats-table';
import { TracksTable } from './tracks-table';
import { TryAgain } from './try-again';
import { useLoaded } from './use-loaded';

interface Props {
  store: Store;
  shown: Shown;
  source: Source;
  selection: Selection;
}

/** One variable, or the whole gradient, over time: all losses on one axis. */
export function Detail({ store, shown, source, selection }: Props) {
  const { run } = shown;
  const variable = run.variables.findIndex(({ name }) => name === selection.variable);
  const whole = selection.variable === '';
  const known = whole || variable >= 0;
  const ofLoss = run.nonfinite.filter(({ loss }) => !selection.loss || loss === selection.loss);
  const notFinite = whole
    ? firsts(ofLoss)
    : aboutGradient(run.nonfinite, selection.loss, selection.variable);
  const [answer, retry] = useLoaded(
    () =>
      !known ? Promise.resolve([]) : whole ? source.wholeTracks(run) : source.tracks(run, variable),
    [run, selection.variable],
  );
  return (
    <aside class="detail" aria-label="Detail" onKeyDown={(event) => closeOnEscape(event, store)}>
      <header>
        <div style={{ flex: 1, minWidth: 0 }}>
          <h2>
            <bdi>{whole ? 'Whole gradient' : visible(selection.variable)}</bdi>
          </h2>
          <p class="muted">
            {whole
              ? 'L2 norm over all variables. Choose a cell to see its history.'
              : about(run, variable)}
          </p>
        </div>
        <button
          type="button"
          class="button icon plain"
          aria-label="Close detail"
          title="Close"
          onClick={() => store.select(null)}
        >
          ✕
        </button>
      </header>
      <CellFindings store={store} selection={selection} />
      <Firsts store={store} run={run} entries={notFinite} named={selection.loss === ''} />
      {!known && <p class="muted">This run has no such variable.</p>}
      {answer.failure && <TryAgain failure={answer.failure} retry={retry} />}
      {answer.value && answer.value.length > 0 && (
        <OverTime store={store} run={run} tracks={answer.value} selection={selection} />
      )}
      {known && !whole && <StatsTable shown={shown} variable={variable} loss={selection.loss} />}
    </aside>
  );
}

function about(run: Run, position: number): string {
  const variable = run.variables[position];
  if (!variable) return '';
  const { size, trainable } = variable;
  const kind = variable.kind === 'tensor' ? 'plain tensor' : 'variable';
  const parts = [`${kind} ${shape(variable.shape)}`, variable.dtype];
  if (size >= 0) parts.push(counted(size, 'element'));
  if (!trainable && variable.kind === 'variable') parts.push('not trainable');
  return parts.join(' · ');
}

function closeOnEscape(event: KeyboardEvent, store: Store): void {
  if (event.key === 'Escape') store.select(null);
}

interface OverTimeProps {
  store: Store;
  run: Run;
  tracks: readonly Track[];
  selection: Selection;
}

function OverTime({ store, run, tracks, selection }: OverTimeProps) {
  const [log, setLog] = useState(true);
  const [asTable, setAsTable] = useState(false);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const theme = store.theme.value;
  const columns = columnsOf(run);
  const id = (track: Track) => columns[track.column]?.id ?? '';
  const crowded = selection.loss !== '' && tracks.length > 4;
  const lines = tracks.map((track): Line => {
    const colors = LINES[theme];
    const column = columns[track.column];
    return {
      label: column ? fullName(column) : '',
      color: colors[track.column % colors.length] ?? '#888888',
      dashed: track.column >= colors.length,
      strong: id(track) === selection.loss,
      faint: crowded && id(track) !== selection.loss,
    };
  });
  const shownAt = tracks.flatMap((track, i) => (hidden.has(id(track)) ? [] : [i]));
  const visibleTracks = shownAt.map((i) => tracks[i] as Track);
  const visibleLines = shownAt.map((i) => lines[i] as Line);
  const data = useMemo(
    () =>
      align(
        visibleTracks.map(({ steps, norms }) => ({ steps, values: norms })),
        (norm) => Number.isFinite(norm) && (norm > 0 || !log),
      ),
    // The visible tracks follow from these.
    [tracks, hidden, log],
  );
  const say = (line: number, step: number): string => {
    const track = visibleTracks[line];
    const record = track?.steps.indexOf(step) ?? -1;
    if (!track || record < 0) return '';
    return reading(track.states[record] ?? 'absent', track.norms[record] ?? Number.NaN);
  };
  const strips = visibleTracks.flatMap((track, i): Strip[] => {
    const found = stretches(track);
    const line = visibleLines[i] as Line;
    return found.length > 0
      ? [
          {
            label: line.label,
            short: columns[track.column]?.short ?? '',
            color: line.color,
            stretches: found,
          },
        ]
      : [];
  });
  return (
    <section aria-label="Norm over time">
      <div class="row between">
        <h3>L2 norm by step</h3>
        <div class="row">
          <button type="button" class="button" aria-pressed={log} onClick={() => setLog(!log)}>
            Log axis
          </button>
          <button
            type="button"
            class="button"
            aria-pressed={asTable}
            onClick={() => setAsTable(!asTable)}
          >
            Show as table
          </button>
        </div>
      </div>
      <ul class="keys" aria-label="Lines">
        {lines.map((line, i) => (
          <li key={i}>
            <button
              type="button"
              class={line.strong ? 'key strong' : 'key'}
              aria-pressed={!hidden.has(id(tracks[i] as Track))}
              title={`${line.label}: show or hide`}
              onClick={() => setHidden(toggled(hidden, id(tracks[i] as Track)))}
            >
              <span
                class={line.dashed ? 'swatch dashed' : 'swatch'}
                style={{ borderColor: line.color }}
              />
              <bdi class="name">
                <span class="head">{visible(line.label)}</span>
              </bdi>
            </button>
          </li>
        ))}
      </ul>
      {asTable ? (
        <TracksTable run={run} tracks={visibleTracks} step={store.step.value} />
      ) : (
        <Chart
          label={`L2 norm by step of ${visibleLines.map(({ label }) => label).join(', ')}`}
          lines={visibleLines}
          data={data}
          kind={log ? 'log' : 'linear'}
          step={store.step.value}
          onStep={(step) => store.chooseStep(nearest(run.steps, step) ?? null)}
          say={say}
          theme={theme}
          height={250}
          strips={strips}
        />
      )}
    </section>
  );
}

function toggled(set: ReadonlySet<string>, entry: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(entry)) next.add(entry);
  return next;
}
