import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import { afterEach, expect, it } from 'vitest';
import { makeFrame, makeRun, makeSource } from '../model/fixtures';
import { Names } from '../model/order';
import { Store } from '../model/store';
import { SliderMarks } from './slider-marks';

afterEach(cleanup);

it('leads to what the sentinel saw, by mouse and by keyboard', () => {
  const store = new Store(makeSource());
  const run = makeRun(['w'], ['loss'], [0, 10, 20, 30]);
  run.marks = [
    { step: 10, kind: 'spike', direction: 'up', loss: 'loss', variables: ['w'], more: 0 },
    { step: 30, kind: 'nonfinite', direction: '', loss: 'loss', variables: ['w'], more: 0 },
  ];
  store.shown.value = { run, names: new Names(run.variables), frame: makeFrame([[1]]) };
  const { container } = render(<SliderMarks store={store} />);
  container.ownerDocument.body.append(container);
  const marks = screen.getAllByRole('button');
  expect(marks.map((mark) => mark.getAttribute('aria-label'))).toEqual([
    'step 10: the norm rose out of its recent range in w, loss loss. Go there',
    'step 30: NaN or infinity began in w, loss loss. Go there',
  ]);
  expect(marks.map((mark) => mark.tabIndex)).toEqual([0, -1]);
  marks[0]?.focus();
  fireEvent.keyDown(marks[0] as Element, { key: 'ArrowRight' });
  expect(document.activeElement).toBe(marks[1]);
  fireEvent.click(marks[1] as Element);
  expect(store.chosen.value).toBe(30);
});

it('is not there where the sentinel saw nothing', () => {
  const store = new Store(makeSource());
  const run = makeRun(['w'], ['loss'], [0, 10]);
  store.shown.value = { run, names: new Names(run.variables), frame: makeFrame([[1]]) };
  render(<SliderMarks store={store} />);
  expect(screen.queryByRole('group')).toBeNull();
});
