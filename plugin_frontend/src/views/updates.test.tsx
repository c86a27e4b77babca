import { cleanup, fireEvent, render, screen, within } from '@testing-library/preact';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { makeFrame, makeOptimizer, makeRun, makeSource, unmeasure } from '../model/fixtures';
import { Names } from '../model/order';
import { type Shown, Store } from '../model/store';
import { UpdateNumbers } from '../model/updates';
import { SeesAll } from './sees-all';
import { Updates } from './updates';

// A canvas is what jsdom has not.
vi.mock('./chart', () => ({ Chart: ({ label }: { label: string }) => <p>{label}</p> }));

const OPTIMIZER = makeOptimizer({
  accumulation: 4,
  steps: [0, 10],
  applied: [10, 19],
  skipped: [0, 2],
  skipped_steps: [10],
  has_loss_scale: true,
});
const SOURCE = makeSource({
  // Loss scale and rate; then update and norm of w1 and w2, of which the second record has none.
  optimizer: async () =>
    new UpdateNumbers(
      OPTIMIZER,
      new Float32Array([1024, 0.1, 512, 0.1, 0.002, 2, 0.5, 1, 0, 2, 0, 1]),
    ),
});

function open(optimizers = [OPTIMIZER], source = SOURCE): Store {
  const store = new Store(source);
  const run = { ...makeRun(['w1', 'w2'], ['loss'], [0, 10]), optimizers };
  const shown: Shown = { run, names: new Names(run.variables), frame: makeFrame([[1, 2]], 10) };
  store.shown.value = shown;
  render(<Updates store={store} shown={shown} source={source} />);
  return store;
}

beforeEach(() => {
  vi.stubGlobal('IntersectionObserver', SeesAll);
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

it('says what was applied, what was skipped, and how large the last update was', async () => {
  open();
  const card = screen.getByRole('region', { name: 'Optimizer adam' });
  expect(card.textContent).toContain(
    'Up to step 10: 19 updates applied, 2 skipped because the loss scale',
  );
  expect(card.textContent).toContain('(the steps of 1 are known)');
  expect(card.textContent).toContain('one update for 4 micro-batches');
  // Step 10 was skipped, so the table is of the step before it.
  const table = await screen.findByRole('region', { name: 'Updates by variable' });
  expect(within(table).getByRole('heading').textContent).toBe(
    'At step 0, farthest from 1e-3 first',
  );
  const rows = within(table).getAllByRole('row').slice(1);
  expect(rows.map((row) => row.textContent)).toEqual(['w20.500.501.0', 'w11.0e-32.0e-32.0']);
  expect(screen.getByText('Loss scale by step')).toBeTruthy();
  expect(screen.getByText(/^Learning rate 0.1000/)).toBeTruthy();
});

it('says which updates were not measured, and why', async () => {
  const optimizer = makeOptimizer({ steps: [10] });
  const data = new Float32Array([1, 0.1, Number.NaN, 0, 0.5, 1]);
  unmeasure(data, [3]);
  open([optimizer], makeSource({ optimizer: async () => new UpdateNumbers(optimizer, data) }));
  const table = await screen.findByRole('region', { name: 'Updates by variable' });
  expect(table.textContent).not.toContain('NaN');
  const cells = within(table).getAllByText('not measured');
  expect(cells).toHaveLength(3);
  for (const { title } of cells) expect(title).toContain('the sentinel alone chose');
  expect(within(table).getByText('1.0').title).toBe('');
});

it('shows the variable chosen over time, and only those that pass the filter', async () => {
  const store = open();
  fireEvent.click(await screen.findByRole('button', { name: 'w1' }));
  expect(store.selection.value).toEqual({ variable: 'w1', loss: '' });
  expect(screen.getByText(/^Update to variable by step of w1, with a rule of thumb/)).toBeTruthy();
  fireEvent.input(screen.getByRole('searchbox'), { target: { value: 'w2' } });
  expect(screen.queryByRole('button', { name: 'w1' })).toBeNull();
});

it('teaches how to record updates', () => {
  open([]);
  expect(screen.getByText('No updates recorded')).toBeTruthy();
  expect(screen.getByText(/optimizer = gs.watch_optimizer\(optimizer\)/)).toBeTruthy();
});
