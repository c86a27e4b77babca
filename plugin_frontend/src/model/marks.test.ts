import { expect, it } from 'vitest';
import type { Mark } from '../api/schema.gen';
import { makeRun } from './fixtures';
import { sayMark, spotsOf } from './marks';

const STEPS = Array.from({ length: 1001 }, (_, i) => i);
const mark = (given: Partial<Mark>): Mark => ({
  step: 0,
  kind: 'spike',
  direction: '',
  loss: 'loss',
  variables: ['w'],
  more: 0,
  ...given,
});

function spots(marks: Mark[]) {
  const run = { ...makeRun(['w'], ['loss'], STEPS), marks };
  return spotsOf(run, STEPS);
}

it('says what happened, to which variables of which loss', () => {
  const run = makeRun(['w'], ['loss']);
  expect(
    sayMark(run, mark({ step: 1237, kind: 'nonfinite', variables: ['w', 'b'], more: 3 })),
  ).toBe('step 1,237: NaN or infinity began in w, b and 3 more, loss loss');
  expect(sayMark(run, mark({ variables: [], loss: 'gone' }))).toBe(
    'step 0: the norm left its recent range, loss gone',
  );
  expect(sayMark(run, mark({ direction: 'down' }))).toBe(
    'step 0: the norm fell out of its recent range in w, loss loss',
  );
});

it('stands where the step is on the slider', () => {
  expect(spots([mark({ step: 250 }), mark({ step: 1000 })]).map(({ at }) => at)).toEqual([0.25, 1]);
  // A step that is not at hand has no place.
  expect(spots([mark({ step: 5000 })])).toEqual([]);
});

it('is one where a slider could not tell several apart, and the worst of them leads', () => {
  const [spot, ...others] = spots([
    mark({ step: 500 }),
    mark({ step: 502, kind: 'nonfinite' }),
    mark({ step: 503, kind: 'skipped' }),
  ]);
  expect(others).toEqual([]);
  expect(spot).toMatchObject({ step: 502, kind: 'nonfinite' });
  expect(spot?.text).toMatch(/^step 502: NaN or infinity began .*; 2 more marks close by$/);
});
