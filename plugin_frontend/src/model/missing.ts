import type { Missing } from '../api/schema.gen';
import { count } from './text';

/** Since when a gradient is missing, as the page says it. */
export function since(missing: Missing): string {
  switch (missing.pattern) {
    case 'always':
      return 'always';
    case 'from':
      return `since step ${count(missing.first_step)}`;
    case 'on_and_off':
      return 'on and off';
  }
}

/** The steps it is about. */
export function span(missing: Missing): string {
  const { first_step: first, last_step: last } = missing;
  if (first < 0) return '';
  if (first === last) return `step ${count(first)}`;
  return missing.pattern === 'on_and_off'
    ? `first at step ${count(first)}, last at ${count(last)}`
    : `steps ${count(first)} to ${count(last)}`;
}

/** How often, of how many times that somebody asked. */
export function howOften(missing: Missing): string {
  if (missing.asked <= 0) return 'seen while tracing';
  return `${count(missing.count)} of ${count(missing.asked)}`;
}

/** Pairs in all. */
export function pairs(list: readonly { readonly variables: readonly string[] }[]): number {
  return list.reduce((total, entry) => total + entry.variables.length, 0);
}
