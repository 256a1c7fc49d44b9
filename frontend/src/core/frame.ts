/** What stands around every widget: its style, whether a kernel answers, notices, errors, the state line. */
import type { Model } from "../types";
import { attribute, h, s } from "./dom";
import { bold, ornament, spring } from "./parts";
import { type Read, type Scope, signal } from "./signal";
import style from "./style.css";
import { dotted } from "./words";

/** Adds the style sheet once to the document or shadow root that `el` stands in. */
export function addStyle(el: Element): void {
  const root = el.getRootNode();
  const home = root.nodeType === 11 ? (root as ShadowRoot) : document.head;
  if (home.querySelector("style[data-interpwidgets]")) return;
  home.append(h("style", { "data-interpwidgets": true }, style));
}

/** "silent": it answered once and now does not, because it is busy or gone. */
export type Kernel = "waiting" | "here" | "silent" | "none";

/** Whether a kernel answers: asked when the view appears and whenever `ask` is called, renewed when it is heard. */
export function watchKernel(scope: Scope, model: Model): { state: Read<Kernel>; ask: () => void } {
  const state = signal<Kernel>("waiting");
  let late = 0;
  const hear = (content: { type?: string; kernel?: boolean }) => {
    clearTimeout(late);
    late = 0;
    state.set(content?.type === "pong" && content.kernel === false ? "none" : "here");
  };
  const silence = () => state.set(state() === "waiting" || state() === "none" ? "none" : "silent");
  const ask = () => {
    if (late) return;
    late = window.setTimeout(() => ((late = 0), silence()), 4000);
    try {
      model.send({ type: "ping" });
    } catch {
      silence();
    }
  };
  model.on("msg:custom", hear);
  scope.onEnd(() => model.off("msg:custom", hear));
  scope.onEnd(() => clearTimeout(late));
  ask();
  return { state, ask };
}

export interface Status {
  state: "ready" | "busy" | "error";
  text: string;
  progress: number | null;
}

/** What is left of the kernel, and what works without; then what else there is to say. */
export function answering(kernel: Kernel, rest: string, about: string): { dot: string; text: string; progress: null } {
  const [dot, who] = { here: ["ready", "Kernel connected"], waiting: ["waiting", "Looking for the kernel"], silent: ["none", `The kernel is busy or gone: ${rest}`], none: ["none", `No kernel: ${rest}`] }[kernel] as [string, string];
  return { dot, text: dotted(who, about), progress: null };
}

/** What the state line says while a run is on, or went wrong; nothing where all is well. */
export const working = ({ state, text, progress }: Status) => state !== "ready" && { dot: state, text, progress: state === "busy" ? progress : null };

export interface Keys {
  keys: string;
  name: string;
}

/** The state line: a dot, a sentence, at most four keys; progress runs along its hairline. */
export function stateLine(scope: Scope, read: Read<{ dot: string; text: string; progress: number | null }>, keys: Keys[], narrow: Read<boolean>): HTMLElement {
  const dot = h("span", { class: "iw-dot", "aria-hidden": "true" });
  const text = h("span", { role: "status", "data-part": "state" });
  const hints = h("span", { class: "iw-keys", "aria-hidden": "true" }, keys.map((key) => h("span", null, h("span", { class: "iw-key" }, key.keys), " ", key.name)));
  const foot = h("div", { class: "iw-foot" }, dot, text, spring(), hints);
  scope.effect(() => {
    const now = read();
    dot.dataset.state = now.dot;
    if (text.textContent !== now.text) text.textContent = now.text;
    foot.style.setProperty("--progress", now.progress == null ? "0%" : `${Math.round(100 * now.progress)}%`);
  });
  scope.effect(() => attribute(hints, "hidden", narrow()));
  return foot;
}


export interface Notice {
  title: string;
  text: string;
  hint: string;
  heads: [number, number][];
}

export interface Failure {
  title: string;
  rows: [string, string][];
  advice: string;
}

const sign = (kind: "warn" | "error") =>
  ornament({ width: 12, height: 12, viewBox: "0 0 12 12" },
    s("path", { d: kind === "warn" ? "M6 .5 11.8 11H.2z" : "M6 0l6 6-6 6-6-6z", fill: `var(--${kind})` }),
    s("path", { d: kind === "warn" ? "M6 4v3.4M6 8.4v1.4" : "M6 2.8v4M6 7.8v1.4", stroke: "var(--paper)", "stroke-width": 1.4 }),
  );

const closeButton = (close: () => void) => h("button", { class: "iw-icon iw-bare", "aria-label": "dismiss", on: { click: close } }, "×");

/** A warning that names heads and can be dismissed; `show` jumps to the first of them. */
export function noticeBox(notice: Notice, show: (head: [number, number]) => void, close: () => void): HTMLElement {
  const first = notice.heads[0];
  return h(
    "div",
    { class: "iw-notice", role: "note", "data-kind": "warn" },
    sign("warn"),
    h(
      "div",
      null,
      bold(notice.title, " "),
      notice.text,
      " ",
      first && h("button", { class: "iw-link", on: { click: () => show(first) } }, `Show L${first[0]} H${first[1]}`),
      notice.hint && h("div", { class: "iw-small" }, notice.hint),
    ),
    closeButton(close),
  );
}

export function errorBox(failure: Failure, close: () => void): HTMLElement {
  return h(
    "div",
    { class: "iw-notice", role: "alert", "data-kind": "error" },
    sign("error"),
    h(
      "div",
      null,
      h("div", { class: "iw-bold" }, failure.title),
      failure.rows.length > 0 && h("dl", null, failure.rows.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])),
      failure.advice,
    ),
    closeButton(close),
  );
}
