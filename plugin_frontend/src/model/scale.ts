import type { Frame } from './frame';
import { STATES } from './statistic';

/** The decades that colours span, as exponents of ten. */
export interface Domain {
  readonly low: number;
  readonly high: number;
}

/** Colours in a table. Level 0 is the low end of the domain, 255 the high end. */
export const LEVELS = 256;

const NARROWEST = 3;
const WIDEST = 12;

/**
 * The whole decades that hold the finite norms of some frames.
 *
 * At least `NARROWEST`, so that noise does not look like a signal. At most
 * `WIDEST`, cut at the low end, where one dead variable would else wash out the
 * rest; what lies outside takes the colour of the end.
 */
export function domainOf(frames: Iterable<Frame>): Domain {
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  for (const frame of frames) {
    for (let column = 0; column < frame.columns; column++) {
      for (let variable = 0; variable < frame.variables; variable++) {
        if (frame.stateNumber(column, variable) !== STATES.ok) continue;
        const norm = frame.norm(column, variable);
        if (norm < low) low = norm;
        if (norm > high) high = norm;
      }
    }
  }
  if (high === 0) return { low: -NARROWEST, high: 0 };
  const top = Math.ceil(Math.log10(high)) + 0; // no -0
  const bottom = Math.min(Math.floor(Math.log10(low)), top - NARROWEST);
  return { low: Math.max(bottom, top - WIDEST), high: top };
}

/** The smallest domain that holds both. */
export function union(one: Domain, other: Domain): Domain {
  const high = Math.max(one.high, other.high);
  return { low: Math.max(Math.min(one.low, other.low), high - WIDEST), high };
}

/** Position of a positive norm in a table of `LEVELS` colours. */
export function level(norm: number, domain: Domain): number {
  const fraction = (Math.log10(norm) - domain.low) / (domain.high - domain.low);
  return Math.min(LEVELS - 1, Math.max(0, Math.round(fraction * (LEVELS - 1))));
}

/** Exponents to write below the legend: at most six, evenly apart, both ends kept. */
export function ticks(domain: Domain): number[] {
  const span = domain.high - domain.low;
  const stride = [1, 2, 3, 4, 6].find((size) => span % size === 0 && span / size <= 5);
  if (stride === undefined) return [domain.low, domain.high];
  return Array.from({ length: span / stride + 1 }, (_, i) => domain.low + i * stride);
}
