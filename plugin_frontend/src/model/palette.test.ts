import { describe, expect, it } from 'vitest';
import { contrast, LINES, luminance, PALETTES, type Rgb } from './palette';

function parse(hex: string): Rgb {
  return [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb;
}

describe.each(['light', 'dark'] as const)('%s', (theme) => {
  const palette = PALETTES[theme];

  it('has lightness in one direction only, so that it reads without hue', () => {
    const luminances = palette.rgb.map(luminance);
    const sign = theme === 'light' ? -1 : 1;
    for (let i = 8; i < luminances.length; i += 8) {
      const change = (luminances[i] as number) - (luminances[i - 8] as number);
      expect(change * sign).toBeGreaterThan(0);
    }
  });

  it('has readable text on every colour', () => {
    palette.rgb.forEach((color, i) => {
      expect(contrast(color, parse(palette.ink[i] as string))).toBeGreaterThanOrEqual(4.5);
    });
  });

  it('has lines that stand out of the page', () => {
    const page: Rgb = theme === 'light' ? [255, 255, 255] : [38, 40, 43];
    for (const line of LINES[theme]) expect(contrast(parse(line), page)).toBeGreaterThan(3);
  });
});
