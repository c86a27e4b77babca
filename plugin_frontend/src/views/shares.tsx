import type { Clip } from '../api/schema.gen';
import { type ClipNumbers, sayScale, shares } from '../model/clipping';
import { count, percent, short } from '../model/text';
import { Name } from './name';

interface Props {
  clip: Clip;
  numbers: ClipNumbers;
  /** Position of the record at the chosen step, -1 before the first. */
  record: number;
}

const MOST = 15;

/** Who made the norm what it was at the chosen step. */
export function Shares({ clip, numbers, record }: Props) {
  if (record < 0) {
    return (
      <div>
        <h3>Who caused it</h3>
        <p class="muted">Nothing was recorded here up to this step.</p>
      </div>
    );
  }
  const all = shares(clip, numbers, record);
  const rest = all.slice(MOST);
  const restShare = rest.reduce((total, { share }) => total + (share > 0 ? share : 0), 0);
  const own = clip.method === 'norm' || clip.method === 'value';
  return (
    <div>
      <h3>Who caused it, at step {count(clip.steps[record] ?? 0)}</h3>
      <p class="muted">{sayScale(clip, numbers, record)}</p>
      <ul class="bars" aria-label="Shares of the squared norm before clipping">
        {all.slice(0, MOST).map(({ variable, before, after, share }) => (
          <li key={variable}>
            <Name text={clip.variables[variable] ?? ''} />
            <div class="track">
              {share > 0 && <div class="fill" style={{ width: `${share * 100}%` }} />}
            </div>
            <span class="number">
              {sayShare(before, share, Number.isNaN(numbers.before(record)))}
              {own && Number.isFinite(before) && (
                <span class="muted">
                  {' '}
                  {short(before)} → {short(after)}
                </span>
              )}
            </span>
          </li>
        ))}
      </ul>
      {rest.length > 0 && (
        <p class="muted">
          {count(rest.length)} more with {percent(restShare)} together
        </p>
      )}
    </div>
  );
}

/** The share, or the norm where there are no shares. */
function sayShare(before: number, share: number, anyNan: boolean): string {
  // A None counts nothing; once the whole norm is NaN, it cannot be told from the culprit.
  if (Number.isNaN(before)) return anyNan ? 'NaN or None' : 'None';
  return Number.isNaN(share) ? `norm ${short(before)}` : percent(share);
}
