import { UNMEASURED } from '../api/schema.gen';

/** What was not measured, told from NaN. A number alone cannot: its bits do. */

export const NOT_MEASURED = 'not measured';
/** Elements that are NaN or infinite, of a gradient that was so before. */
export const NOT_COUNTED = 'not counted';
export const WHY_NOT_MEASURED =
  'in steps that the sentinel alone chose, only the norm of large gradients is; ' +
  'the norm of large sparse tables never is';

/** Tells which numbers of an answer were measured, by their positions. */
export class Measured {
  private readonly bits: Uint32Array;

  constructor(data: Float32Array) {
    this.bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  }

  has(position: number): boolean {
    return this.bits[position] !== UNMEASURED;
  }
}

/** The reason to give beside a text that stands for a number; empty where it is the number. */
export function whyNot(text: string): string {
  return text === NOT_MEASURED || text === NOT_COUNTED ? WHY_NOT_MEASURED : '';
}
