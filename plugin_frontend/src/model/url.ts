import type { Sort, SortBy } from './order';
import { type Changed, fromText, toText } from './thresholds';

/** What a link to the page remembers, by names: positions change as a run grows. */
export interface Linked {
  readonly run: string;
  /** null: the newest, as it comes. */
  readonly step: number | null;
  readonly tab: Tab;
  readonly filter: string;
  readonly sortBy: SortBy;
  /** Id of the column that `norm` sorts by, empty for any. */
  readonly sortLoss: string;
  readonly selection: Selection | null;
  readonly pair: Pair | null;
  readonly thresholds: Changed;
}

/** In the order of the page. */
export const TABS = [
  'matrix',
  'findings',
  'clipping',
  'updates',
  'conflicts',
  'missing',
  'nonfinite',
] as const;
export type Tab = (typeof TABS)[number];

/** What the detail panel is about: one of the two may be empty, meaning all. */
export interface Selection {
  readonly variable: string;
  /** Id of a column. */
  readonly loss: string;
}

/** Two losses, by their ids. */
export interface Pair {
  readonly one: string;
  readonly other: string;
}

export const KEYS = [
  'run',
  'step',
  'tab',
  'filter',
  'sort',
  'by',
  'variable',
  'loss',
  'pair',
  'with',
  'thresholds',
] as const;

const SORTS: readonly string[] = ['model', 'name', 'norm', 'worst'] satisfies Sort['by'][];

/** Reads a link; whatever makes no sense is as if it were not there. */
export function fromUrl(given: Record<string, string>): Linked {
  const step = given.step && /^-?\d{1,15}$/.test(given.step) ? Number(given.step) : null;
  const { variable = '', loss = '', pair: one = '', with: other = '' } = given;
  return {
    run: given.run ?? '',
    step,
    tab: TABS.find((tab) => tab === given.tab) ?? 'matrix',
    filter: given.filter ?? '',
    sortBy: SORTS.includes(given.sort ?? '') ? (given.sort as SortBy) : 'model',
    sortLoss: given.by ?? '',
    selection: variable || loss ? { variable, loss } : null,
    pair: one && other ? { one, other } : null,
    thresholds: fromText(given.thresholds ?? ''),
  };
}

/** The opposite. What is as it would be anyway stays out of the link. */
export function toUrl(linked: Linked): Record<string, string> {
  return {
    run: linked.run,
    step: linked.step === null ? '' : String(linked.step),
    tab: linked.tab === 'matrix' ? '' : linked.tab,
    filter: linked.filter,
    sort: linked.sortBy === 'model' ? '' : linked.sortBy,
    by: linked.sortBy === 'norm' ? linked.sortLoss : '',
    variable: linked.selection?.variable ?? '',
    loss: linked.selection?.loss ?? '',
    pair: linked.pair?.one ?? '',
    with: linked.pair?.other ?? '',
    thresholds: toText(linked.thresholds),
  };
}
