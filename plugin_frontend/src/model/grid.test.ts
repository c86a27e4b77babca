import { expect, it } from 'vitest';
import { moved, type Size, windowOf } from './grid';
import type { Row } from './order';

const VARIABLE: Row = { kind: 'variable', variable: 0, text: 'w', grouped: false };
const LAYER: Row = { kind: 'layer', layer: 'l', size: 2 };
const SIZE: Size = { rows: [LAYER, VARIABLE, VARIABLE, LAYER, VARIABLE], columns: 3, page: 2 };

it.each([
  ['ArrowDown', 2, 0, 4, 0],
  ['ArrowUp', 4, 0, 2, 0],
  ['ArrowUp', 1, 2, -1, 2],
  ['ArrowUp', -1, 2, -1, 2],
  ['ArrowDown', -1, 0, 1, 0],
  ['ArrowDown', 4, 0, 5, 0],
  ['ArrowDown', 5, 0, 5, 0],
  ['ArrowLeft', 1, 0, 1, -1],
  ['ArrowLeft', 1, -1, 1, -1],
  ['ArrowRight', 1, 2, 1, 2],
  ['Home', 2, 2, 2, -1],
  ['End', 2, -1, 2, 2],
  ['PageDown', 1, 1, 4, 1],
  ['PageDown', 4, 1, 4, 1],
  ['PageUp', 4, 1, 2, 1],
])('%s from %d,%d leads to %d,%d', (key, row, column, toRow, toColumn) => {
  expect(moved({ row, column }, key, false, SIZE)).toEqual({ row: toRow, column: toColumn });
});

it('goes to the corners with Control', () => {
  expect(moved({ row: 4, column: 1 }, 'Home', true, SIZE)).toEqual({ row: 1, column: -1 });
  expect(moved({ row: 1, column: 1 }, 'End', true, SIZE)).toEqual({ row: 4, column: 2 });
});

it('leaves other keys alone', () => {
  expect(moved({ row: 1, column: 1 }, 'a', false, SIZE)).toBeUndefined();
});

it('draws what is in view and a little more', () => {
  expect(windowOf(0, 260, 26, 2000)).toEqual({ first: 0, end: 16 });
  expect(windowOf(2600, 260, 26, 2000)).toEqual({ first: 94, end: 116 });
  expect(windowOf(99999, 260, 26, 20)).toEqual({ first: 14, end: 20 });
  expect(windowOf(0, 260, 26, 0)).toEqual({ first: 0, end: 0 });
});
