import type { Run } from '../api/schema.gen';
import { columnOf } from '../model/columns';
import { visible } from '../model/text';

/** A loss or an optimizer by its id, and which of that name it is. */
export function ColumnName({ run, id }: { run: Run; id: string }) {
  const { title = id, which = '' } = columnOf(run, id) ?? {};
  return (
    <>
      <bdi>{visible(title)}</bdi>
      {which && <bdi class="muted"> {visible(which)}</bdi>}
    </>
  );
}
