import { describe, expect, it } from 'vitest';
import { type Cell, makeFrame, makeRun, unmeasure } from './fixtures';
import { Frame } from './frame';
import { AT, PLANES } from './statistic';

describe('Frame.total', () => {
  it('is the root of the sum of squares, None aside', () => {
    expect(makeFrame([[3, 4, 'none', 'zero']]).total(0)).toEqual({ state: 'ok', norm: 5 });
  });

  it.each([
    [['nan', 'inf', 1], 'nan'],
    [['inf', 1], 'inf'],
    [['zero', 'none'], 'zero'],
    [['none', 'absent'], 'none'],
    [['absent'], 'absent'],
  ] as const)('of %j is %s', (cells, state) => {
    expect(makeFrame([[...cells]]).total(0).state).toBe(state);
  });
});

it('finds the cell of each loss and variable', () => {
  const frame = makeFrame([
    [1, 2, 3],
    [4, 'nan', 'absent'],
  ]);
  expect(frame.norm(1, 0)).toBe(4);
  expect(frame.norm(0, 2)).toBe(3);
  expect([frame.state(1, 1), frame.state(1, 2), frame.record(1, 2)]).toEqual(['nan', 'absent', -1]);
});

it('tells what was not measured from NaN, wherever in a buffer it lies', () => {
  const data = new Float32Array(3 * PLANES).subarray(PLANES).fill(Number.NaN);
  unmeasure(data, [PLANES + AT.mean]);
  const frame = new Frame(0, 1, 2, data);
  expect([0, 1].map((variable) => frame.isMeasured(0, variable, 'mean'))).toEqual([true, false]);
  expect(frame.isMeasured(0, 1, 'norm')).toBe(true);
  expect([0, 1].map((variable) => frame.statistic(0, variable, 'mean'))).toEqual([NaN, NaN]);
});

it('marks what is not finite at skipped steps of its column, and nothing else', () => {
  const run = makeRun(['w', 'v'], ['scaled', 'plain'], [0, 10]);
  Object.assign(run.losses[0] ?? {}, { skipped_steps: [10] });
  const cells: Cell[][] = [
    ['inf', 2],
    ['inf', 'nan'],
  ];
  const at = (record: number) => Frame.of(run, 10, makeFrame(cells, 10, record).data);
  expect([0, 1].map((column) => at(1).state(column, 0))).toEqual(['skipped', 'inf']);
  expect(at(1).total(0).state).toBe('skipped');
  expect(at(1).state(0, 1)).toBe('ok');
  // The record of another step is none that was skipped.
  expect(at(0).state(0, 0)).toBe('inf');
});
