/** Choices and menus. Native elements where the platform has them, the ARIA patterns where it has not. */
import { attribute, type Child, fill, h, s } from "./dom";
import { focusNear, ornament, quiet } from "./parts";
import type { Read, Scope } from "./signal";

export const chevron = () => ornament({ class: "iw-chevron", viewBox: "0 0 8 5" }, s("path", { d: "M.5.5 4 4 7.5.5" }));

/** A segmented choice of two to five: one stop of the Tab key, arrows choose. */
export function choice<T extends string>(scope: Scope, label: string, options: Read<[T, string][]>, value: Read<T>, choose: (value: T) => void): HTMLElement {
  const group = h("div", { class: "iw-choice", role: "radiogroup", "aria-label": label });
  scope.effect(() => {
    const all = options();
    const at = Math.max(0, all.findIndex(([name]) => name === value()));
    const focused = group.contains(focusNear(group));
    const step = (by: number) => choose(all[(at + by + all.length) % all.length]![0]);
    fill(
      group,
      all.map(([name, text], i) =>
        h(
          "button",
          {
            class: "iw-option",
            role: "radio",
            "data-label": text,
            "aria-checked": i === at ? "true" : "false",
            tabindex: i === at ? 0 : -1,
            on: {
              click: () => choose(name),
              keydown: (event: KeyboardEvent) => {
                const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
                if (!by) return;
                event.preventDefault();
                event.stopPropagation();
                step(by);
              },
            },
          },
          text,
        ),
      ),
    );
    if (focused) (group.children[at] as HTMLElement).focus();
  });
  return group;
}

/** A select with its name inside: "Sort Layer". `draw` shows the chosen value where text is not enough. */
export function select(scope: Scope, label: string, options: Read<[string, string][]>, value: Read<string>, choose: (value: string) => void, draw?: (value: string) => Child): HTMLElement {
  const shown = h("span", { "aria-hidden": "true" });
  const native = h("select", { "aria-label": label, on: { change: () => choose(native.value) } });
  scope.effect(() => {
    fill(native, options().map(([name, text]) => h("option", { value: name }, text)));
    native.value = value();
  });
  scope.effect(() => {
    native.value = value();
    fill(shown, draw ? draw(value()) : options().find(([name]) => name === value())?.[1] ?? value());
  });
  return h("span", { class: "iw-select" }, h("span", { class: "iw-quiet", "aria-hidden": "true" }, label), shown, chevron(), native);
}

export interface Item {
  name: string;
  detail: string;
  act: () => void;
}

/** A button that opens a menu; arrows move in it, Escape and a click elsewhere close it. */
export function menu(scope: Scope, label: string, items: (Item | null)[]): HTMLElement {
  const button = h("button", { "aria-haspopup": "menu", "aria-expanded": "false" }, label, chevron());
  const card = h("div", { class: "iw-card iw-menu", role: "menu", "aria-label": label, hidden: true });
  const entries = items.map((item) =>
    item
      ? h("button", { role: "menuitem", tabindex: -1, on: { click: () => (close(), item.act()) } }, item.name, quiet(item.detail))
      : h("hr", { role: "separator" }),
  );
  fill(card, entries);
  const buttons = entries.filter((entry): entry is HTMLButtonElement => entry instanceof HTMLButtonElement);
  const open = () => {
    card.hidden = false;
    attribute(button, "aria-expanded", "true");
    buttons[0]?.focus();
  };
  const close = () => {
    if (card.hidden) return;
    card.hidden = true;
    attribute(button, "aria-expanded", "false");
    button.focus();
  };
  const anchor = h("div", { class: "iw-menu-anchor", "data-part": "export" }, button, card);
  button.addEventListener("click", () => (card.hidden ? open() : close()));
  anchor.addEventListener("keydown", (event) => {
    if (card.hidden) {
      if (event.key !== "ArrowDown") return;
      open();
    } else if (event.key === "Escape") close();
    else if (event.key === "Tab") return close();
    else {
      const at = buttons.indexOf(focusNear(anchor) as HTMLButtonElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
      if (to === undefined) return;
      buttons[(to + buttons.length) % buttons.length]!.focus();
    }
    event.preventDefault();
    event.stopPropagation();
  });
  anchor.addEventListener("focusout", (event) => {
    if (!anchor.contains(event.relatedTarget as Node | null) && event.relatedTarget) card.hidden || close();
  });
  document.addEventListener(
    "pointerdown",
    (event) => {
      if (!card.hidden && !event.composedPath().includes(anchor)) {
        card.hidden = true;
        attribute(button, "aria-expanded", "false");
      }
    },
    { signal: scope.ended.signal },
  );
  return anchor;
}
