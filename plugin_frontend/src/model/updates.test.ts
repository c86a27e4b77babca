import { describe, expect, it } from 'vitest';
import { makeOptimizer, unmeasure } from './fixtures';
import { gauge, ratioRows, sayApplied, sayRatio, sayVariables, UpdateNumbers } from './updates';

/** Of two records; the second was skipped. Update and variable of v0 to v3. */
const OPTIMIZER = makeOptimizer({
  variables: [0, 1, 2, 3],
  steps: [0, 10],
  applied: [1, 1],
  skipped: [0, 1],
  skipped_steps: [10],
  has_loss_scale: true,
});
const NUMBERS = new UpdateNumbers(
  OPTIMIZER,
  new Float32Array([
    ...[1024, 0.1, 512, 0.1],
    ...[0.003, 3, 0.5, 1, 0, 2, 0.1, 0],
    ...[0, 3, 0, 1, 0, 2, 0, 0],
  ]),
);

it('finds its numbers', () => {
  expect(NUMBERS.data).toHaveLength(UpdateNumbers.size(OPTIMIZER));
  expect([0, 1].map((record) => NUMBERS.lossScale(record))).toEqual([1024, 512]);
  expect(NUMBERS.learningRate(1)).toBeCloseTo(0.1);
  expect(NUMBERS.ratio(0, 0)).toBeCloseTo(0.001);
  expect(NUMBERS.ratio(0, 3)).toBeNaN();
});

it('takes the last update that was made for that of a skipped step', () => {
  expect([-1, 0, 5, 10, 99].map((step) => NUMBERS.lastApplied(step))).toEqual([-1, 0, 0, 0, 0]);
});

it('finds the middle of what is known', () => {
  expect(NUMBERS.medians()[0]).toBeCloseTo((0.001 + 0.5) / 2);
  expect(NUMBERS.medians()[1]).toBeNaN();
  expect(NUMBERS.medians()).toBe(NUMBERS.medians());
});

it('puts what is far from the usual first, and what is not known last', () => {
  const rows = ratioRows(NUMBERS, 0);
  expect(rows.map(({ variable }) => variable)).toEqual([2, 1, 0, 3]);
  expect(rows.map(sayRatio)).toEqual(['no update', '', '', 'the variable was all zeros']);
});

describe('updates that were not measured', () => {
  // That of the first of two variables, at the second of three steps. At the third, none is made.
  const optimizer = makeOptimizer({ steps: [0, 10, 20] });
  const data = new Float32Array([
    ...[1, 0.1, 1, 0.1, 1, 0.1],
    ...[0.002, 2, 0.001, 1, Number.NaN, 0, 0.5, 1, 0, 2, 0, 1],
  ]);
  unmeasure(data, [11]);
  const numbers = new UpdateNumbers(optimizer, data);

  it('are told from those that are NaN', () => {
    expect([0, 1].map((variable) => numbers.isMeasured(1, variable))).toEqual([false, true]);
    expect(ratioRows(numbers, 1).map(sayRatio)).toEqual(['', 'not measured']);
    const nan = new UpdateNumbers(optimizer, data.slice().fill(Number.NaN, 10, 12));
    expect(ratioRows(nan, 1).map(sayRatio)).toEqual(['', 'not known']);
  });

  it('leave no middle to the others', () => {
    expect(numbers.medians()[0]).toBeCloseTo(1e-3);
    expect(numbers.medians()[1]).toBeNaN();
  });

  it('are not said to be none', () => {
    const said = (step: number) => [-1, 0, 1].map((variable) => numbers.sayNone(step, variable));
    expect(said(10)).toEqual(['not measured', 'not measured', 'no update']);
    expect(said(20)).toEqual(['no update', 'no update', 'no update']);
    expect(NUMBERS.sayNone(10, -1)).toBe('skipped');
  });
});

it('says how many steps were taken', () => {
  expect(sayApplied(OPTIMIZER)).toBe(
    'Up to step 10: 1 update applied, 1 skipped because the loss scale had overflowed',
  );
  expect(sayApplied(makeOptimizer({ applied: [1200] }))).toBe(
    'Up to step 0: 1,200 updates applied',
  );
});

describe('the gauge', () => {
  it('has the usual ratio in its middle, and an end for all beyond', () => {
    expect([1e-9, 0, 1e-6, 1e-3, 1, 50].map(gauge)).toEqual([0, 0, 0, 0.5, 1, 1]);
    expect(gauge(Number.NaN)).toBeNaN();
  });
});

it('tells optimizers apart by what they update', () => {
  expect(sayVariables(['gen/a/kernel', 'gen/a/bias', 'gen/b/kernel'])).toBe('3 variables of gen');
  expect(sayVariables(['gen/a/kernel'])).toBe('1 variable of gen/a');
  expect(sayVariables(['w1', 'w2'])).toBe('2 variables');
});
