import type { Clip } from '../api/schema.gen';
import type { ClipNumbers, Totals } from '../model/clipping';
import { lastAtOrBefore } from '../model/series';
import { count, percent, precise } from '../model/text';

interface Props {
  clip: Clip;
  numbers: ClipNumbers;
  totals: readonly Totals[];
  step: number;
}

const MOST = 300;

/** A clip site's charts in words. */
export function ClipTable({ clip, numbers, totals, step }: Props) {
  const middle = lastAtOrBefore(clip.steps, step);
  const first = Math.max(0, Math.min(middle - MOST / 2, clip.steps.length - MOST));
  const records = clip.steps.map((_, i) => i).slice(first, first + MOST);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section class="table-twin" aria-label="Clipping as a table" tabIndex={0}>
      <table class="data">
        <thead>
          <tr>
            <th scope="col">Step</th>
            <th scope="col" class="number">
              before
            </th>
            <th scope="col" class="number">
              after
            </th>
            <th scope="col" class="number">
              threshold
            </th>
            <th scope="col" class="number">
              scaled to
            </th>
            <th scope="col" class="number">
              clipped so far
            </th>
          </tr>
        </thead>
        <tbody>
          {records.map((i) => (
            <tr key={i}>
              <th scope="row">{count(clip.steps[i] ?? 0)}</th>
              <td class="number">{precise(numbers.before(i))}</td>
              <td class="number">{precise(numbers.after(i))}</td>
              <td class="number">{orDash(numbers.threshold(i))}</td>
              <td class="number">{percent(numbers.scale(i))}</td>
              <td class="number">
                {count(totals[i]?.clipped ?? 0)} of {count(totals[i]?.calls ?? 0)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function orDash(value: number): string {
  return Number.isNaN(value) ? '–' : precise(value);
}
