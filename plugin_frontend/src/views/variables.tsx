import { counted, visible } from '../model/text';

const FEW = 12;

interface VariablesProps {
  names: readonly string[];
  onChoose: (name: string) => void;
}

/** Variables of a list, each leading into the matrix; of many, the rest unfolds. */
export function Variables({ names, onChoose }: VariablesProps) {
  const list = (some: readonly string[]) => (
    <ul class="variables">
      {some.map((name) => (
        <li key={name}>
          <button
            type="button"
            class="link"
            title="Show in the matrix"
            onClick={() => onChoose(name)}
          >
            <bdi>{visible(name)}</bdi>
          </button>
        </li>
      ))}
    </ul>
  );
  if (names.length <= FEW) return list(names);
  return (
    <>
      {list(names.slice(0, FEW))}
      <details>
        <summary>{counted(names.length - FEW, 'more variable')}</summary>
        {list(names.slice(FEW))}
      </details>
    </>
  );
}
