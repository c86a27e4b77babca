import { describe, expect, it } from 'vitest';
import {
  counted,
  percent,
  placeName,
  precise,
  shape,
  short,
  splitName,
  twoLines,
  visible,
} from './text';

describe('short', () => {
  it.each([
    [0, '0'],
    [3.14159e-4, '3.1e-4'],
    [0.0099999, '0.010'],
    [0.0314, '0.031'],
    [0.999, '1.0'],
    [3.14, '3.1'],
    [31.4, '31'],
    [3141, '3100'],
    [9999, '1.0e4'],
    [3.4e38, '3.4e38'],
    [1e-45, '1.0e-45'],
    [-2.5, '-2.5'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, '∞'],
    [Number.NEGATIVE_INFINITY, '-∞'],
  ])('says %d as %s', (value, text) => expect(short(value)).toBe(text));
});

it('says a statistic with four digits', () => {
  expect([0.0314159, 314.159, 3.14159e-7].map(precise)).toEqual(['0.03142', '314.2', '3.142e-7']);
});

it('never rounds a fraction to nothing or to all', () => {
  expect([0, 1e-6, 0.004, 0.046, 0.812, 0.9999, 1].map(percent)).toEqual([
    '0 %',
    '< 0.01 %',
    '0.40 %',
    '4.6 %',
    '81 %',
    '> 99.9 %',
    '100 %',
  ]);
});

it('counts in words', () => {
  expect([counted(1, 'loss', 'losses'), counted(2000, 'variable')]).toEqual([
    '1 loss',
    '2,000 variables',
  ]);
});

it('writes shapes as Python does', () => {
  expect([[], [3], [2, -1]].map(shape)).toEqual(['scalar', '(3,)', '(2, ?)']);
});

it('keeps the last part of a long name', () => {
  expect(splitName('w1')).toEqual(['w1', '']);
  expect(splitName('encoder/block_12/attention/kernel')).toEqual([
    'encoder/block_12/attention',
    '/kernel',
  ]);
  const [head, tail] = splitName('🦊'.repeat(300));
  expect([Array.from(head).length, Array.from(tail).length]).toEqual([286, 14]);
});

it('breaks a name so that its end tells it from others', () => {
  expect(twoLines('loss', 7)).toEqual(['loss', '']);
  expect(twoLines("losses['mse']", 7)).toEqual(['losses[', "'mse']"]);
  expect(twoLines('discriminator_loss', 8)).toEqual(['discriminator_', 'loss']);
  expect(twoLines('x'.repeat(20), 6)).toEqual(['x'.repeat(14), 'x'.repeat(6)]);
});

it('spells out letters that cannot be seen or that turn the line around', () => {
  expect(visible('a\u202eb\n')).toBe('a\\u202eb⏎');
  expect(visible('<b>&amp;</b>')).toBe('<b>&amp;</b>');
  expect(visible('👩‍🚀')).toBe('👩‍🚀');
  expect(visible('')).toBe('(empty name)');
});

it('names a place by its file alone', () => {
  expect(placeName({ file: '/home/me/train.py', line: 36 })).toBe('train.py:36');
  expect(placeName({ file: 'C:\\me\\train.py', line: 1 })).toBe('train.py:1');
});
