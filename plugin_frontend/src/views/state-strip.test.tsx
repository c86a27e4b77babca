import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import { afterEach, expect, it, vi } from 'vitest';
import type { Stretch } from '../model/series';
import { StateStrip } from './state-strip';

const STRETCHES: Stretch[] = [
  { state: 'none', first: 0, last: 10, records: 2 },
  { state: 'nan', first: 37, last: 37, records: 1 },
  { state: 'none', first: 90, last: 95, records: 2 },
];

afterEach(cleanup);

it('has a way to where each state begins, by mouse and by keyboard', () => {
  const onStep = vi.fn();
  const strips = [{ label: 'recon', color: '#000', stretches: STRETCHES }];
  const { container } = render(
    <StateStrip {...{ strips, onStep }} from={0} to={100} left={58} width={500} right={14} />,
  );
  container.ownerDocument.body.append(container);
  const marks = screen.getAllByRole('button');
  expect(marks.map((mark) => mark.getAttribute('aria-label'))).toEqual([
    'recon: None at steps 0 to 10 (2 records), go to step 0',
    'recon: NaN at step 37 (1 record), go to step 37',
    'recon: None at steps 90 to 95 (2 records), go to step 90',
  ]);
  fireEvent.click(marks[1] as Element);
  expect(onStep).toHaveBeenLastCalledWith(37);
  expect(marks.map((mark) => mark.getAttribute('tabindex'))).toEqual(['-1', '0', '-1']);
  (marks[1] as unknown as SVGElement).focus();
  fireEvent.keyDown(marks[1] as Element, { key: 'ArrowRight' });
  expect(document.activeElement).toBe(marks[2]);
  fireEvent.keyDown(marks[2] as Element, { key: 'Enter' });
  expect(onStep).toHaveBeenLastCalledWith(90);
});
