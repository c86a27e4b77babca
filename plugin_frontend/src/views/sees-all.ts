/** For tests: an `IntersectionObserver` that sees all at once, as jsdom lays nothing out. */
export class SeesAll {
  constructor(private readonly tell: (entries: { isIntersecting: boolean }[]) => void) {}
  observe(): void {
    this.tell([{ isIntersecting: true }]);
  }
  disconnect(): void {}
}
