import type { Routes } from './schema.gen';

type Route = keyof Routes;
type Query<R extends Route> = Routes[R]['query'];
type Answer<R extends Route> = Routes[R]['answer'];

/** A request that was not answered; the message is a sentence for the user. */
export class RequestError extends Error {
  constructor(
    message: string,
    /** HTTP status, 0 when nobody answered. */
    readonly status: number,
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

/** Tells an aborted request, which nobody needs to hear of, from a failed one. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** The relative URL of a route: the entry page's base makes it the plugin's. */
export function urlOf(route: Route, query: Record<string, string | number | undefined>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return text ? `${route}?${text}` : route;
}

/** Asks a route that answers JSON. */
export async function getJson<R extends Exclude<Route, FloatRoute>>(
  route: R,
  query: Query<R>,
  signal?: AbortSignal,
): Promise<Answer<R>> {
  const response = await request(route, query, signal);
  return (await response.json()) as Answer<R>;
}

/** The routes that answer numbers. */
type FloatRoute = { [R in Route]: Answer<R> extends Float32Array ? R : never }[Route];

/**
 * Asks a route that answers numbers.
 *
 * `count`: how many there must be; another number means the run changed between
 * two requests, and mixing them would put numbers into wrong cells.
 */
export async function getFloats<R extends FloatRoute>(
  route: R,
  query: Query<R>,
  count: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const response = await request(route, query, signal);
  const bytes = await response.arrayBuffer();
  if (bytes.byteLength !== count * 4) {
    throw new RequestError(
      'The run changed while it was being read. Reload to see it as it is.',
      409,
    );
  }
  return new Float32Array(bytes);
}

async function request(
  route: Route,
  query: Record<string, string | number | undefined>,
  signal?: AbortSignal,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(urlOf(route, query), signal ? { signal } : {});
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new RequestError('TensorBoard does not answer. Is it still running?', 0);
  }
  if (response.ok) return response;
  const type = response.headers.get('Content-Type') ?? '';
  const text = type.startsWith('text/plain') ? (await response.text()).trim() : '';
  const sentence = text || `TensorBoard answered ${response.status} to "${route}".`;
  throw new RequestError(sentence, response.status);
}
