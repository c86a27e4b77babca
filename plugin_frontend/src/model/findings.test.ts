import { expect, it } from 'vitest';
import type { Finding } from '../api/schema.gen';
import { aboutCell, anyFault, whyMissing } from './findings';
import { makeFinding } from './fixtures';

const NONE = makeFinding({ kind: 'none', loss: 'kl', other_loss: 'recon', variables: ['w'] });
const CONFLICT = makeFinding({ kind: 'conflict', loss: 'recon', other_loss: 'kl' });
const UPDATE = makeFinding({ kind: 'update_ratio', loss: '', severity: 'info' });
const NAN = makeFinding({ kind: 'nan', loss: 'kl', other_loss: 'recon', severity: 'info' });
const FOUND: Finding[] = [NONE, CONFLICT, UPDATE];

it('tells which findings are about a cell', () => {
  expect(aboutCell(FOUND, { variable: 'w', loss: 'kl' })).toEqual([0, 1, 2]);
  // recon does reach w: what is said of kl is nothing to it.
  expect(aboutCell(FOUND, { variable: 'w', loss: 'recon' })).toEqual([1, 2]);
  expect(aboutCell(FOUND, { variable: 'w', loss: '' })).toEqual([0, 1, 2]);
  // That of kl followed from recon's, of which another finding speaks.
  expect(aboutCell([NAN], { variable: 'w', loss: 'recon' })).toEqual([]);
  expect(aboutCell([NAN], { variable: 'w', loss: 'kl' })).toEqual([0]);
  expect(aboutCell(FOUND, { variable: 'v', loss: 'kl' })).toEqual([]);
  expect(aboutCell(FOUND, { variable: 'w', loss: 'adversarial' })).toEqual([2]);
});

it('tells why a gradient is missing', () => {
  expect(whyMissing(FOUND, 'kl', ['v', 'w'])).toBe(0);
  expect(whyMissing(FOUND, 'recon', ['w'])).toBeUndefined();
});

it('tells a fault from what is only worth knowing', () => {
  expect(anyFault(FOUND, 'none', 'nan')).toBe(true);
  expect(anyFault(FOUND, 'update_ratio')).toBe(false);
  expect(anyFault(null, 'none')).toBe(false);
});
