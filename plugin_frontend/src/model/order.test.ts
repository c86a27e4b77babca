import { describe, expect, it } from 'vitest';
import { makeFrame, makeVariable } from './fixtures';
import { makeRows, Names, orderVariables, parseFilter, type Sort } from './order';

const NAMES = new Names(
  ['b/kernel', 'b/bias', 'w10', 'w9', 'a/kernel'].map((n) => makeVariable(n)),
);
const FRAME = makeFrame([
  [1e-3, 'none', 5, 'zero', 'absent'],
  [2, 'none', 'nan', 'zero', 'inf'],
]);

function ordered(sort: Sort, pattern = ''): string[] {
  const found = orderVariables(NAMES, FRAME, parseFilter(pattern), sort);
  return found.map((variable) => NAMES.name(variable));
}

describe('orderVariables', () => {
  it('keeps the order of the model', () => {
    expect(ordered({ by: 'model', column: -1 })).toEqual([
      'b/kernel',
      'b/bias',
      'w10',
      'w9',
      'a/kernel',
    ]);
  });

  it('sorts names with their numbers as numbers', () => {
    expect(ordered({ by: 'name', column: -1 })).toEqual([
      'a/kernel',
      'b/bias',
      'b/kernel',
      'w9',
      'w10',
    ]);
  });

  it('sorts by the norm of one loss or of any', () => {
    expect(ordered({ by: 'norm', column: 0 })).toEqual([
      'w10',
      'b/kernel',
      'w9',
      'b/bias',
      'a/kernel',
    ]);
    expect(ordered({ by: 'norm', column: -1 })).toEqual([
      'w10',
      'a/kernel',
      'b/kernel',
      'w9',
      'b/bias',
    ]);
  });

  it('puts the worst state first', () => {
    expect(ordered({ by: 'worst', column: -1 })).toEqual([
      'w10',
      'a/kernel',
      'b/bias',
      'w9',
      'b/kernel',
    ]);
  });

  it('filters whatever the case', () => {
    expect(ordered({ by: 'model', column: -1 }, 'KERNEL$')).toEqual(['b/kernel', 'a/kernel']);
  });
});

it('says what is wrong with a filter and hides nothing', () => {
  const filter = parseFilter('(');
  expect(filter).toEqual({ problem: expect.stringMatching(/^Not a regular expression: .+\.$/) });
  expect(orderVariables(NAMES, FRAME, filter, { by: 'model', column: -1 })).toHaveLength(5);
});

describe('makeRows', () => {
  it('groups by layer, but gives no head to a variable alone', () => {
    expect(makeRows(NAMES, [0, 1, 2, 3, 4], 'model')).toEqual([
      { kind: 'layer', layer: 'b', size: 2 },
      { kind: 'variable', variable: 0, text: 'kernel', grouped: true },
      { kind: 'variable', variable: 1, text: 'bias', grouped: true },
      { kind: 'variable', variable: 2, text: 'w10', grouped: false },
      { kind: 'variable', variable: 3, text: 'w9', grouped: false },
      { kind: 'variable', variable: 4, text: 'a/kernel', grouped: false },
    ]);
  });

  it('knows the dots of Python names, and leaves a name that only begins alike', () => {
    const variables = ['self.a', 'self.b', 'selfish'].map((name) => ({
      ...makeVariable(name),
      layer: 'self',
    }));
    const texts = makeRows(new Names(variables), [0, 1, 2], 'model').map((row) =>
      row.kind === 'layer' ? row.layer : row.text,
    );
    expect(texts).toEqual(['self', 'a', 'b', 'selfish']);
  });

  it('brings variables of one layer together that lie apart', () => {
    const names = new Names(['x/a', 'y/a', 'x/b', 'y/b'].map((n) => makeVariable(n)));
    const texts = makeRows(names, [0, 1, 2, 3], 'model').map((row) =>
      row.kind === 'layer' ? row.layer : row.text,
    );
    expect(texts).toEqual(['x', 'a', 'b', 'y', 'a', 'b']);
  });

  it('has no heads where the order tears layers apart', () => {
    expect(makeRows(NAMES, [1, 0], 'norm').map((row) => row.kind)).toEqual([
      'variable',
      'variable',
    ]);
  });
});
