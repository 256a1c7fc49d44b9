/** The text that the model reads, and the button that lets it read another. */
import { attribute, h, s } from "./dom";
import { ornament } from "./parts";
import type { Read, Scope } from "./signal";

export function returnKey(): SVGSVGElement {
  return ornament({ width: 10, height: 10, viewBox: "0 0 10 10", "stroke-width": 1.3 }, s("path", { d: "M9 1.5v4H1.8M4.2 3 1.7 5.5 4.2 8" }));
}

/** The prompt and its Run button; Enter runs, Shift+Enter breaks the line. */
export function promptBox(scope: Scope, prompt: Read<string>, off: Read<boolean>, busy: Read<boolean>, run: (text: string) => void): HTMLElement {
  const input = h("textarea", { rows: 1, "aria-label": "prompt", spellcheck: "false", placeholder: "Type a sentence and press Enter" });
  const button = h("button", { "data-part": "run" }, "Run ", returnKey());
  const box = h("div", { class: "iw-prompt", "data-part": "prompt" }, input, button);
  const grow = () => {
    input.style.height = "auto";
    input.style.height = `${Math.max(26, input.scrollHeight)}px`;
  };
  const submit = () => !button.disabled && run(input.value);
  input.addEventListener("input", grow);
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  button.addEventListener("click", submit);
  scope.effect(() => {
    input.value = prompt();
    requestAnimationFrame(grow);
  });
  scope.effect(() => {
    attribute(box, "data-off", off());
    input.readOnly = off();
    button.disabled = off() || busy();
    attribute(input, "title", off() ? "New prompts need a running kernel" : null);
  });
  return box;
}
