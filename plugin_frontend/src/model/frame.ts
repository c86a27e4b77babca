import { AT, PLANES, STATES, type StateName, type StatisticName, stateName } from './statistic';

const NORM = AT.norm;
const STATE = AT.state;

/** The matrix at one step: what `matrix` answered, with names instead of offsets. */
export class Frame {
  constructor(
    readonly step: number,
    readonly losses: number,
    readonly variables: number,
    /** float32 `[loss, variable, PLANES]`. */
    readonly data: Float32Array,
  ) {}

  /** Number of floats that `matrix` must answer. */
  static size(losses: number, variables: number): number {
    return losses * variables * PLANES;
  }

  state(loss: number, variable: number): StateName {
    return stateName(this.stateNumber(loss, variable));
  }

  stateNumber(loss: number, variable: number): number {
    return this.data[this.offset(loss, variable) + STATE] ?? STATES.absent;
  }

  norm(loss: number, variable: number): number {
    return this.data[this.offset(loss, variable) + NORM] ?? Number.NaN;
  }

  statistic(loss: number, variable: number, name: StatisticName): number {
    return this.data[this.offset(loss, variable) + AT[name]] ?? Number.NaN;
  }

  /** Position of the record shown in the loss's steps, -1 if there is none. */
  record(loss: number, variable: number): number {
    return this.data[this.offset(loss, variable) + PLANES - 1] ?? -1;
  }

  /** A loss's whole gradient: state and L2 norm over all variables. */
  total(loss: number): { state: StateName; norm: number } {
    let squares = 0;
    let present = false;
    let anyNone = false;
    let anyNan = false;
    let anyInf = false;
    for (let variable = 0; variable < this.variables; variable++) {
      const state = this.stateNumber(loss, variable);
      if (state === STATES.ok) {
        const norm = this.norm(loss, variable);
        squares += norm * norm;
        present = true;
      } else if (state === STATES.zero) present = true;
      else if (state === STATES.nan) anyNan = true;
      else if (state === STATES.inf) anyInf = true;
      else if (state === STATES.none) anyNone = true;
    }
    if (anyNan) return { state: 'nan', norm: Number.NaN };
    if (anyInf) return { state: 'inf', norm: Number.POSITIVE_INFINITY };
    if (!present) return { state: anyNone ? 'none' : 'absent', norm: Number.NaN };
    return { state: squares > 0 ? 'ok' : 'zero', norm: Math.sqrt(squares) };
  }

  private offset(loss: number, variable: number): number {
    return (loss * this.variables + variable) * PLANES;
  }
}
