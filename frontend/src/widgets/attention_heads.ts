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
import { keysOf } from "./attention_heads/data";
import { gridSize, type GridSize, mapSize, PANEL_GAP } from "./attention_heads/geometry";
import { gridPanel } from "./attention_heads/grid";
import { copyCell, mapPanel } from "./attention_heads/map";
import { headName } from "./attention_heads/names";
import { otherModel, otherOf, sharedHover } from "./attention_heads/other";
import { type Picture, picturePanel, pictureSize } from "./attention_heads/picture";
import { stripPanel } from "./attention_heads/strip";
import { kindChoice, kindModel } from "./attention_heads/kinds";
import { createView, type View } from "./attention_heads/view";

function metaLine(view: View): string {
  const { model, layers, heads, kv_heads, tokens } = view.meta();
  const shape = view.narrow() ? `${layers} × ${heads} heads` : `${count(layers, "layer")} × ${count(heads, "head")}`;
  const groups = kv_heads < heads && !view.narrow() ? count(kv_heads, "key/value head") : "";
  return dotted(!view.narrow() && model, shape, groups, view.cross() ? `${tokens} × ${count(view.keys().length, "token")}` : count(tokens, "token"));
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

/** Cells down and across the large map once its head is here. */
const cells = (view: View): [number, number] => {
  const { tokens, tile } = view.meta();
  return [Math.ceil(tokens / tile), Math.ceil(keysOf(view.meta()) / tile)];
};

const fileName = (view: View) => `attention_${headName(view.chosen()).replace(" ", "_")}`;

function csv(view: View): string {
  const p = view.pattern();
  const columns = upTo(p.columns);
  const label = (tokens: string[], i: number) => tokens[i * p.block] ?? "";
  return csvTable([["query \\ key", ...columns.map((k) => label(view.keys(), k))], ...upTo(p.n).map((q) => [label(view.tokens(), q), ...columns.map((k) => p.values[q * p.columns + k])])]);
}

/** The parts that show one set of patterns. */
interface Panels {
  view: View;
  large: HTMLElement;
  heads: HTMLElement;
  /** The sentence under the map; of an image the map itself. */
  strip: HTMLElement;
  /** Whether `large` is an image. */
  image: boolean;
  side: Read<number>;
  grid: Read<GridSize>;
}

function panels(view: View, say: (text: string) => void): Panels {
  const { scope, width } = view;
  const shape = scope.computed(() => {
    const { layers, heads, kv_heads, tokens } = view.meta();
    return { layers, heads, aspect: Math.max(0.4, Math.min(1, tokens / view.keys().length)), groups: kv_heads < heads ? kv_heads : 1, sorted: view.sort() !== "layer" && view.scores().has(view.sort()) };
  });
  const picture = view.model.get<Picture | null>("_image");
  const size = scope.computed(() => {
    const map = mapSize(...cells(view), view.tokens(), view.keys(), width(), devicePixelRatio, shape());
    return view.meta().causal ? map : { ...map, below: map.below + 8 }; // the names of the axes stand under the labels
  });
  const lead = scope.computed(() => (picture ? { ...size(), ...pictureSize(width(), picture), gutter: 0, below: 56 } : size())); // what the grid stands beside
  const grid = scope.computed(() => gridSize(width(), lead(), shape()));
  const side = scope.computed(() => lead().height + lead().below);
  const tallest = scope.computed(() => Math.max(380, side() + 32));
  const [map, heads] = [mapPanel(view, size, say), gridPanel(view, grid, tallest, say)];
  // an image comes first, and the map of its patches where a text has its sentence
  return picture ? { view, large: picturePanel(view, picture, say), heads, strip: h("div", { style: "margin-top:16px" }, map), image: true, side, grid } : { view, large: map, heads, strip: stripPanel(view), image: false, side, grid };
}

/** The large map with the grid beside it, or under it where there is no room. */
function alone({ view, large, heads, strip, image, side, grid }: Panels): HTMLElement {
  const { scope } = view;
  const columns = h("div", { class: "iw-columns", style: `display:flex;gap:20px ${PANEL_GAP}px;align-items:flex-start` });
  const body = h("div", null, columns);
  const arrangement = scope.computed(() => (grid().beside ? "beside" : "under"));
  scope.effect(() => {
    const beside = arrangement() === "beside";
    columns.style.flexDirection = beside ? "row" : "column";
    heads.style.width = beside ? "" : "100%";
    fill(columns, large, heads);
    (beside || image ? columns : large).after(strip);
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
  const view = createView(scope, kindModel(model), theme, other ? column : width);
  const { element: live, say } = announcer(scope);
  const exports = exportMenu(scope, {
    root: () => root,
    file: () => fileName(view),
    table: "This head",
    csv: () => csv(view),
    more: [{ name: "Copy cell", detail: "C", act: () => void copyCell(view).then((done) => say(done ? "copied" : "this page may not use the clipboard")) }],
  });
  const kinds = kindChoice(scope, model, say);
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
    body: kinds ? [kinds, body] : [body],
    state: () => state(view),
    keys: KEYS,
    narrow: () => width() < 640,
    live,
  });
  return end;
};
