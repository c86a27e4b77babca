import { expect, it } from 'vitest';
import { decades, power, powerTicks } from './axis';

it('widens to whole decades', () => {
  expect(decades(0.02, 3)).toEqual([0.01, 10]);
  expect(decades(1, 1)).toEqual([1, 10]);
  expect(decades(0.001, 1000)).toEqual([0.001, 1000]);
  expect(decades(Number.POSITIVE_INFINITY, 0)).toEqual([0.1, 1]);
});

it('writes as many powers as there is room for', () => {
  expect(powerTicks(0.001, 10, 10).map(power)).toEqual(['10⁻³', '10⁻²', '10⁻¹', '10⁰', '10¹']);
  expect(powerTicks(1e-30, 1, 5).map(power)).toEqual(['10⁻³⁰', '10⁻²²', '10⁻¹⁴', '10⁻⁶']);
});
