/** Zooming the large map: drag a rectangle over it; a double click or Escape shows the whole again. */
import { fill, s } from "../../core/dom";
import { around, following, keysOf, type Spot, squareOf, type Zoom } from "./data";
import type { View } from "./view";

const SMALLEST = 4;
const FAR = 5; // pixels from which on a press is a drag and no click

/** What a screen reader hears. */
export function zoomSentence(zoom: Zoom | null, { tokens, keys }: { tokens: number; keys: number }): string {
  if (!zoom) return "the whole map";
  const [query, key, size] = zoom;
  return `zoomed to queries ${query} to ${Math.min(tokens, query + size) - 1}, keys ${key} to ${Math.min(keys, key + size) - 1}`;
}

const longest = (view: View): number => Math.max(view.meta().tokens, keysOf(view.meta()));

/** Shows a part of the map, or all of it. */
export function show(view: View, zoom: Zoom | null, say: (text: string) => void): void {
  const whole = !zoom || zoom[2] >= longest(view);
  view.zoom.set(whole ? null : zoom);
  say(zoomSentence(whole ? null : zoom, view.pattern()));
}

/** Half or twice as many tokens round the chosen pair. */
export function step(view: View, closer: boolean, say: (text: string) => void): void {
  const { tokens } = view.meta();
  const size = view.zoom()?.[2] ?? longest(view);
  const next = closer ? Math.max(Math.min(SMALLEST, longest(view)), Math.ceil(size / 2)) : size * 2;
  show(view, around(view.cursor(), next, tokens, keysOf(view.meta())), say);
}

/** Moves the part that is shown along with the chosen pair. */
export function follow(view: View, spot: Spot): void {
  const zoom = view.zoom();
  const next = zoom && following(zoom, spot);
  if (next && next.some((n, i) => n !== zoom[i])) view.zoom.set(next);
}

export interface Brush {
  /** Whether a rectangle is being drawn: then the pointer reads no cells. */
  active(): boolean;
  /** Ends drawing without a zoom; whether there was any. */
  cancel(): boolean;
}

/** Draws the square that will be shown while a rectangle is dragged over `canvas`. `at` tells the pair of tokens under the pointer. */
export function brush(view: View, canvas: HTMLCanvasElement, marks: SVGElement, at: (event: MouseEvent) => Spot, say: (text: string) => void): Brush {
  let from: { x: number; y: number; spot: Spot } | null = null;
  let square: Zoom | null = null;
  const draw = () => {
    const p = view.shown();
    const size = canvas.clientWidth / p.columns / p.block;
    const side = (all: number) => Math.min(square![2], all) * size - 1;
    const box = square && { x: (square[1] - p.left) * size + 0.5, y: (square[0] - p.top) * size + 0.5, width: side(p.keys), height: side(p.tokens), fill: "none" };
    fill(marks, box && [s("rect", { ...box, stroke: "var(--paper)", "stroke-width": 3 }), s("rect", { ...box, stroke: "var(--ink1)", "data-part": "brush" })]);
  };
  const cancel = () => {
    const was = square !== null;
    from = square = null;
    draw();
    return was;
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || longest(view) <= SMALLEST) return;
    from = { x: event.clientX, y: event.clientY, spot: at(event) };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from || (!square && Math.hypot(event.clientX - from.x, event.clientY - from.y) < FAR)) return;
    view.hover.set(null);
    square = squareOf(from.spot, at(event), view.meta().tokens, SMALLEST, keysOf(view.meta()));
    draw();
  });
  canvas.addEventListener("pointerup", () => {
    if (square) {
      show(view, square, say);
      canvas.addEventListener("click", (click) => click.stopImmediatePropagation(), { once: true, capture: true });
    }
    cancel();
  });
  canvas.addEventListener("pointercancel", cancel);
  canvas.addEventListener("dblclick", () => view.zoom() && show(view, null, say));
  return { active: () => square !== null, cancel };
}
