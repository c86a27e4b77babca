import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import { afterEach, expect, it } from 'vitest';
import { makeFinding, makeSource } from '../model/fixtures';
import { Store } from '../model/store';
import { CellFindings } from './cell-findings';

afterEach(cleanup);

it('says why a chosen cell is as it is, and on which line', () => {
  const store = new Store(makeSource());
  const where = { file: '/me/train.py', line: 36, function: '', code: 'i = tf.argmin(d)' };
  const why = { cause: 'blocked', op: 'ArgMin', where, message: 'loss has no gradient for w.' };
  store.findings.value = [makeFinding({ variables: ['v'] }), makeFinding(why)];
  render(<CellFindings store={store} selection={{ variable: 'w', loss: 'loss' }} />);
  const list = screen.getByRole('list', { name: 'Findings about this' });
  expect(list.children.length).toBe(1);
  expect(list.textContent).toContain('loss has no gradient for w.');
  expect(list.textContent).toContain('train.py:36, operation ArgMin');
  expect(list.textContent).toContain('i = tf.argmin(d)');
  fireEvent.click(screen.getByRole('button', { name: 'none · blocked' }));
  expect(store.tab.value).toBe('findings');
});

it('says nothing of the whole gradient, nor while nothing is known', () => {
  const store = new Store(makeSource());
  const { container } = render(
    <CellFindings store={store} selection={{ variable: 'w', loss: 'loss' }} />,
  );
  expect(container.textContent).toBe('');
});
