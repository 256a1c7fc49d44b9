/** A few names with bars and numbers, strongest first: top tokens, scores. Rows that do something are buttons. */
import { type Child, fill, h } from "./dom";
import { focusNear } from "./parts";
import type { Read, Scope } from "./signal";

export interface Bar {
  name: Child;
  /** Length of the bar, 0 to 1, and its colour; ink without one. */
  share: number;
  colour?: string;
  text: string;
  /** What a click does: its verb, which a screen reader says before the name, and whether it is done already. */
  act?: { verb: string; on: boolean; run(): void };
}

/** The rows of a list. `names` is the width that names take, in pixels. */
export function barRows(bars: Bar[], names: number): HTMLElement[] {
  return bars.map(({ name, share, colour, text, act }) => {
    const width = `width:${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
    const parts = [
      h("span", { class: "iw-bar-name" }, name),
      h("span", { class: "iw-bar-track" }, h("span", { class: "iw-bar", style: colour ? `${width};background:${colour}` : width, "data-coloured": Boolean(colour) })),
      h("span", { class: "iw-bar-value" }, text),
    ];
    const style = `grid-template-columns:${names}px 1fr auto`;
    return act
      ? h("button", { class: "iw-bar-row", style, "aria-pressed": act.on ? "true" : "false", on: { click: act.run } }, h("span", { class: "iw-hidden" }, act.verb, " "), parts)
      : h("div", { class: "iw-bar-row", style }, parts);
  });
}

/** The list, renewed as what it reads changes; a button that had the focus keeps it. */
export function barList(scope: Scope, read: Read<{ bars: Bar[]; names: number }>): HTMLElement {
  const list = h("div", { class: "iw-bars" });
  scope.effect(() => {
    const { bars, names } = read();
    const focused = [...list.children].indexOf(focusNear(list)!);
    fill(list, barRows(bars, names));
    if (focused >= 0) (list.children[Math.min(focused, list.children.length - 1)] as HTMLElement | undefined)?.focus({ preventScroll: true });
  });
  return list;
}
