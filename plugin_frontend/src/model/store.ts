import { batch, computed, type ReadonlySignal, type Signal, signal } from '@preact/signals';
import { isAbort, RequestError } from '../api/client';
import type { Finding, Index, Run } from '../api/schema.gen';
import { columnsOf } from './columns';
import { Frame } from './frame';
import { Lru } from './lru';
import { makeRows, Names, orderVariables, parseFilter, type Row, type SortBy } from './order';
import { type Domain, domainOf, union } from './scale';
import { atOrAfter, lastAtOrBefore, withClipSteps } from './series';
import type { Source } from './source';
import { type Changed, toText } from './thresholds';
import { fromUrl, type Linked, type Pair, type Selection, type Tab } from './url';

/** A run with the matrix that belongs to it: never one without the other. */
export interface Shown {
  readonly run: Run;
  readonly names: Names;
  readonly frame: Frame | null;
}

const FRAME_BYTES = 64 << 20;
const SAMPLE_BYTES = 4 << 20;
const MOST_SAMPLES = 8;
const GROWTH = 1.3;

/**
 * All state of the page, and the only place that asks the server for it.
 *
 * Views read signals and call methods; they never fetch a run or a frame.
 */
export class Store {
  /** All runs with data; null until the first answer. */
  readonly index: Signal<Index | null> = signal(null);
  readonly runName = signal('');
  /** What is on screen. Stays while the next is loading, so that nothing flickers. */
  readonly shown: Signal<Shown | null> = signal(null);
  /** The step asked for; null follows the newest. */
  readonly chosen: Signal<number | null> = signal(null);
  readonly tab: Signal<Tab> = signal('matrix');
  readonly filter = signal('');
  readonly sortBy: Signal<SortBy> = signal('model');
  readonly sortLoss = signal('');
  readonly selection: Signal<Selection | null> = signal(null);
  /** The two losses compared, by their ids; null: those that oppose each other most. */
  readonly pair: Signal<Pair | null> = signal(null);
  /** The panel that shows the whole gradient when nothing is chosen was sent away. */
  readonly overviewClosed = signal(false);
  readonly theme: Signal<'light' | 'dark'> = signal('light');
  /** What is wrong with the run, as far as known; null until the first answer. */
  readonly findings: Signal<readonly Finding[] | null> = signal(null);
  /** They are being found anew. */
  readonly judging = signal(false);
  /** What they are compared with, where the user changed it. */
  readonly thresholds: Signal<Changed> = signal({});
  /** Why that is not known, in a sentence; empty when all is well. */
  readonly judgeFailure = signal('');
  /** What went wrong last, in a sentence; empty when all is well. */
  readonly failure = signal('');
  /** Something to say that is no failure, such as a run of a link that is gone. */
  readonly notice = signal('');
  /** Decades that colours span: of the whole run, so that they mean the same at every step. */
  readonly domain: Signal<Domain> = signal({ low: -3, high: 0 });

  readonly live: ReadonlySignal<boolean> = computed(() => this.chosen.value === null);
  readonly steps = computed(() => this.shown.value?.run.steps ?? []);
  /** Position in `steps` of the step on the slider, -1 without steps. */
  readonly position = computed(() => {
    const steps = this.steps.value;
    const chosen = this.chosen.value;
    if (chosen === null) return steps.length - 1;
    return Math.max(lastAtOrBefore(steps, chosen), Math.min(0, steps.length - 1));
  });
  readonly step = computed(() => this.steps.value[this.position.value] ?? 0);

  readonly parsedFilter = computed(() => parseFilter(this.filter.value));
  private readonly names = computed(() => this.shown.value?.names ?? null);
  private readonly sortColumn = computed(() => {
    const run = this.shown.value?.run;
    return run ? columnsOf(run).findIndex(({ id }) => id === this.sortLoss.value) : -1;
  });
  /** Null for the orders that a step does not change: they need not be found anew. */
  private readonly sortFrame = computed(() => {
    const by = this.sortBy.value;
    return by === 'norm' || by === 'worst' ? (this.shown.value?.frame ?? null) : null;
  });
  readonly rows: ReadonlySignal<Row[]> = computed(() => {
    const names = this.names.value;
    if (!names) return [];
    const by = this.sortBy.value;
    const column = this.sortColumn.value;
    const frame = this.sortFrame.value;
    const ordered = orderVariables(names, frame, this.parsedFilter.value, { by, column });
    return makeRows(names, ordered, by);
  });

  readonly linked = computed<Linked>(() => ({
    run: this.runName.value,
    step: this.chosen.value,
    tab: this.tab.value,
    filter: this.filter.value,
    sortBy: this.sortBy.value,
    sortLoss: this.sortLoss.value,
    selection: this.selection.value,
    pair: this.pair.value,
    thresholds: this.thresholds.value,
  }));

  private readonly frames = new Lru<Frame>(FRAME_BYTES);
  private outstanding: AbortController | null = null;
  /** Token of the index whose run is on screen: what the server may call unchanged. */
  private seen: string | undefined;
  private loading: Promise<void> | null = null;
  /** The run whose findings were asked for last, and with how many steps. */
  private judged = { name: '', steps: 0 };

  constructor(private readonly source: Source) {}

  /** Takes over what a link says. Data are asked for by the `refresh` that follows. */
  follow(url: Record<string, string>): void {
    const linked = fromUrl(url);
    batch(() => {
      this.runName.value = linked.run;
      this.chosen.value = linked.step;
      this.tab.value = linked.tab;
      this.filter.value = linked.filter;
      this.sortBy.value = linked.sortBy;
      this.sortLoss.value = linked.sortLoss;
      this.selection.value = linked.selection;
      this.pair.value = linked.pair;
    });
    this.judgeBy(linked.thresholds);
  }

  /** Asks what is new. Calls while one is under way join it. */
  refresh(): Promise<void> {
    this.loading ??= this.load().finally(() => {
      this.loading = null;
    });
    return this.loading;
  }

  async chooseRun(name: string): Promise<void> {
    batch(() => {
      this.runName.value = name;
      this.chosen.value = null;
      this.selection.value = null;
      this.pair.value = null;
      this.notice.value = '';
    });
    await this.guard(() => this.loadRun(name));
  }

  /** Goes to a recorded step; `null` follows the newest. */
  async chooseStep(step: number | null): Promise<void> {
    batch(() => {
      this.chosen.value = step;
      this.showCached();
    });
    await this.guard(() => this.loadFrame());
  }

  /** Goes some recorded steps on or back. */
  async moveStep(by: number): Promise<void> {
    const steps = this.steps.value;
    const target = Math.min(Math.max(this.position.value + by, 0), steps.length - 1);
    const step = steps[target];
    if (step !== undefined) await this.chooseStep(step);
  }

  /** Shows something in the detail panel; null closes it. */
  select(selection: Selection | null): void {
    batch(() => {
      this.selection.value = selection;
      if (selection === null) this.overviewClosed.value = true;
    });
  }

  /** Leads from a list to a cell of the matrix, and to a step if one is given. */
  async lead(selection: Selection, step?: number): Promise<void> {
    batch(() => {
      this.tab.value = 'matrix';
      this.filter.value = '';
      this.select(selection);
    });
    if (step !== undefined) await this.goTo(step);
  }

  /** Leads from a finding to the tab that shows more of it. */
  async leadToTab(tab: Tab, { loss, other_loss: other, variables, first_step }: Finding) {
    const [variable = ''] = variables;
    batch(() => {
      this.tab.value = tab;
      this.filter.value = '';
      if (tab === 'conflicts' && loss && other) this.pair.value = { one: loss, other };
      if (variable) this.selection.value = { variable, loss };
    });
    await this.goTo(first_step);
  }

  /** Goes to a step that something began at; if it was not kept, to the next that was. */
  async goTo(step: number): Promise<void> {
    await this.chooseStep(atOrAfter(this.steps.value, step) ?? step);
  }

  /** Has findings found anew, by other thresholds. */
  judgeBy(thresholds: Changed): void {
    if (toText(thresholds) === toText(this.thresholds.value)) return;
    this.thresholds.value = thresholds;
    const run = this.shown.value?.run;
    if (run && run.name === this.runName.value) void this.judge(run);
  }

  private async load(): Promise<void> {
    await this.guard(async () => {
      const index = await this.source.index(this.seen);
      if (index.unchanged && this.shown.value?.run.name === this.runName.value) return;
      if (!index.unchanged) this.index.value = index;
      const name = this.pickRun();
      if (name !== '') await this.loadRun(name);
      else this.shown.value = null;
      this.seen = index.token;
    });
  }

  /** The run to show: the one asked for, else the one written to last. */
  private pickRun(): string {
    const runs = this.index.value?.runs ?? [];
    const asked = this.runName.value;
    if (runs.some((run) => run.name === asked)) return asked;
    const newest = runs.reduce(
      (best, run) => (best && best.last_wall_time >= run.last_wall_time ? best : run),
      runs[0],
    );
    if (!newest) return '';
    if (asked !== '') {
      this.notice.value = `There is no run "${asked}" with gradients here; this is "${newest.name}".`;
    }
    this.runName.value = newest.name;
    return newest.name;
  }

  private async loadRun(name: string): Promise<void> {
    const before = this.shown.value?.run;
    const run = withClipSteps(await this.source.run(name));
    if (this.runName.value !== name) return;
    if (before?.name === name && before.token === run.token) return;
    this.frames.clear();
    const names = new Names(run.variables);
    const frame = run.steps.length > 0 ? await this.fetchFrame(run, this.stepOf(run)) : null;
    if (this.runName.value !== name) return;
    batch(() => {
      this.shown.value = { run, names, frame };
      if (frame) {
        const here = domainOf([frame]);
        this.domain.value = before?.name === name ? union(this.domain.value, here) : here;
      }
    });
    if (before?.name !== name) void this.sampleDomain(run);
    if (this.isWorthJudging(run)) void this.judge(run);
    // The step may have been moved while the run was loading.
    await this.loadFrame();
  }

  /** Asks what is wrong with a run. */
  async judge(run: Run): Promise<void> {
    if (this.judged.name !== run.name) this.findings.value = null;
    this.judged = { name: run.name, steps: run.steps.length };
    const thresholds = this.thresholds.value;
    const isWanted = () => this.runName.value === run.name && this.thresholds.value === thresholds;
    this.judging.value = true;
    try {
      const { findings } = await this.source.findings(run, thresholds);
      if (!isWanted()) return;
      this.findings.value = findings;
      this.judgeFailure.value = '';
    } catch (error) {
      // Of no concern to the other tabs.
      if (!isWanted()) return;
      this.judgeFailure.value = error instanceof Error ? error.message : String(error);
    }
    this.judging.value = false;
  }

  /** Judging takes the server a while: for a number on a tab not at each new step. */
  private isWorthJudging(run: Run): boolean {
    const { name, steps } = this.judged;
    return name !== run.name || this.tab.value === 'findings' || run.steps.length >= steps * GROWTH;
  }

  private stepOf(run: Run): number {
    const { steps } = run;
    const chosen = this.chosen.value;
    if (chosen === null) return steps[steps.length - 1] ?? 0;
    return steps[Math.max(0, lastAtOrBefore(steps, chosen))] ?? 0;
  }

  private async loadFrame(): Promise<void> {
    const shown = this.shown.value;
    if (!shown || shown.run.steps.length === 0) return;
    const { run, names } = shown;
    const step = this.stepOf(run);
    if (shown.frame?.step !== step) {
      const frame = await this.frameAt(run, step);
      // Only the latest wish counts, and only for the run it was made for.
      if (this.shown.value?.run !== run || this.stepOf(run) !== step) return;
      this.shown.value = { run, names, frame };
    }
    void this.prefetch(run, step);
  }

  /** Shows the chosen step at once if it is at hand: one rendering instead of two. */
  private showCached(): void {
    const shown = this.shown.value;
    const frame = shown && this.frames.get(frameKey(shown.run, this.stepOf(shown.run)));
    if (frame && frame !== shown.frame) this.shown.value = { ...shown, frame };
  }

  private async frameAt(run: Run, step: number): Promise<Frame> {
    const key = frameKey(run, step);
    const cached = this.frames.get(key);
    this.outstanding?.abort();
    this.outstanding = null;
    if (cached) return cached;
    const abort = new AbortController();
    this.outstanding = abort;
    return this.fetchFrame(run, step, abort.signal);
  }

  private async fetchFrame(run: Run, step: number, abort?: AbortSignal): Promise<Frame> {
    const size = Frame.size(columnsOf(run).length, run.variables.length);
    // A run of nothing but clip sites has no matrix to ask for.
    const data =
      size > 0 ? await this.source.matrix(run.name, step, size, abort) : new Float32Array();
    const frame = Frame.of(run, step, data);
    this.frames.set(frameKey(run, step), frame, data.byteLength);
    return frame;
  }

  /** Loads the neighbours of a step, so that the slider's next move needs no waiting. */
  private async prefetch(run: Run, step: number): Promise<void> {
    const at = run.steps.indexOf(step);
    for (const neighbour of [at + 1, at - 1, at + 2, at - 2]) {
      const next = run.steps[neighbour];
      if (next === undefined || this.frames.has(frameKey(run, next))) continue;
      if (this.shown.value?.run !== run || this.stepOf(run) !== step) return;
      await this.fetchFrame(run, next).catch(() => undefined);
    }
  }

  /** Widens the colours to a few steps spread over the run. */
  private async sampleDomain(run: Run): Promise<void> {
    const bytes = Frame.size(columnsOf(run).length, run.variables.length) * 4;
    const samples = Math.min(MOST_SAMPLES, Math.max(2, Math.floor(SAMPLE_BYTES / (bytes + 1))));
    const last = run.steps.length - 1;
    const chosen = new Set(
      Array.from({ length: samples }, (_, i) => Math.round((i * last) / (samples - 1))),
    );
    let domain = this.domain.value;
    for (const at of chosen) {
      const step = run.steps[at];
      if (step === undefined) continue;
      const known = this.frames.get(frameKey(run, step));
      const frame = known ?? (await this.fetchFrame(run, step).catch(() => undefined));
      if (this.shown.value?.run.name !== run.name) return;
      if (frame) domain = union(domain, domainOf([frame]));
    }
    const now = this.domain.value;
    const wider = union(now, domain);
    if (wider.low !== now.low || wider.high !== now.high) this.domain.value = wider;
  }

  /** Runs a request; what fails becomes a sentence on the page, never an exception. */
  private async guard(request: () => Promise<void>): Promise<void> {
    try {
      await request();
      this.failure.value = '';
    } catch (error) {
      if (isAbort(error)) return;
      const known = error instanceof RequestError;
      this.failure.value = known ? error.message : `The page failed: ${String(error)}`;
      // The run grew between two requests, or went away: the next refresh starts afresh.
      if (known && (error.status === 409 || error.status === 404)) this.seen = undefined;
    }
  }
}

function frameKey(run: Run, step: number): string {
  return `${step} ${run.name}`;
}
