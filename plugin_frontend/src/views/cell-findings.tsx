import { aboutCell } from '../model/findings';
import type { Store } from '../model/store';
import type { Selection } from '../model/url';
import { showFinding } from './findings';
import { SeverityChip } from './severity-chip';
import { Where } from './where';

/** What is wrong with the chosen cell, and on which line. */
export function CellFindings({ store, selection }: { store: Store; selection: Selection }) {
  const found = store.findings.value;
  if (!found || selection.variable === '') return null;
  const about = aboutCell(found, selection);
  if (about.length === 0) return null;
  return (
    <ul class="cell-findings" aria-label="Findings about this">
      {about.map((at) => {
        const finding = found[at];
        if (!finding) return null;
        return (
          <li key={at}>
            <p class="row">
              <SeverityChip severity={finding.severity} />
              <button
                type="button"
                class="link mono"
                title="Show it among the findings"
                onClick={() => showFinding(store, at)}
              >
                {finding.cause ? `${finding.kind} · ${finding.cause}` : finding.kind}
              </button>
            </p>
            <p>{finding.message}</p>
            {finding.where && <Where place={finding.where} op={finding.op} />}
          </li>
        );
      })}
    </ul>
  );
}
