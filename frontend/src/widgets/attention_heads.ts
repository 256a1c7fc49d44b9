/** AttentionHeads: every head of every layer as a thumbnail, the chosen one large, the sentence below. */
import { fill, h } from "../core/dom";
import { exportMenu } from "../core/export_menu";
import { announcer } from "../core/live_region";
import { mount } from "../core/mount";
import { csvCell } from "../core/save";
import { shell } from "../core/shell";
import type { Render } from "../types";
import { gridSize, mapSize, PANEL_GAP } from "./attention_heads/geometry";
import { gridPanel } from "./attention_heads/grid";
import { copyCell, mapPanel } from "./attention_heads/map";
import { headName } from "./attention_heads/names";
import { stripPanel } from "./attention_heads/strip";
import { createView, type View } from "./attention_heads/view";

function metaLine(view: View): string {
  const { model, layers, heads, kv_heads, tokens } = view.meta();
  const count = (n: number, name: string) => `${n} ${name}${n === 1 ? "" : "s"}`;
  const shape = view.narrow() ? `${layers} × ${heads} heads` : `${count(layers, "layer")} × ${count(heads, "head")}`;
  const groups = kv_heads < heads && !view.narrow() ? count(kv_heads, "key/value head") : "";
  return [view.narrow() ? "" : model, shape, groups, count(tokens, "token")].filter(Boolean).join(" · ");
}

/** What the state line says: who answers, and how exact the numbers are. */
function state(view: View): { dot: string; text: string; progress: number | null } {
  const status = view.status();
  if (status.state === "busy") return { dot: "busy", text: status.text, progress: status.progress };
  if (status.state === "error") return { dot: "error", text: status.text, progress: null };
  const kernel = view.kernel();
  const p = view.pattern();
  const blocks = (block: number) => `the maximum of ${block} × ${block}`;
  const thumbs = view.meta().block;
  const precision = p.exact
    ? view.meta().exact === "float32" ? "values exact" : "values to three digits"
    : p.where ? `this head shows ${blocks(p.block)}` : p.block > 1 ? `this head is ${blocks(p.block)}` : "values to two digits";
  const pooled = thumbs > 1 && (p.exact || p.where) ? `, thumbnails are ${blocks(thumbs)}` : "";
  if (kernel === "here") return { dot: "ready", text: `Kernel connected · ${precision}${pooled}`, progress: null };
  if (kernel === "waiting") return { dot: "waiting", text: `Looking for the kernel · ${precision}${pooled}`, progress: null };
  const rest = view.hasModel ? "everything but new prompts works" : "hover, select and zoom still work";
  if (kernel === "silent") return { dot: "none", text: `The kernel is busy or gone: ${rest} · ${precision}${pooled}`, progress: null };
  return { dot: "none", text: `No kernel: ${rest} · ${precision}${pooled}`, progress: null };
}

/** Cells per side of the large map once its head is here. */
const cells = (view: View) => {
  const { tokens, tile } = view.meta();
  return Math.ceil(tokens / tile);
};

const fileName = (view: View) => `attention_${headName(view.chosen()).replace(" ", "_")}`;

function csv(view: View): string {
  const p = view.pattern();
  const tokens = view.tokens();
  const label = (i: number) => csvCell(tokens[i * p.block] ?? "");
  const places = Array.from({ length: p.n }, (_, i) => i);
  const rows = places.map((q) => [label(q), ...places.map((k) => String(p.values[q * p.n + k]))].join(","));
  return [["query \\ key", ...places.map(label)].join(","), ...rows].join("\r\n");
}

export const attentionHeads: Render = ({ model, el, signal: over }) => {
  const { scope, root, width, theme, end } = mount(model, el, "attention_heads", over);
  const view = createView(scope, model, theme, width);
  const { element: live, say } = announcer(scope);
  const exports = exportMenu(scope, {
    root: () => root,
    file: () => fileName(view),
    table: "This head",
    csv: () => csv(view),
    more: [{ name: "Copy cell", detail: "C", act: () => void copyCell(view).then((done) => say(done ? "copied" : "this page may not use the clipboard")) }],
  });
  const shape = scope.computed(() => {
    const { layers, heads, kv_heads } = view.meta();
    return { layers, heads, groups: kv_heads < heads ? kv_heads : 1, sorted: view.sort() !== "layer" && view.scores().has(view.sort()) };
  });
  const size = scope.computed(() => mapSize(cells(view), view.tokens(), width(), devicePixelRatio, shape()));
  const grid = scope.computed(() => gridSize(width(), size(), shape()));
  const tallest = scope.computed(() => Math.max(380, size().side + size().below + 32));
  const large = mapPanel(view, size, say);
  const heads = gridPanel(view, grid, tallest, say);
  const strip = stripPanel(view);
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
    const stays = !beside && innerHeight > 2 * (size().side + size().below + 64);
    large.style.cssText += stays ? ";position:sticky;top:0;z-index:2;background:var(--paper)" : ";position:static";
  });
  shell(scope, root, {
    model,
    meta: () => metaLine(view),
    menu: exports,
    prompt: view.hasModel ? { text: view.prompt, run: view.run } : null,
    kernel: view.kernel,
    status: view.status,
    notice: view.notice,
    failure: view.failure,
    show: ([layer, head]) => view.choose({ layer, head }),
    body: [body],
    state: () => state(view),
    keys: [{ keys: "↑↓←→", name: "move" }, { keys: "⏎", name: "lock" }, { keys: "esc", name: "release" }],
    narrow: view.narrow,
    live,
  });
  return end;
};
