import type { Clip } from '../api/schema.gen';
import { percent, short } from './text';

/** What a clip site did, from its cumulative counters. Pure. */

export interface Totals {
  readonly calls: number;
  readonly clipped: number;
  readonly nonfinite: number;
}

/**
 * The counters as one rising line.
 *
 * A training that starts again counts from zero; what it had counted before stays.
 */
export function cumulative(clip: Clip): Totals[] {
  const lines: Totals[] = [];
  let base: Totals = { calls: 0, clipped: 0, nonfinite: 0 };
  let before: Totals = base;
  clip.calls.forEach((calls, i) => {
    const now = { calls, clipped: clip.clipped[i] ?? 0, nonfinite: clip.nonfinite[i] ?? 0 };
    if (now.calls < before.calls) base = lines[i - 1] ?? base;
    before = now;
    lines.push({
      calls: base.calls + now.calls,
      clipped: base.clipped + now.clipped,
      nonfinite: base.nonfinite + now.nonfinite,
    });
  });
  return lines;
}

/** What the counters of a clip site count. */
export function callsOf(clip: Clip): string {
  return clip.counts_every_call ? 'calls' : 'recorded calls';
}

/**
 * Fraction of calls clipped in a window of the last `window` calls, at each record.
 *
 * Calls between two records are counted too where the site counts every call. A
 * window cannot be narrower than the distance of two records.
 */
export function clippedFraction(totals: readonly Totals[], window: number): number[] {
  const zero: Totals = { calls: 0, clipped: 0, nonfinite: 0 };
  let start = -1;
  return totals.map((now, i) => {
    while (start + 1 < i && (totals[start + 1] as Totals).calls <= now.calls - window) start++;
    const from = start < 0 ? zero : (totals[start] as Totals);
    const calls = now.calls - from.calls;
    return calls > 0 ? (now.clipped - from.clipped) / calls : Number.NaN;
  });
}

export interface Band {
  readonly word: string;
  readonly meaning: string;
  readonly level: 0 | 1 | 2 | 3 | 4;
}

const ENOUGH_CALLS = 50;

/** What a fraction of clipped calls says of the threshold. */
export function band(fraction: number, calls: number): Band {
  if (calls < ENOUGH_CALLS) {
    return {
      word: 'too early to say',
      meaning: `Fewer than ${ENOUGH_CALLS} calls so far.`,
      level: 0,
    };
  }
  if (!(fraction > 0)) {
    return { word: 'never engaged', meaning: 'No call was clipped so far.', level: 0 };
  }
  if (fraction <= 0.01) {
    return { word: 'safety net', meaning: 'It catches rare spikes only.', level: 1 };
  }
  if (fraction <= 0.2) {
    return { word: 'normal', meaning: 'It shortens the largest gradients.', level: 2 };
  }
  if (fraction <= 0.5) {
    return { word: 'heavy', meaning: 'It shapes a good part of the training.', level: 3 };
  }
  return {
    word: 'step-size limiter',
    meaning: 'Most steps are as long as the threshold allows: it acts as a learning rate.',
    level: 4,
  };
}

/** What `clip` answers, with names instead of offsets. */
export class ClipNumbers {
  private readonly records: number;
  private readonly variables: number;

  constructor(
    clip: Clip,
    readonly data: Float32Array,
  ) {
    this.records = clip.steps.length;
    this.variables = clip.variables.length;
  }

  static size(clip: Clip): number {
    return clip.steps.length * 4 + clip.steps.length * clip.variables.length * 2;
  }

  threshold(record: number): number {
    return this.data[record * 4] ?? Number.NaN;
  }

  before(record: number): number {
    return this.data[record * 4 + 1] ?? Number.NaN;
  }

  after(record: number): number {
    return this.data[record * 4 + 2] ?? Number.NaN;
  }

  scale(record: number): number {
    return this.data[record * 4 + 3] ?? Number.NaN;
  }

  /** Largest norm of any one variable before (0) or after (1): what a limit on each is about. */
  largest(record: number, side: 0 | 1): number {
    if (Number.isNaN(this.before(record))) return Number.NaN;
    let largest = Number.NaN;
    for (let variable = 0; variable < this.variables; variable++) {
      const norm = this.norm(record, variable, side);
      if (!(norm <= largest) && !Number.isNaN(norm)) largest = norm;
    }
    return largest;
  }

  /** L2 norm of one variable's gradient before (0) or after (1). */
  norm(record: number, variable: number, side: 0 | 1): number {
    return (
      this.data[this.records * 4 + (record * this.variables + variable) * 2 + side] ?? Number.NaN
    );
  }
}

export interface Share {
  readonly variable: number;
  readonly before: number;
  readonly after: number;
  /** Part of the squared norm before clipping, NaN where that norm is not finite or None. */
  readonly share: number;
}

/** Who made the norm what it was, largest first; what is not finite before all. */
export function shares(clip: Clip, numbers: ClipNumbers, record: number): Share[] {
  const before = clip.variables.map((_, i) => numbers.norm(record, i, 0));
  const sum = before.reduce((total, norm) => total + (Number.isNaN(norm) ? 0 : norm * norm), 0);
  // Of an infinite norm nobody has a share that means anything.
  const finite = Number.isFinite(sum) && !Number.isNaN(numbers.before(record));
  const rank = (norm: number) => (Number.isNaN(norm) ? -1 : norm);
  return before
    .map((norm, variable) => ({
      variable,
      before: norm,
      after: numbers.norm(record, variable, 1),
      share: finite && !Number.isNaN(norm) ? (sum > 0 ? (norm * norm) / sum : 0) : Number.NaN,
    }))
    .sort((a, b) => rank(b.before) - rank(a.before) || a.variable - b.variable);
}

/** The norms that a site's lines show: of a limit on each gradient, the largest of them. */
export function shownNorms(clip: Clip, numbers: ClipNumbers, record: number): [number, number] {
  if (clip.method === 'norm') return [numbers.largest(record, 0), numbers.largest(record, 1)];
  return [numbers.before(record), numbers.after(record)];
}

/** How a site clipped at one record, in sentences that agree with its lines. */
export function sayScale(clip: Clip, numbers: ClipNumbers, record: number): string {
  const [before, after] = shownNorms(clip, numbers, record);
  const shares = 'Shares of the squared norm before clipping.';
  if (!Number.isFinite(numbers.before(record))) {
    return 'The norm was not finite: clipping cannot help here.';
  }
  const clipped = numbers.scale(record) < 1;
  if (clip.method === 'norm') {
    const change = clipped ? `${short(before)} → ${short(after)}` : `${short(before)}, not clipped`;
    return `Each gradient on its own; the largest: ${change}. ${shares}`;
  }
  if (!clipped) return `Not clipped: the norm was ${short(before)}. ${shares}`;
  const scaled = percent(numbers.scale(record));
  if (clip.method === 'value') {
    const bound = numbers.threshold(record);
    const cut = Number.isFinite(bound) ? `Each element at most ${short(bound)}. ` : '';
    return `${cut}Joint norm ${short(before)}, cut to ${short(after)} (${scaled}). ${shares}`;
  }
  return `Norm ${short(before)}, scaled to ${scaled} of its length: ${short(after)}. ${shares}`;
}

/** How a method clips, in a sentence. */
export const METHODS: Record<Clip['method'], { name: string; text: string }> = {
  global_norm: {
    name: 'clip by global norm',
    text: 'All gradients are scaled together when their joint L2 norm is above the threshold.',
  },
  norm: {
    name: 'clip by norm',
    text: 'Each gradient is scaled on its own when its L2 norm is above the threshold; the lines show the largest of these norms.',
  },
  value: {
    name: 'clip by value',
    text: 'Each element is cut on its own where its magnitude is above the threshold, so directions change too; the lines show the joint norm.',
  },
  custom: {
    name: 'own clipper',
    text: 'Reported through record_clipping: norms before and after, whatever happened in between.',
  },
};
