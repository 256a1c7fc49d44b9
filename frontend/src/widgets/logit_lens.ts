/** LogitLens: what the model would say after every layer, at every position; and how tokens come and go on the way. */
import { choice, select } from "../core/controls";
import { type Child, fill, h } from "../core/dom";
import { exportMenu } from "../core/export_menu";
import { answering, working } from "../core/frame";
import { legend } from "../core/legend";
import { announcer } from "../core/live_region";
import { mount } from "../core/mount";
import { act, onKeys, spring } from "../core/parts";
import { copy, csvTable } from "../core/save";
import { shell } from "../core/shell";
import { type Read, signal } from "../core/signal";
import { measure, tokenNode, visible } from "../core/tokens";
import { place, put } from "../core/tooltip";
import { capital, count, dotted, upTo } from "../core/words";
import type { Render } from "../types";
import { card, cellText, sentence } from "./logit_lens/card";
import { type Measure, rowTitle, top, written } from "./logit_lens/data";
import { CARD, GAP, HEADER, layout, type Layout, widestToken } from "./logit_lens/geometry";
import { grid, overview, rowNames } from "./logit_lens/grid";
import { chart, chips } from "./logit_lens/paths";
import { createView, type View } from "./logit_lens/view";

const SOURCES: Record<string, string> = { residual: "Residual", attention: "Attention alone", mlp: "MLP alone" };
const ADDED: Record<string, string> = { attention: "only what each attention adds, read through the last norm", mlp: "only what each MLP adds, read through the last norm" };
const LEGENDS: Record<Measure, string> = { probability: "probability", rank: "rank", entropy: "entropy, nats", kl: "KL, nats" };

function metaLine(view: View, from: number, size: Layout): string {
  const { model, layers, tokens } = view.meta();
  const inSight = `positions ${from} – ${Math.min(tokens, from + size.seen) - 1} of ${tokens}`;
  const how = [view.lens() !== "logit" && `${view.lens()} lens`, view.source() !== "residual" && (SOURCES[view.source()] ?? view.source())];
  if (view.narrow()) return tokens > size.seen ? inSight : `${count(layers, "layer")} · ${count(tokens, "token")}`;
  return dotted(model, count(layers, "layer"), tokens > size.seen ? inSight : count(tokens, "token"), ...how);
}

/** What the state line says: who answers, and what is missing. */
function state(view: View): { dot: string; text: string; progress: number | null } {
  const kernel = view.kernel();
  const missing = view.planes().find(({ plane }) => !plane);
  const lost = missing && `${SOURCES[view.source()] ?? view.source()} under the lens ${missing.lens} was not computed`;
  const busy = working(view.status()) || (kernel === "here" && lost && { dot: "busy", text: `Computing the lens ${missing.lens}`, progress: null });
  const rest = view.hasModel ? "everything but new prompts and exact paths of new tokens works" : "hover, select and pin still work";
  return busy || answering(kernel, lost ?? rest, (!lost && kernel !== "waiting" && ADDED[view.source()]) || "");
}

function csv(view: View): string {
  const plane = view.planes()[0]?.plane;
  const ranks = upTo(plane?.k ?? 0).map((i) => [`token ${i + 1}`, `probability ${i + 1}`]).flat();
  const lines = view.rows().flatMap((row, r) =>
    view.tokens().map((token, position) => {
      const at = r * view.tokens().length + position;
      const found = plane ? top(plane, view.vocab(), { row: r, position }).flatMap((one) => [one.token, one.prob]) : [];
      return [row, position, token, view.lens(), view.source(), plane?.entropy?.[at], plane?.kl?.[at], ...found];
    }),
  );
  return csvTable([["layer", "position", "token", "lens", "source", "entropy", "kl", ...ranks], ...lines]);
}

/** Every token that the target could be: the one it is, the pinned ones, what the last layer says at the chosen position. */
function targets(view: View): [string, string][] {
  const plane = view.planes()[0]?.plane;
  const { position, row } = view.chosen();
  const said = plane ? [plane.rows - 1, row].flatMap((at) => top(plane, view.vocab(), { row: at, position }).map(({ token }) => token)) : [];
  const named = [view.target(), ...view.pinned(), ...said].filter((token, i, all) => token && all.indexOf(token) === i);
  return [["", "what really follows"], ...named.map((token): [string, string] => [token, visible(token)])];
}

const part = <E extends HTMLElement>(element: E, name: string): E => ((element.dataset.part = name), element);

function controls(view: View): HTMLElement {
  const { scope } = view;
  const measures = (): [Measure, string][] => [
    ["probability", "Probability"],
    ["rank", "Rank"],
    ...(view.meta().has_entropy ? [["entropy", "Entropy"] as [Measure, string]] : []),
    ...(view.meta().has_kl ? [["kl", "KL"] as [Measure, string]] : []),
  ];
  const names = (all: string[]) => all.map((name): [string, string] => [name, SOURCES[name] ?? capital(name)]);
  const compare = part(select(scope, "Beside", () => [["", "None"], ...names(view.lenses().filter((name) => name !== view.lens()))], view.compare, view.compare.set), "compare");
  const source = part(select(scope, "Source", () => names(view.sources()), view.source, view.source.set), "source");
  const aimed = (token: string): Child => h("span", { class: "iw-accent iw-bold" }, token ? tokenNode(token) : "what follows");
  const target = part(select(scope, "Target", () => targets(view), view.target, view.aim, aimed), "target");
  const row = h("div", { class: "iw-row iw-controls" });
  const all = [part(choice(scope, "measure", measures, view.measure, view.measure.set), "measure"), part(select(scope, "Lens", () => names(view.lenses()), view.lens, view.lens.set), "lens"), compare, source, spring(), target];
  fill(row, all);
  scope.effect(() => {
    compare.hidden = view.lenses().length < 2;
    source.hidden = view.sources().length < 2;
  });
  return row;
}

/** Colour bar, what the accent bar means, and the value under the pointer. */
function below(view: View, size: Read<Layout>): HTMLElement {
  const { scope } = view;
  const name = h("span", { class: "iw-small" });
  const readout = h("span", { "data-part": "readout", class: "iw-small iw-cut" });
  const bar = legend(scope, () => {
    const plane = view.planes()[0]?.plane;
    const { row, position } = view.cursor();
    const value = plane ? (view.values(plane)?.[row * plane.columns + position] ?? NaN) : NaN;
    return { ramp: view.ramp(), width: 120, marks: view.scale().ticks, at: Number.isFinite(value) ? view.scale().place(value) : null };
  });
  const sign = h("span", { class: "iw-small iw-row", style: "gap:4px" }, h("span", { class: "iw-on-top" }), "target is on top");
  const box = h("div", { class: "iw-row iw-below-grid" }, name, bar, sign, spring(), readout);
  scope.effect(() => {
    const { gutter, width } = size();
    box.style.marginLeft = `${gutter}px`;
    box.style.width = view.narrow() ? "" : `${Math.max(width, 300)}px`;
    fill(name, LEGENDS[view.measure()]);
  });
  scope.effect(() => {
    const cell = view.cursor();
    const plane = view.planes()[0]?.plane;
    const of = view.measure();
    const value = plane ? (view.values(plane)?.[cell.row * plane.columns + cell.position] ?? NaN) : NaN;
    const token = of === "probability" ? plane && top(plane, view.vocab(), cell)[0]?.token : of === "rank" ? view.wanted(cell.position) : null;
    const named = of === "probability" ? "" : `${LEGENDS[of].replace(", nats", "")} `;
    fill(readout, rowTitle(view.rows()[cell.row] ?? ""), " after ", tokenNode(view.tokens()[cell.position] ?? ""), ": ", token != null && [tokenNode(token), " "], named, h("span", { class: "iw-bold", style: "color:var(--ink1)" }, written(of, value)));
  });
  return box;
}

/** Arrows move, Home and End along the text, Page keys five layers; Enter locks, Escape releases, P pins, C copies. */
function keyboard(view: View, event: KeyboardEvent, say: (text: string) => void): boolean {
  const { row, position } = view.cursor();
  const go = (r: number, p: number) => (view.select({ row: r, position: p }, view.locked()), queueMicrotask(() => say(sentence(view))));
  const lock = (on: boolean) => (view.select({ row, position }, on), say(on ? "locked" : "released"));
  const first = () => view.planes()[0]?.plane && top(view.planes()[0]!.plane!, view.vocab(), { row, position })[0];
  const acts: Record<string, () => void> = {
    ArrowUp: () => go(row - 1, position),
    ArrowDown: () => go(row + 1, position),
    ArrowLeft: () => go(row, position - 1),
    ArrowRight: () => go(row, position + 1),
    Home: () => go(row, 0),
    End: () => go(row, view.tokens().length - 1),
    PageUp: () => go(row - 5, position),
    PageDown: () => go(row + 5, position),
    Enter: () => lock(true),
    " ": () => lock(true),
    Escape: () => lock(false),
    p: () => {
      const token = first()?.token;
      if (token !== undefined) view.pin(token), say(`${view.pinned().includes(token) ? "pinned" : "unpinned"} ${visible(token)}`);
    },
    c: () => void copy(cellText(view)).then((done) => say(done ? "copied" : "this page may not use the clipboard")),
  };
  return act(acts, event);
}

export const logitLens: Render = ({ model, el, signal: over }) => {
  const { scope, root, width, theme, end } = mount(model, el, "logit_lens", over);
  const view = createView(scope, model, theme, width);
  const { element: live, say } = announcer(scope);
  const scroll = signal(0);
  const reading = signal(false); // the keyboard is in the grid
  const widest = scope.computed(() => {
    const plane = view.planes()[0]?.plane;
    const said = plane ? view.tokens().map((_, position) => top(plane, view.vocab(), { row: plane.rows - 1, position })[0]?.token ?? "") : [];
    return widestToken([...view.tokens(), ...said]);
  });
  const names = scope.computed(() => Math.max(measure("layer"), ...view.rows().map((name) => measure(name))));
  const grids = scope.computed(() => view.planes().length);
  const size = scope.computed(() => layout({ page: width(), tokens: view.tokens().length, rows: view.rows().length, names: names(), grids: grids(), widest: widest(), ratio: devicePixelRatio }));
  const from = scope.computed(() => Math.round(scroll() / size().cell));

  const labels = [rowNames(view, size), rowNames(view, size)];
  const under = signal(0); // the grid that the pointer was in last
  const maps = [0, 1].map((i) => grid(view, i, size, scroll, () => under.set(i)));
  const titles = [0, 1].map(() => h("div", { class: "iw-small iw-bold" }));
  const map = h("div", { "data-part": "map", tabindex: 0, role: "application", "aria-roledescription": "grid of layers and positions", class: "iw-lens-map" });
  const paths = h("div", null);
  const [line, pins] = [chart(view, size), chips(view)];
  const tip = card(view);
  const legendRow = below(view, size);
  const columns = h("div", { style: `position:relative;display:flex;gap:12px ${GAP}px;align-items:flex-start` });
  const empty = h("div", { class: "iw-empty" }, h("div", { class: "iw-bold" }, "No tokens to read"), h("div", { class: "iw-quiet" }, "Type a sentence above, or pass tokens."));
  const body = h("div", null, overview(view, size, scroll), columns);

  scope.effect(() => {
    titles.forEach((title, i) => {
      title.hidden = grids() < 2;
      fill(title, capital(view.planes()[i]?.lens ?? ""));
      title.style.marginLeft = `${i && size().beside ? 0 : size().gutter}px`;
    });
  });
  const arrangement = scope.computed(() => JSON.stringify([grids(), size().beside, size().docked, view.narrow(), view.tokens().length > 0]));
  scope.effect(() => {
    const [count, beside, docked, narrow, some] = JSON.parse(arrangement()) as [number, boolean, boolean, boolean, boolean];
    const row = (i: number, named: boolean) => h("div", null, titles[i]!, h("div", { style: "display:flex" }, named && labels[i]!, maps[i]!));
    fill(map, row(0, true), count > 1 && row(1, !beside));
    map.style.flexDirection = beside ? "row" : "column";
    columns.style.flexDirection = narrow ? "column" : "row";
    fill(paths, h("div", { style: `padding-top:${count > 1 ? 16 : 0}px` }, line), pins);
    fill(columns, h("div", { style: "flex:none" }, map, legendRow), narrow && tip, paths, !narrow && tip);
    tip.dataset.place = narrow ? "under" : docked ? "beside" : "over";
    tip.style.width = narrow ? "100%" : `${docked ? CARD : CARD + 32}px`;
    columns.hidden = !some;
    empty.hidden = some;
  });
  scope.effect(() => {
    const { docked, cell, row, height } = size();
    const floats = !docked && !view.narrow();
    const shown = view.hover() !== null || view.locked() || reading();
    tip.hidden = view.tokens().length === 0 || (floats && !shown);
    if (!floats) return void put(tip, {});
    const at = view.cursor();
    const edge = columns.getBoundingClientRect();
    const panel = { width: edge.width || width(), height: edge.height || height + 2 * HEADER };
    const near = maps[grids() > 1 ? under() : 0]!.getBoundingClientRect();
    const box = { x: near.left - edge.left + at.position * cell - scroll(), y: near.top - edge.top + HEADER + at.row * row, width: cell, height: row };
    put(tip, place(box, { width: CARD + 32, height: 64 + 18 * view.meta().k * grids() }, panel, "above"));
  });
  let at = ""; // the column that was brought into sight
  scope.effect(() => {
    const { position } = view.chosen();
    const { cell, width: seen } = size();
    const now = scroll();
    if (at === (at = `${position} ${cell} ${seen}`)) return;
    scroll.set(Math.max(0, Math.min(position * cell, Math.max(now, (position + 1) * cell - seen))));
  });
  scope.effect(() => map.setAttribute("aria-label", `top token of ${view.rows().length} layers by ${view.tokens().length} positions under the lens ${view.lens()}; arrow keys move, Enter locks, Escape releases, P pins, C copies`));
  onKeys(map, (event) => keyboard(view, event, say));
  map.addEventListener("focus", () => reading.set(map.matches(":focus-visible")));
  map.addEventListener("blur", () => reading.set(false));
  map.addEventListener("click", () => map.focus({ preventScroll: true }));

  shell(scope, root, {
    model,
    meta: () => metaLine(view, from(), size()),
    menu: exportMenu(scope, {
      root: () => root,
      file: () => `logit_lens_${view.lens()}_${view.source()}`.replace(/[^\w-]/g, "_"),
      csv: () => csv(view),
      table: "All cells",
      more: [{ name: "Copy cell", detail: "C", act: () => void copy(cellText(view)).then((done) => say(done ? "copied" : "this page may not use the clipboard")) }],
    }),
    prompt: view.hasModel ? { text: view.prompt, run: view.run } : null,
    kernel: view.kernel,
    status: view.status,
    notice: view.notice,
    failure: view.failure,
    show: ([row, position]) => view.select({ row, position }, view.locked()),
    body: [controls(view), body, empty],
    state: () => state(view),
    keys: [{ keys: "↑↓←→", name: "move" }, { keys: "⏎", name: "lock" }, { keys: "P", name: "pin" }, { keys: "C", name: "copy cell" }],
    narrow: view.narrow,
    live,
  });
  return end;
};
