import { cleanup, fireEvent, render, screen, within } from '@testing-library/preact';
import { afterEach, expect, it, vi } from 'vitest';
import type { Cosine } from '../api/schema.gen';
import { makeFrame, makeRun, makeSource } from '../model/fixtures';
import { Names } from '../model/order';
import { type Shown, Store } from '../model/store';
import { Conflicts } from './conflicts';

// A canvas is what jsdom has not.
vi.mock('./chart', () => ({ Chart: ({ label }: { label: string }) => <p>{label}</p> }));

const PAIRS: Cosine[] = [
  { one: 'recon', other: 'kl', variables: [0, 1], steps: [0, 10] },
  { one: 'recon', other: 'adv', variables: [0], steps: [0, 10] },
];
const SOURCE = makeSource({
  cosines: async () => [new Float32Array([0.5, 0.25]), new Float32Array([-0.5, -1])],
  cosine: async (_run, { other }) =>
    new Float32Array(other === 'kl' ? [0.5, 0.5, -0.25, Number.NaN] : [-0.5, -1]),
});

function open(cosines = PAIRS): Store {
  const store = new Store(SOURCE);
  const run = { ...makeRun(['w1', 'w2'], ['recon', 'kl', 'adv'], [0, 10]), cosines };
  const cells = [0, 1, 2].map(() => [1, 2]);
  const shown: Shown = { run, names: new Names(run.variables), frame: makeFrame(cells, 10) };
  store.shown.value = shown;
  const { rerender } = render(<Conflicts store={store} shown={shown} source={SOURCE} />);
  store.pair.subscribe(() => rerender(<Conflicts store={store} shown={shown} source={SOURCE} />));
  return store;
}

const texts = (rows: HTMLElement[]) => rows.slice(1).map((row) => row.textContent);

afterEach(cleanup);

it('begins with the pair that is most opposed, and shows another when asked', async () => {
  const store = open();
  const pairs = await screen.findByRole('region', { name: 'Pairs of losses' });
  expect(texts(within(pairs).getAllByRole('row'))).toEqual([
    'recon · adv−1.00−0.75100 %',
    'recon · kl+0.25+0.380 %',
  ]);
  expect(screen.getByText('Cosine by step of recon · adv, recon · kl')).toBeTruthy();
  fireEvent.click(within(pairs).getByRole('button', { name: 'recon · kl' }));
  expect(store.pair.value).toEqual({ one: 'recon', other: 'kl' });
  const table = screen.getByRole('region', { name: 'Cosines by variable' });
  await within(table).findByText('w2');
  expect(texts(within(table).getAllByRole('row'))).toEqual([
    'w1−0.25somewhat opposed',
    'w2–not known',
  ]);
  fireEvent.click(within(table).getByRole('button', { name: 'w1' }));
  expect(store.selection.value).toEqual({ variable: 'w1', loss: 'recon' });
  expect(store.tab.value).toBe('matrix');
});

it('teaches how to record cosines', () => {
  open([]);
  expect(screen.getByText('No two losses compared')).toBeTruthy();
  expect(screen.getByText(/tape.losses\(recon=recon, kl=kl\)/)).toBeTruthy();
});
