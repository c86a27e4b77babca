import type { Column } from '../model/columns';
import type { Place } from '../model/grid';

/** The grid's cells as elements. Heights are those of the style sheet. */

export const ROW = 26;
export const FOOT = 30;
const HEAD = 36;
const TALL_HEAD = 52;

/** How high the head is: higher where columns have subtitles. */
export function headOf(columns: readonly Column[]): number {
  return columns.some(({ which }) => which !== '') ? TALL_HEAD : HEAD;
}

/** Sizes that depend on what is shown. */
export interface Measures {
  readonly name: number;
  readonly cell: number;
  readonly head: number;
}

/** The place of the cell that something in the grid belongs to. */
export function placeOf(target: EventTarget | null): Place | null {
  const cell = target instanceof Element ? target.closest<HTMLElement>('[data-at]') : null;
  const [row, column] = (cell?.dataset.at ?? '').split(' ').map(Number);
  return row === undefined || column === undefined ? null : { row, column };
}

/** The element of a place, if it is among those that exist. */
export function cellAt(grid: HTMLElement | null, { row, column }: Place): HTMLElement | null {
  return grid?.querySelector<HTMLElement>(`[data-at="${row} ${column}"]`) ?? null;
}

/** Brings a cell out from under the head, the foot and the names, which stick. */
export function scrollTo(box: HTMLElement, { row, column }: Place, measures: Measures): void {
  const inner = box.clientHeight - measures.head - FOOT;
  if (row * ROW < box.scrollTop) box.scrollTop = Math.max(0, row * ROW);
  else if ((row + 1) * ROW > box.scrollTop + inner) box.scrollTop = (row + 1) * ROW - inner;
  const free = box.clientWidth - measures.name;
  const left = column * measures.cell;
  if (left < box.scrollLeft) box.scrollLeft = Math.max(0, left);
  else if (left + measures.cell > box.scrollLeft + free)
    box.scrollLeft = left + measures.cell - free;
}
