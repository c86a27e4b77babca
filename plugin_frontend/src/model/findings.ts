import type { Finding, Overflow } from '../api/schema.gen';
import type { Selection } from './url';

/** Which findings are about what. Pure. */

/** What needs mending, and is not only worth knowing. */
export function isFault({ severity }: Pick<Finding, 'severity'>): boolean {
  return severity !== 'info';
}

/** Whether any fault is of one of these kinds; false while nothing is known. */
export function anyFault(found: readonly Finding[] | null, ...kinds: string[]): boolean {
  return (found ?? []).some((finding) => isFault(finding) && kinds.includes(finding.kind));
}

/** Kinds that are as much of the other loss; a None is not, nor what follows from its NaN. */
const OF_TWO: readonly string[] = ['conflict', 'domination'];

/** Positions of the findings about a cell, worst first; of any loss where that is empty. */
export function aboutCell(found: readonly Finding[], { variable, loss }: Selection): number[] {
  return found.flatMap((finding, i) => {
    const losses = [finding.loss, ...(OF_TWO.includes(finding.kind) ? [finding.other_loss] : [])];
    const ofLoss = loss === '' || finding.loss === '' || losses.includes(loss);
    return finding.variables.includes(variable) && ofLoss ? [i] : [];
  });
}

/** The finding that says why gradients of a loss are None; undefined if none does. */
export function whyMissing(
  found: readonly Finding[],
  loss: string,
  variables: readonly string[],
): number | undefined {
  const at = found.findIndex(
    (finding) =>
      finding.kind === 'none' &&
      finding.loss === loss &&
      variables.some((variable) => finding.variables.includes(variable)),
  );
  return at < 0 ? undefined : at;
}

/** The finding that says that steps were left out though no loss scale was to blame, if one does. */
export function whyLeftOut(
  found: readonly Finding[],
  { loss, steps }: Pick<Overflow, 'loss' | 'steps'>,
): number | undefined {
  const at = found.findIndex(
    (finding) =>
      (finding.kind === 'nan' || finding.kind === 'inf') &&
      finding.loss === loss &&
      steps.includes(finding.last_step),
  );
  return at < 0 ? undefined : at;
}
