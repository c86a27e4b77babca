import { expect, it } from 'vitest';
import { columnOf, columnsOf, fullName } from './columns';
import { LABEL, makeLoss, makeOptimizer, makeRun } from './fixtures';

const REDUCED = { ...LABEL, replicas: 2, replica: -1, subtitle: 'reduced' };

it('are the losses, then what reached the optimizers', () => {
  const run = makeRun(['w'], ['loss']);
  run.losses = [
    { ...makeLoss('loss', [0], [0]), id: 'loss@reduced/2', label: REDUCED },
    makeLoss('adam', [0], [0]),
  ];
  run.optimizers = [makeOptimizer({ steps: [0], label: REDUCED })];
  expect(columnsOf(run).map(fullName)).toEqual([
    'loss (reduced)',
    'adam',
    'reached adam (Adam, reduced)',
  ]);
  // A loss may have an optimizer's name.
  expect(new Set(columnsOf(run).map(({ id }) => id)).size).toBe(3);
  expect(columnOf(run, 'loss@reduced/2')?.title).toBe('loss');
  expect(columnOf(run, 'loss')).toBeUndefined();
  expect(columnsOf(run)).toBe(columnsOf(run));
});

it('stand in an equation where they are parts of a sum', () => {
  const run = makeRun(['w'], ['before', 'total', 'recon', 'kl', 'lost']);
  for (const part of [2, 3]) {
    Object.assign(run.losses[part] ?? {}, { total: 1, part_of: 'total' });
  }
  Object.assign(run.losses[4] ?? {}, { part_of: 'gone' });
  expect(columnsOf(run).map(({ sign, title }) => sign + title)).toEqual([
    'before',
    'total',
    '=recon',
    '+kl',
    'lost',
  ]);
  expect(columnsOf(run).map(({ which }) => which)).toEqual(['', '', 'part', 'part', '']);
  expect(fullName(columnsOf(run)[4] as never)).toBe('lost (part of gone)');
});
