import { describe, expect, it } from 'vitest';
import { makeClip, makeLoss, makeOptimizer, makeRun } from './fixtures';
import {
  align,
  atOrAfter,
  countStates,
  isolated,
  lastAtOrBefore,
  nearest,
  seriesSize,
  stretches,
  type Track,
  tracksOf,
  wholeTrack,
  withClipSteps,
} from './series';
import { SKIPPED, STATES, type StateName, WIDTH } from './statistic';

function numbers(cells: [StateName, number][]): Float32Array {
  const data = new Float32Array(cells.length * WIDTH).fill(Number.NaN);
  cells.forEach(([state, norm], i) => {
    data[i * WIDTH] = state === 'skipped' ? SKIPPED : STATES[state];
    data[i * WIDTH + 1] = norm;
  });
  return data;
}

const TRACK: Track = {
  column: 0,
  steps: [0, 10, 20, 30, 40, 50],
  states: ['none', 'none', 'ok', 'nan', 'ok', 'none'],
  norms: [Number.NaN, Number.NaN, 1, Number.NaN, 2, Number.NaN],
};

describe('tracksOf', () => {
  it('leaves out losses without the variable and records that lack it', () => {
    const run = makeRun(['w1', 'w2'], ['a', 'b'], [0, 1, 2]);
    run.losses = [makeLoss('a', [0, 1], [0, 2]), makeLoss('b', [0], [0, 1, 2])];
    const data = numbers([
      ['ok', 1],
      ['absent', 0],
      ['none', 0],
      ['ok', 4],
      ['inf', 5],
    ]);
    expect(seriesSize(run, 0)).toBe(data.length);
    expect(seriesSize(run, 1)).toBe(2 * WIDTH);
    const tracks = tracksOf(run, 0, data);
    expect(tracks.map((track) => [track.steps, track.states])).toEqual([
      [[0], ['ok']],
      [
        [0, 1, 2],
        ['none', 'ok', 'inf'],
      ],
    ]);
  });
});

describe('a loss with skipped steps', () => {
  const run = makeRun(['w'], ['a'], [0, 1, 2]);
  Object.assign(run.losses[0] ?? {}, { skipped_steps: [1] });
  run.optimizers = [makeOptimizer({ variables: [0], steps: [1, 2], skipped_steps: [1] })];

  it('calls NaN and Inf there no fault', () => {
    const data = numbers([
      ['inf', 0],
      ['inf', 0],
      ['nan', 0],
      ['inf', 0],
      ['ok', 2],
    ]);
    expect(seriesSize(run, 0)).toBe(data.length);
    expect(tracksOf(run, 0, data).map((track) => [track.column, track.states])).toEqual([
      [0, ['inf', 'skipped', 'nan']],
      [1, ['skipped', 'ok']],
    ]);
    const whole = new Float32Array([1, Number.NaN, Number.NaN]);
    expect(wholeTrack(run, 0, whole).states).toEqual(['ok', 'skipped', 'nan']);
  });
});

it('counts steps that hold nothing but clipping', () => {
  const run = makeRun(['w'], ['a'], [0, 10]);
  expect(withClipSteps(run)).toBe(run);
  run.clips = [makeClip({ steps: [5, 10, 100] })];
  expect(withClipSteps(run).steps).toEqual([0, 5, 10, 100]);
});

it('knows the state of a whole gradient by its norm', () => {
  const run = makeRun(['w'], ['a'], [0, 1, 2, 3, 4]);
  const data = new Float32Array([1, 0, Number.NaN, Number.POSITIVE_INFINITY, -1]);
  const track = wholeTrack(run, 0, data);
  expect(track.states).toEqual(['ok', 'zero', 'nan', 'inf', 'none']);
  expect(track.norms[4]).toBeNaN();
});

it('takes tracing for no record of a whole gradient', () => {
  const run = makeRun(['w'], ['a'], [7]);
  const nothing = { steps: [], states: [], norms: [] };
  expect(wholeTrack(run, 0, new Float32Array([-2]))).toMatchObject(nothing);
});

it('joins equal states to stretches', () => {
  expect(stretches(TRACK)).toEqual([
    { state: 'none', first: 0, last: 10, records: 2 },
    { state: 'nan', first: 30, last: 30, records: 1 },
    { state: 'none', first: 50, last: 50, records: 1 },
  ]);
});

it('counts states up to a step', () => {
  expect(countStates(TRACK, 30)).toEqual({ none: 2, ok: 1, nan: 1 });
});

it('tells "no finite norm" from "no record"', () => {
  const found = align(
    [
      { steps: [0, 2], values: [1, 0] },
      { steps: [1], values: [5] },
    ],
    (value) => value > 0,
  );
  expect(found.steps).toEqual([0, 1, 2]);
  expect(found.values).toEqual([
    [1, undefined, null],
    [undefined, 5, undefined],
  ]);
});

it('finds the values that no line goes through', () => {
  const gap = undefined;
  expect(isolated([1, null, 2, null, 3, 4])).toEqual([0, 2]);
  expect(isolated([null, gap, 1, gap, null])).toEqual([2]);
  expect(isolated([1, gap, 2, gap, null, gap, 3])).toEqual([6]);
  expect(isolated([null, null])).toEqual([]);
});

it('finds where something began, or the next record that was kept', () => {
  expect([0, 1, 10, 11, 21].map((step) => atOrAfter([0, 10, 20], step))).toEqual([
    0, 10, 10, 20, 20,
  ]);
});

it('finds steps', () => {
  const steps = [0, 10, 20];
  expect([-1, 0, 9, 10, 99].map((step) => lastAtOrBefore(steps, step))).toEqual([-1, 0, 0, 1, 2]);
  expect([-5, 4, 6, 99].map((step) => nearest(steps, step))).toEqual([0, 0, 10, 20]);
  expect(nearest([], 1)).toBeUndefined();
});
