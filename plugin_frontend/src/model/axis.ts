import { short } from './text';

/** Ticks of a log axis. Pure, so that the chart stays thin. */

/** The whole decades that hold some positive values; at least one. */
export function decades(low: number, high: number): [number, number] {
  if (!(low > 0) || !(high > 0)) return [0.1, 1];
  const bottom = Math.floor(Math.log10(low) + 1e-9);
  const top = Math.ceil(Math.log10(high) - 1e-9);
  return [10 ** bottom, 10 ** Math.max(top, bottom + 1)];
}

/** What to write at a log axis: powers of ten, and where those are few, 2 and 5 between them. */
export function logTicks(low: number, high: number, most: number): number[] {
  const ticks = powerTicks(low, high, most);
  if (ticks.length > 3 || most < 5) return ticks;
  return ticks
    .flatMap((tick) => [tick, 2 * tick, 5 * tick])
    .filter((tick) => tick <= high * (1 + 1e-9));
}

/** Which powers of ten to write: all, or every second, third… where they would touch. */
function powerTicks(low: number, high: number, most: number): number[] {
  const bottom = Math.ceil(Math.log10(low) - 1e-9);
  const top = Math.floor(Math.log10(high) + 1e-9);
  const stride = Math.max(1, Math.ceil((top - bottom) / Math.max(1, most - 1)));
  const ticks: number[] = [];
  for (let exponent = bottom; exponent <= top; exponent += stride) ticks.push(10 ** exponent);
  return ticks;
}

const RAISED: Record<string, string> = {
  '-': '⁻',
  '0': '⁰',
  '1': '¹',
  '2': '²',
  '3': '³',
  '4': '⁴',
  '5': '⁵',
  '6': '⁶',
  '7': '⁷',
  '8': '⁸',
  '9': '⁹',
};

/** 10⁻³, or 0.002 between two powers. */
export function logLabel(value: number): string {
  const exponent = Math.round(Math.log10(value));
  if (Math.abs(value / 10 ** exponent - 1) > 1e-6) return short(value);
  return `10${[...String(exponent)].map((letter) => RAISED[letter] ?? '').join('')}`;
}
