import { LEVELS } from './scale';

/**
 * The colours of norms: one lightness ramp a theme, in OKLCH, where equal steps
 * look equal. Small norms sink into the page, large ones stand out of it, so
 * light and dark run in opposite directions.
 */

type Stop = readonly [lightness: number, chroma: number, hue: number];
export type Rgb = readonly [number, number, number];

export interface Palette {
  /** `#rrggbb` of each level. */
  readonly fill: readonly string[];
  /** Colour of text on it: contrast 4.5 or more. */
  readonly ink: readonly string[];
  /** The same fills as numbers, for pixels. */
  readonly rgb: readonly Rgb[];
}

const LIGHT: readonly Stop[] = [
  [0.975, 0.012, 205],
  [0.885, 0.055, 205],
  [0.775, 0.095, 215],
  [0.64, 0.12, 235],
  [0.5, 0.14, 262],
  [0.36, 0.13, 285],
  [0.24, 0.09, 300],
];

const DARK: readonly Stop[] = [
  [0.295, 0.018, 255],
  [0.36, 0.06, 268],
  [0.455, 0.105, 265],
  [0.57, 0.115, 245],
  [0.7, 0.115, 215],
  [0.83, 0.11, 185],
  [0.95, 0.09, 145],
];

export const PALETTES: Readonly<Record<'light' | 'dark', Palette>> = {
  light: makePalette(LIGHT),
  dark: makePalette(DARK),
};

function makePalette(stops: readonly Stop[]): Palette {
  const rgb = Array.from({ length: LEVELS }, (_, i) => toRgb(along(stops, i / (LEVELS - 1))));
  return {
    rgb,
    fill: rgb.map((color) => `#${color.map((c) => c.toString(16).padStart(2, '0')).join('')}`),
    ink: rgb.map((color) => (contrast(color, [0, 0, 0]) > 6.5 ? '#111418' : inkOf(color))),
  };
}

/** Black or white, whichever is easier to read; one of them always reaches 4.5. */
function inkOf(color: Rgb): string {
  return contrast(color, [0, 0, 0]) > contrast(color, [255, 255, 255]) ? '#000000' : '#ffffff';
}

function along(stops: readonly Stop[], fraction: number): Stop {
  const position = fraction * (stops.length - 1);
  const i = Math.min(Math.floor(position), stops.length - 2);
  const [a, b] = [stops[i] as Stop, stops[i + 1] as Stop];
  const part = position - i;
  const mix = (k: 0 | 1 | 2) => a[k] + (b[k] - a[k]) * part;
  return [mix(0), mix(1), mix(2)];
}

/** OKLCH to sRGB bytes; Björn Ottosson's matrices. What leaves the gamut loses chroma. */
export function toRgb([lightness, chroma, hue]: Stop): Rgb {
  for (let c = chroma; c >= 0; c -= 0.004) {
    const linear = toLinear(lightness, c, hue);
    if (linear.every((x) => x >= -1e-4 && x <= 1 + 1e-4))
      return linear.map(toByte) as unknown as Rgb;
  }
  return toLinear(lightness, 0, hue).map(toByte) as unknown as Rgb;
}

function toLinear(lightness: number, chroma: number, hue: number): number[] {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function toByte(linear: number): number {
  const x = Math.min(1, Math.max(0, linear));
  return Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
}

/** WCAG contrast ratio of two colours. */
export function contrast(one: Rgb, other: Rgb): number {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

export function luminance(color: Rgb): number {
  const [r, g, b] = color.map((byte) => {
    const x = byte / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Line colours of losses, apart also for colour-blind eyes; beyond ten, dashes tell. */
export const LINES: Readonly<Record<'light' | 'dark', readonly string[]>> = {
  light: [
    '#0b62a4',
    '#d1600a',
    '#0a8f68',
    '#b5318b',
    '#7a5a00',
    '#5b4bc4',
    '#c0322b',
    '#12869c',
    '#5d7a1f',
    '#6b6f76',
  ],
  dark: [
    '#6db6f2',
    '#ffa057',
    '#4fd3a6',
    '#f08ccf',
    '#e0c04c',
    '#aa9cff',
    '#ff8a80',
    '#5fd4e6',
    '#b3d067',
    '#b3b8c0',
  ],
};
