import type { Optimizer } from '../api/schema.gen';
import { Measured, NOT_MEASURED } from './measured';
import { lastAtOrBefore } from './series';
import { count, counted } from './text';

/** What an optimizer made of the gradients that reached it. Pure. */

/**
 * About what an update is of the variable's norm where a training goes well.
 *
 * A rule of thumb: "This ratio should be somewhere around 1e-3", CS231n of Stanford University.
 */
export const USUAL = 1e-3;
export const USUAL_TEXT = '1e-3';
export const USUAL_SOURCE = 'https://cs231n.github.io/neural-networks-3/#ratio';

/** What `optimizer` answers, with names instead of offsets. */
export class UpdateNumbers {
  private readonly records: number;
  private readonly variables: number;
  private readonly skipped: ReadonlySet<number>;
  private readonly measured: Measured;
  private found: readonly number[] | undefined;

  constructor(
    readonly optimizer: Optimizer,
    readonly data: Float32Array,
  ) {
    this.records = optimizer.steps.length;
    this.skipped = new Set(optimizer.skipped_steps);
    this.variables = optimizer.variables.length;
    this.measured = new Measured(data);
  }

  static size({ steps, variables }: Optimizer): number {
    return steps.length * 2 + steps.length * variables.length * 2;
  }

  lossScale(record: number): number {
    return this.data[record * 2] ?? Number.NaN;
  }

  learningRate(record: number): number {
    return this.data[record * 2 + 1] ?? Number.NaN;
  }

  /** L2 norm of what was added to a variable. */
  update(record: number, variable: number): number {
    return this.data[this.at(record, variable)] ?? Number.NaN;
  }

  /** L2 norm of a variable before the update. */
  norm(record: number, variable: number): number {
    return this.data[this.at(record, variable) + 1] ?? Number.NaN;
  }

  /** Update to variable; NaN where either is not known, or the variable is nothing but zeros. */
  ratio(record: number, variable: number): number {
    const norm = this.norm(record, variable);
    return norm > 0 ? this.update(record, variable) / norm : Number.NaN;
  }

  /** Whether update and norm of a variable were measured: both, or neither. */
  isMeasured(record: number, variable: number): boolean {
    return this.measured.has(this.at(record, variable) + 1);
  }

  /** Whether those of all were. */
  allMeasured(record: number): boolean {
    for (let variable = 0; variable < this.variables; variable++) {
      if (!this.isMeasured(record, variable)) return false;
    }
    return true;
  }

  /** Why a step has no ratio above zero: of a variable, or of all (-1). */
  sayNone(step: number, variable: number): string {
    if (this.skipped.has(step)) return 'skipped';
    const record = this.optimizer.steps.indexOf(step);
    const measured = variable < 0 ? this.allMeasured(record) : this.isMeasured(record, variable);
    return measured ? 'no update' : NOT_MEASURED;
  }

  /** Whether any update was made: not where it was left out. */
  applied(record: number): boolean {
    if (this.skipped.has(this.optimizer.steps[record] ?? Number.NaN)) return false;
    for (let variable = 0; variable < this.variables; variable++) {
      if (this.update(record, variable) > 0) return true;
    }
    return false;
  }

  /** The last record at or before a step at which an update was made, else -1. */
  lastApplied(step: number): number {
    let record = lastAtOrBefore(this.optimizer.steps, step);
    while (record >= 0 && !this.applied(record)) record--;
    return record;
  }

  /**
   * The ratio of each record that has as many above as below it; found once. NaN where
   * large variables were not measured: the others are not all.
   */
  medians(): readonly number[] {
    this.found ??= this.optimizer.steps.map((_, record) => this.median(record));
    return this.found;
  }

  private median(record: number): number {
    if (!this.allMeasured(record)) return Number.NaN;
    const ratios = new Float64Array(this.variables);
    let known = 0;
    for (let variable = 0; variable < this.variables; variable++) {
      const ratio = this.ratio(record, variable);
      if (ratio > 0 && ratio < Number.POSITIVE_INFINITY) ratios[known++] = ratio;
    }
    if (known === 0) return Number.NaN;
    const sorted = ratios.subarray(0, known).sort();
    const [low, high] = [sorted[(known - 1) >> 1] ?? 0, sorted[known >> 1] ?? 0];
    return (low + high) / 2;
  }

  private at(record: number, variable: number): number {
    return this.records * 2 + (record * this.variables + variable) * 2;
  }
}

export interface RatioRow {
  /** Position in the optimizer's variables. */
  readonly variable: number;
  readonly ratio: number;
  readonly update: number;
  readonly norm: number;
  /** Whether update and norm were measured; else both are NaN. */
  readonly measured: boolean;
}

/** All variables of a record, the farthest from the usual ratio first; the unknown last. */
export function ratioRows(numbers: UpdateNumbers, record: number): RatioRow[] {
  const far = ({ ratio }: RatioRow) => {
    if (Number.isNaN(ratio)) return -1;
    return ratio > 0 ? Math.abs(Math.log10(ratio / USUAL)) : Number.POSITIVE_INFINITY;
  };
  return numbers.optimizer.variables
    .map((_, variable) => ({
      variable,
      ratio: numbers.ratio(record, variable),
      update: numbers.update(record, variable),
      norm: numbers.norm(record, variable),
      measured: numbers.isMeasured(record, variable),
    }))
    .sort((a, b) => {
      const [x, y] = [far(a), far(b)];
      return x === y ? a.variable - b.variable : y - x;
    });
}

/** What a ratio that is no plain number stands for. */
export function sayRatio({ ratio, update, norm, measured }: RatioRow): string {
  if (!measured) return NOT_MEASURED;
  if (ratio === 0) return 'no update';
  if (!Number.isNaN(ratio)) return '';
  if (norm === 0) return update > 0 ? 'the variable was all zeros' : 'all zeros';
  return 'not known';
}

/** "Up to step 999: 988 updates applied, 12 skipped because the loss scale had overflowed" */
export function sayApplied(optimizer: Optimizer): string {
  const applied = optimizer.applied.at(-1) ?? 0;
  const skipped = optimizer.skipped.at(-1) ?? 0;
  const last = optimizer.steps.at(-1);
  const until = last === undefined ? '' : `Up to step ${count(last)}: `;
  const parts = [`${until}${counted(applied, 'update')} applied`];
  if (skipped > 0 || optimizer.has_loss_scale) {
    const known = optimizer.skipped_steps.length;
    // Those between two records are counted, but nobody has noted when they were.
    const when = known < skipped ? ` (the steps of ${count(known)} are known)` : '';
    parts.push(`${count(skipped)} skipped because the loss scale had overflowed${when}`);
  }
  return parts.join(', ');
}

/** What tells an optimizer from another: "4 variables of generator". */
export function sayVariables(names: readonly string[]): string {
  const layers = names.map((name) => name.split('/').slice(0, -1));
  const [first = []] = layers;
  const differs = first.findIndex((part, i) => layers.some((layer) => layer[i] !== part));
  const common = first.slice(0, differs < 0 ? first.length : differs).join('/');
  return counted(names.length, 'variable') + (common && ` of ${common}`);
}

/** Position of a ratio on an axis of decades around the usual one, 0 to 1. */
export function gauge(ratio: number): number {
  if (!(ratio > 0)) return ratio === 0 ? 0 : Number.NaN;
  return Math.min(
    1,
    Math.max(0, (Math.log10(ratio / USUAL) + GAUGE_DECADES) / (2 * GAUGE_DECADES)),
  );
}

export const GAUGE_DECADES = 3;
