import { expect, it } from 'vitest';
import type { Cosine } from '../api/schema.gen';
import { chosenPair, cosineRows, pairTracks, recordAt, sayCosine, signed } from './conflicts';
import { makeRun } from './fixtures';

const PAIRS: Cosine[] = [
  { one: 'a', other: 'b', variables: [0, 1, 2], steps: [0, 10] },
  { one: 'a', other: 'c', variables: [0], steps: [0, 10, 20] },
  { one: 'b', other: 'c', variables: [0], steps: [0] },
];
const RUN = { ...makeRun(['x', 'y', 'z'], ['a', 'b', 'c']), cosines: PAIRS };
const TRACKS = pairTracks(RUN, [
  new Float32Array([0.5, 0.25]),
  new Float32Array([-1, Number.NaN, 0.5]),
  new Float32Array([Number.NaN]),
]);

it('puts the most opposed pair first, and what is not known last', () => {
  expect(TRACKS.map(({ position }) => position)).toEqual([1, 0, 2]);
  expect(TRACKS.map(({ mean, known, opposed }) => [mean, known, opposed])).toEqual([
    [-0.25, 2, 1],
    [0.375, 2, 0],
    [Number.NaN, 0, 0],
  ]);
});

it('finds the pair asked for either way round, else the most opposed', () => {
  expect(chosenPair(TRACKS, { one: 'b', other: 'a' })?.position).toBe(0);
  expect(chosenPair(TRACKS, { one: 'b', other: 'gone' })?.position).toBe(1);
  expect(chosenPair(TRACKS, null)?.position).toBe(1);
  expect(chosenPair([], null)).toBeUndefined();
});

it('orders variables by their cosine at a record', () => {
  const data = new Float32Array([1, 1, 1, 0.5, Number.NaN, -0.5]);
  const rows = cosineRows(PAIRS[0] as Cosine, data, 1);
  expect(rows.map(({ variable }) => variable)).toEqual([2, 0, 1]);
  expect([-1, 0, 5, 99].map((step) => recordAt(PAIRS[0] as Cosine, step))).toEqual([-1, 0, 0, 1]);
});

it('always shows the sign, with words beside it', () => {
  const values = [-0.834, -0.2, -0.001, 0, 0.2, 1, Number.NaN];
  expect(values.map(signed)).toEqual(['−0.83', '−0.20', '0.00', '0.00', '+0.20', '+1.00', '–']);
  expect(values.map(sayCosine)).toEqual([
    'opposed',
    'somewhat opposed',
    'independent',
    'independent',
    'somewhat aligned',
    'aligned',
    'not known',
  ]);
});
