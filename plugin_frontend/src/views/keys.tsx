import { visible } from '../model/text';
import type { Line } from './chart';

/** What the lines of a chart are, where they cannot be hidden. */
export function Keys({ lines }: { lines: readonly Line[] }) {
  return (
    <div class="row muted">
      {lines.map(({ label, color, dashed }) => (
        <span key={label} class="line-key">
          <span class={dashed ? 'swatch dashed' : 'swatch'} style={{ borderColor: color }} />
          <bdi>{visible(label)}</bdi>
        </span>
      ))}
    </div>
  );
}
