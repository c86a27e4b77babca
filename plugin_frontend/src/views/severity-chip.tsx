import type { Finding } from '../api/schema.gen';

const SIGNS: Record<Finding['severity'], string> = { error: '✕', warning: '▲', info: 'i' };

export function SeverityChip({ severity }: Pick<Finding, 'severity'>) {
  return (
    <span class={`chip ${severity}`}>
      <span aria-hidden="true">{SIGNS[severity]} </span>
      {severity}
    </span>
  );
}
