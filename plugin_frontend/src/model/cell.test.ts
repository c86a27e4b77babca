import { describe, expect, it } from 'vitest';
import { reading, stateWords, statistics } from './cell';
import { BESIDE_NORM, type Cell, makeFrame, makeRun, unmeasure } from './fixtures';
import { AT } from './statistic';

const NAME = 'norm of the variable';

function ofVariable(cell: Cell, norm: number, change: (run: ReturnType<typeof makeRun>) => void) {
  const run = makeRun(['w'], ['a']);
  change(run);
  const frame = makeFrame([[cell]]);
  frame.data[AT.variable_norm] = norm;
  return statistics(run, frame, 0, 0).find(({ name }) => name === NAME);
}

const asIs = () => {};

describe('the norm of the variable', () => {
  it('is there and marked when the weights are NaN or infinite', () => {
    const bad = 'the weights themselves are NaN';
    const why = '';
    expect(ofVariable('nan', Number.NaN, asIs)).toEqual({ name: NAME, value: 'NaN', bad, why });
    expect(ofVariable('none', Number.NaN, asIs)?.bad).toBe(bad);
    expect(ofVariable(1, Number.POSITIVE_INFINITY, asIs)?.value).toBe('∞');
    expect(ofVariable(1, 3, asIs)).toEqual({ name: NAME, value: '3.000', bad: '', why });
  });

  it('is not there where none was measured', () => {
    const of = (change: Parameters<typeof ofVariable>[2], cell: Cell = 'none') =>
      ofVariable(cell, Number.NaN, change);
    const variable = (given: object) => (run: ReturnType<typeof makeRun>) =>
      Object.assign(run.variables[0] ?? {}, given);
    expect(of(variable({ kind: 'tensor' }))).toBeUndefined();
    expect(of(variable({ dtype: 'int32' }))).toBeUndefined();
    expect(of(asIs, 'absent')).toBeUndefined();
    expect(of((run) => Object.assign(run.losses[0] ?? {}, { traced_only: true }))).toBeUndefined();
  });
});

describe('a large gradient of which only the norm is known', () => {
  const why =
    'in steps that the sentinel alone chose, only the norm of large gradients is; ' +
    'the norm of large sparse tables never is';
  const lines = (cell: Cell, counts: [number, number]) => {
    const frame = makeFrame([[cell]]);
    unmeasure(frame.data, BESIDE_NORM);
    frame.data.set(counts, AT.nan_count);
    return statistics(makeRun(['w'], ['a']), frame, 0, 0);
  };

  it('is said to be not measured, and never NaN', () => {
    const found = lines(2, [0, 0]);
    expect(found.map(({ value }) => value)).toEqual([
      '2.000',
      ...Array(4).fill('not measured'),
      '0',
      '0',
      'not measured',
    ]);
    expect(found.map(({ bad }) => bad).join('')).toBe('');
    expect(found[4]).toEqual({ name: 'exact zeros', value: 'not measured', bad: '', why });
    expect(found[0]?.why).toBe('');
  });

  it.each(['nan', 'skipped'] as const)('has elements that nobody counted: %s', (state) => {
    const elements = lines(state, [0, 0]).filter(({ name }) => name.endsWith('elements'));
    expect(elements.map(({ value }) => value)).toEqual(['not counted', 'not counted']);
    expect(elements.map((line) => line.why)).toEqual([why, why]);
    const counted = lines(state, [0, 3]).filter(({ name }) => name.endsWith('elements'));
    expect(counted.map(({ value }) => value)).toEqual(['0', '3']);
  });
});

it('reads a norm with all digits, a state as its sign', () => {
  expect([reading('ok', 0.123456), reading('none', Number.NaN)]).toEqual(['0.1235', 'None']);
});

it('does not call "not asked" what was asked for but only traced', () => {
  expect(stateWords(makeRun(['w', 'v'], ['a']), 0, 0, 'absent')).toBe('not asked');
  const run = makeRun(['w', 'v'], ['a']);
  Object.assign(run.losses[0] ?? {}, { traced_only: true, variables: [0] });
  expect([0, 1].map((variable) => stateWords(run, 0, variable, 'absent'))).toEqual([
    'only tracing was seen',
    'not asked',
  ]);
});

it('says by which loss scale all numbers were divided', () => {
  const run = makeRun(['w'], ['a'], [0, 1]);
  Object.assign(run.losses[0] ?? {}, { loss_scales: [65536, -1] });
  const scaleAt = (record: number) =>
    statistics(run, makeFrame([[2]], record, record), 0, 0).find(({ name }) =>
      name.startsWith('loss scale'),
    )?.value;
  expect([0, 1].map(scaleAt)).toEqual(['65,536', '–']);
  expect(statistics(makeRun(['w'], ['a']), makeFrame([[2]]), 0, 0)).not.toContainEqual(
    expect.objectContaining({ name: expect.stringContaining('loss scale') }),
  );
});
