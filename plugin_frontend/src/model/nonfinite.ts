import type { Nonfinite } from '../api/schema.gen';
import { STATE_SHORT } from './statistic';
import { count } from './text';

/** When gradients stopped being finite, as the page says it. Pure. */

/** "first NaN at", or "first NaN seen at" where earlier ones may have gone unseen. */
export function firstWords({ state, exact }: Pick<Nonfinite, 'state' | 'exact'>): string {
  return `first ${STATE_SHORT[state]} ${exact ? '' : 'seen '}at`;
}

/** "first NaN seen at step 37" */
export function sayFirst(entry: Nonfinite): string {
  return `${firstWords(entry)} step ${count(entry.first_step)}`;
}

/** What of a run is about one gradient: of one loss, or with an empty name of any. */
export function about(list: readonly Nonfinite[], loss: string, variable: string): Nonfinite[] {
  return list.filter(
    (entry) => (loss === '' || entry.loss === loss) && entry.variables.includes(variable),
  );
}

/** The first that went wrong of each loss's whole gradient, by state. */
export function firsts(list: readonly Nonfinite[]): Nonfinite[] {
  const found = new Map<string, Nonfinite>();
  for (const entry of list) {
    const key = JSON.stringify([entry.loss, entry.state]);
    const known = found.get(key);
    if (!known || entry.first_step < known.first_step) found.set(key, entry);
  }
  return [...found.values()];
}

/** Words before each step that is worth going to. */
export function spots({ pattern, first_step: first, last_step: last }: Nonfinite) {
  const spot = (words: string, step: number) => ({ words, step });
  if (pattern === 'once' || first === last) return [spot('once, at', first)];
  if (pattern === 'on_and_off') return [spot('on and off, first at', first), spot('last at', last)];
  if (pattern === 'always') return [spot('always, since', first)];
  return [spot('ever since', first)];
}

/** How often, of how many times that somebody asked. */
export function howOften({ count: often, asked }: Nonfinite): string {
  return `${count(often)} of ${count(asked)}`;
}
