import type { Run, Variable } from '../api/schema.gen';
import { columnsOf } from './columns';
import type { Frame } from './frame';
import { NOT_COUNTED, NOT_MEASURED, whyNot } from './measured';
import { STATE_SIGN, STATE_WORDS, type StateName, type StatisticName } from './statistic';
import { count, precise, short } from './text';

/** What the page says of one cell of the matrix, in signs and in sentences. */

/** The sign in the cell: a norm, or the state where there is none. */
export function sign(state: StateName, norm: number): string {
  return state === 'ok' ? short(norm) : STATE_SIGN[state];
}

/** The same where there is room for all digits. */
export function reading(state: StateName, norm: number): string {
  return state === 'ok' ? precise(norm) : STATE_SIGN[state];
}

/** How a sentence says a cell's state. What was asked for but only traced is not "not asked". */
export function stateWords(run: Run, column: number, variable: number, state: StateName): string {
  const of = columnsOf(run)[column];
  const traced = state === 'absent' && of?.tracedOnly && of.variables.includes(variable);
  return traced ? ONLY_TRACED : STATE_WORDS[state];
}

export const ONLY_TRACED = 'only tracing was seen';

/** The sentence a screen reader says. */
export function spoken(
  column: string,
  variable: string,
  state: StateName,
  norm: number,
  asOf?: number,
  stateSaid = STATE_WORDS[state],
): string {
  // What is written in the cell is part of what is said: that is how voice control finds it.
  const words = state === 'zero' ? `0, ${stateSaid}` : stateSaid;
  const what = state === 'ok' ? `norm ${short(norm)}` : words;
  const when = asOf === undefined ? '' : `, as of step ${count(asOf)}`;
  return `${column}, ${variable}: ${what}${when}`;
}

/** Step of the record that a cell shows, undefined where it shows none. */
export function shownStep(run: Run, frame: Frame, column: number, variable: number) {
  return columnsOf(run)[column]?.steps[frame.record(column, variable)];
}

/** A statistic as a line of text. */
export interface Line {
  readonly name: string;
  readonly value: string;
  /** What is wrong with it, in a sentence; empty where nothing is. */
  readonly bad: string;
  /** Why there is no number; empty where there is one. */
  readonly why: string;
}

/** The statistics that are worth a line. */
export function statistics(run: Run, frame: Frame, column: number, variable: number): Line[] {
  const of = columnsOf(run)[column];
  const state = frame.state(column, variable);
  const value = (name: StatisticName) => frame.statistic(column, variable, name);
  const said = (name: StatisticName, say: (value: number) => string = precise) =>
    frame.isMeasured(column, variable, name) ? say(value(name)) : NOT_MEASURED;
  // Not finite, and nothing that makes it so.
  const uncounted =
    (state === 'nan' || state === 'skipped') && value('nan_count') + value('inf_count') === 0;
  const counted = (name: StatisticName) => (uncounted ? NOT_COUNTED : elements(value(name)));
  const lines: [string, string, string?][] = [];
  if (state !== 'none' && state !== 'absent') {
    lines.push(
      ['L2 norm', precise(value('norm'))],
      ['largest magnitude', said('max_abs')],
      ['mean', said('mean')],
      ['standard deviation', said('std')],
      ['exact zeros', said('zero_fraction', fraction)],
      ['NaN elements', counted('nan_count')],
      ['Inf elements', counted('inf_count')],
    );
  }
  if (!of?.tracedOnly && state !== 'absent' && hasNorm(run.variables[variable])) {
    const variableNorm = value('variable_norm');
    const text = said('variable_norm');
    lines.push(['norm of the variable', text, text === NOT_MEASURED ? '' : sick(variableNorm)]);
    const ratio = value('norm') / variableNorm;
    if (state === 'ok' && Number.isFinite(ratio)) {
      lines.push(['gradient / variable', precise(ratio)]);
    }
  }
  const scale = of?.lossScales[frame.record(column, variable)];
  if (scale !== undefined && state !== 'absent') {
    lines.push(['loss scale, divided out', scale < 0 ? '–' : count(scale)]);
  }
  return lines.map(([name, text, bad = '']) => ({ name, value: text, bad, why: whyNot(text) }));
}

/** Whether a variable's own norm is recorded: NaN else stands for none. */
function hasNorm(variable: Variable | undefined): boolean {
  return variable?.kind === 'variable' && /float|complex/.test(variable.dtype);
}

function sick(norm: number): string {
  if (Number.isNaN(norm)) return 'the weights themselves are NaN';
  return Number.isFinite(norm) ? '' : 'the weights themselves are infinite';
}

function fraction(value: number): string {
  return Number.isNaN(value) ? '–' : `${Number((value * 100).toPrecision(3))} %`;
}

function elements(value: number): string {
  return Number.isNaN(value) ? '–' : count(value);
}

/** The states a cell went through, as "None 12, NaN 1 of 40 records". */
export function stateCounts(counts: Partial<Record<StateName, number>>): string {
  const names: [StateName, string][] = [
    ['none', 'None'],
    ['zero', 'zero'],
    ['nan', 'NaN'],
    ['inf', 'Inf'],
    ['skipped', 'skipped (loss scale)'],
  ];
  const all = Object.values(counts).reduce((total, n) => total + n, 0);
  const ailing = names.flatMap(([state, word]) =>
    counts[state] ? [`${word} ${count(counts[state])}`] : [],
  );
  const of = `${count(all)} ${all === 1 ? 'record' : 'records'} shown so far`;
  return ailing.length > 0 ? `${ailing.join(', ')} of ${of}` : `fine in all ${of}`;
}
