/** The small parts that panels and drawings are made of. */
import { attribute, type Attributes, type Child, h, s } from "./dom";

export const bold = (...inside: Child[]): HTMLElement => h("span", { class: "iw-bold" }, inside);
export const quiet = (...inside: Child[]): HTMLElement => h("span", { class: "iw-quiet" }, inside);

/** Takes the room between what stands left and what stands right in a line. */
export const spring = (): HTMLElement => h("span", { class: "iw-spring" });

/** The line over a panel: its name, what it shows, its controls. */
export const panelTitle = (...inside: Child[]): HTMLElement => h("div", { class: "iw-panel-title" }, inside);

/** A drawing that says nothing new: a screen reader passes over it. */
export const ornament = (attributes: Attributes, ...inside: Child[]): SVGSVGElement => s("svg", { "aria-hidden": "true", ...attributes }, inside);

/** A drawing over a picture: it takes no clicks either. */
export const pane = (style = ""): SVGSVGElement => ornament({ style: `position:absolute;left:0;top:0;pointer-events:none;${style}` });

/** Text in a drawing. */
export const svgText = (x: number | null, y: number | null, anchor: "start" | "middle" | "end", text: Child, more?: Attributes): SVGElement => s("text", { x, y, "text-anchor": anchor, ...more }, text);

/** What is chosen stands in accent. */
export const chosenIf = (on: boolean): Attributes => ({ class: on ? "iw-chosen" : null });

export const line = (d: string, stroke: string, more?: Attributes): SVGElement => s("path", { d, stroke, fill: "none", ...more });

/** Sets the size of a drawing, and what a screen reader calls it. */
export function resize(drawing: Element, width: number, height: number, name?: string): void {
  attribute(drawing, "width", width);
  attribute(drawing, "height", height);
  if (name) attribute(drawing, "aria-label", name);
}

/** Tells what is under the pointer, and what of it is clicked. */
export function pointing<T>(element: Element, under: (event: MouseEvent) => T | null, hover: (found: T | null) => void, choose: (found: T) => void): void {
  const on = (name: string, act: (event: MouseEvent) => void) => element.addEventListener(name, act as (event: Event) => void);
  on("mousemove", (event) => hover(under(event)));
  on("mouseleave", () => hover(null));
  on("click", (event) => {
    const found = under(event);
    if (found !== null) choose(found);
  });
}

/** Gives keys to `act`; those that it says it took go no further, and none with Ctrl, Alt or the like reach it. */
export function onKeys(element: HTMLElement, act: (event: KeyboardEvent) => unknown): void {
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !act(event)) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Does what stands under a key, a letter in either case; whether anything does. */
export function act(acts: Record<string, () => unknown>, { key }: KeyboardEvent): boolean {
  const found = acts[key] ?? acts[key.toLowerCase()];
  found?.();
  return found !== undefined;
}

/** The element that has the focus, also within a shadow root. */
export const focusNear = (near: Node): Element | null => (near.getRootNode() as Document | ShadowRoot).activeElement;
