import type { Run } from '../api/schema.gen';
import { columnsOf } from './columns';
import { Measured } from './measured';
import {
  AT,
  PLANES,
  SKIPPED,
  STATES,
  type StateName,
  type StatisticName,
  stateName,
} from './statistic';

const NORM = AT.norm;
const STATE = AT.state;

/** The matrix at one step: what `matrix` answered, with names instead of offsets. */
export class Frame {
  private readonly measured: Measured;

  constructor(
    readonly step: number,
    readonly columns: number,
    readonly variables: number,
    /** float32 `[column, variable, PLANES]`. */
    readonly data: Float32Array,
  ) {
    this.measured = new Measured(data);
  }

  /** Number of floats that `matrix` must answer. */
  static size(columns: number, variables: number): number {
    return columns * variables * PLANES;
  }

  /** What `matrix` answered of a run; what an optimizer skipped is marked as such. */
  static of(run: Run, step: number, data: Float32Array): Frame {
    const columns = columnsOf(run);
    const variables = run.variables.length;
    columns.forEach(({ skipped, steps }, column) => {
      if (skipped.size === 0) return;
      for (let variable = 0; variable < variables; variable++) {
        const at = (column * variables + variable) * PLANES;
        const state = data[at + STATE];
        if (state !== STATES.nan && state !== STATES.inf) continue;
        if (skipped.has(steps[data[at + PLANES - 1] ?? -1] ?? Number.NaN)) {
          data[at + STATE] = SKIPPED;
        }
      }
    });
    return new Frame(step, columns.length, variables, data);
  }

  state(column: number, variable: number): StateName {
    return stateName(this.stateNumber(column, variable));
  }

  stateNumber(column: number, variable: number): number {
    return this.data[this.offset(column, variable) + STATE] ?? STATES.absent;
  }

  norm(column: number, variable: number): number {
    return this.data[this.offset(column, variable) + NORM] ?? Number.NaN;
  }

  statistic(column: number, variable: number, name: StatisticName): number {
    return this.data[this.offset(column, variable) + AT[name]] ?? Number.NaN;
  }

  /** Whether a statistic was measured: NaN then is what it is. */
  isMeasured(column: number, variable: number, name: StatisticName): boolean {
    return this.measured.has(this.offset(column, variable) + AT[name]);
  }

  /** Position of the record shown in the column's steps, -1 if there is none. */
  record(column: number, variable: number): number {
    return this.data[this.offset(column, variable) + PLANES - 1] ?? -1;
  }

  /** A column's whole gradient: state and L2 norm over all variables. */
  total(column: number): { state: StateName; norm: number } {
    let squares = 0;
    let present = false;
    let anyNone = false;
    let anyNan = false;
    let anyInf = false;
    let anySkipped = false;
    for (let variable = 0; variable < this.variables; variable++) {
      const state = this.stateNumber(column, variable);
      if (state === STATES.ok) {
        const norm = this.norm(column, variable);
        squares += norm * norm;
        present = true;
      } else if (state === STATES.zero) present = true;
      else if (state === STATES.nan) anyNan = true;
      else if (state === STATES.inf) anyInf = true;
      else if (state === SKIPPED) anySkipped = true;
      else if (state === STATES.none) anyNone = true;
    }
    if (anyNan) return { state: 'nan', norm: Number.NaN };
    if (anyInf) return { state: 'inf', norm: Number.POSITIVE_INFINITY };
    if (anySkipped) return { state: 'skipped', norm: Number.NaN };
    if (!present) return { state: anyNone ? 'none' : 'absent', norm: Number.NaN };
    return { state: squares > 0 ? 'ok' : 'zero', norm: Math.sqrt(squares) };
  }

  private offset(column: number, variable: number): number {
    return (column * this.variables + variable) * PLANES;
  }
}
