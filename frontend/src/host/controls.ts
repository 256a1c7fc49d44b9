/** The few widgets of ipywidgets that notebooks put around ours: boxes, text, and links from trait to trait. */
import type { HostModel } from "./model";

/** Draws the widget that a reference ("IPY_MODEL_...") names. */
export type Draw = (reference: unknown, el: HTMLElement, signal: AbortSignal) => Promise<void>;
type Control = (model: HostModel, el: HTMLElement, signal: AbortSignal, draw: Draw) => Promise<void> | void;

const box =
  (direction: "row" | "column"): Control =>
  (model, el, signal, draw) => {
    Object.assign(el.style, { display: "flex", flexDirection: direction, flexWrap: direction === "row" ? "wrap" : "nowrap" });
    let ended = new AbortController();
    const fill = async (): Promise<void> => {
      ended.abort();
      ended = new AbortController();
      const children = model.get<unknown[] | undefined>("children") ?? [];
      const places = children.map(() => document.createElement("div"));
      for (const place of places) place.style.minWidth = "0";
      el.replaceChildren(...places);
      const both = AbortSignal.any([signal, ended.signal]);
      await Promise.all(children.map((child, i) => draw(child, places[i]!, both)));
    };
    model.during(signal).on("change:children", () => void fill());
    return fill();
  };

const ALLOWED = new Set(
  "A B BLOCKQUOTE BR CODE DIV DL DT DD EM H1 H2 H3 H4 H5 H6 HR I KBD LI MARK OL P PRE S SMALL SPAN STRONG SUB SUP TABLE TBODY TD TH THEAD TR U UL".split(" "),
);
const GONE = new Set("SCRIPT STYLE TEMPLATE IFRAME OBJECT EMBED NOSCRIPT".split(" "));

/** The plain part of some HTML: known elements, a handful of attributes, no address to load from or go to. */
export function plain(html: string): DocumentFragment {
  const copy = (from: Node, to: Node): void => {
    for (const node of from.childNodes) {
      if (node instanceof Text) to.appendChild(document.createTextNode(node.data));
      if (!(node instanceof Element) || GONE.has(node.tagName)) continue;
      if (!ALLOWED.has(node.tagName)) copy(node, to);
      else {
        const kept = document.createElement(node.tagName);
        for (const name of ["title", "colspan", "rowspan", "lang", "dir"])
          if (node.hasAttribute(name)) kept.setAttribute(name, node.getAttribute(name)!);
        copy(node, to.appendChild(kept));
      }
    }
  };
  const fragment = document.createDocumentFragment();
  copy(new DOMParser().parseFromString(html, "text/html").body, fragment);
  return fragment;
}

const text =
  (fill: (value: string) => Node): Control =>
  (model, el, signal) => {
    const show = (): void => el.replaceChildren(fill(model.get<string>("value") ?? ""));
    model.during(signal).on("change:value", show);
    show();
  };

/** Views by the name of the model; a widget that is not here and no anywidget gets a note instead. */
export const CONTROLS: Readonly<Record<string, Control>> = {
  BoxModel: box("row"),
  HBoxModel: box("row"),
  VBoxModel: box("column"),
  HTMLModel: text(plain),
  HTMLMathModel: text(plain),
  LabelModel: text((value) => document.createTextNode(value)),
};

/** jslink and jsdlink: models without a view that keep two traits equal. */
export function isLink(name: string): boolean {
  return name === "LinkModel" || name === "DirectionalLinkModel";
}

/** Ties two traits; what it returns unties them. */
export function link(from: HostModel, trait: string, to: HostModel, target: string, both: boolean): () => void {
  const copy = (a: HostModel, x: string, b: HostModel, y: string) => () => {
    if (b.get(y) === a.get(x)) return;
    b.set(y, a.get(x));
    b.save_changes();
  };
  const there = copy(from, trait, to, target);
  const back = copy(to, target, from, trait);
  from.on(`change:${trait}`, there);
  if (both) to.on(`change:${target}`, back);
  there();
  return () => {
    from.off(`change:${trait}`, there);
    to.off(`change:${target}`, back);
  };
}
