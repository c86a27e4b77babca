import { effect } from '@preact/signals';
import { h, render as mount } from 'preact';
import uplotStyle from 'uplot/dist/uPlot.min.css?inline';
import {
  hostFonts,
  isHidden,
  nameFrame,
  onReload,
  onUrlChange,
  readUrl,
  watchDark,
  writeUrl,
} from './api/host';
import { HttpSource } from './model/source';
import { Store } from './model/store';
import { KEYS, toUrl } from './model/url';
import base from './styles/base.css?inline';
import detail from './styles/detail.css?inline';
import findings from './styles/findings.css?inline';
import frame from './styles/frame.css?inline';
import lists from './styles/lists.css?inline';
import matrix from './styles/matrix.css?inline';
import tokens from './styles/tokens.css?inline';
import { App } from './views/app';

const TITLE = 'GradScope for TensorBoard';
const POLL_MS = 3000;
const URL_DELAY_MS = 200;

/** TensorBoard imports this module in the plugin's frame and calls `render()`. */
export async function render(): Promise<void> {
  nameFrame(TITLE);
  const styles = [tokens, base, frame, matrix, detail, lists, findings];
  addStyle([hostFonts(), uplotStyle, ...styles].join('\n'));
  const source = new HttpSource();
  const store = new Store(source);
  store.follow(readUrl());
  watchDark((dark) => {
    store.theme.value = dark ? 'dark' : 'light';
    document.documentElement.dataset.theme = store.theme.value;
  });
  mount(h(App, { store, source }), document.body);
  await store.refresh();
  keepUrl(store);
  onReload(() => void store.refresh());
  poll(store);
}

function addStyle(text: string): void {
  const style = document.createElement('style');
  style.textContent = text;
  document.head.append(style);
}

/** The link follows the page, and the page follows a link pasted over it. */
function keepUrl(store: Store): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let written = '';
  effect(() => {
    const state = toUrl(store.linked.value);
    clearTimeout(timer);
    timer = setTimeout(() => {
      writeUrl(state, KEYS);
      written = JSON.stringify(readUrl());
    }, URL_DELAY_MS);
  });
  onUrlChange(() => {
    const url = readUrl();
    // Other tabs of TensorBoard drop or keep our part as they like: empty is no wish.
    if (Object.keys(url).length === 0 || JSON.stringify(url) === written) return;
    store.follow(url);
    void store.refresh();
  });
}

/** Looks for new steps while they are wanted: when following, or as long as there are none. */
function poll(store: Store): void {
  setTimeout(async () => {
    const wanted = store.live.value || !store.shown.value;
    if (wanted && !isHidden()) await store.refresh();
    poll(store);
  }, POLL_MS);
}
