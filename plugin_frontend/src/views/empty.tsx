import type { ComponentChildren } from 'preact';

interface Props {
  title: string;
  children: ComponentChildren;
  /** Lines of a program: what to add. */
  lines: readonly string[];
}

/** A tab without data: what it would show, and what to add for it. */
export function Empty({ title, children, lines }: Props) {
  return (
    <div class="sheet empty">
      <h2>{title}</h2>
      <p class="muted">{children}</p>
      <pre>
        <code>{lines.join('\n')}</code>
      </pre>
    </div>
  );
}
