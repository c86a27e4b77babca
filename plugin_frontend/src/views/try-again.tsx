interface Props {
  failure: string;
  retry: () => void;
  class?: string;
}

/** Says why an answer did not come, and asks for it again. */
export function TryAgain({ failure, retry, class: name }: Props) {
  return (
    <p class={name}>
      {failure}{' '}
      <button type="button" class="button" onClick={retry}>
        Try again
      </button>
    </p>
  );
}
