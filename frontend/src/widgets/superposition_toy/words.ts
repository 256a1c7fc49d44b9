/** How the parts of the widget write numbers, titles, and what stands in their drawings. */
import { type Child, h } from "../../core/dom";
import { bold, panelTitle } from "../../core/parts";
import type { Read, Signal } from "../../core/signal";

export const [ACCENT, LINE, EDGE, INK1, INK2] = ["accent", "line", "edge", "ink1", "ink2"].map((name) => `var(--${name})`) as [string, string, string, string, string];

/** Losses fall over decades: three digits that count. */
export const loss = (value: number): string => String(Number(value.toPrecision(3))).replace("-", "−");

export const panel = (part: string, ...inside: Child[]): HTMLElement => h("div", { "data-part": part, style: "flex:none" }, inside);

export const titled = (name: Child, about: Child): HTMLElement => panelTitle(bold(name), about);

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
