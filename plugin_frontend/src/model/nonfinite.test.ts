import { expect, it } from 'vitest';
import type { Nonfinite } from '../api/schema.gen';
import { about, firsts, howOften, sayFirst, spots } from './nonfinite';

const ENTRY: Nonfinite = {
  loss: 'kl',
  variables: ['w1', 'w2'],
  state: 'nan',
  first_step: 37,
  last_step: 1200,
  pattern: 'from',
  count: 60,
  asked: 1000,
  exact: false,
  where: null,
};

it('says when it began, and how often', () => {
  expect(sayFirst({ ...ENTRY, first_step: 1037 })).toBe('first NaN seen at step 1,037');
  expect(sayFirst({ ...ENTRY, state: 'inf' })).toBe('first Inf seen at step 37');
  expect(sayFirst({ ...ENTRY, exact: true })).toBe('first NaN at step 37');
  expect(howOften(ENTRY)).toBe('60 of 1,000');
});

it('finds the steps worth going to', () => {
  expect(spots(ENTRY)).toEqual([{ words: 'ever since', step: 37 }]);
  expect(spots({ ...ENTRY, pattern: 'once' })).toEqual([{ words: 'once, at', step: 37 }]);
  expect(spots({ ...ENTRY, pattern: 'on_and_off' }).map(({ step }) => step)).toEqual([37, 1200]);
});

it('finds what is about one gradient', () => {
  const other = { ...ENTRY, loss: 'recon', variables: ['w2'] };
  expect(about([ENTRY, other], 'kl', 'w2')).toEqual([ENTRY]);
  expect(about([ENTRY, other], '', 'w2')).toEqual([ENTRY, other]);
  expect(about([ENTRY, other], 'recon', 'w1')).toEqual([]);
});

it('finds the first of each loss and state', () => {
  const later = { ...ENTRY, variables: ['w3'], first_step: 40 };
  const inf = { ...ENTRY, state: 'inf' as const, first_step: 30 };
  expect(firsts([later, ENTRY, inf])).toEqual([ENTRY, inf]);
});
