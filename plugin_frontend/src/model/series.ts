import type { Run } from '../api/schema.gen';
import { type Column, columnsOf } from './columns';
import { AT, STATES, type StateName, stateName, WIDTH } from './statistic';

/** A column's records of one variable, or of its whole gradient. */
export interface Track {
  /** Position in the run's columns. */
  readonly column: number;
  readonly steps: readonly number[];
  readonly states: readonly StateName[];
  readonly norms: readonly number[];
}

/** The columns that have a variable, in the run's order: as `series` answers them. */
export function columnsWith(run: Run, variable: number): number[] {
  return columnsOf(run).flatMap((column, i) => (column.variables.includes(variable) ? [i] : []));
}

/** A run whose steps are those of its clip sites too: a step may hold nothing but clipping. */
export function withClipSteps(run: Run): Run {
  const all = new Set(run.steps);
  for (const { steps } of run.clips) for (const step of steps) all.add(step);
  if (all.size === run.steps.length) return run;
  return { ...run, steps: [...all].sort((a, b) => a - b) };
}

/** Number of floats that `series` must answer. */
export function seriesSize(run: Run, variable: number): number {
  const columns = columnsOf(run);
  const records = columnsWith(run, variable).map((i) => columns[i]?.steps.length ?? 0);
  return records.reduce((total, n) => total + n, 0) * WIDTH;
}

/** What `series` answered, column by column. Records that lack the variable are left out. */
export function tracksOf(run: Run, variable: number, data: Float32Array): Track[] {
  let offset = 0;
  return columnsWith(run, variable).map((column) => {
    const steps: number[] = [];
    const states: StateName[] = [];
    const norms: number[] = [];
    const of = columnsOf(run)[column];
    for (const step of of?.steps ?? []) {
      const state = stateName(data[offset + AT.state] ?? STATES.absent);
      if (state !== 'absent') {
        steps.push(step);
        states.push(forgiven(of, step, state));
        norms.push(data[offset + AT.norm] ?? Number.NaN);
      }
      offset += WIDTH;
    }
    return { column, steps, states, norms };
  });
}

/** What is not finite because the loss scale had overflowed is no fault. */
function forgiven(column: Column | undefined, step: number, state: StateName): StateName {
  const finite = state !== 'nan' && state !== 'inf';
  return finite || !column?.skipped.has(step) ? state : 'skipped';
}

/** What `loss` answers where there is no norm: none of the gradients exists, or no record. */
const ALL_NONE = -1;
const ONLY_TRACED = -2;

/** A column's whole gradient over time, as it was answered. What was only traced is no record. */
export function wholeTrack(run: Run, column: number, data: Float32Array): Track {
  const of = columnsOf(run)[column];
  const all = of?.steps ?? [];
  const kept = all.map((_, i) => i).filter((i) => data[i] !== ONLY_TRACED);
  const found = kept.map((i) => data[i] ?? Number.NaN);
  return {
    column,
    steps: kept.map((i) => all[i] ?? 0),
    states: found.map((norm, i) => forgiven(of, all[kept[i] ?? 0] ?? 0, wholeState(norm))),
    norms: found.map((norm) => (norm < 0 ? Number.NaN : norm)),
  };
}

function wholeState(norm: number): StateName {
  if (Number.isNaN(norm)) return 'nan';
  if (norm === ALL_NONE) return 'none';
  if (norm === Number.POSITIVE_INFINITY) return 'inf';
  return norm === 0 ? 'zero' : 'ok';
}

/** Records with the same state one after another. */
export interface Stretch {
  readonly state: StateName;
  readonly first: number;
  readonly last: number;
  readonly records: number;
}

/** The stretches of a track that are not plain numbers: what a log axis cannot show. */
export function stretches(track: Track): Stretch[] {
  const found: Stretch[] = [];
  let before: StateName = 'ok';
  track.states.forEach((state, i) => {
    const step = track.steps[i] ?? 0;
    const open = found.at(-1);
    if (state !== 'ok') {
      if (open && before === state) {
        found[found.length - 1] = { ...open, last: step, records: open.records + 1 };
      } else found.push({ state, first: step, last: step, records: 1 });
    }
    before = state;
  });
  return found;
}

/** How often each state was met in the records at hand, up to a step. */
export function countStates(track: Track, upTo: number): Partial<Record<StateName, number>> {
  const counts: Partial<Record<StateName, number>> = {};
  track.states.forEach((state, i) => {
    if ((track.steps[i] ?? 0) <= upTo) counts[state] = (counts[state] ?? 0) + 1;
  });
  return counts;
}

/** Tracks on common steps: null where there is no finite norm, undefined where no record. */
export interface Aligned {
  readonly steps: number[];
  readonly values: (number | null | undefined)[][];
}

export function align(
  lines: readonly { steps: readonly number[]; values: readonly number[] }[],
  keep: (value: number) => boolean,
): Aligned {
  const steps = [...new Set(lines.flatMap((line) => line.steps))].sort((a, b) => a - b);
  const position = new Map(steps.map((step, i) => [step, i]));
  const values = lines.map((line) => {
    const row = new Array<number | null | undefined>(steps.length).fill(undefined);
    line.steps.forEach((step, i) => {
      const value = line.values[i] ?? Number.NaN;
      row[position.get(step) as number] = keep(value) ? value : null;
    });
    return row;
  });
  return { steps, values };
}

/** Positions of the values without a line to either side: a chart must draw them as points. */
export function isolated(values: readonly (number | null | undefined)[]): number[] {
  // Where there is no record a line goes on, so only what is recorded counts as a neighbour.
  const recorded = values.flatMap((value, i) => (value === undefined ? [] : [i]));
  return recorded.filter((position, i) => {
    const [before, after] = [recorded[i - 1], recorded[i + 1]];
    const alone = (at: number | undefined) => at === undefined || values[at] === null;
    return values[position] !== null && alone(before) && alone(after);
  });
}

/** Position of the last of some rising steps that is not after `step`, -1 if all are. */
export function lastAtOrBefore(steps: readonly number[], step: number): number {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] as number) <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The first of some rising steps that is not before `step`, else the last. */
export function atOrAfter(steps: readonly number[], step: number): number | undefined {
  return steps[lastAtOrBefore(steps, step - 1) + 1] ?? steps.at(-1);
}

/** The recorded step nearest to any number. */
export function nearest(steps: readonly number[], step: number): number | undefined {
  const before = steps[lastAtOrBefore(steps, step)];
  const after = steps[lastAtOrBefore(steps, step) + 1];
  if (before === undefined) return after;
  if (after === undefined) return before;
  return step - before <= after - step ? before : after;
}
