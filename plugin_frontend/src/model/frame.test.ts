import { describe, expect, it } from 'vitest';
import { makeFrame } from './fixtures';

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
