/** AttentionHeads: every head of every layer as a thumbnail, the chosen one large, the sentence below. */
import { fill, h } from "../core/dom";
import { exportMenu } from "../core/export_menu";
import { answering, working } from "../core/frame";
import { announcer } from "../core/live_region";
import { mount } from "../core/mount";
import { bold, quiet } from "../core/parts";
import { csvTable } from "../core/save";
import { shell } from "../core/shell";
import type { Read } from "../core/signal";
import { count, dotted, upTo } from "../core/words";
import type { Render } from "../types";
import { gridSize, type GridSize, mapSize, PANEL_GAP } from "./attention_heads/geometry";
import { gridPanel } from "./attention_heads/grid";
import { copyCell, mapPanel } from "./attention_heads/map";
import { headName } from "./attention_heads/names";
import { otherModel, otherOf, sharedHover } from "./attention_heads/other";
import { stripPanel } from "./attention_heads/strip";
import { createView, type View } from "./attention_heads/view";

function metaLine(view: View): string {
  const { model, layers, heads, kv_heads, tokens } = view.meta();
  const shape = view.narrow() ? `${layers} × ${heads} heads` : `${count(layers, "layer")} × ${count(heads, "head")}`;
  const groups = kv_heads < heads && !view.narrow() ? count(kv_heads, "key/value head") : "";
  return dotted(!view.narrow() && model, shape, groups, count(tokens, "token"));
}

/** What the state line says: who answers, and how exact the numbers are. */
function state(view: View): { dot: string; text: string; progress: number | null } {
  const p = view.zoom() ? view.shown() : view.pattern();
  const blocks = (block: number) => `the maximum of ${block} × ${block}`;
  const thumbs = view.meta().block;
  const precision = p.exact
    ? view.meta().exact === "float32" ? "values exact" : "values to three digits"
    : p.where ? `this head shows ${blocks(p.block)}` : p.block > 1 ? `this head is ${blocks(p.block)}` : "values to two digits";
  const pooled = thumbs > 1 && (p.exact || p.where) ? `, thumbnails are ${blocks(thumbs)}` : "";
  const rest = view.hasModel ? "everything but new prompts works" : "hover, select and zoom still work";
  return working(view.status()) || answering(view.kernel(), rest, dotted(view.meta().note, precision + pooled));
}

const NARROWEST = 360; // of a column, where two stand side by side
const KEYS = [{ keys: "↑↓←→", name: "move" }, { keys: "⏎", name: "lock" }, { keys: "Z", name: "zoom" }, { keys: "esc", name: "back" }];

/** Cells per side of the large map once its head is here. */
const cells = (view: View) => {
  const { tokens, tile } = view.meta();
  return Math.ceil(tokens / tile);
};

const fileName = (view: View) => `attention_${headName(view.chosen()).replace(" ", "_")}`;

function csv(view: View): string {
  const p = view.pattern();
  const tokens = view.tokens();
  const label = (i: number) => tokens[i * p.block] ?? "";
  const places = upTo(p.n);
  return csvTable([["query \\ key", ...places.map(label)], ...places.map((q) => [label(q), ...places.map((k) => p.values[q * p.n + k])])]);
}

/** The parts that show one set of patterns. */
interface Panels {
  view: View;
  large: HTMLElement;
  heads: HTMLElement;
  strip: HTMLElement;
  side: Read<number>;
  grid: Read<GridSize>;
}

function panels(view: View, say: (text: string) => void): Panels {
  const { scope, width } = view;
  const shape = scope.computed(() => {
    const { layers, heads, kv_heads } = view.meta();
    return { layers, heads, groups: kv_heads < heads ? kv_heads : 1, sorted: view.sort() !== "layer" && view.scores().has(view.sort()) };
  });
  const size = scope.computed(() => mapSize(cells(view), view.tokens(), width(), devicePixelRatio, shape()));
  const grid = scope.computed(() => gridSize(width(), size(), shape()));
  const side = scope.computed(() => size().side + size().below);
  const tallest = scope.computed(() => Math.max(380, side() + 32));
  return { view, large: mapPanel(view, size, say), heads: gridPanel(view, grid, tallest, say), strip: stripPanel(view), side, grid };
}

/** The large map with the grid beside it, or under it where there is no room. */
function alone({ view, large, heads, strip, side, grid }: Panels): HTMLElement {
  const { scope } = view;
  const columns = h("div", { class: "iw-columns", style: `display:flex;gap:20px ${PANEL_GAP}px;align-items:flex-start` });
  const body = h("div", null, columns);
  const arrangement = scope.computed(() => (grid().beside ? "beside" : "under"));
  scope.effect(() => {
    const beside = arrangement() === "beside";
    columns.style.flexDirection = beside ? "row" : "column";
    heads.style.width = beside ? "" : "100%";
    fill(columns, large, heads);
    (beside ? columns : large).after(strip);
    // under the map the grid scrolls past it, as long as half of the window is left for the grid
    const stays = !beside && innerHeight > 2 * (side() + 64);
    large.style.cssText += stays ? ";position:sticky;top:0;z-index:2;background:var(--paper)" : ";position:static";
  });
  return body;
}

/** Two of them in columns, or one under the other where a column would be too narrow. */
function besides(both: Panels[]): HTMLElement {
  const columns = both.map(({ view, large, heads, strip }) => {
    const name = h("div", { class: "iw-side", "data-part": "side" });
    view.scope.effect(() => fill(name, bold(view.meta().name), " ", quiet(`${view.tokens().length} tokens`)));
    const column = h("div", { style: "display:flex;flex-direction:column;gap:16px;min-width:0" }, name, large, strip, heads);
    view.scope.effect(() => {
      column.style.width = `${view.width()}px`;
      heads.style.width = "100%";
      heads.style.flex = "none";
    });
    return column;
  });
  return h("div", { style: `display:flex;flex-wrap:wrap;gap:24px ${PANEL_GAP}px;align-items:flex-start` }, columns);
}

export const attentionHeads: Render = ({ model, el, signal: over }) => {
  const { scope, root, width, theme, end } = mount(model, el, "attention_heads", over);
  const other = otherOf(model);
  const column = scope.computed(() => (width() < 2 * NARROWEST + PANEL_GAP ? width() : Math.floor((width() - PANEL_GAP) / 2)));
  const view = createView(scope, model, theme, other ? column : width);
  const { element: live, say } = announcer(scope);
  const exports = exportMenu(scope, {
    root: () => root,
    file: () => fileName(view),
    table: "This head",
    csv: () => csv(view),
    more: [{ name: "Copy cell", detail: "C", act: () => void copyCell(view).then((done) => say(done ? "copied" : "this page may not use the clipboard")) }],
  });
  const second = other && createView(scope, otherModel(model, other), theme, column, "other", sharedHover(other, view.hover));
  const body = second ? besides([panels(view, say), panels(second, say)]) : alone(panels(view, say));
  const about = () => (second ? dotted(view.meta().model, `${view.meta().name} beside ${second.meta().name}`) : metaLine(view));
  shell(scope, root, {
    model,
    meta: about,
    menu: exports,
    prompt: view.hasModel ? { text: view.prompt, run: view.run } : null,
    kernel: view.kernel,
    status: () => (view.status().filling ? { ...view.status(), state: "ready" } : view.status()),
    notice: view.notice,
    failure: view.failure,
    show: ([layer, head]) => view.choose({ layer, head }),
    body: [body],
    state: () => state(view),
    keys: KEYS,
    narrow: () => width() < 640,
    live,
  });
  return end;
};
