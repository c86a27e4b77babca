/**
 * What the page around us gives: TensorBoard, when we are its plugin's frame.
 *
 * Every look at the parent is guarded: the page also works when opened on its own,
 * and a frame of another origin must not break it.
 */

const PREFIX = 'p.gradscope.';

interface Storage {
  setString(
    key: string,
    value: string,
    options: { defaultValue: string; useLocationReplace: boolean },
  ): void;
}

/** The window that holds TensorBoard, or our own. Never `top`: that may be a notebook. */
function host(): Window {
  try {
    // Reading a property throws where the parent is of another origin.
    void window.parent.location.hash;
    return window.parent;
  } catch {
    return window;
  }
}

export function isInFrame(): boolean {
  return window.parent !== window;
}

/** A tab that was left keeps its frame, with no height. */
export function isHidden(): boolean {
  return document.hidden || (isInFrame() && window.innerHeight === 0);
}

/** Our part of a location's hash, `#gradscope&p.gradscope.run=a%20b`. */
export function parseHash(hash: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const part of hash.replace(/^#/, '').split('&')) {
    const at = part.indexOf('=');
    if (at < 0) continue;
    try {
      const key = decodeURIComponent(part.slice(0, at));
      if (key.startsWith(PREFIX)) {
        found[key.slice(PREFIX.length)] = decodeURIComponent(part.slice(at + 1));
      }
    } catch {
      // Not ours to repair: a stray "%" in another's part of the hash.
    }
  }
  return found;
}

/** What the URL says; TensorBoard's own way to tell is empty on the first load. */
export function readUrl(): Record<string, string> {
  return parseHash(host().location.hash);
}

/** Puts our state into the URL, in place: no new entry in the history. */
export function writeUrl(state: Record<string, string>, known: readonly string[]): void {
  const now = readUrl();
  const storage = tensorBoardStorage();
  for (const key of known) {
    const value = state[key] ?? '';
    if ((now[key] ?? '') === value) continue;
    if (storage) {
      storage.setString(PREFIX + key, value, { defaultValue: '', useLocationReplace: true });
    }
  }
  if (!storage) {
    const parts = Object.entries(state)
      .filter(([, value]) => value !== '')
      .map(([key, value]) => `${PREFIX}${key}=${encodeURIComponent(value)}`);
    const base = window.location.href.split('#')[0] ?? '';
    history.replaceState(null, '', `${base}#${parts.join('&')}`);
  }
}

function tensorBoardStorage(): Storage | undefined {
  if (!isInFrame()) return undefined;
  const holder = host() as Window & { tensorboard?: { tf_storage?: Storage } };
  return holder.tensorboard?.tf_storage;
}

/** Calls back when somebody else changes the URL: a link, the back button. */
export function onUrlChange(callback: () => void): void {
  host().addEventListener('hashchange', callback);
}

/** Calls back with TensorBoard's colour scheme, now and whenever it is switched. */
export function watchDark(callback: (dark: boolean) => void): void {
  const outside = host();
  if (outside !== window) {
    const { body } = outside.document;
    const tell = () => callback(body.classList.contains('dark-mode'));
    new MutationObserver(tell).observe(body, { attributes: true, attributeFilter: ['class'] });
    tell();
    return;
  }
  const query = window.matchMedia('(prefers-color-scheme: dark)');
  query.addEventListener('change', () => callback(query.matches));
  callback(query.matches);
}

/** Calls back on TensorBoard's reload button and its auto-reload. */
export function onReload(callback: () => void): void {
  if (!isInFrame()) return;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = (event: MessageEvent<string>) => {
    const message = JSON.parse(event.data) as { type: string; id: number; isReply: boolean };
    if (message.isReply) return;
    if (message.type === 'experimental.DataReloaded') callback();
    // The host waits for a reply to whatever it says.
    const { type, id } = message;
    port1.postMessage(JSON.stringify({ type, id, payload: null, error: null, isReply: true }));
  };
  window.parent.postMessage('experimental.bootstrap', '*', [port2]);
}

/**
 * TensorBoard's own typeface as style rules, so that the frame looks like its page.
 *
 * A frame does not inherit fonts; the rules are copied with their addresses made whole.
 */
export function hostFonts(): string {
  const outside = host();
  if (outside === window) return '';
  const found: string[] = [];
  for (const sheet of outside.document.styleSheets) {
    try {
      const base = sheet.href ?? outside.document.baseURI;
      for (const rule of sheet.cssRules) {
        if (!rule.cssText.startsWith('@font-face') || !rule.cssText.includes('Roboto')) continue;
        found.push(
          rule.cssText.replace(/url\("([^"]+)"\)/g, (_, url) => `url("${new URL(url, base)}")`),
        );
      }
    } catch {
      // A sheet of another origin keeps its rules to itself.
    }
  }
  return found.join('\n');
}

/** Names the frame for screen readers; TensorBoard leaves it without a title. */
export function nameFrame(title: string): void {
  document.documentElement.lang = 'en';
  document.title = title;
  try {
    if (window.frameElement) window.frameElement.setAttribute('title', title);
  } catch {
    // A parent of another origin hides the frame's element; nothing to name then.
  }
}
