import { useMemo } from 'preact/hooks';
import type { Run } from '../api/schema.gen';
import { LINES } from '../model/palette';
import { align, nearest } from '../model/series';
import type { Store } from '../model/store';
import { precise, visible } from '../model/text';
import { type UpdateNumbers, USUAL, USUAL_TEXT } from '../model/updates';
import { Chart, type Line, type Strip } from './chart';
import { Keys } from './keys';

interface Props {
  store: Store;
  run: Run;
  numbers: UpdateNumbers;
}

const positive = (value: number) => Number.isFinite(value) && value > 0;

/** Update to variable by step: of all in the middle, and of the variable chosen. */
export function RatioChart({ store, run, numbers, variable }: Props & { variable: number }) {
  const { optimizer } = numbers;
  const { steps } = optimizer;
  const theme = store.theme.value;
  const [one, , , other] = LINES[theme] as [string, string, string, string];
  const name = run.variables[optimizer.variables[variable] ?? -1]?.name;
  const skipped = useMemo(() => skippedStrip(numbers, one), [numbers, one]);
  const lines: Line[] = [
    { label: 'median of all', color: one, strong: name === undefined, faint: name !== undefined },
    ...(name === undefined ? [] : [{ label: name, color: other, strong: true }]),
    {
      label: `rule of thumb, ${USUAL_TEXT}`,
      color: LINES[theme][6] ?? one,
      dashed: true,
      level: true,
    },
  ];
  const data = useMemo(() => {
    const values = (value: (record: number) => number) => ({
      steps,
      values: steps.map((_, i) => value(i)),
    });
    return align(
      [
        { steps, values: numbers.medians() },
        ...(name === undefined ? [] : [values((i) => numbers.ratio(i, variable))]),
        values(() => USUAL),
      ],
      positive,
    );
  }, [numbers, steps, variable, name]);
  return (
    <section aria-label="Update to variable">
      <h3>Update / variable, ratio of L2 norms</h3>
      <Keys lines={lines} />
      <Chart
        label={`Update to variable by step${name === undefined ? '' : ` of ${visible(name)}`}, with a rule of thumb at ${USUAL_TEXT}`}
        lines={lines}
        data={data}
        kind="log"
        step={store.step.value}
        onStep={(step) => store.chooseStep(nearest(run.steps, step) ?? null)}
        say={(line, step) => numbers.sayNone(step, line === 0 ? -1 : variable)}
        theme={theme}
        height={230}
        strips={skipped}
      />
    </section>
  );
}

/** The loss scale by step, with the steps that it left out. */
export function ScaleChart({ store, run, numbers }: Props) {
  const { steps } = numbers.optimizer;
  const theme = store.theme.value;
  const color = LINES[theme][4] ?? '#888888';
  const data = useMemo(
    () => align([{ steps, values: steps.map((_, i) => numbers.lossScale(i)) }], positive),
    [numbers, steps],
  );
  const strips = useMemo(() => skippedStrip(numbers, color), [numbers, color]);
  return (
    <section aria-label="Loss scale">
      <h3>Loss scale</h3>
      <Chart
        label="Loss scale by step"
        lines={[{ label: 'loss scale', color }]}
        data={data}
        kind="log"
        step={store.step.value}
        onStep={(step) => store.chooseStep(nearest(run.steps, step) ?? null)}
        theme={theme}
        height={160}
        strips={strips}
      />
    </section>
  );
}

/** The learning rate by step, or in words while it stays what it is. */
export function RateChart({ store, run, numbers }: Props) {
  const { steps } = numbers.optimizer;
  const theme = store.theme.value;
  const rates = useMemo(() => steps.map((_, i) => numbers.learningRate(i)), [numbers, steps]);
  const data = useMemo(() => align([{ steps, values: rates }], Number.isFinite), [rates, steps]);
  const known = [...new Set(rates.filter(Number.isFinite))];
  if (known.length === 0) return <p class="muted">The learning rate is not known.</p>;
  if (known.length === 1) {
    return (
      <p>
        Learning rate {precise(known[0] ?? 0)} <span class="muted">at all records</span>
      </p>
    );
  }
  return (
    <section aria-label="Learning rate">
      <h3>Learning rate</h3>
      <Chart
        label="Learning rate by step"
        lines={[{ label: 'learning rate', color: LINES[theme][2] ?? '#888888' }]}
        data={data}
        kind="linear"
        step={store.step.value}
        onStep={(step) => store.chooseStep(nearest(run.steps, step) ?? null)}
        theme={theme}
        height={130}
      />
    </section>
  );
}

/** Below an axis: the steps whose update was left out. */
function skippedStrip({ optimizer }: UpdateNumbers, color: string): Strip[] {
  const stretches = optimizer.skipped_steps.map((step) => ({
    state: 'skipped' as const,
    first: step,
    last: step,
    records: 1,
  }));
  return stretches.length > 0 ? [{ label: 'skipped', color, stretches }] : [];
}
