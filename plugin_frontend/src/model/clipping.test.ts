import { describe, expect, it } from 'vitest';
import type { Clip } from '../api/schema.gen';
import { band, ClipNumbers, clippedFraction, cumulative, sayScale, shares } from './clipping';
import { makeClip } from './fixtures';

describe('clippedFraction', () => {
  const clip = makeClip({
    steps: [0, 10, 20, 30],
    calls: [1, 11, 21, 31],
    clipped: [1, 1, 6, 16],
    nonfinite: [0, 0, 0, 0],
  });

  it('counts the calls between records too', () => {
    expect(clippedFraction(cumulative(clip), 10)).toEqual([1, 0, 0.5, 1]);
  });

  it('widens to the distance of two records', () => {
    expect(clippedFraction(cumulative(clip), 1)).toEqual([1, 0, 0.5, 1]);
  });

  it('starts at the first call while the window is not full', () => {
    expect(clippedFraction(cumulative(clip), Number.POSITIVE_INFINITY)).toEqual([
      1,
      1 / 11,
      6 / 21,
      16 / 31,
    ]);
  });

  it('survives a training that starts again', () => {
    const again = makeClip({
      steps: [0, 10, 11, 12],
      calls: [1, 11, 1, 2],
      clipped: [0, 5, 1, 1],
      nonfinite: [0, 1, 0, 0],
    });
    const totals = cumulative(again);
    expect(totals.at(-1)).toEqual({ calls: 13, clipped: 6, nonfinite: 1 });
    expect(clippedFraction(totals, 1)).toEqual([0, 0.5, 1, 0]);
  });
});

it.each([
  [0, 'never engaged'],
  [Number.NaN, 'never engaged'],
  [0.01, 'safety net'],
  [0.2, 'normal'],
  [0.5, 'heavy'],
  [0.501, 'step-size limiter'],
])('calls %d %s', (fraction, word) => expect(band(fraction, 50).word).toBe(word));

it('does not judge a site by few calls', () => {
  expect(band(1, 49).word).toBe('too early to say');
});

it('finds the largest norm of any variable, None aside', () => {
  const clip = makeClip({ variables: ['a', 'b', 'c'], steps: [0] });
  const norms = [Number.NaN, Number.NaN, 3, 1, 2, 1.5];
  const of = (before: number) =>
    new ClipNumbers(clip, new Float32Array([1, before, 1, 1, ...norms]));
  expect([of(4).largest(0, 0), of(4).largest(0, 1)]).toEqual([3, 1.5]);
  expect(of(Number.NaN).largest(0, 0)).toBeNaN();
});

describe('how a site clipped', () => {
  const say = (method: Clip['method'], header: number[], norms: number[]) => {
    const clip = makeClip({ method, variables: ['a', 'b'], steps: [0] });
    return sayScale(clip, new ClipNumbers(clip, new Float32Array([...header, ...norms])), 0);
  };

  it('tells of each gradient on its own where each has its own limit', () => {
    expect(say('norm', [1, 5, 1.41, 0.28], [3, 1, 4, 1])).toMatch(
      /^Each gradient on its own; the largest: 4.0 → 1.0\./,
    );
    expect(say('norm', [5, 5, 5, 1], [3, 3, 4, 4])).toContain('4.0, not clipped');
  });

  it('tells of a bound on elements as a bound', () => {
    expect(say('value', [0.5, 5, 1, 0.2], [3, 0.6, 4, 0.8])).toContain(
      'Each element at most 0.50. Joint norm 5.0, cut to 1.0 (20 %).',
    );
  });

  it('tells of a joint norm', () => {
    expect(say('global_norm', [1, 5, 1, 0.2], [3, 0.6, 4, 0.8])).toContain(
      'Norm 5.0, scaled to 20 % of its length: 1.0.',
    );
  });
});

describe('shares', () => {
  const clip = makeClip({ variables: ['a', 'b', 'c'], steps: [0, 1] });

  function numbers(second: number[]): ClipNumbers {
    const sites = [1, 5, 1, 0.2, 1, 5, 1, 0.2];
    return new ClipNumbers(clip, new Float32Array([...sites, 0, 0, 0, 0, 0, 0, ...second]));
  }

  it('are parts of the squared norm, largest first, None apart', () => {
    const found = shares(clip, numbers([3, 0.6, Number.NaN, Number.NaN, 4, 0.8]), 1);
    expect(found.map(({ variable, share }) => [variable, share])).toEqual([
      [2, 0.64],
      [0, 0.36],
      [1, Number.NaN],
    ]);
    expect(found[0]?.after).toBeCloseTo(0.8);
  });

  it('put infinity first and give nobody a share of it', () => {
    const found = shares(clip, numbers([3, 3, Number.POSITIVE_INFINITY, 0, 4, 4]), 1);
    expect(found[0]).toMatchObject({ variable: 1, share: Number.NaN });
    expect(found.every(({ share }) => Number.isNaN(share))).toBe(true);
  });

  it('of nothing are nothing', () => {
    expect(shares(clip, numbers([0, 0, 0, 0, 0, 0]), 1).map((s) => s.share)).toEqual([0, 0, 0]);
  });
});
