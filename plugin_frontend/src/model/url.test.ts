import { expect, it } from 'vitest';
import { parseHash } from '../api/host';
import { fromUrl, KEYS, type Linked, toUrl } from './url';

const LINKED: Linked = {
  run: 'a b/c&d=e',
  step: 40,
  tab: 'missing',
  filter: '^w\\d+$',
  sortBy: 'norm',
  sortLoss: 'kl',
  selection: { variable: 'enc/kernel', loss: '' },
  pair: { one: 'recon', other: 'kl@reduced/2' },
  thresholds: { spike: 50 },
};

it('goes there and back', () => {
  expect(fromUrl(toUrl(LINKED))).toEqual(LINKED);
  expect(Object.keys(toUrl(LINKED)).sort()).toEqual([...KEYS].sort());
});

it('leaves out what is as it would be anyway', () => {
  const plain = toUrl(fromUrl({}));
  expect(Object.values(plain).every((value) => value === '')).toBe(true);
});

it('ignores nonsense', () => {
  const nonsense = { step: '1e9999', tab: 'toString', sort: '<b>', thresholds: 'spike:x' };
  expect(fromUrl(nonsense)).toEqual(fromUrl({}));
  expect(fromUrl({ pair: 'recon' }).pair).toBeNull();
});

it('finds our part of the hash, whatever stands beside it', () => {
  const hash = '#gradscope&p.gradscope.run=a%20b&tagFilter=%&p.other.run=c&p.gradscope.step=12';
  expect(parseHash(hash)).toEqual({ run: 'a b', step: '12' });
  expect(parseHash('')).toEqual({});
});
