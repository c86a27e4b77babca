import type { Place } from '../model/grid';

/** The grid's cells as elements. Heights are those of the style sheet. */

export const ROW = 26;
export const HEAD = 36;
export const FOOT = 30;

export interface Widths {
  readonly name: number;
  readonly cell: number;
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
export function scrollTo(box: HTMLElement, { row, column }: Place, widths: Widths): void {
  const inner = box.clientHeight - HEAD - FOOT;
  if (row * ROW < box.scrollTop) box.scrollTop = Math.max(0, row * ROW);
  else if ((row + 1) * ROW > box.scrollTop + inner) box.scrollTop = (row + 1) * ROW - inner;
  const free = box.clientWidth - widths.name;
  const left = column * widths.cell;
  if (left < box.scrollLeft) box.scrollLeft = Math.max(0, left);
  else if (left + widths.cell > box.scrollLeft + free) box.scrollLeft = left + widths.cell - free;
}
