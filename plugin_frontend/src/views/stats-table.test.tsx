import { cleanup, render, screen } from '@testing-library/preact';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { BESIDE_NORM, makeFrame, makeRun, makeSource, unmeasure } from '../model/fixtures';
import { Names } from '../model/order';
import type { Shown } from '../model/store';
import { StatsTable } from './stats-table';
import { Tooltip } from './tooltip';

const WHY =
  'in steps that the sentinel alone chose, only the norm of large gradients is; ' +
  'the norm of large sparse tables never is';

/** A large gradient of which only the norm is known. */
function shown(): Shown {
  const run = makeRun(['w'], ['a']);
  const frame = makeFrame([[2]]);
  unmeasure(frame.data, BESIDE_NORM);
  return { run, names: new Names(run.variables), frame };
}

beforeEach(() => vi.useFakeTimers());

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

it('says in the table what was not measured, and why', () => {
  render(<StatsTable shown={shown()} variable={0} loss="a" />);
  const cells = screen.getAllByText('not measured');
  expect(cells).toHaveLength(5);
  for (const { title } of cells) expect(title).toBe(WHY);
  expect(screen.getByText('2.000').title).toBe('');
  expect(screen.queryByText(/NaN$/)).toBeNull();
});

it('says so once in the tooltip, where no pointer can rest on a title', () => {
  const box = new DOMRect();
  render(<Tooltip shown={shown()} source={makeSource()} at={{ column: 0, variable: 0, box }} />);
  expect(screen.getAllByText('not measured')).toHaveLength(5);
  expect(screen.getAllByText(`not measured: ${WHY}`)).toHaveLength(1);
  expect(screen.queryByText(/themselves/)).toBeNull();
  expect(screen.getByText('a, w: norm 2.0').className).toBe('hidden');
});
