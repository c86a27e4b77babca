import type { Clip, Label, Loss, Run, Variable } from '../api/schema.gen';
import { Frame } from './frame';
import { AT, PLANES, STATES, type StateName } from './statistic';

/** Small runs for tests. Not imported by the page, hence not in the bundle. */

export const LABEL: Label = {
  stage: 'raw',
  batch: 'whole',
  replicas: 1,
  replica: -1,
  sparse: false,
  step_source: 'user',
  text: 'raw gradient, before clipping',
};

export type Cell = number | StateName;

/** A frame from `[loss][variable]`: a norm, or a state. */
export function makeFrame(cells: Cell[][], step = 0, record = 0): Frame {
  const variables = cells[0]?.length ?? 0;
  const data = new Float32Array(Frame.size(cells.length, variables)).fill(Number.NaN);
  cells.flat().forEach((cell, i) => {
    const state = typeof cell === 'number' ? 'ok' : cell;
    data[i * PLANES + AT.state] = STATES[state];
    data[i * PLANES + PLANES - 1] = state === 'absent' ? -1 : record;
    if (typeof cell === 'number') data[i * PLANES + AT.norm] = cell;
    if (state === 'zero') data[i * PLANES + AT.norm] = 0;
    if (state === 'inf') data[i * PLANES + AT.norm] = Number.POSITIVE_INFINITY;
  });
  return new Frame(step, cells.length, variables, data);
}

export function makeVariable(name: string, shape: number[] = [2, 3]): Variable {
  return {
    name,
    layer: name.includes('/') ? name.slice(0, name.lastIndexOf('/')) : '',
    dtype: 'float32',
    shape,
    kind: 'variable',
    trainable: true,
    size: shape.reduce((a, b) => a * b, 1),
  };
}

export function makeLoss(name: string, variables: number[], steps: number[]): Loss {
  return {
    name,
    where: null,
    label: LABEL,
    variables,
    steps,
    calls: steps.map((_, i) => i + 1),
    records: steps.length,
    traced_only: false,
  };
}

export function makeClip(given: Partial<Clip>): Clip {
  return {
    name: 'clip',
    method: 'global_norm',
    after: '',
    where: null,
    label: LABEL,
    variables: ['w1', 'w2'],
    steps: [0],
    calls: [1],
    clipped: [0],
    nonfinite: [0],
    ...given,
  };
}

export function makeRun(names: string[], losses: string[], steps: number[] = [0]): Run {
  return {
    name: 'train',
    token: 't',
    statistics: Object.keys(AT),
    steps,
    losses: losses.map((loss) =>
      makeLoss(
        loss,
        names.map((_, i) => i),
        steps,
      ),
    ),
    variables: names.map((name) => makeVariable(name)),
    clips: [],
    missing: [],
    nonfinite: [],
    problems: [],
  };
}
