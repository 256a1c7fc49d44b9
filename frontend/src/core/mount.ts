/** The root element of a widget's view, which knows its width and the theme around it. */
import type { Model } from "../types";
import type { Theme } from "./colour";
import { h } from "./dom";
import { addStyle } from "./frame";
import { type Read, Scope, signal } from "./signal";
import { pageColour, watchTheme } from "./theme";

export interface Mounted {
  scope: Scope;
  root: HTMLDivElement;
  width: Read<number>;
  theme: Read<Theme>;
  /** Ends the view; what `render` returns. */
  end: () => void;
}

export function mount(model: Model, el: HTMLElement, name: string, over?: AbortSignal): Mounted {
  const scope = new Scope();
  const root = h("div", { class: "iw", "data-widget": name, role: "group", "data-lm-suppress-shortcuts": "true" });
  el.append(root);
  addStyle(el);
  const width = signal(Math.max(260, Math.floor(root.clientWidth) - 8 || 852));
  const observer = new ResizeObserver(([entry]) => entry && entry.contentRect.width > 0 && width.set(Math.max(260, Math.floor(entry.contentRect.width))));
  observer.observe(root);
  scope.onEnd(() => observer.disconnect());
  const theme = watchTheme(scope, root, scope.trait<string>(model, "theme"));
  scope.effect(() => {
    root.dataset.theme = theme();
    root.style.setProperty("--paper", pageColour(el, theme()));
  });
  const end = () => {
    scope.dispose();
    root.remove();
  };
  over?.addEventListener("abort", end, { once: true });
  return { scope, root, width, theme, end };
}
