import { expect, it } from 'vitest';
import { decades, logLabels, logTicks } from './axis';

it('widens to whole decades', () => {
  expect(decades(0.02, 3)).toEqual([0.01, 10]);
  expect(decades(1, 1)).toEqual([1, 10]);
  expect(decades(0.001, 1000)).toEqual([0.001, 1000]);
  expect(decades(Number.POSITIVE_INFINITY, 0)).toEqual([0.1, 1]);
});

it('writes as many powers as there is room for', () => {
  expect(logLabels(logTicks(0.001, 10, 10))).toEqual(['10⁻³', '10⁻²', '10⁻¹', '10⁰', '10¹']);
  expect(logLabels(logTicks(1e-30, 1, 5))).toEqual(['10⁻³⁰', '10⁻²²', '10⁻¹⁴', '10⁻⁶']);
});

it('writes more than powers where those are few, all in one style', () => {
  expect(logLabels(logTicks(0.1, 1, 8))).toEqual(['0.1', '0.2', '0.5', '1']);
  expect(logLabels(logTicks(1e-7, 1e-6, 8))).toEqual(['1e-7', '2e-7', '5e-7', '1e-6']);
  expect(logLabels(logTicks(1000, 10000, 8))).toEqual(['1000', '2000', '5000', '10000']);
  expect(logLabels(logTicks(0.1, 1, 3))).toEqual(['10⁻¹', '10⁰']);
});
