import { getFloats, getJson } from '../api/client';
import type { Clip, Cosine, Findings, Index, Optimizer, Run } from '../api/schema.gen';
import { ClipNumbers } from './clipping';
import { columnsOf } from './columns';
import { Lru } from './lru';
import { seriesSize, type Track, tracksOf, wholeTrack } from './series';
import { type Changed, toText } from './thresholds';
import { UpdateNumbers } from './updates';

const CACHE_BYTES = 16 << 20;

/** Where data come from. Tests put their own in its place. */
export interface Source {
  index(since?: string): Promise<Index>;
  run(name: string): Promise<Run>;
  findings(run: Run, thresholds: Changed): Promise<Findings>;
  matrix(run: string, step: number, size: number, abort?: AbortSignal): Promise<Float32Array>;
  /** Every column's records of a variable. */
  tracks(run: Run, variable: number): Promise<Track[]>;
  /** Every column's records of its whole gradient. */
  wholeTracks(run: Run): Promise<Track[]>;
  clip(run: Run, clip: Clip): Promise<ClipNumbers>;
  optimizer(run: Run, optimizer: Optimizer): Promise<UpdateNumbers>;
  /** For each pair of losses, its cosine over all variables at each record. */
  cosines(run: Run): Promise<Float32Array[]>;
  /** `[record, variable]` of one pair. */
  cosine(run: Run, pair: Cosine): Promise<Float32Array>;
}

/** The plugin's routes; series are kept as long as their run does not change. */
export class HttpSource implements Source {
  private readonly cache = new Lru<Promise<unknown>>(CACHE_BYTES);

  index(since?: string): Promise<Index> {
    return getJson('index', since ? { since } : {});
  }

  run(name: string): Promise<Run> {
    return getJson('run', { run: name });
  }

  findings(run: Run, thresholds: Changed): Promise<Findings> {
    return this.once(run, `findings ${toText(thresholds)}`, 1000, () =>
      getJson('findings', { run: run.name, ...thresholds }),
    );
  }

  matrix(run: string, step: number, size: number, abort?: AbortSignal): Promise<Float32Array> {
    return getFloats('matrix', { run, step }, size, abort);
  }

  tracks(run: Run, variable: number): Promise<Track[]> {
    const name = run.variables[variable]?.name ?? '';
    const size = seriesSize(run, variable);
    return this.once(run, `series ${name}`, size, async () => {
      const data = await getFloats('series', { run: run.name, variable: name }, size);
      return tracksOf(run, variable, data);
    });
  }

  wholeTracks(run: Run): Promise<Track[]> {
    const size = columnsOf(run).reduce((total, column) => total + column.steps.length, 0);
    const { losses, optimizers } = run;
    return this.once(run, 'whole', size, () =>
      Promise.all([
        ...losses.map(async ({ id: loss, steps }, i) => {
          const data = await getFloats('loss', { run: run.name, loss }, steps.length);
          return wholeTrack(run, i, data);
        }),
        ...optimizers.map(async ({ id: optimizer, steps }, i) => {
          const data = await getFloats('reached', { run: run.name, optimizer }, steps.length);
          return wholeTrack(run, losses.length + i, data);
        }),
      ]),
    );
  }

  clip(run: Run, clip: Clip): Promise<ClipNumbers> {
    const size = ClipNumbers.size(clip);
    return this.once(run, `clip ${clip.id}`, size, async () => {
      const query = { run: run.name, site: clip.id };
      return new ClipNumbers(clip, await getFloats('clip', query, size));
    });
  }

  optimizer(run: Run, optimizer: Optimizer): Promise<UpdateNumbers> {
    const size = UpdateNumbers.size(optimizer);
    return this.once(run, `optimizer ${optimizer.id}`, size, async () => {
      const query = { run: run.name, optimizer: optimizer.id };
      return new UpdateNumbers(optimizer, await getFloats('optimizer', query, size));
    });
  }

  cosines(run: Run): Promise<Float32Array[]> {
    const sizes = run.cosines.map(({ steps }) => steps.length);
    const size = sizes.reduce((total, n) => total + n, 0);
    return this.once(run, 'cosines', size, async () => {
      const data = await getFloats('cosines', { run: run.name }, size);
      let end = 0;
      return sizes.map((n) => {
        end += n;
        return data.subarray(end - n, end);
      });
    });
  }

  cosine(run: Run, { one, other, steps, variables }: Cosine): Promise<Float32Array> {
    const size = steps.length * variables.length;
    return this.once(run, `cosine ${JSON.stringify([one, other])}`, size, () =>
      getFloats('cosine', { run: run.name, one, other }, size),
    );
  }

  private once<T>(run: Run, what: string, floats: number, ask: () => Promise<T>): Promise<T> {
    const key = `${run.token} ${run.name} ${what}`;
    const cached = this.cache.get(key) as Promise<T> | undefined;
    if (cached) return cached;
    const asked = ask();
    this.cache.set(key, asked, floats * 4);
    // A failure must not be remembered: the user will try again.
    asked.catch(() => this.cache.delete(key));
    return asked;
  }
}
