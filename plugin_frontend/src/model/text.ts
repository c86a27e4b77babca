/** Numbers and sentences as the page says them. */

/** A magnitude in few characters: 0.031, 3.1, 310, 3.1e-4. */
export function short(value: number): string {
  return significant(value, 2);
}

/** A statistic, precise enough to compare: 0.03142, 3.142e-7. */
export function precise(value: number): string {
  return significant(value, 4);
}

function significant(value: number, digits: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Number.POSITIVE_INFINITY) return '∞';
  if (value === Number.NEGATIVE_INFINITY) return '-∞';
  if (value === 0) return '0';
  const rounded = Number(value.toPrecision(digits));
  const size = Math.abs(rounded);
  if (size >= 0.01 && size < 10000) {
    const before = Math.floor(Math.log10(size)) + 1;
    return rounded.toFixed(Math.max(0, digits - before));
  }
  return value.toExponential(digits - 1).replace('e+', 'e');
}

/** 1,000 */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** "1 variable", "2,000 variables" */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** 81 %, 4.6 %, 0.03 %; never "0 %" of what is not zero, nor "100 %" of what is not all. */
export function percent(fraction: number): string {
  if (!Number.isFinite(fraction)) return '–';
  if (fraction === 0) return '0 %';
  if (fraction === 1) return '100 %';
  const value = fraction * 100;
  if (value < 0.01) return '< 0.01 %';
  if (value > 99 && value < 100) return value > 99.9 ? '> 99.9 %' : `${value.toFixed(1)} %`;
  if (value < 1) return `${value.toFixed(2)} %`;
  if (value < 10) return `${value.toFixed(1)} %`;
  return `${Math.round(value)} %`;
}

/** (3, 3, 64, 128), scalar, ? where unknown */
export function shape(sizes: readonly number[]): string {
  if (sizes.length === 0) return 'scalar';
  const inner = sizes.map((size) => (size < 0 ? '?' : String(size))).join(', ');
  return sizes.length === 1 ? `(${inner},)` : `(${inner})`;
}

/** The end of a name that must stay readable when its middle is left out. */
export function splitName(name: string, tail = 14): [string, string] {
  const letters = Array.from(name);
  if (letters.length <= tail + 6) return [name, ''];
  const slash = name.lastIndexOf('/');
  const lastPart = slash < 0 ? 0 : Array.from(name.slice(slash)).length;
  const keep = lastPart > 0 && lastPart <= tail + 4 ? lastPart : tail;
  return [letters.slice(0, -keep).join(''), letters.slice(-keep).join('')];
}

const BOUNDARIES = /[/._:[( -]/;

/**
 * A name in at most two lines of some letters each: its beginning, and as its end
 * what tells it from others, from where a part of the name begins if there is one.
 */
export function twoLines(name: string, letters: number): [string, string] {
  const all = Array.from(name);
  const room = Math.max(letters, 4);
  if (all.length <= room) return [name, ''];
  const from = all.length - room;
  const begins = all.findIndex(
    (_, i) => i >= from && i <= all.length - 2 && BOUNDARIES.test(all[i - 1] ?? ''),
  );
  const at = begins < 0 ? from : begins;
  return [all.slice(0, at).join(''), all.slice(at).join('')];
}

/** A name as the page may show it: what would be invisible or reorder the line is spelled out. */
export function visible(name: string): string {
  if (name === '') return '(empty name)';
  return name.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is for
    /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff]/g,
    (letter) => {
      if (letter === '\n') return '⏎';
      if (letter === '\t') return '⇥';
      return `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;
    },
  );
}

/** A run as TensorBoard calls it; what lies in the log directory itself it calls "." */
export function runTitle(name: string): string {
  return name === '.' ? '. (the log directory itself)' : name;
}

/** train.py:36; a notebook's cell and a long path become their last part. */
export function placeName(place: { file: string; line: number }): string {
  const parts = place.file.split(/[\\/]/);
  return `${parts[parts.length - 1] || place.file}:${place.line}`;
}
