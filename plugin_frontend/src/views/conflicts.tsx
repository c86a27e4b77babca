import { useMemo } from 'preact/hooks';
import type { Run } from '../api/schema.gen';
import { columnOf, fullName } from '../model/columns';
import {
  chosenPair,
  type PairTrack,
  pairTracks,
  recordAt,
  sayCosine,
  signed,
} from '../model/conflicts';
import { LINES } from '../model/palette';
import { align, nearest } from '../model/series';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { count, percent } from '../model/text';
import { Chart, type Line } from './chart';
import { ColumnName } from './column-name';
import { CosineTable } from './cosine-table';
import { Diverging } from './diverging';
import { Empty } from './empty';
import { Keys } from './keys';
import { TryAgain } from './try-again';
import { useLoaded } from './use-loaded';

interface Props {
  store: Store;
  shown: Shown;
  source: Source;
}

/** Lines that an eye can follow at once. */
const MOST_LINES = 6;

/** Which losses pull which variables to opposite sides. */
export function Conflicts({ store, shown, source }: Props) {
  const { run } = shown;
  const [answer, retry] = useLoaded(
    () => (run.cosines.length > 0 ? source.cosines(run) : Promise.resolve([])),
    [run, run.name],
  );
  const tracks = useMemo(() => pairTracks(run, answer.value ?? []), [run, answer.value]);
  if (run.cosines.length === 0) {
    return (
      <Empty
        title="No two losses compared"
        lines={[
          'tape.losses(recon=recon, kl=kl)  # before tape.gradient(recon + kl, variables)',
          '# or each by itself: tape.gradient(recon, variables), tape.gradient(kl, variables)',
        ]}
      >
        Where a step has gradients of two losses, this shows the cosine between them on each
        variable they share: whether they pull the same way or work against each other.
      </Empty>
    );
  }
  if (answer.failure) {
    return <TryAgain failure={answer.failure} retry={retry} class="sheet" />;
  }
  const chosen = chosenPair(tracks, store.pair.value);
  if (!answer.value || !chosen) return <p class="nothing">Loading…</p>;
  return (
    <div class="sheet">
      <p class="muted intro">
        Cosine of two losses' gradients: +1 they pull the same way, 0 independent, −1 opposed. Over
        all variables they share, each variable counts by its norms.
      </p>
      <div class="conflicts">
        <div class="clip-charts">
          <Pairs {...{ store, run, tracks, chosen }} />
          <OverTime {...{ store, run, tracks, chosen }} />
        </div>
        <CosineTable {...{ store, shown, source }} pair={chosen.pair} />
      </div>
    </div>
  );
}

interface PairsProps {
  store: Store;
  run: Run;
  tracks: readonly PairTrack[];
  chosen: PairTrack;
}

/** All pairs, most opposed first. */
function Pairs({ store, run, tracks, chosen }: PairsProps) {
  const at = store.step.value;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="wide pairs" aria-label="Pairs of losses" tabIndex={0}>
      <table class="data">
        <thead>
          <tr>
            <th scope="col">Losses</th>
            <th scope="col" class="number">
              at step {count(at)}
            </th>
            <td aria-hidden="true" />
            <th scope="col" class="number">
              mean
            </th>
            <th scope="col" class="number">
              opposed
            </th>
          </tr>
        </thead>
        <tbody>
          {tracks.map((track) => {
            const { position, pair, totals, mean, known, opposed } = track;
            const { one, other } = pair;
            return (
              <tr key={position} class={track === chosen ? 'selected' : undefined}>
                <th scope="row">
                  <button
                    type="button"
                    class="link"
                    aria-pressed={track === chosen}
                    onClick={() => {
                      store.pair.value = { one, other };
                    }}
                  >
                    <ColumnName run={run} id={one} /> · <ColumnName run={run} id={other} />
                  </button>
                </th>
                <td class="number">{signed(totals[recordAt(pair, at)] ?? Number.NaN)}</td>
                <td aria-hidden="true">
                  <Diverging value={mean} />
                </td>
                <td class="number" title={sayCosine(mean)}>
                  {signed(mean)}
                </td>
                <td class="number">{known > 0 ? percent(opposed / known) : '–'}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

/** The chosen pair over time, with the most opposed others behind it. */
function OverTime({ store, run, tracks, chosen }: PairsProps) {
  const theme = store.theme.value;
  const drawn = useMemo(
    () => [chosen, ...tracks.filter((track) => track !== chosen).slice(0, MOST_LINES - 1)],
    [tracks, chosen],
  );
  const lines = drawn.map((track): Line => {
    const colors = LINES[theme];
    return {
      label: pairName(run, track),
      color: colors[track.position % colors.length] ?? '#888888',
      strong: track === chosen,
      faint: track !== chosen,
    };
  });
  const data = useMemo(
    () =>
      align(
        drawn.map(({ pair, totals }) => ({ steps: pair.steps, values: [...totals] })),
        Number.isFinite,
      ),
    [drawn],
  );
  return (
    <section aria-label="Cosine over time">
      <h3>Cosine by step, over all shared variables</h3>
      <Keys lines={lines} />
      <Chart
        label={`Cosine by step of ${lines.map(({ label }) => label).join(', ')}`}
        lines={lines}
        data={data}
        kind="cosine"
        step={store.step.value}
        onStep={(step) => store.chooseStep(nearest(run.steps, step) ?? null)}
        say={() => 'not known'}
        theme={theme}
        height={230}
      />
      {chosen.known === 0 && (
        <p class="muted">Not known: at no record both norms are there, finite and above zero.</p>
      )}
    </section>
  );
}

function pairName(run: Run, { pair: { one, other } }: PairTrack): string {
  const name = (id: string) => {
    const column = columnOf(run, id);
    return column ? fullName({ title: column.title, subtitle: column.label.subtitle }) : id;
  };
  return `${name(one)} · ${name(other)}`;
}
