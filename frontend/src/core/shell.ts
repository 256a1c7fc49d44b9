/** The anatomy of every widget, top to bottom: title line, caption, prompt, messages, panels, state line. */
import type { Model } from "../types";
import { attribute, fill, h } from "./dom";
import { errorBox, type Failure, type Kernel, type Keys, type Notice, noticeBox, stateLine, type Status } from "./frame";
import { promptBox } from "./prompt_box";
import type { Read, Scope, Signal } from "./signal";

export interface Shell {
  model: Model;
  meta: Read<string>;
  /** The menu at the right of the title. */
  menu: HTMLElement;
  prompt: { text: Read<string>; run(text: string): void } | null;
  kernel: Read<Kernel>;
  status: Read<Status>;
  notice: Signal<Notice | null>;
  failure: Signal<Failure | null>;
  /** Jumps to the head that a notice names. */
  show(head: [number, number]): void;
  body: Node[];
  state: Read<{ dot: string; text: string; progress: number | null }>;
  keys: Keys[];
  narrow: Read<boolean>;
  live: HTMLElement;
}

/** Puts the parts into the root element of a view, and names it for screen readers. */
export function shell(scope: Scope, root: HTMLElement, parts: Shell): void {
  const { model, meta, prompt, notice, failure, kernel, status } = parts;
  const title = h("h3");
  const about = h("span", { class: "iw-meta" });
  const caption = h("div", { class: "iw-caption" });
  const messages = h("div");
  const name = scope.trait<string>(model, "title");
  const words = scope.trait<string>(model, "caption");
  scope.effect(() => {
    fill(title, name());
    fill(about, meta());
    fill(caption, words());
    caption.hidden = !words();
    attribute(root, "aria-label", `${name()}, ${meta()}`);
  });
  scope.effect(() => {
    const [said, failed] = [notice(), failure()];
    fill(messages, failed && errorBox(failed, () => failure.set(null)), said && noticeBox(said, parts.show, () => notice.set(null)));
  });
  const busy = scope.computed(() => status().state === "busy");
  fill(
    root,
    h("div", { class: "iw-head" }, title, about, parts.menu),
    caption,
    prompt && promptBox(scope, prompt.text, () => kernel() === "none", busy, prompt.run),
    messages,
    parts.body,
    stateLine(scope, parts.state, parts.keys, parts.narrow),
    parts.live,
  );
}
