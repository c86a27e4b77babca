import { expect, it } from 'vitest';
import { Lru } from './lru';

it('drops what was used longest ago', () => {
  const lru = new Lru<number>(100);
  lru.set('a', 1, 40);
  lru.set('b', 2, 40);
  lru.get('a');
  lru.set('c', 3, 40);
  expect(['a', 'b', 'c'].map((key) => lru.has(key))).toEqual([true, false, true]);
});

it('keeps the newest however large, and counts a replaced entry once', () => {
  const lru = new Lru<number>(100);
  lru.set('a', 1, 500);
  expect(lru.get('a')).toBe(1);
  lru.set('a', 2, 10);
  lru.set('b', 3, 80);
  expect(lru.get('a')).toBe(2);
  lru.delete('b');
  lru.set('c', 4, 80);
  expect([lru.has('a'), lru.has('b')]).toEqual([true, false]);
  lru.clear();
  expect(lru.has('a')).toBe(false);
});
