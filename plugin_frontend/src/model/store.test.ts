import { describe, expect, it, vi } from 'vitest';
import { RequestError } from '../api/client';
import type { Finding, Findings, Index, Run } from '../api/schema.gen';
import { type Cell, makeFrame, makeRun } from './fixtures';
import type { Source } from './source';
import { Store } from './store';
import { type Changed, toText } from './thresholds';

/** A server whose runs tests may change between two questions. */
class FakeSource implements Source {
  runs = new Map<string, Run>();
  cells: Cell[][] = [[1, 2]];
  token = '1';
  asked: string[] = [];
  failure: Error | null = null;
  /** Matrices asked for and not yet answered, when answers are held back. */
  held: (() => void)[] | null = null;

  add(name: string, steps: number[], token = 't'): void {
    this.runs.set(name, { ...makeRun(['w1', 'w2'], ['loss'], steps), name, token });
  }

  async index(since?: string): Promise<Index> {
    this.asked.push(`index ${since ?? ''}`);
    if (this.failure) throw this.failure;
    const runs = [...this.runs.values()].map(({ name, steps }, i) => ({
      name,
      losses: 1,
      variables: 2,
      clips: 0,
      optimizers: 0,
      cosines: 0,
      first_step: steps[0] ?? -1,
      last_step: steps.at(-1) ?? -1,
      missing: 0,
      last_wall_time: i,
    }));
    const unchanged = since === this.token;
    return { token: this.token, unchanged, runs: unchanged ? [] : runs };
  }

  async run(name: string): Promise<Run> {
    this.asked.push(`run ${name}`);
    if (this.failure) throw this.failure;
    return this.runs.get(name) as Run;
  }

  async matrix(run: string, step: number): Promise<Float32Array> {
    this.asked.push(`matrix ${run} ${step}`);
    if (this.held) await new Promise<void>((answer) => this.held?.push(answer));
    return makeFrame(this.cells, step).data;
  }

  tracks = async () => [];
  wholeTracks = async () => [];
  clip = async () => Promise.reject(new Error('not asked for here'));
  optimizer = this.clip;
  findings = async (run: Run, _: Changed): Promise<Findings> => {
    this.asked.push(`findings ${run.name}`);
    return { findings: [] };
  };
  cosines = this.clip;
  cosine = this.clip;
}

async function opened(source: FakeSource, url: Record<string, string> = {}): Promise<Store> {
  const store = new Store(source);
  store.follow(url);
  await store.refresh();
  return store;
}

const shownStep = (store: Store) => store.shown.value?.frame?.step;

describe('a store', () => {
  it('opens the run written to last, at its newest step', async () => {
    const source = new FakeSource();
    source.add('old', [0, 1]);
    source.add('new', [0, 5, 9]);
    const store = await opened(source);
    expect([store.runName.value, store.step.value, store.live.value]).toEqual(['new', 9, true]);
    expect(shownStep(store)).toBe(9);
  });

  it('opens what a link says, at the last recorded step before the one it names', async () => {
    const source = new FakeSource();
    source.add('old', [0, 5, 9]);
    source.add('new', [0]);
    const store = await opened(source, { run: 'old', step: '7' });
    expect([store.runName.value, store.step.value, store.live.value]).toEqual(['old', 5, false]);
    expect(shownStep(store)).toBe(5);
  });

  it('says when the run of a link is gone', async () => {
    const source = new FakeSource();
    source.add('new', [0]);
    const store = await opened(source, { run: 'gone' });
    expect(store.notice.value).toContain('"gone"');
    expect(store.runName.value).toBe('new');
  });

  it('is empty without runs, and fills itself when one comes', async () => {
    const source = new FakeSource();
    const store = await opened(source);
    expect([store.index.value?.runs, store.shown.value]).toEqual([[], null]);
    source.add('first', [0]);
    source.token = '2';
    await store.refresh();
    expect(shownStep(store)).toBe(0);
  });

  it('follows the newest step, but not once a step was chosen', async () => {
    const source = new FakeSource();
    source.add('run', [0, 1], 'a');
    const store = await opened(source);
    source.add('run', [0, 1, 2], 'b');
    source.token = '2';
    await store.refresh();
    expect(shownStep(store)).toBe(2);
    await store.moveStep(-1);
    expect([shownStep(store), store.live.value]).toEqual([1, false]);
    source.add('run', [0, 1, 2, 3], 'c');
    source.token = '3';
    await store.refresh();
    expect([shownStep(store), store.steps.value.length]).toEqual([1, 4]);
    await store.chooseStep(null);
    expect([shownStep(store), store.live.value]).toEqual([3, true]);
  });

  it('does not ask for a run that did not change', async () => {
    const source = new FakeSource();
    source.add('run', [0]);
    const store = await opened(source);
    source.asked = [];
    await store.refresh();
    expect(source.asked).toEqual(['index 1']);
  });

  it('keeps what it shows when the server fails, says so, and recovers', async () => {
    const source = new FakeSource();
    source.add('run', [0], 'a');
    const store = await opened(source);
    source.failure = new RequestError('TensorBoard does not answer.', 0);
    await store.refresh();
    expect([store.failure.value, shownStep(store)]).toEqual(['TensorBoard does not answer.', 0]);
    source.failure = null;
    await store.refresh();
    expect(store.failure.value).toBe('');
  });

  it('asks again for a run that failed after the index was answered', async () => {
    const source = new FakeSource();
    source.add('run', [0], 'a');
    const store = await opened(source);
    source.add('run', [0, 1], 'b');
    source.token = '2';
    const { run } = source;
    source.run = () => Promise.reject(new RequestError('gone for a moment', 500));
    await store.refresh();
    expect(store.failure.value).toBe('gone for a moment');
    source.run = run;
    await store.refresh();
    expect(shownStep(store)).toBe(1);
  });

  it('shows only the last of many wishes, whatever the order of the answers', async () => {
    const source = new FakeSource();
    source.add('run', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const store = await opened(source, { step: '9' });
    source.held = [];
    const first = store.chooseStep(2);
    const second = store.chooseStep(5);
    for (const answer of [...source.held].reverse()) answer();
    source.held = null;
    await Promise.all([first, second]);
    expect(shownStep(store)).toBe(5);
  });

  it('moves between recorded steps and stops at the ends', async () => {
    const source = new FakeSource();
    source.add('run', [0, 10, 25]);
    const store = await opened(source, { step: '10' });
    await store.moveStep(1);
    await store.moveStep(1);
    expect(store.step.value).toBe(25);
    await store.moveStep(-9);
    expect(store.step.value).toBe(0);
  });

  it('sorts anew at a step only where the order depends on it', async () => {
    const source = new FakeSource();
    source.add('run', [0, 1]);
    const store = await opened(source);
    const before = store.rows.value;
    await store.moveStep(-1);
    expect(store.rows.value).toBe(before);
    store.sortBy.value = 'norm';
    expect(store.rows.value.map((row) => row.kind === 'variable' && row.text)).toEqual([
      'w2',
      'w1',
    ]);
  });
});

describe('findings', () => {
  const judged = (source: FakeSource) =>
    source.asked.filter((what) => what.startsWith('findings')).length;

  async function grow(source: FakeSource, store: Store, steps: number): Promise<void> {
    source.add(
      'run',
      Array.from({ length: steps }, (_, i) => i),
      `t${steps}`,
    );
    source.token = `${steps}`;
    await store.refresh();
  }

  it('are asked for anew when a run has grown, and at each change while they are looked at', async () => {
    const source = new FakeSource();
    source.add('run', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const store = await opened(source);
    expect(judged(source)).toBe(1);
    expect(store.findings.value).toEqual([]);
    await grow(source, store, 11);
    expect(judged(source)).toBe(1);
    await grow(source, store, 13);
    expect(judged(source)).toBe(2);
    store.tab.value = 'findings';
    await grow(source, store, 14);
    expect(judged(source)).toBe(3);
  });

  it('that cannot be had are no concern of the rest of the page', async () => {
    const source = new FakeSource();
    source.add('run', [0]);
    source.findings = () => Promise.reject(new RequestError('No rules today.', 503));
    const store = await opened(source);
    await store.judge(store.shown.value?.run as Run);
    expect([store.failure.value, store.judgeFailure.value]).toEqual(['', 'No rules today.']);
  });

  it('are found anew by the thresholds of a link, and only by the latest', async () => {
    const source = new FakeSource();
    source.add('a', [0, 1]);
    const asked: string[] = [];
    const answers: (() => void)[] = [];
    source.findings = async (_, thresholds) => {
      asked.push(toText(thresholds));
      if (thresholds.spike === 50) await new Promise<void>((answer) => answers.push(answer));
      return { findings: thresholds.spike === 50 ? [] : [{ kind: 'exploding' } as Finding] };
    };
    const store = new Store(source);
    await store.refresh();
    store.follow({ run: 'a', thresholds: 'spike:50' });
    store.follow({ run: 'a', thresholds: 'spike:60' });
    await vi.waitFor(() => expect(store.judging.value).toBe(false));
    for (const answer of answers) answer();
    await Promise.resolve();
    expect(asked).toEqual(['', 'spike:50', 'spike:60']);
    expect(store.findings.value?.length).toBe(1);
    store.follow({ run: 'a', thresholds: 'spike:60' });
    expect(asked.length).toBe(3);
  });
});
