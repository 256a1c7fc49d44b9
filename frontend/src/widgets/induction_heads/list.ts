/** The heads above a threshold, and the way to Python. */
import { barRows } from "../../core/bar_list";
import { fill, h } from "../../core/dom";
import { bold, focusNear, panelTitle } from "../../core/parts";
import { number } from "../../core/words";
import { type Head, headName, isOff, same } from "./data";
import type { View } from "./view";

const MOST = 20;

/** Sends what is listed. */
export function send(view: View, say: (text: string) => void): void {
  if (view.kernel() === "none") return say("no kernel to send to");
  const listed = view.listed();
  view.found.set(listed.map(({ layer, head }): [number, number] => [layer, head]));
  say(`sent ${listed.length} head${listed.length === 1 ? "" : "s"} to Python`);
}

/** The next threshold, in steps of a twentieth, that the best head is above. */
export const reachable = (best: number): number => Math.max(0, Math.ceil(best * 20 - 1.000001) / 20);

export function listPanel(view: View, say: (text: string) => void): HTMLElement {
  const { scope } = view;
  const name = bold();
  const input = h("input", {
    type: "number", min: 0, max: 1, step: 0.05, tabindex: 0, "aria-label": "threshold", "data-part": "threshold", class: "iw-number-box",
    on: { change: () => Number.isFinite(input.valueAsNumber) && view.threshold.set(input.valueAsNumber), keydown: (event: KeyboardEvent) => event.stopPropagation() },
  });
  const rows = h("div", { class: "iw-bars", role: "group", "aria-label": "heads above the threshold", "data-part": "list" });
  const button = h("button", { "data-part": "send", on: { click: () => send(view, say) } });
  const sent = h("span", { class: "iw-small" });
  const panel = h("div", { style: "flex:1;min-width:0" }, panelTitle(name, input), rows, h("div", { class: "iw-row", style: "margin-top:8px;flex-wrap:wrap;gap:4px 8px" }, button, sent));

  const row = (head: Head) => {
    const value = view.at(view.score(), head);
    const off = isOff(view.off(), head);
    const chosen = same(head, view.chosen());
    const text = `${off ? "× " : ""}${number(value)}`;
    const shown = h("span", { class: chosen ? "iw-accent iw-bold" : off ? "iw-quiet" : null }, headName(head));
    return { name: shown, share: Math.max(0, value), ...(off ? { colour: "var(--line)" } : {}), text, act: { verb: off ? "show, off:" : "show", on: chosen, run: () => view.choose(head) } };
  };
  scope.effect(() => {
    const heads = view.listed();
    const values = view.values();
    const focused = [...rows.children].indexOf(focusNear(rows)!);
    rows.style.flexDirection = view.size().kind === "middle" ? "row" : "column";
    rows.style.flexWrap = view.size().kind === "middle" ? "wrap" : "nowrap";
    rows.style.columnGap = "24px";
    if (!heads.length) {
      const best = values.indexOf(Math.max(...values));
      const nearest = { layer: Math.floor(best / view.meta().heads), head: best % view.meta().heads };
      const to = reachable(values[best]!);
      const way = h("button", { on: { click: () => view.threshold.set(to) } }, `Set to ${number(to)}`);
      fill(rows, h("div", { class: "iw-bold" }, `No head above ${number(view.threshold())}`), h("div", { class: "iw-small", style: "margin:4px 0 8px" }, `The highest is ${headName(nearest)} with ${number(values[best]!)}.`), h("div", null, values[best]! > 0 && way));
      return;
    }
    const bars = barRows(heads.slice(0, MOST).map(row), 46);
    for (const bar of bars) if (view.size().kind === "middle") bar.style.width = "160px";
    fill(rows, bars, heads.length > MOST && h("div", { class: "iw-small" }, `and ${heads.length - MOST} more`));
    if (focused >= 0) (rows.children[Math.min(focused, bars.length - 1)] as HTMLElement | undefined)?.focus({ preventScroll: true });
  });
  scope.effect(() => {
    fill(name, view.narrow() ? "Above" : "Heads above");
    input.value = view.threshold().toFixed(2);
    fill(button, view.narrow() || view.size().list < 120 ? "To Python" : "Send to Python");
    button.disabled = view.kernel() === "none" || !view.listed().length;
    const n = view.found().length;
    fill(sent, n ? `found: ${n} head${n === 1 ? "" : "s"}` : "");
  });
  return panel;
}
