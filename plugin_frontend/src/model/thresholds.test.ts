import { expect, it } from 'vitest';
import { fromText, parseThreshold, thresholdOf, toText, withThreshold } from './thresholds';

function parse(name: string, text: string): number | string {
  const threshold = thresholdOf(name);
  if (!threshold) throw new Error(name);
  return parseThreshold(threshold, text);
}

it('reads numbers, and says what is expected of others', () => {
  expect(parse('spike', ' 50 ')).toBe(50);
  expect(parse('vanished', '1e-12')).toBe(1e-12);
  expect(parse('growth', 'inf')).toBe(Number.POSITIVE_INFINITY);
  expect(parse('spike', '0.5')).toBe('Expected a number of 1 or more.');
  expect(parse('spike', '')).toBe('Expected a number of 1 or more.');
  expect(parse('spike', '0x10')).toBe('Expected a number of 1 or more.');
  expect(parse('conflict', '0.1')).toBe('Expected a number from -1 to 0.');
  expect(parse('min_records', '2.5')).toBe('Expected a whole number of 1 or more.');
  expect(parse('min_records', 'inf')).toBe('Expected a whole number of 1 or more.');
});

it('remembers only what differs from the default', () => {
  const changed = withThreshold({ growth: 10 }, 'spike', 50);
  expect(changed).toEqual({ growth: 10, spike: 50 });
  expect(withThreshold(changed, 'spike', 100)).toEqual({ growth: 10 });
});

it('makes links of changes, and changes of links', () => {
  const changed = { spike: 50, vanished: 1e-12, growth: Number.POSITIVE_INFINITY };
  expect(toText(changed)).toBe('spike:50,vanished:1e-12,growth:inf');
  expect(fromText(toText(changed))).toEqual(changed);
  expect(fromText('')).toEqual({});
  expect(fromText('spike:x,nosuch:3,growth:0,spike:,conflict:-0.5,initial:1000')).toEqual({
    conflict: -0.5,
  });
});
