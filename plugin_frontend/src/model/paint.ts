import type { Frame } from './frame';
import type { Row } from './order';
import { PALETTES, type Rgb } from './palette';
import { type Domain, level } from './scale';
import { STATES, severity, stateName } from './statistic';

/** Severity by state number, from -1 on: numbers, since 40,000 cells are looked at a step. */
const RANKS = [-1, 0, 1, 2, 3, 4].map((state) => severity(stateName(state)));
const OK = severity('ok');

type Colors = Readonly<Record<number, Rgb>>;

/** Colours of the states by severity, where a pixel is all there is. */
const STATE_COLORS: Readonly<Record<'light' | 'dark', Colors>> = {
  light: byRank({
    none: [176, 182, 190],
    zero: [226, 228, 231],
    nan: [214, 0, 98],
    inf: [230, 81, 0],
  }),
  dark: byRank({
    none: [118, 125, 134],
    zero: [66, 70, 76],
    nan: [255, 92, 158],
    inf: [255, 157, 69],
  }),
};

function byRank(colors: Record<'none' | 'zero' | 'nan' | 'inf', Rgb>): Colors {
  return {
    [severity('none')]: colors.none,
    [severity('zero')]: colors.zero,
    [severity('nan')]: colors.nan,
    [severity('inf')]: colors.inf,
  };
}

/**
 * The matrix as pixels, RGBA: one pixel a column across, `height` pixels down.
 *
 * Where several rows share a pixel the worst state wins, then the largest norm:
 * a single NaN among 2,000 variables must stay visible.
 */
export function paint(
  frame: Frame,
  rows: readonly Row[],
  height: number,
  domain: Domain,
  theme: 'light' | 'dark',
): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(height * frame.columns * 4);
  const palette = PALETTES[theme].rgb;
  const states = STATE_COLORS[theme];
  for (let y = 0; y < height; y++) {
    const first = Math.floor((y * rows.length) / height);
    const end = Math.max(first + 1, Math.floor(((y + 1) * rows.length) / height));
    for (let column = 0; column < frame.columns; column++) {
      let worst = 0;
      let norm = 0;
      for (let i = first; i < end; i++) {
        const row = rows[i];
        if (row?.kind !== 'variable') continue;
        const state = frame.stateNumber(column, row.variable);
        const rank = RANKS[state + 1] ?? 0;
        if (rank < worst || rank === 0) continue;
        const here = state === STATES.ok ? frame.norm(column, row.variable) : 0;
        if (rank === worst && here <= norm) continue;
        worst = rank;
        norm = here;
      }
      const color = worst === OK ? palette[level(norm, domain)] : states[worst];
      if (!color) continue;
      const at = (y * frame.columns + column) * 4;
      pixels[at] = color[0];
      pixels[at + 1] = color[1];
      pixels[at + 2] = color[2];
      pixels[at + 3] = 255;
    }
  }
  return pixels;
}
