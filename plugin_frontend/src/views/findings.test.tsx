import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import { afterEach, expect, it } from 'vitest';
import type { Finding } from '../api/schema.gen';
import { makeFrame, makeRun, makeSource } from '../model/fixtures';
import { Names } from '../model/order';
import { type Shown, Store } from '../model/store';
import { FindingList } from './findings';

const FINDING: Finding = {
  severity: 'error',
  kind: 'nan',
  cause: '',
  loss: 'loss',
  variables: ['w1', 'w2'],
  first_step: 10,
  last_step: 20,
  message: 'The gradient of loss is not finite: first NaN at step 10.',
  advice: 'Look at the loss itself.',
  where: { file: '/me/train.py', line: 36, function: '', code: 'g = tape.gradient(l, v)' },
  op: 'Log',
};

async function open(findings: Finding[]): Promise<Store> {
  const store = new Store(makeSource({ findings: async () => ({ findings }) }));
  const run = makeRun(['w1', 'w2'], ['loss'], [0, 10, 20]);
  const shown: Shown = { run, names: new Names(run.variables), frame: makeFrame([[1, 2]], 20) };
  store.runName.value = run.name;
  store.shown.value = shown;
  const { rerender } = render(<FindingList store={store} shown={shown} />);
  store.findings.subscribe(() => rerender(<FindingList store={store} shown={shown} />));
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
  expect(card.textContent).toContain('train.py:36');
  expect(card.textContent).toContain('operation Log');
  expect(screen.getByText('none · unused')).toBeTruthy();
  fireEvent.click(screen.getAllByRole('button', { name: 'w2' })[0] as HTMLElement);
  expect(store.selection.value).toEqual({ variable: 'w2', loss: 'loss' });
  expect([store.tab.value, store.chosen.value]).toEqual(['matrix', 10]);
});

it('says that nothing is wrong', async () => {
  await open([]);
  expect(screen.getByRole('heading').textContent).toBe('No fault found');
});
