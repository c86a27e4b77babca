import { splitName, visible } from '../model/text';

/** A name that may be anything: cut in the middle where too long, whole in its title. */
export function Name({ text, title = text }: { text: string; title?: string }) {
  const [head, tail] = splitName(visible(text));
  return (
    <bdi class="name" title={title}>
      <span class="head">{head}</span>
      {tail && <span class="tail">{tail}</span>}
    </bdi>
  );
}
