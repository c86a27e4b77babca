import { count, visible } from '../model/text';
import type { Line } from './chart';

interface Props {
  step: number;
  /** What to say of each line; empty where it has no record. */
  values: readonly string[];
  lines: readonly Line[];
  /** The side away from the pointer. */
  side: 'left' | 'right';
  /** The chart's margin on that side. */
  margin: number;
}

const MOST = 12;

/** The values under the pointer. */
export function Readout({ step, values, lines, side, margin }: Props) {
  const said = lines.flatMap((line, i) => (values[i] ? [{ line, value: values[i] }] : []));
  return (
    <div class="readout" style={{ [side]: `${margin}px` }}>
      <p>step {count(step)}</p>
      <dl>
        {said.slice(0, MOST).map(({ line, value }) => (
          <div key={line.label}>
            <dt>
              <span
                class={line.dashed ? 'swatch dashed' : 'swatch'}
                style={{ borderColor: line.color }}
              />
              <bdi>{visible(line.label)}</bdi>
            </dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {said.length > MOST && <p>{count(said.length - MOST)} more</p>}
    </div>
  );
}
