/** SuperpositionToy: more features than dimensions, trained in the page; arrows, overlaps, phases and loss. */
import { fill, h } from "../core/dom";
import { exportMenu } from "../core/export_menu";
import type { Status } from "../core/frame";
import { announcer } from "../core/live_region";
import { mount } from "../core/mount";
import { act, onKeys } from "../core/parts";
import { csvTable } from "../core/save";
import { shell } from "../core/shell";
import { signal } from "../core/signal";
import { slider } from "../core/slider";
import { count, number, upTo } from "../core/words";
import type { Render } from "../types";
import { arrowsPanel } from "./superposition_toy/arrows";
import { lossPanel, smoothed } from "./superposition_toy/loss";
import { represented, shape } from "./superposition_toy/measure";
import { overlapPanel } from "./superposition_toy/overlap";
import { alongSparsity, sparsityAt } from "./superposition_toy/phase";
import { LEFT, phasePanel } from "./superposition_toy/phase_map";
import type { Toy } from "./superposition_toy/train";
import { createView, type View } from "./superposition_toy/view";
import { loss, panel, titled } from "./superposition_toy/words";

const GAP = 24;
const same = (value: number) => value;
/** Trait, name, ends and step of the slider, decimals, and where on the slider a value stands. */
const SLIDERS: [keyof Toy, string, number, number, number, number, ((value: number) => number)?, ((place: number) => number)?][] = [
  ["features", "Features", 2, 12, 1, 0],
  ["hidden", "Hidden size", 1, 6, 1, 0],
  ["sparsity", "Sparsity", 0, 1, 0.005, 3, alongSparsity, sparsityAt],
  ["decay", "Importance decay", 0.4, 1, 0.01, 2],
  ["correlation", "Correlation", 0, 0.9, 0.05, 2],
  ["seed", "Seed", 0, 31, 1, 0],
];

function parameters({ scope, toy, change, narrow, sent, width }: View): HTMLElement {
  const sliders = h("div", null, SLIDERS.map(([name, label, min, most, step, decimals, place = same, value = same]) =>
    slider(scope, label, () => ({ min, max: Math.max(most, place(toy()[name])), step }), () => place(toy()[name]), () => number(toy()[name], decimals).replace(/(\..\d)0$/, "$1"), (at) => change({ [name]: value(at) })),
  ));
  const title = titled("Parameters", null);
  const found = panel("parameters", title, sliders);
  scope.effect(() => {
    title.hidden = narrow();
    found.hidden = sent();
    found.style.width = narrow() ? "100%" : `${width() < 800 ? 140 : 188}px`;
    sliders.style.cssText = narrow() ? "display:grid;grid-template-columns:1fr 1fr;gap:4px 24px" : "display:grid;gap:8px";
  });
  return found;
}

function state({ progress, sent, series, kernel }: View): { dot: string; text: string; progress: number | null } {
  if (progress() !== null) return { dot: "busy", text: "Training in this page", progress: progress() };
  if (!sent()) return { dot: "none", text: "No kernel needed: trained in this page", progress: null };
  return { dot: kernel() === "here" ? "ready" : "none", text: `Weights from Python · ${count(series().steps.length, "step")}`, progress: null };
}

function aboutFeature({ chosen, each }: View): string {
  const { length, dimensions } = each()[chosen()]!;
  return `feature ${chosen() + 1}, length ${number(length)}, dimensionality ${shape(dimensions)?.[1] ?? number(dimensions)}`;
}

function aboutStep({ series, shown, count, each }: View): string {
  const value = smoothed(series(), count())[Math.max(0, Math.min(shown(), series().losses.length - 1))] ?? NaN;
  return `step ${series().steps[shown()]}, loss ${loss(value)}, ${represented(each())} features represented`;
}

function csv({ series, shown, each }: View): string {
  const { n, hidden, weights, bias } = series();
  const [W, b] = [weights(shown()), bias(shown())];
  const rows = upTo(n).map((i) => [i + 1, ...upTo(hidden).map((k) => W[k * n + i]), b?.[i], each()[i]!.length, each()[i]!.dimensions]);
  return csvTable([["feature", ...upTo(hidden).map((k) => `h${k + 1}`), "bias", "length", "dimensionality"], ...rows]);
}

/** Space plays, left and right step (one by one with Shift), up and down and digits choose a feature. */
function keyboard(view: View, event: KeyboardEvent, say: (text: string) => void): boolean {
  const { series, shown, chosen, goTo, play } = view;
  const step = (by: number) => (goTo(shown() + by), queueMicrotask(() => say(aboutStep(view))));
  const feature = (i: number) => (chosen.set(i), queueMicrotask(() => say(aboutFeature(view))));
  const jump = event.shiftKey ? 1 : Math.ceil(series().last / 100);
  const acts: Record<string, () => void> = {
    " ": play,
    ArrowLeft: () => step(-jump),
    ArrowRight: () => step(jump),
    Home: () => step(-Infinity),
    End: () => step(Infinity),
    ArrowUp: () => feature(chosen() - 1),
    ArrowDown: () => feature(chosen() + 1),
  };
  const digit = Number(event.key.trim());
  if (digit >= 1 && digit <= series().n) acts[event.key] = () => feature(digit - 1);
  return act(acts, event);
}

export const superpositionToy: Render = ({ model, el, signal: over }) => {
  const { scope, root, width, theme, end } = mount(model, el, "superposition_toy", over);
  const view = createView(scope, model, theme, width);
  const { series, sent, narrow } = view;
  const { element: live, say } = announcer(scope);
  const medium = () => width() < 800;
  const cell = scope.computed(() => (narrow() ? Math.max(8, Math.min(14, Math.floor((width() - LEFT) / 24))) : medium() ? 10 : 12));
  const directions = arrowsPanel(view, scope.computed(() => (narrow() ? Math.min(300, width() - 16) : medium() ? 200 : 264)));
  const overlaps = overlapPanel(view, scope.computed(() => (medium() && !narrow() ? 160 : 200)));
  const phases = phasePanel(view, cell, say);
  const losses = lossPanel(view, scope.computed(() => width() - (view.phase() && !narrow() ? LEFT + 24 * cell() + GAP : 0)));
  const settings = parameters(view);
  const size = () => `${count(series().n, "feature")} in ${count(series().hidden, "dimension")}`;
  const body = h("div", { style: "display:grid;gap:20px" });
  directions.tabIndex = 0;
  directions.setAttribute("role", "application");
  scope.effect(() => directions.setAttribute("aria-label", `${size()}; space plays, left and right step through training, digits choose a feature`));
  scope.effect(() => {
    if (narrow()) return fill(body, settings, directions, losses, overlaps, phases);
    const row = { style: `display:flex;flex-wrap:wrap;gap:20px ${GAP}px` };
    fill(body, h("div", row, settings, directions, overlaps), h("div", { style: `display:flex;gap:${GAP}px` }, phases, losses));
  });
  onKeys(body, (event) => !(event.target as Element).closest("button") && keyboard(view, event, say));
  let training = false;
  scope.effect(() => {
    const now = view.progress() !== null;
    if (training && !now && !sent()) queueMicrotask(() => say(`trained: ${aboutStep(view)}`));
    training = now;
  });
  const reset = h("button", { "data-part": "reset", on: { click: view.reset } }, "Reset");
  scope.effect(() => void (reset.hidden = sent()));
  const menu = exportMenu(scope, { root: () => root, file: () => `superposition_toy_${series().n}_in_${series().hidden}`, table: "Weights", csv: () => csv(view) });
  shell(scope, root, {
    model,
    meta: () => (narrow() ? `${series().n} features in ${series().hidden}` : `${size()} · ${sent() ? "weights from Python" : "trained in this page"}`),
    menu: h("div", { class: "iw-row" }, reset, menu),
    prompt: null,
    kernel: view.kernel,
    status: signal<Status>({ state: "ready", text: "", progress: null }),
    notice: signal(null),
    failure: signal(null),
    show: () => undefined,
    body: [body],
    state: () => state(view),
    keys: [{ keys: "space", name: "play" }, { keys: "←→", name: "step" }, { keys: "1–9", name: "feature" }],
    narrow,
    live,
  });
  return end;
};
