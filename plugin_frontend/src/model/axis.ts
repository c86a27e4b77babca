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

/** Labels in one style: 10⁻³ if all are powers of ten, else 0.001 and 0.002, or 1e-7 and 2e-7. */
export function logLabels(values: readonly number[]): string[] {
  const exponents = values.map((value) => Math.round(Math.log10(value)));
  if (values.every((value, i) => Math.abs(value / 10 ** (exponents[i] ?? 0) - 1) < 1e-6)) {
    return exponents.map((exponent) => `10${[...String(exponent)].map(raised).join('')}`);
  }
  const rounded = values.map((value) => Number(value.toPrecision(1)));
  const readable = rounded.every((value) => value >= 1e-4 && value < 1e5);
  return rounded.map((value) =>
    readable ? String(value) : value.toExponential().replace('e+', 'e'),
  );
}

function raised(letter: string): string {
  return RAISED[letter] ?? '';
}
