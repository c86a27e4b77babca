import type { Clip } from '../api/schema.gen';
import { type ClipNumbers, shownNorms, type Totals } from '../model/clipping';
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
  const each = clip.method === 'norm' ? 'largest ' : '';
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
              {each}before
            </th>
            <th scope="col" class="number">
              {each}after
            </th>
            <th scope="col" class="number">
              {clip.method === 'value' ? 'elements' : 'threshold'}
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
          {records.map((i) => {
            const [before, after] = shownNorms(clip, numbers, i);
            return (
              <tr key={i}>
                <th scope="row">{count(clip.steps[i] ?? 0)}</th>
                <td class="number">{precise(before)}</td>
                <td class="number">{precise(after)}</td>
                <td class="number">{sayThreshold(clip, numbers.threshold(i))}</td>
                <td class="number">{percent(numbers.scale(i))}</td>
                <td class="number">
                  {count(totals[i]?.clipped ?? 0)} of {count(totals[i]?.calls ?? 0)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function sayThreshold(clip: Clip, value: number): string {
  if (Number.isNaN(value)) return '–';
  return clip.method === 'value' ? `at most ${precise(value)}` : precise(value);
}
