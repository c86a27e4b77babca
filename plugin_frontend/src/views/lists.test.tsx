import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ClipNumbers } from '../model/clipping';
import { makeClip, makeFinding, makeFrame, makeRun, makeSource } from '../model/fixtures';
import { Names } from '../model/order';
import { type Shown, Store } from '../model/store';
import { Clipping } from './clipping';
import { MissingList } from './missing';
import { NonfiniteList } from './nonfinite';
import { Notices } from './notices';
import { SeesAll } from './sees-all';
import { Teach } from './teach';

// A canvas is what jsdom has not.
vi.mock('./chart', () => ({ Chart: ({ label }: { label: string }) => <p>{label}</p> }));

const CLIP = makeClip({
  name: 'all',
  steps: [0, 10],
  calls: [500, 1000],
  clipped: [400, 812],
  nonfinite: [0, 3],
});
const SOURCE = makeSource({
  // Threshold, before, after, scale; then before and after of w1 and w2.
  clip: async () =>
    new ClipNumbers(
      CLIP,
      new Float32Array([1, 5, 1, 0.2, 1, 21.74, 1, 0.046, 3, 0.6, 4, 0.8, 3, 0.1, 21.5, 1]),
    ),
});

function shownRun(change: Partial<Shown['run']>): Shown {
  const run = { ...makeRun(['w1', 'w2'], ['loss'], [0, 10]), ...change };
  return { run, names: new Names(run.variables), frame: makeFrame([[1, 2]], 10) };
}

function storeOf(shown: Shown): Store {
  const store = new Store(SOURCE);
  store.shown.value = shown;
  return store;
}

beforeEach(() => {
  vi.stubGlobal('IntersectionObserver', SeesAll);
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

it('says what a clip site did, how to judge it, and who caused it', async () => {
  const shown = shownRun({ clips: [CLIP] });
  render(<Clipping store={storeOf(shown)} shown={shown} source={SOURCE} />);
  const site = screen.getByRole('region', { name: 'Clip site all' });
  expect(site.textContent).toContain('clipped in 812 of 1,000 calls (81 %)');
  expect(site.textContent).toContain('3 with a norm that is not finite');
  expect(screen.getByText('step-size limiter')).toBeTruthy();
  const shares = await screen.findByRole('list', { name: /Shares/ });
  expect(site.textContent).toContain('Fraction of calls clipped');
  expect(shares.textContent).toBe('w298 %w11.9 %');
  expect(site.textContent).toContain('scaled to 4.6 % of its length');
  fireEvent.click(screen.getByRole('button', { name: 'Show as table' }));
  expect(
    screen.getByRole('row', { name: /^10 21.74 1.000 1.000 4.6 % 812 of 1,000$/ }),
  ).toBeTruthy();
});

it('says of which calls the counts are, whatever the site is called', async () => {
  const clips = [true, false].map((counts_every_call) =>
    makeClip({ ...CLIP, name: `${counts_every_call}.global_clipnorm`, counts_every_call }),
  );
  const shown = shownRun({ clips });
  render(<Clipping store={storeOf(shown)} shown={shown} source={SOURCE} />);
  const [every, recorded] = screen.getAllByRole('region');
  expect(every?.textContent).toContain('clipped in 812 of 1,000 calls');
  expect(recorded?.textContent).toContain('clipped in 812 of 1,000 recorded calls');
  await screen.findByText('Fraction of recorded calls clipped');
});

it('teaches clipping where there is none', () => {
  const shown = shownRun({});
  render(<Clipping store={storeOf(shown)} shown={shown} source={SOURCE} />);
  expect(screen.getByText('No clipping recorded')).toBeTruthy();
});

it('lists what is missing, and leads to its cell', () => {
  const missing = {
    loss: 'loss',
    variables: ['w1', 'w2'],
    first_step: 0,
    last_step: 10,
    pattern: 'always' as const,
    count: 2,
    asked: 2,
    where: { file: '/me/train.py', line: 36, function: 'step', code: 'g = tape.gradient(l, v)' },
  };
  const shown = shownRun({ missing: [missing] });
  const store = storeOf(shown);
  store.tab.value = 'missing';
  store.findings.value = [
    makeFinding({
      cause: 'blocked',
      variables: ['w1', 'w2'],
      where: { ...missing.where, line: 30 },
    }),
  ];
  render(<MissingList store={store} shown={shown} />);
  expect(screen.getByText('2 gradients missing')).toBeTruthy();
  const row = screen.getByRole('row', { name: /loss w1 w2 always/ });
  expect(row.textContent).toContain('train.py:36 in step');
  expect(row.textContent).toContain('blockedtrain.py:30');
  fireEvent.click(screen.getByRole('button', { name: 'blocked' }));
  expect(store.tab.value).toBe('findings');
  fireEvent.click(screen.getByRole('button', { name: 'w2' }));
  expect(store.selection.value).toEqual({ variable: 'w2', loss: 'loss' });
  expect(store.tab.value).toBe('matrix');
});

it('lists what is not finite, and leads to its step and cell', () => {
  const entry = {
    loss: 'loss',
    variables: ['w1', 'w2'],
    state: 'nan' as const,
    first_step: 10,
    last_step: 10,
    pattern: 'once' as const,
    count: 1,
    asked: 2,
    exact: true,
    where: null,
  };
  const shown = shownRun({ nonfinite: [entry] });
  const store = storeOf(shown);
  store.tab.value = 'nonfinite';
  render(<NonfiniteList store={store} shown={shown} />);
  expect(screen.getByText('2 gradients not finite')).toBeTruthy();
  fireEvent.click(screen.getByRole('button', { name: 'step 10' }));
  expect(store.selection.value).toEqual({ variable: 'w1', loss: 'loss' });
  expect([store.tab.value, store.chosen.value]).toEqual(['matrix', 10]);
});

it('counts steps that were skipped apart from faults', () => {
  const overflows = [{ loss: 'loss', variables: 2, records: 3, steps: [0, 10] }];
  const shown = shownRun({ overflows });
  const store = storeOf(shown);
  render(<NonfiniteList store={store} shown={shown} />);
  expect(screen.getByText('All gradients are finite')).toBeTruthy();
  const skipped = screen.getByRole('region', { name: 'Skipped steps' });
  expect(skipped.textContent).toContain('loss: 2 gradients not finite, in 3 skipped steps: 0, 10');
  fireEvent.click(screen.getByRole('button', { name: '10' }));
  expect([store.tab.value, store.chosen.value]).toEqual(['matrix', 10]);
});

it('leads from steps left out to the finding that it was not the loss scale', () => {
  const overflows = [{ loss: 'loss', variables: 2, records: 3, steps: [0, 10] }];
  const shown = shownRun({ overflows });
  const store = storeOf(shown);
  store.findings.value = [makeFinding({ kind: 'nan', loss: 'loss', last_step: 10 })];
  render(<NonfiniteList store={store} shown={shown} />);
  fireEvent.click(screen.getByRole('button', { name: 'The loss scale was not to blame' }));
  expect(store.tab.value).toBe('findings');
});

it('says where in the flow of gradients a site clips', () => {
  const label = { ...CLIP.label, subtitle: 'reduced', text: 'Clipped after the all-reduce.' };
  const shown = shownRun({ clips: [{ ...CLIP, label }] });
  render(<Clipping store={storeOf(shown)} shown={shown} source={SOURCE} />);
  const site = screen.getByRole('region', { name: 'Clip site all (reduced)' });
  expect(site.textContent).toContain('Clipped after the all-reduce.');
});

it('shows problems, and that only tracing was seen', () => {
  const shown = shownRun({ problems: ['A file is cut off.'] });
  const [loss] = shown.run.losses;
  if (loss) loss.traced_only = true;
  render(<Notices store={storeOf(shown)} shown={shown} />);
  expect(screen.getByText('A file is cut off.')).toBeTruthy();
  expect(screen.getByText(/^Only tracing was seen/)).toBeTruthy();
});

it('shows a failure with a way to try again', () => {
  const store = storeOf(shownRun({}));
  store.failure.value = 'TensorBoard does not answer.';
  const refresh = vi.spyOn(store, 'refresh').mockResolvedValue();
  render(<Notices store={store} shown={null} />);
  expect(screen.getByRole('alert').textContent).toContain('TensorBoard does not answer.');
  fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
  expect(refresh).toHaveBeenCalled();
});

it('teaches what to add, and copies it', async () => {
  const writeText = vi.fn(async (_text: string) => {});
  vi.stubGlobal('navigator', { ...navigator, clipboard: { writeText } });
  render(<Teach store={storeOf(shownRun({}))} />);
  fireEvent.click(screen.getByRole('button', { name: 'Copy' }));
  await screen.findByRole('button', { name: 'Copied' });
  expect(writeText.mock.calls[0]?.[0]).toContain('import tb_gradscope as gs\n');
});
