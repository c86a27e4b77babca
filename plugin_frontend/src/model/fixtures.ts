import {
  type Clip,
  type Finding,
  type Label,
  type Loss,
  type Optimizer,
  type Run,
  UNMEASURED,
  type Variable,
} from '../api/schema.gen';
import { Frame } from './frame';
import type { Source } from './source';
import { AT, PLANES, SKIPPED, STATES, type StateName } from './statistic';

/** Small runs for tests. Not imported by the page, hence not in the bundle. */

export const LABEL: Label = {
  stage: 'raw',
  batch: 'whole',
  replicas: 1,
  replica: -1,
  sparse: false,
  step_source: 'user',
  text: 'raw, before clipping',
  subtitle: '',
};

export type Cell = number | StateName;

/** A frame from `[column][variable]`: a norm, or a state. */
export function makeFrame(cells: Cell[][], step = 0, record = 0): Frame {
  const variables = cells[0]?.length ?? 0;
  const data = new Float32Array(Frame.size(cells.length, variables)).fill(Number.NaN);
  cells.flat().forEach((cell, i) => {
    const state = typeof cell === 'number' ? 'ok' : cell;
    data[i * PLANES + AT.state] = state === 'skipped' ? SKIPPED : STATES[state];
    data[i * PLANES + PLANES - 1] = state === 'absent' ? -1 : record;
    if (typeof cell === 'number') data[i * PLANES + AT.norm] = cell;
    if (state === 'zero') data[i * PLANES + AT.norm] = 0;
    if (state === 'inf') data[i * PLANES + AT.norm] = Number.POSITIVE_INFINITY;
  });
  return new Frame(step, cells.length, variables, data);
}

/** Puts what stands for "not measured" at some positions of an answer. */
export function unmeasure(data: Float32Array, positions: readonly number[]): void {
  // As bits: a NaN that is written as a number may become another one.
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (const position of positions) bits[position] = UNMEASURED;
}

/** The statistics that are not measured where only the norm is. */
export const BESIDE_NORM = [
  AT.max_abs,
  AT.mean,
  AT.std,
  AT.zero_fraction,
  AT.variable_norm,
] as const;

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
    id: name,
    name,
    part_of: '',
    total: -1,
    where: null,
    label: LABEL,
    variables,
    steps,
    calls: steps.map((_, i) => i + 1),
    records: steps.length,
    traced_only: false,
    watched: false,
    nonfinite: 0,
    loss_scales: [],
    skipped_steps: [],
  };
}

export function makeOptimizer(given: Partial<Optimizer>): Optimizer {
  const steps = given.steps ?? [0];
  return {
    id: 'adam',
    name: 'adam',
    class_name: 'Adam',
    where: null,
    label: LABEL,
    accumulation: 1,
    has_loss_scale: false,
    variables: [0, 1],
    steps,
    calls: steps.map((_, i) => i + 1),
    applied: steps.map((_, i) => i + 1),
    skipped: steps.map(() => 0),
    skipped_steps: [],
    ...given,
  };
}

export function makeClip(given: Partial<Clip>): Clip {
  return {
    id: given.name ?? 'clip',
    name: 'clip',
    method: 'global_norm',
    after: '',
    where: null,
    label: { ...LABEL, text: '' },
    variables: ['w1', 'w2'],
    steps: [0],
    calls: [1],
    clipped: [0],
    nonfinite: [0],
    counts_every_call: true,
    ...given,
  };
}

export function makeFinding(given: Partial<Finding>): Finding {
  return {
    severity: 'warning',
    kind: 'none',
    cause: '',
    loss: 'loss',
    other_loss: '',
    variables: ['w'],
    first_step: 0,
    last_step: 0,
    message: 'Something is wrong.',
    advice: 'Mend it.',
    where: null,
    op: '',
    threshold: '',
    limit: '',
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
    optimizers: [],
    cosines: [],
    missing: [],
    nonfinite: [],
    overflows: [],
    marks: [],
    problems: [],
  };
}

/** A source that answers nothing but what it is given. */
export function makeSource(given: Partial<Source> = {}): Source {
  const never = () => Promise.reject(new Error('not asked for here'));
  return {
    index: never,
    run: never,
    findings: never,
    matrix: never,
    tracks: async () => [],
    wholeTracks: async () => [],
    clip: never,
    optimizer: never,
    cosines: never,
    cosine: never,
    ...given,
  };
}
