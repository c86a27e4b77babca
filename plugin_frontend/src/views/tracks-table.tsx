import type { Run } from '../api/schema.gen';
import { reading } from '../model/cell';
import { columnsOf, fullName } from '../model/columns';
import { lastAtOrBefore, type Track } from '../model/series';
import { count, visible } from '../model/text';

interface Props {
  run: Run;
  tracks: readonly Track[];
  step: number;
}

const MOST = 300;

function nameOf(run: Run, position: number): string {
  const column = columnsOf(run)[position];
  return column ? fullName(column) : '';
}

/** The chart in words: one row a step, one column a loss or an optimizer. */
export function TracksTable({ run, tracks, step }: Props) {
  const all = [...new Set(tracks.flatMap(({ steps }) => steps))].sort((a, b) => a - b);
  // A long history as a table is of no use to anybody, and slow: show what is near.
  const middle = lastAtOrBefore(all, step);
  const first = Math.max(0, Math.min(middle - MOST / 2, all.length - MOST));
  const steps = all.slice(first, first + MOST);
  const positions = tracks.map((track) => new Map(track.steps.map((at, i) => [at, i])));
  return (
    <>
      {all.length > MOST && (
        <p class="muted">
          {count(MOST)} of {count(all.length)} records, around step {count(step)}.
        </p>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="table-twin" aria-label="Norms as a table" tabIndex={0}>
        <table class="data">
          <thead>
            <tr>
              <th scope="col">Step</th>
              {tracks.map(({ column }) => (
                <th key={column} scope="col" class="number">
                  {visible(nameOf(run, column))}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {steps.map((at) => (
              <tr key={at} aria-current={at === step ? 'step' : undefined}>
                <th scope="row">{count(at)}</th>
                {tracks.map((track, i) => {
                  const record = positions[i]?.get(at);
                  return (
                    <td key={track.column} class="number">
                      {record === undefined
                        ? ''
                        : reading(
                            track.states[record] ?? 'absent',
                            track.norms[record] ?? Number.NaN,
                          )}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}
