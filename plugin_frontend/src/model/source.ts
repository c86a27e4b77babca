import { getFloats, getJson } from '../api/client';
import type { Clip, Index, Run } from '../api/schema.gen';
import { ClipNumbers } from './clipping';
import { Lru } from './lru';
import { seriesSize, type Track, tracksOf, wholeTrack } from './series';

const CACHE_BYTES = 16 << 20;

/** Where data come from. Tests put their own in its place. */
export interface Source {
  index(since?: string): Promise<Index>;
  run(name: string): Promise<Run>;
  matrix(run: string, step: number, size: number, abort?: AbortSignal): Promise<Float32Array>;
  /** Every loss's records of a variable. */
  tracks(run: Run, variable: number): Promise<Track[]>;
  /** Every loss's records of its whole gradient. */
  wholeTracks(run: Run): Promise<Track[]>;
  clip(run: Run, clip: Clip): Promise<ClipNumbers>;
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
    const size = run.losses.reduce((total, loss) => total + loss.steps.length, 0);
    return this.once(run, 'whole', size, () =>
      Promise.all(
        run.losses.map(async (loss, i) => {
          const query = { run: run.name, loss: loss.name };
          return wholeTrack(run, i, await getFloats('loss', query, loss.steps.length));
        }),
      ),
    );
  }

  clip(run: Run, clip: Clip): Promise<ClipNumbers> {
    const size = ClipNumbers.size(clip);
    return this.once(run, `clip ${clip.name}`, size, async () => {
      const query = { run: run.name, site: clip.name };
      return new ClipNumbers(clip, await getFloats('clip', query, size));
    });
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
