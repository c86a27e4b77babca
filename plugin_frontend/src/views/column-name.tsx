import type { Run } from '../api/schema.gen';
import { columnOf } from '../model/columns';
import { visible } from '../model/text';

/** A loss by its id, and which of that name it is. */
export function ColumnName({ run, id }: { run: Run; id: string }) {
  const column = columnOf(run, id);
  return (
    <>
      <bdi>{visible(column?.title ?? id)}</bdi>
      {column?.label.subtitle && <bdi class="muted"> {column.label.subtitle}</bdi>}
    </>
  );
}
