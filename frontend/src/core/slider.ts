/** A number to drag: the platform's own range input, so that keys, touch and screen readers work as everywhere. */
import { fill, h } from "./dom";
import { bold } from "./parts";
import type { Read, Scope } from "./signal";

export interface Range {
  min: number;
  max: number;
  step: number;
}

/** A slider with its name on the left and its value on the right. */
export function slider(scope: Scope, name: string, range: Read<Range>, value: Read<number>, text: (value: number) => string, set: (value: number) => void): HTMLElement {
  const shown = bold();
  const input = h("input", { type: "range", "aria-label": name, on: { input: () => set(Number(input.value)), keydown: (event: KeyboardEvent) => event.stopPropagation() } });
  scope.effect(() => {
    const { min, max, step } = range();
    Object.assign(input, { min: String(min), max: String(max), step: String(step) });
    input.value = String(value());
    input.style.setProperty("--share", `${max > min ? (100 * (value() - min)) / (max - min) : 0}%`);
    input.setAttribute("aria-valuetext", text(value()));
    fill(shown, text(value()));
  });
  return h("label", { class: "iw-slider" }, h("span", { class: "iw-row", style: "justify-content:space-between" }, h("span", null, name), shown), input);
}
