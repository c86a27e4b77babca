import { STATES, STATISTICS } from '../api/schema.gen';

export { STATES };

/** `skipped` is the page's own: NaN or Inf that was only an overflow of the loss scale. */
export type StateName = keyof typeof STATES | 'skipped';
export type StatisticName = (typeof STATISTICS)[number];

/** Numbers per (loss, variable) in the matrix: the statistics and a record's position. */
export const PLANES = STATISTICS.length + 1;
export const WIDTH = STATISTICS.length;

/** By number, from -1 on. An array, since it is asked for every cell at every step. */
const NAMES: StateName[] = [];
for (const [name, value] of Object.entries(STATES)) NAMES[value + 1] = name as StateName;

/** Stands in a frame where a state would. */
export const SKIPPED = 31;
NAMES[SKIPPED + 1] = 'skipped';

/** Position of a statistic on the last axis. */
export const AT = Object.fromEntries(STATISTICS.map((name, i) => [name, i])) as Record<
  StatisticName,
  number
>;

/** A state this page does not know (a newer recorder's) counts as absent. */
export function stateName(value: number): StateName {
  return NAMES[value + 1] ?? 'absent';
}

/** From harmless to worst; what "worst state first" sorts by. */
const SEVERITY: Record<StateName, number> = {
  absent: 0,
  ok: 1,
  skipped: 0,
  zero: 2,
  none: 3,
  inf: 4,
  nan: 5,
};

export function severity(state: StateName): number {
  return SEVERITY[state];
}

/** The states worth a mark, worst first. */
export const AILING: readonly StateName[] = ['nan', 'inf', 'none', 'zero'];

/** What a cell shows where there is no norm to show. */
export const STATE_SIGN: Record<StateName, string> = {
  absent: '·',
  ok: '',
  none: 'None',
  zero: '0',
  nan: 'NaN',
  inf: '∞',
  skipped: 'skip',
};

/** How a sentence says the state. */
export const STATE_WORDS: Record<StateName, string> = {
  absent: 'not asked',
  ok: 'finite',
  none: 'None: no gradient reaches it',
  zero: 'all elements exactly zero',
  nan: 'contains NaN',
  inf: 'contains infinity',
  skipped: 'skipped step: the loss scale had overflowed',
};

/** One word, for legends and tables. */
export const STATE_SHORT: Record<StateName, string> = {
  absent: 'not asked',
  ok: 'ok',
  none: 'None',
  zero: 'zero',
  nan: 'NaN',
  inf: 'Inf',
  skipped: 'skipped step',
};
