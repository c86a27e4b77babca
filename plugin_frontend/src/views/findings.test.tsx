import { cleanup, fireEvent, render, screen, within } from '@testing-library/preact';
import { afterEach, expect, it } from 'vitest';
import type { Finding } from '../api/schema.gen';
import { makeFinding, makeFrame, makeRun, makeSource } from '../model/fixtures';
import { Names } from '../model/order';
import { type Shown, Store } from '../model/store';
import type { Changed } from '../model/thresholds';
import { FindingList } from './findings';

const FINDING = makeFinding({
  severity: 'error',
  kind: 'nan',
  loss: 'loss',
  variables: ['w1', 'w2'],
  first_step: 10,
  last_step: 20,
  message: 'The gradient of loss is not finite: first NaN at step 10.',
  advice: 'Look at the loss itself.',
  where: { file: '/me/train.py', line: 36, function: '', code: 'g = tape.gradient(l, v)' },
  op: 'Log',
});

/** Opens the list; `asked` is told the thresholds of each question. */
async function open(
  findings: Finding[],
  asked: (thresholds: Changed) => void = () => {},
): Promise<Store> {
  const store = new Store(
    makeSource({
      findings: async (_, thresholds) => {
        asked(thresholds);
        return { findings };
      },
    }),
  );
  const run = makeRun(['w1', 'w2'], ['loss'], [0, 10, 20]);
  const shown: Shown = { run, names: new Names(run.variables), frame: makeFrame([[1, 2]], 20) };
  store.runName.value = run.name;
  store.shown.value = shown;
  const { rerender } = render(<FindingList store={store} shown={shown} />);
  const again = () => rerender(<FindingList store={store} shown={shown} />);
  store.findings.subscribe(again);
  store.thresholds.subscribe(again);
  await screen.findByRole('heading');
  return store;
}

afterEach(cleanup);

it('says what is wrong, and leads to the cell, the step and the line', async () => {
  const store = await open([
    FINDING,
    { ...FINDING, severity: 'info', kind: 'none', cause: 'unused' },
  ]);
  expect(screen.getByRole('heading').textContent).toBe('1 fault found');
  expect(screen.getByText(/^1 worth knowing/)).toBeTruthy();
  const card = screen.getByRole('article', { name: `error: ${FINDING.message}` });
  expect(card.textContent).toContain('train.py:36, operation Log');
  expect(within(card).getByText('g = tape.gradient(l, v)')).toBeTruthy();
  expect(screen.getByText('none · unused')).toBeTruthy();
  fireEvent.click(screen.getAllByRole('button', { name: 'w2' })[0] as HTMLElement);
  expect(store.selection.value).toEqual({ variable: 'w2', loss: 'loss' });
  expect([store.tab.value, store.chosen.value]).toEqual(['matrix', 10]);
});

it('says that nothing is wrong', async () => {
  await open([]);
  expect(screen.getByRole('heading').textContent).toBe('No fault found');
});

it('leads to the tab that shows more, and to what it was compared with', async () => {
  const conflict = { kind: 'conflict', other_loss: 'kl', threshold: 'conflict', limit: '-0.3' };
  const store = await open([{ ...FINDING, ...conflict }]);
  const card = screen.getByRole('article');
  expect(card.textContent).toContain('compared with the threshold conflict (-0.3)');
  Element.prototype.scrollIntoView = () => {};
  fireEvent.click(within(card).getByRole('button', { name: 'conflict' }));
  expect(document.activeElement).toBe(screen.getByRole('textbox', { name: 'conflict' }));
  fireEvent.click(within(card).getByRole('button', { name: 'see Conflicts' }));
  expect(store.tab.value).toBe('conflicts');
  expect(store.pair.value).toEqual({ one: 'loss', other: 'kl' });
  expect(store.chosen.value).toBe(10);
});

it('judges anew by a changed threshold, until it is set back', async () => {
  const asked: Changed[] = [];
  const store = await open([FINDING], (thresholds) => asked.push(thresholds));
  const type = (text: string) =>
    fireEvent.change(screen.getByRole('textbox', { name: 'spike' }), { target: { value: text } });
  screen.getByText('all as they are by default');
  type('50');
  expect(store.linked.value.thresholds).toEqual({ spike: 50 });
  expect(screen.getByText('1 changed: spike 50')).toBeTruthy();
  type('none');
  const input = screen.getByRole('textbox', { name: 'spike' });
  expect(input.getAttribute('aria-invalid')).toBe('true');
  expect(screen.getByText('Expected a number of 1 or more.')).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'spike back to its default, 100' }));
  expect(screen.getByRole<HTMLInputElement>('textbox', { name: 'spike' }).value).toBe('100');
  expect(asked).toEqual([{}, { spike: 50 }, {}]);
});
