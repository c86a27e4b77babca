import { useState } from 'preact/hooks';
import type { Store } from '../model/store';

/** The lines to add; `true` marks the ones that are new. */
const LINES: readonly (readonly [text: string, added: boolean])[] = [
  ['import tb_gradscope as gs', true],
  ['', false],
  ['with gs.record("logs/run1"):', true],
  ['    for x, y in data:', false],
  ['        with gs.GradientTape() as tape:  # was tf.GradientTape', true],
  ['            loss = loss_fn(y, model(x))', false],
  ['        grads = tape.gradient(loss, variables)', false],
  ['        grads, norm = gs.clip_by_global_norm(  # was tf.clip_by_global_norm', true],
  ['            grads, 1.0, variables=variables)', true],
  ['        optimizer.apply_gradients(zip(grads, variables))', false],
];

/** What to do when there is nothing to show yet. */
export function Teach({ store }: { store: Store }) {
  const [copied, setCopied] = useState('');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(`${LINES.map(([text]) => text).join('\n')}\n`);
      setCopied('Copied');
    } catch {
      setCopied('Select the text and copy it by hand');
    }
  };
  return (
    <main class="teach">
      <h1>No gradients recorded here yet</h1>
      <p>
        Add the marked lines to your training loop. Nothing else changes: same results, same
        optimizer. Which loss reaches which variable then appears here while the training runs.
      </p>
      <div class="code">
        <button type="button" class="button" onClick={copy}>
          {copied || 'Copy'}
        </button>
        <pre>
          <code>
            {LINES.map(([text, added], i) => (
              <span key={i} class={added ? 'new' : undefined}>
                {text}
                {'\n'}
              </span>
            ))}
          </code>
        </pre>
      </div>
      <p>
        Already recording? TensorBoard must read that very folder:{' '}
        <code>tensorboard --logdir logs</code>. This page looks again every few seconds.
      </p>
      <button type="button" class="button" onClick={() => store.refresh()}>
        Look again now
      </button>
    </main>
  );
}
