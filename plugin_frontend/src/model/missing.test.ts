import { expect, it } from 'vitest';
import type { Missing } from '../api/schema.gen';
import { howOften, pairs, since, span } from './missing';

const ENTRY: Missing = {
  loss: 'kl',
  variables: ['w1', 'w2'],
  first_step: 40,
  last_step: 1200,
  pattern: 'from',
  count: 60,
  asked: 1000,
  where: null,
};

it('says since when, and how often', () => {
  expect([since(ENTRY), span(ENTRY), howOften(ENTRY)]).toEqual([
    'since step 40',
    'steps 40 to 1,200',
    '60 of 1,000',
  ]);
  const flicker = { ...ENTRY, pattern: 'on_and_off' } as const;
  expect([since(flicker), span(flicker)]).toEqual([
    'on and off',
    'first at step 40, last at 1,200',
  ]);
});

it('says when only tracing was seen', () => {
  const traced = { ...ENTRY, pattern: 'always', asked: 0, last_step: 40 } as const;
  expect([howOften(traced), span(traced)]).toEqual(['seen while tracing', 'step 40']);
});

it('counts pairs', () => expect(pairs([ENTRY, { ...ENTRY, variables: ['w3'] }])).toBe(3));
