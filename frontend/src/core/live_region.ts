/** A region that screen readers read out. */
import { fill, h } from "./dom";
import type { Scope } from "./signal";

const QUIET = 120; // milliseconds without a newer one

/** Says texts; the last of a quick series is the one that is said. */
export function announcer(scope: Scope): { element: HTMLElement; say(text: string): void } {
  const element = h("div", { class: "iw-hidden", "aria-live": "polite", "data-part": "live" });
  let timer = 0;
  scope.onEnd(() => clearTimeout(timer));
  return {
    element,
    say(text) {
      clearTimeout(timer);
      timer = window.setTimeout(() => fill(element, text), QUIET);
    },
  };
}
