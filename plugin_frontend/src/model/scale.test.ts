import { describe, expect, it } from 'vitest';
import { makeFrame } from './fixtures';
import { domainOf, level, ticks, union } from './scale';

describe('domainOf', () => {
  it('spans the whole decades of the finite norms', () => {
    expect(domainOf([makeFrame([[2e-5, 'none', 'nan', 'inf', 'zero', 40]])])).toEqual({
      low: -5,
      high: 2,
    });
  });

  it('is never narrower than three decades', () => {
    expect(domainOf([makeFrame([[0.5, 0.6]])])).toEqual({ low: -3, high: 0 });
  });

  it('cuts the low end when one dead variable would wash out the rest', () => {
    expect(domainOf([makeFrame([[1e-40, 1]])])).toEqual({ low: -12, high: 0 });
  });

  it('has a default where nothing is finite', () => {
    expect(domainOf([makeFrame([['none', 'nan']])])).toEqual({ low: -3, high: 0 });
    expect(domainOf([])).toEqual({ low: -3, high: 0 });
  });
});

it('joins domains', () => {
  expect(union({ low: -5, high: 0 }, { low: -3, high: 2 })).toEqual({ low: -5, high: 2 });
  expect(union({ low: -12, high: 0 }, { low: -3, high: 4 })).toEqual({ low: -8, high: 4 });
});

it('puts norms on levels, the ends included', () => {
  const domain = { low: -4, high: 0 };
  expect([1e-9, 1e-4, 1e-2, 1, 1e9].map((norm) => level(norm, domain))).toEqual([
    0, 0, 128, 255, 255,
  ]);
});

it('writes few ticks', () => {
  expect(ticks({ low: -3, high: 0 })).toEqual([-3, -2, -1, 0]);
  expect(ticks({ low: -8, high: 2 })).toEqual([-8, -6, -4, -2, 0, 2]);
  expect(ticks({ low: -11, high: 0 })).toEqual([-11, 0]);
});
