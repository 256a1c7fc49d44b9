/** InductionHeads: which heads find what came next last time, what they are built on, and what is lost without them. */
import { choice, select } from "../core/controls";
import { fill, h } from "../core/dom";
import { exportMenu } from "../core/export_menu";
import { answering, working } from "../core/frame";
import { announcer } from "../core/live_region";
import { mount } from "../core/mount";
import { act, spring } from "../core/parts";
import { promptBox } from "../core/prompt_box";
import { csvTable } from "../core/save";
import { shell } from "../core/shell";
import { type Signal, signal } from "../core/signal";
import { count, dotted, upTo } from "../core/words";
import type { Render } from "../types";
import { drawn, isOff, scoreName } from "./induction_heads/data";
import { GAP } from "./induction_heads/geometry";
import { gridPanel, sentence } from "./induction_heads/grid";
import { listPanel, send } from "./induction_heads/list";
import { lossPanel } from "./induction_heads/loss";
import { patternPanel } from "./induction_heads/pattern";
import { trainingPanel } from "./induction_heads/training";
import { createView, type View } from "./induction_heads/view";

const PERIODS = [4, 8, 12, 16, 24, 32, 48];
const OWN = "own";

function metaLine(view: View): string {
  const { model, layers, heads, tokens, period, copies, seed } = view.meta();
  if (view.narrow()) return `${layers} × ${heads} heads · ${count(tokens, "token")}`;
  const text = period === null ? count(tokens, "token") : seed === null ? `${count(tokens, "token")}, ${period} repeated` : drawn(period, copies);
  return dotted(model, `${count(layers, "layer")} × ${count(heads, "head")}`, text);
}

/** What the state line says: who answers, and what works without. */
function state(view: View): { dot: string; text: string; progress: number | null } {
  const rest = view.hasModel ? "what was computed stays; new tokens and other heads off need one" : "scores and what was saved stay";
  return working(view.status()) || answering(view.kernel(), rest, "");
}

function csv(view: View): string {
  const { layers, heads } = view.meta();
  const lines = upTo(layers * heads).map((i) => {
    const head = { layer: Math.floor(i / heads), head: i % heads };
    return [head.layer, head.head, ...view.names().map((name) => view.at(name, head)), isOff(view.off(), head) ? "off" : "on"];
  });
  return csvTable([["layer", "head", ...view.names(), "switched"], ...lines]);
}

/** Which score is shown, and of which text. */
function controls(view: View, writing: Signal<boolean>): HTMLElement {
  const { scope } = view;
  const scores = choice(scope, "score", () => view.names().map((name): [string, string] => [name, scoreName(name, view.narrow())]), view.score, view.score.set);
  scores.dataset.part = "score";
  const periods = () => {
    const { longest, period, copies, seed } = view.meta();
    const fit = PERIODS.filter((one) => longest === null || one <= longest);
    const all = [...new Set([...fit, ...(seed !== null && period ? [period] : [])])].sort((a, b) => a - b);
    const times = seed === null ? 2 : copies; // what a draw after a text of one's own gives
    return [...all.map((one): [string, string] => [String(one), drawn(one, times)]), [OWN, "a text of my own"] as [string, string]];
  };
  const now = () => (writing() || view.meta().seed === null ? OWN : String(view.meta().period));
  const text = select(scope, "Text", periods, now, (value) => {
    writing.set(value === OWN);
    if (value !== OWN) view.draw(Number(value));
  });
  text.dataset.part = "text";
  const again = h("button", { class: "iw-icon", "aria-label": "draw new tokens", title: "New tokens", "data-part": "draw", on: { click: () => view.draw(view.meta().seed === null ? 12 : (view.meta().period ?? 12)) } }, "↻");
  const training = h("button", { "data-part": "show-training", title: "The same text at every step of training that was kept", on: { click: () => view.training() } }, "Over training");
  scope.effect(() => {
    const [dead, busy] = [view.kernel() === "none", view.status().state === "busy"];
    text.hidden = again.hidden = !view.hasModel;
    training.hidden = !view.meta().training || view.steps().length > 1;
    again.disabled = training.disabled = dead || busy;
    text.querySelector("select")!.disabled = dead || busy;
  });
  return h("div", { class: "iw-row iw-controls" }, scores, spring(), training, text, again);
}

/** Arrows move, Home and End along the layer, Page keys five layers; X switches off or on, T sends the list. */
function keyboard(view: View, event: KeyboardEvent, say: (text: string) => void): boolean {
  const { layers, heads } = view.meta();
  const { layer, head } = view.chosen();
  const told = () => queueMicrotask(() => say(sentence(view)));
  const go = (l: number, x: number) => {
    view.choose({ layer: Math.max(0, Math.min(layers - 1, l)), head: Math.max(0, Math.min(heads - 1, x)) });
    told();
  };
  const acts: Record<string, () => void> = {
    ArrowUp: () => go(layer - 1, head),
    ArrowDown: () => go(layer + 1, head),
    ArrowLeft: () => go(layer, head - 1),
    ArrowRight: () => go(layer, head + 1),
    Home: () => go(layer, 0),
    End: () => go(layer, heads - 1),
    PageUp: () => go(layer - 5, head),
    PageDown: () => go(layer + 5, head),
    x: () => (view.toggle({ layer, head }), told()),
    t: () => send(view, say),
  };
  return act(acts, event);
}

export const inductionHeads: Render = ({ model, el, signal: over }) => {
  const { scope, root, width, theme, end } = mount(model, el, "induction_heads", over);
  const view = createView(scope, model, theme, width);
  const { element: live, say } = announcer(scope);
  const writing = signal(view.prompt() !== "");
  const busy = scope.computed(() => view.status().state === "busy");
  const box = view.hasModel ? promptBox(scope, view.prompt, () => view.kernel() === "none", busy, view.run) : null;
  scope.effect(() => writing.set(view.prompt() !== ""));
  scope.effect(() => {
    if (box) box.hidden = !writing();
  });
  const grid = gridPanel(view, say, (event) => keyboard(view, event, say));
  const [pattern, list] = [patternPanel(view, say), listPanel(view, say)];
  const columns = h("div", { style: `display:flex;gap:16px ${GAP}px;align-items:flex-start` });
  const arrangement = scope.computed(() => view.size().kind);
  scope.effect(() => {
    const kind = arrangement();
    columns.style.flexDirection = kind === "wide" ? "row" : "column";
    const row = (...parts: Node[]) => h("div", { style: `display:flex;gap:16px ${kind === "narrow" ? 20 : GAP}px;align-items:flex-start;width:100%` }, parts);
    fill(columns, kind === "wide" ? [grid, pattern, list] : kind === "middle" ? [row(grid, pattern), list] : [row(grid, list), pattern]);
    list.style.width = kind === "middle" ? "100%" : "";
  });
  shell(scope, root, {
    model,
    meta: () => metaLine(view),
    menu: exportMenu(scope, { root: () => root, file: () => `induction_heads_${view.score()}`.replaceAll(" ", "_"), csv: () => csv(view), table: "All heads" }),
    prompt: null,
    kernel: view.kernel,
    status: view.status,
    notice: view.notice,
    failure: view.failure,
    show: ([layer, head]) => view.choose({ layer, head }),
    body: [controls(view, writing), ...(box ? [box] : []), columns, trainingPanel(view), lossPanel(view)],
    state: () => state(view),
    keys: [{ keys: "↑↓←→", name: "move" }, { keys: "X", name: "switch off" }, { keys: "T", name: "to Python" }],
    narrow: view.narrow,
    live,
  });
  return end;
};
