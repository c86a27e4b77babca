import { cleanup, fireEvent, render, screen, within } from '@testing-library/preact';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Cell, makeFrame, makeOptimizer, makeRun, makeSource } from '../model/fixtures';
import { Names } from '../model/order';
import { Store } from '../model/store';
import { Matrix } from './matrix';

const HOSTILE = '<img src=x onerror=alert(1)>';

const SOURCE = makeSource();

const RUN = () => makeRun(['enc/kernel', 'enc/bias', HOSTILE], ['recon', 'kl'], [0, 40]);
const CELLS: Cell[][] = [
  [0.5, 'zero', 'inf'],
  ['none', 'nan', 3e-7],
];

function open(run = RUN(), cells = CELLS): Store {
  const store = new Store(SOURCE);
  const frame = makeFrame(cells, 40);
  store.shown.value = { run, names: new Names(run.variables), frame };
  const { container } = render(<Matrix store={store} shown={store.shown.value} source={SOURCE} />);
  container.ownerDocument.body.append(container);
  return store;
}

beforeEach(() => {
  // jsdom has neither a layout nor a canvas.
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe() {}
      disconnect() {}
    },
  );
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null);
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

// By label: that a cell of a grid is a "gridcell" the browser knows, not the library.
// The records are of step 0 while the step shown is 40, which each cell says; its foot does not.
const cell = (name: string) =>
  screen.queryByLabelText(`${name}, as of step 0`) ?? screen.getByLabelText(name);

describe('the matrix', () => {
  it('says each state in its cell, in words and in signs', () => {
    open();
    expect(cell('recon, enc/kernel: norm 0.50').textContent).toBe('0.50');
    expect(cell('kl, enc/kernel: None: no gradient reaches it').textContent).toBe('None');
    expect(cell('recon, enc/bias: 0, all elements exactly zero').textContent).toBe('0');
    expect(cell('kl, enc/bias: contains NaN').textContent).toBe('NaN');
    expect(cell(`recon, ${HOSTILE}: contains infinity`).textContent).toBe('∞');
    expect(cell(`kl, ${HOSTILE}: norm 3.0e-7`).textContent).toBe('3.0e-7');
  });

  it('sums each loss up in its last row', () => {
    open();
    expect(cell('kl, whole gradient: contains NaN')).toBeTruthy();
    expect(cell('recon, whole gradient: contains infinity')).toBeTruthy();
  });

  it('shows names as text', () => {
    open();
    expect(document.querySelector('img')).toBeNull();
    expect(screen.getByRole('rowheader', { name: HOSTILE })).toBeTruthy();
  });

  it('marks a number of an earlier step', () => {
    open();
    expect(cell('recon, enc/kernel: norm 0.50').className).toContain('stale');
  });

  it('counts rows and columns for those who cannot see them', () => {
    open();
    const grid = screen.getByRole('grid');
    expect(grid.getAttribute('aria-rowcount')).toBe('6'); // head, layer, 3 variables, foot
    expect(grid.getAttribute('aria-colcount')).toBe('3');
  });

  it('is walked with the arrow keys, by one tab stop', () => {
    open();
    const grid = screen.getByRole('grid');
    expect(grid.querySelectorAll('[tabindex="0"]')).toHaveLength(1);
    fireEvent.keyDown(grid, { key: 'ArrowDown' });
    fireEvent.keyDown(grid, { key: 'ArrowRight' });
    fireEvent.keyDown(grid, { key: 'ArrowRight' });
    expect(document.activeElement?.getAttribute('aria-label')).toContain('kl, enc/kernel');
    expect(grid.querySelectorAll('[tabindex="0"]')).toHaveLength(1);
  });

  it('selects the cell or variable that is chosen', () => {
    const store = open();
    fireEvent.click(cell('kl, enc/bias: contains NaN'));
    expect(store.selection.value).toEqual({ variable: 'enc/bias', loss: 'kl' });
    fireEvent.click(screen.getByRole('rowheader', { name: 'enc/kernel' }));
    expect(store.selection.value).toEqual({ variable: 'enc/kernel', loss: '' });
    fireEvent.keyDown(cell('recon, whole gradient: contains infinity'), { key: 'Tab' });
    fireEvent.click(cell('recon, whole gradient: contains infinity'));
    expect(store.selection.value).toEqual({ variable: '', loss: 'recon' });
  });

  it('sorts by the loss whose head is chosen, and back', () => {
    const store = open();
    const head = screen.getByRole('columnheader', { name: /recon/ });
    fireEvent.click(head);
    expect([store.sortBy.value, store.sortLoss.value]).toEqual(['norm', 'recon']);
    expect(head.getAttribute('aria-sort')).toBe('descending');
    const first = screen.getAllByRole('rowheader')[0] as HTMLElement;
    expect(first.getAttribute('aria-label')).toBe(HOSTILE);
    fireEvent.click(head);
    expect(store.sortBy.value).toBe('model');
  });

  it('filters, and says what is wrong with a filter', () => {
    open();
    const box = screen.getByRole('searchbox', { name: /Filter/ });
    fireEvent.input(box, { target: { value: 'bias$' } });
    expect(screen.getByText('1 of 3 variables')).toBeTruthy();
    expect(screen.queryByRole('rowheader', { name: 'enc/kernel' })).toBeNull();
    fireEvent.input(box, { target: { value: '(' } });
    expect(screen.getByRole('status').textContent).toMatch(/^Not a regular expression/);
    expect(screen.getByRole('rowheader', { name: 'enc/kernel' })).toBeTruthy();
    fireEvent.input(box, { target: { value: 'nothing like it' } });
    expect(screen.getByText('No variable passes the filter.')).toBeTruthy();
  });

  it('tells everything about a cell under the pointer', () => {
    open();
    fireEvent.pointerOver(cell('recon, enc/kernel: norm 0.50'));
    const tip = screen.getByRole('tooltip');
    expect(within(tip).getByText('L2 norm').nextElementSibling?.textContent).toBe('0.5000');
    expect(tip.textContent).toContain('variable (2, 3) float32');
    expect(tip.textContent).toContain('as of step 0');
    expect(cell('recon, enc/kernel: norm 0.50').getAttribute('aria-describedby')).toBe(tip.id);
    fireEvent.keyDown(screen.getByRole('grid'), { key: 'Escape' });
    expect(screen.queryByRole('tooltip')).toBeNull();
  });

  it('sets apart the parts of a sum, replicas and what reached an optimizer', () => {
    const run = RUN();
    Object.assign(run.losses[1] ?? {}, { total: 0, part_of: 'recon' });
    Object.assign(run.losses[0] ?? {}, {
      label: { ...(run.losses[0]?.label ?? {}), subtitle: 'replica 1 of 2' },
    });
    run.optimizers = [makeOptimizer({ variables: [0], steps: [0] })];
    const store = open(run, [...CELLS, [0.25, 'absent', 'skipped']]);
    const heads = screen
      .getAllByRole('columnheader')
      .map((head) => head.getAttribute('aria-label'));
    expect(heads).toEqual([
      null,
      'recon (replica 1 of 2)',
      'kl (part of recon)',
      'reached adam (Adam)',
    ]);
    expect(screen.getByRole('columnheader', { name: /^kl/ }).textContent).toContain('=');
    expect(cell('reached adam (Adam), enc/kernel: norm 0.25')).toBeTruthy();
    expect(
      cell(`reached adam (Adam), ${HOSTILE}: skipped step: the loss scale had overflowed`)
        .textContent,
    ).toBe('skip');
    fireEvent.click(cell('reached adam (Adam), enc/kernel: norm 0.25'));
    expect(store.selection.value).toEqual({ variable: 'enc/kernel', loss: '→adam' });
  });
});
