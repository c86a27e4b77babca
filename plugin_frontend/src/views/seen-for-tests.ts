import { vi } from 'vitest';

/** Lets `useSeen` see all at once: jsdom lays nothing out. Not imported by the page. */
export function seeAll(): void {
  vi.stubGlobal(
    'IntersectionObserver',
    class {
      constructor(private readonly tell: (entries: { isIntersecting: boolean }[]) => void) {}
      observe() {
        this.tell([{ isIntersecting: true }]);
      }
      disconnect() {}
    },
  );
}
