import { THRESHOLDS, type Threshold } from '../api/schema.gen';

/** What findings compare numbers with, as far as the user changed it. Pure. */

/** Thresholds that are not as they would be anyway, by name. */
export type Changed = Readonly<Record<string, number>>;

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
const INFINITE = /^[-+]?inf(inity)?$/i;

/** The number that a text says for a threshold, or a sentence on what is wrong with it. */
export function parseThreshold(threshold: Threshold, text: string): number | string {
  const { low, high, whole } = threshold;
  const value = numberOf(text.trim());
  const fits = value >= low && value <= (high ?? Number.POSITIVE_INFINITY);
  if (fits && (!whole || Number.isInteger(value))) return value;
  const what = whole ? 'a whole number' : 'a number';
  const span = high === null ? `of ${sayNumber(low)} or more` : `from ${low} to ${high}`;
  return `Expected ${what} ${span}.`;
}

/** With one threshold changed, or as it was by default. */
export function withThreshold(changed: Changed, name: string, value: number): Changed {
  const { [name]: _, ...rest } = changed;
  return value === thresholdOf(name)?.default ? rest : { ...rest, [name]: value };
}

export function thresholdOf(name: string): Threshold | undefined {
  return THRESHOLDS.find((threshold) => threshold.name === name);
}

/** A value as it is typed: 100, 1e-9, inf. */
export function sayNumber(value: number): string {
  return Number.isFinite(value) ? String(value) : 'inf';
}

/** For a link: "spike:50,growth:10". */
export function toText(changed: Changed): string {
  return Object.entries(changed)
    .map(([name, value]) => `${name}:${sayNumber(value)}`)
    .join(',');
}

/** The opposite; whatever makes no sense is as if it were not there. */
export function fromText(text: string): Changed {
  let changed: Changed = {};
  for (const part of text.split(',')) {
    const [name = '', said = ''] = part.split(':');
    const threshold = thresholdOf(name);
    const value = threshold && parseThreshold(threshold, said);
    if (typeof value === 'number') changed = withThreshold(changed, name, value);
  }
  return changed;
}

function numberOf(text: string): number {
  if (INFINITE.test(text)) {
    return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  return NUMBER.test(text) ? Number(text) : Number.NaN;
}
