import type { Variable } from '../api/schema.gen';
import type { Frame } from './frame';
import { severity } from './statistic';

/** The rows of the matrix: which, in what order, under which heads. Pure. */

export type SortBy = 'model' | 'name' | 'norm' | 'worst';

export interface Sort {
  readonly by: SortBy;
  /** Position of the column whose norm counts; -1: the largest of all. */
  readonly column: number;
}

export type Row =
  | { readonly kind: 'layer'; readonly layer: string; readonly size: number }
  | {
      readonly kind: 'variable';
      readonly variable: number;
      /** What to write: the whole name, or below a head only what the head does not say. */
      readonly text: string;
      readonly grouped: boolean;
    };

/** A filter as typed: a test of names, or a sentence on why it is none. */
export type Filter = { readonly test: (name: string) => boolean } | { readonly problem: string };

const ANY: Filter = { test: () => true };

/** Reads a regular expression, case-insensitive as TensorBoard's other filters. */
export function parseFilter(pattern: string): Filter {
  if (pattern === '') return ANY;
  try {
    const expression = new RegExp(pattern, 'i');
    return { test: (name) => expression.test(name) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // "Invalid regular expression: /(/i: Unterminated group" says the pattern back.
    const short = reason.slice(reason.lastIndexOf(': ') + 2);
    return { problem: `Not a regular expression: ${short.toLowerCase()}.` };
  }
}

/** What stays the same for all steps of a run: its layers, and its names in order. */
export class Names {
  /** Position of each variable in the order of names; numbers in names count as numbers. */
  private readonly rank: Int32Array;
  private readonly layerSizes = new Map<string, number>();

  constructor(readonly variables: readonly Variable[]) {
    const collator = new Intl.Collator('en', { numeric: true });
    const sorted = variables.map((_, i) => i);
    sorted.sort((a, b) => collator.compare(this.name(a), this.name(b)) || a - b);
    this.rank = new Int32Array(variables.length);
    sorted.forEach((variable, i) => {
      this.rank[variable] = i;
    });
    for (const { layer } of variables) {
      this.layerSizes.set(layer, (this.layerSizes.get(layer) ?? 0) + 1);
    }
  }

  name(variable: number): string {
    return this.variables[variable]?.name ?? '';
  }

  layer(variable: number): string {
    return this.variables[variable]?.layer ?? '';
  }

  byName(a: number, b: number): number {
    return (this.rank[a] ?? 0) - (this.rank[b] ?? 0);
  }

  /** Whether the variables of a layer stand below a head of their own. */
  hasHead(layer: string): boolean {
    return layer !== '' && (this.layerSizes.get(layer) ?? 0) > 1;
  }
}

/** Positions of the variables that pass, in the order asked for. */
export function orderVariables(
  names: Names,
  frame: Frame | null,
  filter: Filter,
  sort: Sort,
): number[] {
  const test = 'test' in filter ? filter.test : () => true;
  const kept: number[] = [];
  names.variables.forEach((variable, i) => {
    if (test(variable.name)) kept.push(i);
  });
  if (sort.by === 'name') return kept.sort((a, b) => names.byName(a, b));
  if (sort.by === 'model' || frame === null) return kept;
  const key = sort.by === 'norm' ? normKeys(frame, sort.column) : worstKeys(frame);
  return kept.sort((a, b) => (key[b] ?? 0) - (key[a] ?? 0) || a - b);
}

/** Rows for variables in an order; only orders that keep layers together have heads. */
export function makeRows(names: Names, ordered: readonly number[], by: SortBy): Row[] {
  if (by === 'norm' || by === 'worst') {
    return ordered.map((variable) => plain(names, variable));
  }
  const layers = new Map<string, number[]>();
  for (const variable of ordered) {
    const layer = names.layer(variable);
    // A variable without a head keeps its own place, hence a key of its own.
    const key = names.hasHead(layer) ? `layer ${layer}` : `alone ${variable}`;
    const members = layers.get(key);
    if (members) members.push(variable);
    else layers.set(key, [variable]);
  }
  const rows: Row[] = [];
  for (const [key, members] of layers) {
    if (!key.startsWith('layer ')) {
      rows.push(plain(names, members[0] as number));
      continue;
    }
    const layer = key.slice('layer '.length);
    rows.push({ kind: 'layer', layer, size: members.length });
    for (const variable of members) {
      const name = names.name(variable);
      // Keras names have slashes between their parts, Python's have dots.
      const below = name.startsWith(layer) && /^[/.]./.test(name.slice(layer.length));
      const text = below ? name.slice(layer.length + 1) : name;
      rows.push({ kind: 'variable', variable, text, grouped: true });
    }
  }
  return rows;
}

function plain(names: Names, variable: number): Row {
  return { kind: 'variable', variable, text: names.name(variable), grouped: false };
}

/** Larger comes first: NaN, infinity, norms, zero, None, absent. */
function normKeys(frame: Frame, column: number): Float64Array {
  const keys = new Float64Array(frame.variables).fill(-3);
  const first = Math.max(column, 0);
  const end = column < 0 ? frame.columns : Math.min(column + 1, frame.columns);
  for (let c = first; c < end; c++) {
    for (let v = 0; v < frame.variables; v++) {
      const key = normKey(frame, c, v);
      if (key > (keys[v] ?? 0)) keys[v] = key;
    }
  }
  return keys;
}

function normKey(frame: Frame, column: number, variable: number): number {
  switch (frame.state(column, variable)) {
    case 'nan':
      return Number.MAX_VALUE;
    case 'inf':
      return Number.MAX_VALUE / 2;
    case 'ok':
      return frame.norm(column, variable);
    case 'zero':
      return -1;
    case 'none':
      return -2;
    default:
      return -3;
  }
}

/** The worst state counts first, then how many columns have it. */
function worstKeys(frame: Frame): Float64Array {
  const keys = new Float64Array(frame.variables);
  for (let v = 0; v < frame.variables; v++) {
    let worst = 0;
    let columns = 0;
    for (let c = 0; c < frame.columns; c++) {
      const here = severity(frame.state(c, v));
      if (here > worst) {
        worst = here;
        columns = 1;
      } else if (here === worst) columns++;
    }
    // Healthy rows are equals: the order in the model tells more than the number of columns.
    keys[v] = worst <= severity('ok') ? 0 : worst * (frame.columns + 1) + columns;
  }
  return keys;
}
