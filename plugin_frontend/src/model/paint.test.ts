import { expect, it } from 'vitest';
import { makeFrame } from './fixtures';
import type { Row } from './order';
import { paint } from './paint';
import { PALETTES } from './palette';

const DOMAIN = { low: -3, high: 0 };

function rows(...variables: number[]): Row[] {
  return variables.map((variable) => ({ kind: 'variable', variable, text: '', grouped: false }));
}

function pixel(pixels: Uint8ClampedArray, at: number): number[] {
  return [...pixels.slice(at * 4, at * 4 + 4)];
}

it('gives each row its pixel, in the order of the rows', () => {
  const frame = makeFrame([
    [1e-3, 1],
    ['absent', 1e-3],
  ]);
  const pixels = paint(frame, rows(1, 0), 2, DOMAIN, 'light');
  const [low, high] = [PALETTES.light.rgb[0], PALETTES.light.rgb[255]];
  expect(pixel(pixels, 0)).toEqual([...(high ?? []), 255]);
  expect(pixel(pixels, 1)).toEqual([...(low ?? []), 255]);
  expect(pixel(pixels, 2)).toEqual([...(low ?? []), 255]);
  expect(pixel(pixels, 3)).toEqual([0, 0, 0, 0]);
});

it('lets one NaN among many show', () => {
  const cells = Array.from({ length: 1000 }, (_, i) => (i === 617 ? ('nan' as const) : 1));
  const frame = makeFrame([cells]);
  const pixels = paint(frame, rows(...cells.map((_, i) => i)), 10, DOMAIN, 'dark');
  const found = Array.from({ length: 10 }, (_, y) => pixel(pixels, y).join());
  expect(found.filter((color) => color === '255,92,158,255')).toHaveLength(1);
  expect(found[6]).toBe('255,92,158,255');
});

it('leaves the heads of layers open', () => {
  const frame = makeFrame([[1]]);
  const pixels = paint(
    frame,
    [{ kind: 'layer', layer: 'a', size: 1 }, ...rows(0)],
    2,
    DOMAIN,
    'light',
  );
  expect(pixel(pixels, 0)[3]).toBe(0);
  expect(pixel(pixels, 1)[3]).toBe(255);
});
