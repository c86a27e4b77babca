import type { Label, Loss, Optimizer, Place, Run } from '../api/schema.gen';

/** The columns of the matrix: the losses, then what reached each optimizer. Pure. */

export interface Column {
  /** Names it in links and queries. */
  readonly id: string;
  readonly kind: 'loss' | 'optimizer';
  /** What stands above it. */
  readonly title: string;
  /** The same where there is little room. */
  readonly short: string;
  /** What tells it from others of its name; mostly nothing. Of an optimizer, its class. */
  readonly which: string;
  /** That, and from which sum it is. */
  readonly subtitle: string;
  /** In a sum of several: before it stands "=" or "+". */
  readonly sign: '' | '=' | '+';
  readonly label: Label;
  readonly where: Place | null;
  readonly variables: readonly number[];
  readonly steps: readonly number[];
  readonly tracedOnly: boolean;
  /** Of each record; none where all are 1. */
  readonly lossScales: readonly number[];
  /** Where the loss scale had overflowed: what is not finite there is no fault. */
  readonly skipped: ReadonlySet<number>;
}

const known = new WeakMap<Run, readonly Column[]>();

/** The columns of a run, in the order of `matrix`. */
export function columnsOf(run: Run): readonly Column[] {
  const found = known.get(run);
  if (found) return found;
  const made = [...run.losses.map((loss, i) => ofLoss(loss, i)), ...run.optimizers.map(of)];
  known.set(run, made);
  return made;
}

export function columnOf(run: Run, id: string): Column | undefined {
  return columnsOf(run).find((column) => column.id === id);
}

/** How a sentence names a column. */
export function fullName({ title, subtitle }: Pick<Column, 'title' | 'subtitle'>): string {
  return subtitle ? `${title} (${subtitle})` : title;
}

function ofLoss(loss: Loss, i: number): Column {
  const part = loss.total >= 0;
  return {
    id: loss.id,
    kind: 'loss',
    title: loss.name,
    short: loss.name,
    which: loss.label.subtitle || (part ? 'part' : ''),
    subtitle: joined(loss.part_of && `part of ${loss.part_of}`, loss.label.subtitle),
    // The first part stands right behind its total, the others behind that.
    sign: part ? (loss.total === i - 1 ? '=' : '+') : '',
    label: loss.label,
    where: loss.where,
    variables: loss.variables,
    steps: loss.steps,
    tracedOnly: loss.traced_only,
    lossScales: loss.loss_scales,
    skipped: new Set(loss.skipped_steps),
  };
}

function of(optimizer: Optimizer): Column {
  return {
    id: optimizerColumn(optimizer),
    kind: 'optimizer',
    title: `reached ${optimizer.name}`,
    short: `→${optimizer.name}`,
    which: joined(optimizer.class_name, optimizer.label.subtitle),
    subtitle: joined(optimizer.class_name, optimizer.label.subtitle),
    sign: '',
    label: optimizer.label,
    where: optimizer.where,
    variables: optimizer.variables,
    steps: optimizer.steps,
    tracedOnly: false,
    lossScales: [],
    skipped: new Set(optimizer.skipped_steps),
  };
}

/** Losses and optimizers may have the same name. */
function optimizerColumn({ id }: Optimizer): string {
  return `→${id}`;
}

function joined(...parts: string[]): string {
  return parts.filter((part) => part !== '').join(', ');
}
