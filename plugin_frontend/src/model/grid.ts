import type { Row } from './order';

/** Moving in the grid by keyboard, and which rows are drawn. Pure. */

/** A place in the grid. Row -1 is the head, the row behind the last one the foot; column -1 the name. */
export interface Place {
  readonly row: number;
  readonly column: number;
}

export interface Size {
  readonly rows: readonly Row[];
  readonly columns: number;
  /** Rows that one page holds. */
  readonly page: number;
}

/** Where a key leads, or undefined if it is not a key of the grid. */
export function moved(from: Place, key: string, control: boolean, size: Size): Place | undefined {
  const { row, column } = from;
  const lastColumn = size.columns - 1;
  const foot = size.rows.length;
  switch (key) {
    case 'ArrowLeft':
      return { row, column: Math.max(-1, column - 1) };
    case 'ArrowRight':
      return { row, column: Math.min(lastColumn, column + 1) };
    case 'ArrowUp':
      return { row: landing(size.rows, row - 1, -1), column };
    case 'ArrowDown':
      return { row: landing(size.rows, row + 1, 1), column };
    case 'PageUp':
      return { row: landing(size.rows, Math.max(0, row - size.page), -1), column };
    case 'PageDown':
      return { row: landing(size.rows, Math.min(foot - 1, row + size.page), 1), column };
    case 'Home':
      return { row: control ? landing(size.rows, 0, 1) : row, column: -1 };
    case 'End':
      return { row: control ? landing(size.rows, foot - 1, -1) : row, column: lastColumn };
    default:
      return undefined;
  }
}

/** The row to stop at: heads of layers hold nothing to stop at. */
function landing(rows: readonly Row[], wanted: number, direction: 1 | -1): number {
  let row = Math.min(Math.max(wanted, -1), rows.length);
  while (rows[row]?.kind === 'layer') row += direction;
  return Math.min(Math.max(row, -1), rows.length);
}

/** The rows, or the columns, to draw for a part in view, with some to spare on both sides. */
export function windowOf(
  top: number,
  height: number,
  rowHeight: number,
  rows: number,
  spare = 6,
): { first: number; end: number } {
  const first = Math.max(0, Math.min(rows, Math.floor(top / rowHeight)) - spare);
  const end = Math.min(rows, Math.ceil((top + height) / rowHeight) + spare);
  return { first, end: Math.max(first, end) };
}
