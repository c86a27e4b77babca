import type { Mark, Run } from '../api/schema.gen';
import { columnOf, fullName } from './columns';
import { lastAtOrBefore } from './series';
import { count, counted, visible } from './text';

/** Where the sentinel saw something, on the slider. Pure. */

type Kind = Mark['kind'];

/** One or more marks so close to each other that a slider cannot tell them apart. */
export interface Spot {
  /** Where, 0 to 1. */
  readonly at: number;
  /** The step to go to. */
  readonly step: number;
  /** The worst of them. */
  readonly kind: Kind;
  /** Of a spike: a norm fell out of its range. */
  readonly down: boolean;
  /** What happened, in a sentence. */
  readonly text: string;
}

/** Spots that a slider has room for. */
const ROOM = 100;
const WORST: readonly Kind[] = ['nonfinite', 'spike', 'skipped'];

/** The marks of a run on a slider with a notch for each of `steps`. */
export function spotsOf(run: Run, steps: readonly number[]): Spot[] {
  const last = Math.max(steps.length - 1, 1);
  const found = new Map<number, Mark[]>();
  for (const mark of run.marks) {
    const position = lastAtOrBefore(steps, mark.step);
    if (steps[position] !== mark.step) continue;
    const place = Math.round((position / last) * ROOM);
    const here = found.get(place);
    if (here) here.push(mark);
    else found.set(place, [mark]);
  }
  return [...found.values()].map((marks) => {
    const kind = WORST.find((one) => marks.some((mark) => mark.kind === one)) ?? 'spike';
    const first = marks.find((mark) => mark.kind === kind) as Mark;
    const more = marks.length > 1 ? `; ${counted(marks.length - 1, 'more mark')} close by` : '';
    const at = lastAtOrBefore(steps, first.step) / last;
    const down = first.direction === 'down';
    return { at, step: first.step, kind, down, text: `${sayMark(run, first)}${more}` };
  });
}

/** "step 237: NaN or infinity began in dec/bias of loss" */
export function sayMark(run: Run, mark: Mark): string {
  const { step, kind, direction, loss, variables, more } = mark;
  const column = columnOf(run, loss);
  const of = visible(column ? fullName(column) : loss);
  const names = variables.map(visible).join(', ');
  const where = names ? ` in ${names}${more > 0 ? ` and ${count(more)} more` : ''}` : '';
  const what = kind === 'spike' ? LEFT[direction] : WORDS[kind];
  return `step ${count(step)}: ${what}${where}, loss ${of}`;
}

const WORDS: Record<Exclude<Kind, 'spike'>, string> = {
  nonfinite: 'NaN or infinity began',
  skipped: 'skipped step, the loss scale had overflowed',
};

const LEFT: Record<Mark['direction'], string> = {
  up: 'the norm rose out of its recent range',
  down: 'the norm fell out of its recent range',
  '': 'the norm left its recent range',
};
