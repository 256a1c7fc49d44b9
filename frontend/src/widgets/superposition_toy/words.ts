/** How the parts of the widget write numbers, titles, and what stands in their drawings. */
import { type Attributes, type Child, h, s } from "../../core/dom";
import type { Read, Signal } from "../../core/signal";

export const [ACCENT, LINE, EDGE, INK1, INK2] = ["accent", "line", "edge", "ink1", "ink2"].map((name) => `var(--${name})`) as [string, string, string, string, string];

/** Decimals and a real minus sign; never "−0.00". */
export const number = (value: number, decimals = 2): string => (Math.abs(value) < 0.5 * 10 ** -decimals ? 0 : value).toFixed(decimals).replace("-", "−");

/** Losses fall over decades: three digits that count. */
export const loss = (value: number): string => String(Number(value.toPrecision(3))).replace("-", "−");

export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;

export const upTo = (n: number): number[] => [...Array(n).keys()];

export const panel = (part: string, ...inside: Child[]): HTMLElement => h("div", { "data-part": part, style: "flex:none" }, inside);

export const panelTitle = (name: Child, about: Child): HTMLElement => h("div", { class: "iw-panel-title" }, h("span", { class: "iw-bold" }, name), about);

export const label = (x: number, y: number, anchor: "start" | "middle" | "end", text: Child, more?: Attributes): SVGElement => s("text", { x, y, "text-anchor": anchor, ...more }, text);

export const line = (d: string, stroke: string, more?: Attributes): SVGElement => s("path", { d, stroke, fill: "none", ...more });

/** Sets the size of a drawing, and what a screen reader calls it. */
export function size(drawing: Element, width: number, height: number, name?: string): void {
  drawing.setAttribute("width", String(width));
  drawing.setAttribute("height", String(height));
  if (name) drawing.setAttribute("aria-label", name);
}

/** A row and a column. */
export type Spot = [number, number];

/** Tells which cell of a map is under the pointer, and which is clicked. */
export function onCells(canvas: HTMLCanvasElement, cell: Read<number>, hover: Signal<Spot | null>, click: (spot: Spot) => void): void {
  const ends = () => [canvas.clientHeight - 1, canvas.clientWidth - 1];
  const spot = (event: MouseEvent) => [event.offsetY, event.offsetX].map((v, i) => Math.floor(Math.max(0, Math.min(ends()[i]!, v)) / cell())) as Spot;
  canvas.addEventListener("mousemove", (event) => hover.set(spot(event)));
  canvas.addEventListener("mouseleave", () => hover.set(null));
  canvas.addEventListener("click", (event) => click(spot(event)));
}
