/** A cosine as a bar: to the left of the middle if negative, to the right if positive. */
export function Diverging({ value }: { value: number }) {
  const width = `${Math.min(1, Math.abs(value)) * 50}%`;
  return (
    <div class="diverging">
      {value < 0 && <span class="against" style={{ right: '50%', width }} />}
      {value > 0 && <span class="with" style={{ left: '50%', width }} />}
    </div>
  );
}

/** The left end, the middle and the right end of such an axis. */
export function Ends({ ends }: { ends: readonly [string, string, string] }) {
  return (
    <div class="ends">
      {ends.map((end) => (
        <span key={end}>{end}</span>
      ))}
    </div>
  );
}
