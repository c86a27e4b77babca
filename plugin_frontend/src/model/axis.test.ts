import { expect, it } from 'vitest';
import { decades, logLabel, logTicks } from './axis';

it('widens to whole decades', () => {
  expect(decades(0.02, 3)).toEqual([0.01, 10]);
  expect(decades(1, 1)).toEqual([1, 10]);
  expect(decades(0.001, 1000)).toEqual([0.001, 1000]);
  expect(decades(Number.POSITIVE_INFINITY, 0)).toEqual([0.1, 1]);
});

it('writes as many powers as there is room for', () => {
  expect(logTicks(0.001, 10, 10).map(logLabel)).toEqual(['10⁻³', '10⁻²', '10⁻¹', '10⁰', '10¹']);
  expect(logTicks(1e-30, 1, 5).map(logLabel)).toEqual(['10⁻³⁰', '10⁻²²', '10⁻¹⁴', '10⁻⁶']);
});

it('writes more than powers where those are few', () => {
  expect(logTicks(0.1, 1, 8).map(logLabel)).toEqual(['10⁻¹', '0.20', '0.50', '10⁰']);
  expect(logTicks(0.1, 1, 3).map(logLabel)).toEqual(['10⁻¹', '10⁰']);
});
