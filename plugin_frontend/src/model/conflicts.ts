import type { Cosine, Run } from '../api/schema.gen';
import { lastAtOrBefore } from './series';
import type { Pair } from './url';

/** How the gradients of two losses lie to each other. Pure. */

/** A pair of losses over time. */
export interface PairTrack {
  /** Position in the run's cosines. */
  readonly position: number;
  readonly pair: Cosine;
  /** Cosine over all variables at each record, NaN where it is not known. */
  readonly totals: Float32Array;
  /** Over all records where it is known, else NaN. */
  readonly mean: number;
  readonly known: number;
  /** Records of those known in which the two oppose each other. */
  readonly opposed: number;
}

/** The pairs, most opposed in the mean first. */
export function pairTracks(run: Run, totals: readonly Float32Array[]): PairTrack[] {
  const found = run.cosines.map((pair, position) => {
    const own = totals[position] ?? new Float32Array();
    let sum = 0;
    let known = 0;
    let opposed = 0;
    for (const cosine of own) {
      if (Number.isNaN(cosine)) continue;
      sum += cosine;
      known++;
      if (cosine < 0) opposed++;
    }
    return {
      position,
      pair,
      totals: own,
      mean: known > 0 ? sum / known : Number.NaN,
      known,
      opposed,
    };
  });
  const rank = ({ mean }: PairTrack) => (Number.isNaN(mean) ? 2 : mean);
  return found.sort((a, b) => rank(a) - rank(b) || a.position - b.position);
}

/** The pair that is asked for, whichever way round, else the first. */
export function chosenPair(tracks: readonly PairTrack[], asked: Pair | null) {
  const is = ({ pair: { one, other } }: PairTrack) =>
    (one === asked?.one && other === asked.other) || (one === asked?.other && other === asked.one);
  return (asked && tracks.find(is)) || tracks[0];
}

export interface CosineRow {
  /** Position in the pair's variables. */
  readonly variable: number;
  readonly cosine: number;
}

/** A pair's variables at a record, most opposed first; where it is not known, last. */
export function cosineRows(pair: Cosine, data: Float32Array, record: number): CosineRow[] {
  const width = pair.variables.length;
  const rank = ({ cosine }: CosineRow) => (Number.isNaN(cosine) ? 2 : cosine);
  return pair.variables
    .map((_, variable) => ({ variable, cosine: data[record * width + variable] ?? Number.NaN }))
    .sort((a, b) => rank(a) - rank(b) || a.variable - b.variable);
}

/** The pair's last record at or before a step, else -1. */
export function recordAt({ steps }: Cosine, step: number): number {
  return lastAtOrBefore(steps, step);
}

/** +0.42, −0.83, 0.00 */
export function signed(cosine: number): string {
  if (Number.isNaN(cosine)) return '–';
  const text = Math.abs(cosine).toFixed(2);
  if (text === '0.00') return text;
  return `${cosine < 0 ? '−' : '+'}${text}`;
}

/** What a cosine means, in a word or two. */
export function sayCosine(cosine: number): string {
  if (Number.isNaN(cosine)) return 'not known';
  if (cosine <= -0.5) return 'opposed';
  if (cosine < -0.1) return 'somewhat opposed';
  if (cosine <= 0.1) return 'independent';
  if (cosine < 0.5) return 'somewhat aligned';
  return 'aligned';
}
