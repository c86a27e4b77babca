import { useEffect, useState } from 'preact/hooks';

export interface Answer<T> {
  readonly value?: T;
  readonly failure?: string;
}

/**
 * What a request answered, asked anew when `inputs` change.
 *
 * The last answer stays until the next is there, unless `inputs` beyond the
 * first changed: then it is about something else.
 */
export function useLoaded<T>(
  ask: () => Promise<T>,
  inputs: readonly [unknown, ...unknown[]],
): [Answer<T>, () => void] {
  const [answer, setAnswer] = useState<Answer<T> & { about?: string }>({});
  const [tries, setTries] = useState(0);
  const about = JSON.stringify(inputs.slice(1));
  useEffect(() => {
    let gone = false;
    ask().then(
      (value) => !gone && setAnswer({ value, about }),
      (error: unknown) => {
        const failure = error instanceof Error ? error.message : String(error);
        if (!gone) setAnswer({ failure, about });
      },
    );
    return () => {
      gone = true;
    };
  }, [...inputs, tries]);
  return [answer.about === about ? answer : {}, () => setTries(tries + 1)];
}
