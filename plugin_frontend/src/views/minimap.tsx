import { useLayoutEffect, useRef } from 'preact/hooks';
import type { Frame } from '../model/frame';
import type { Row } from '../model/order';
import { paint } from '../model/paint';
import type { Domain } from '../model/scale';

interface Props {
  frame: Frame;
  rows: readonly Row[];
  domain: Domain;
  theme: 'light' | 'dark';
  /** Height on screen. */
  height: number;
  /** The part of the rows in view, as fractions. */
  from: number;
  to: number;
  /** Asks to bring a fraction of the rows into the middle of the view. */
  onMove: (fraction: number) => void;
}

/** All rows at once. For the eye and the mouse only: the table has the same in words. */
export function Minimap({ frame, rows, domain, theme, height, from, to, onMove }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const lines = Math.min(rows.length, Math.max(1, Math.floor(height)));
  useLayoutEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context || frame.columns === 0) return;
    const pixels = paint(frame, rows, lines, domain, theme);
    context.putImageData(new ImageData(pixels, frame.columns, lines), 0, 0);
  }, [frame, rows, lines, domain, theme]);
  const move = (event: PointerEvent) => {
    const map = event.currentTarget as HTMLElement;
    if (event.type === 'pointerdown') map.setPointerCapture(event.pointerId);
    else if (!map.hasPointerCapture(event.pointerId)) return;
    const box = map.getBoundingClientRect();
    onMove((event.clientY - box.top) / box.height);
  };
  return (
    <div class="minimap" aria-hidden="true" onPointerDown={move} onPointerMove={move}>
      <canvas ref={canvas} width={Math.max(1, frame.columns)} height={lines} />
      <div class="window" style={{ top: `${from * 100}%`, height: `${(to - from) * 100}%` }} />
    </div>
  );
}
