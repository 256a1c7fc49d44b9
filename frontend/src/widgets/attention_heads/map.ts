/** The large map: the pattern of the chosen head, its axes, its read-out, its colour bar. */
import { type Axis, columnLabels, rowLabels, stride } from "../../core/axes";
import type { Ramp } from "../../core/colour";
import { choice } from "../../core/controls";
import { fill, h, s } from "../../core/dom";
import { enlarge, paintCells, ring } from "../../core/heat_map";
import { legend } from "../../core/legend";
import { act, bold, onKeys, pane, panelTitle, quiet, resize, spring, svgText } from "../../core/parts";
import { copy } from "../../core/save";
import type { Read } from "../../core/signal";
import { spoken, tokenNode } from "../../core/tokens";
import { brush, follow, show, step as zoomStep } from "./brush";
import { cellOf, format, holds, keysOf, masked, type Meta, type Pattern, position, type Scale, spotOf, ticks, valueAt } from "./data";
import { type MapSize, panelWidth } from "./geometry";
import { headName, noteOf } from "./names";
import type { View } from "./view";

/** One pixel per cell; masked cells stay clear. */
export function paint(p: Pattern, scale: Scale, meta: Meta, ramp: Ramp): HTMLCanvasElement {
  const at = (row: number, column: number) => (masked(p, row, column) ? -1 : position(p.values[row * p.columns + column]!, p.peaks[row]!, scale, meta));
  return paintCells({ rows: p.n, columns: p.columns, at }, ramp);
}

const NOWHERE = -1e6; // what is chosen lies outside of the part on show: it takes the place of no label

/** Token labels along both axes; those of the chosen pair in accent and in full. */
export function axes(tokens: string[], keys: string[], p: Pattern, size: MapSize, row: number, column: number, chosen: { query: number; key: number }): SVGElement[] {
  const { cell, height, gutter, slanted } = size;
  const axis = (names: string[], count: number, first: number, on: number, exact: number, room: number): Axis => ({
    count,
    pitch: cell,
    chosen: on,
    room,
    at: (i) => {
      const index = i === on ? exact : first + i * p.block;
      return { index, token: names[index] ?? "" };
    },
  });
  const here = holds(p, chosen);
  return [
    ...rowLabels(axis(tokens, p.n, p.top, here ? row : NOWHERE, chosen.query, gutter - 10 - (stride(cell) > 1 ? 20 : 0)), gutter),
    ...columnLabels(axis(keys, p.columns, p.left, here ? column : NOWHERE, chosen.key, 80), gutter, height, slanted),
  ];
}

const lock = () =>
  s(
    "svg",
    { width: 12, height: 12, viewBox: "0 0 12 12", role: "img", "aria-label": "locked" },
    s("rect", { x: 2, y: 5.5, width: 8, height: 5.5, rx: 1, fill: "var(--accent)" }),
    s("path", { d: "M4 5.5V3.8a2 2 0 0 1 4 0v1.7", fill: "none", stroke: "var(--accent)", "stroke-width": 1.4 }),
  );

/** The value of a pair as a sentence for a screen reader. */
export function sentence(view: View): string {
  const { query, key } = view.cursor();
  const p = view.finest();
  const value = p.known ? format(valueAt(p, { query, key }), p.exact || p.where !== null) : "not computed yet";
  return `Query ${query} ${spoken(view.tokens()[query] ?? "")}, key ${key} ${spoken(view.keys()[key] ?? "")}: ${value}`;
}

export function mapPanel(view: View, size: Read<MapSize>, say: (text: string) => void): HTMLElement {
  const { scope } = view;
  const name = bold();
  const note = h("span", { class: "iw-quiet", style: "overflow:hidden;text-overflow:ellipsis" });
  const readout = h("span", { "data-part": "readout" });
  const locked = h("span", { style: "width:12px;flex:none" });
  const arrow = (label: string, text: string, by: number) => h("button", { class: "iw-icon", "aria-label": label, on: { click: () => view.step(by) } }, text);
  const whole = h("button", { class: "iw-link iw-small", "data-part": "whole", on: { click: () => (show(view, null, say), box.focus({ preventScroll: true })) } }, "Whole map");
  const title = panelTitle(arrow("previous head", "‹", -1), name, arrow("next head", "›", 1), whole, note, spring(), readout, locked);

  const canvas = h("canvas", { style: "position:absolute;top:0" });
  const labels = pane();
  const marks = pane();
  const drawn = s("g");
  const brushed = s("g");
  fill(marks, drawn, brushed);
  const box = h("div", { "data-part": "map", tabindex: 0, role: "application", "aria-roledescription": "attention map", style: "position:relative" }, canvas, labels, marks);
  const scales = choice(
    scope,
    "colour scale",
    () => [["linear", "Linear"], ["row", "Per row"], ["log", "Log"]] as [Scale, string][],
    view.scale,
    view.scale.set,
  );
  const bar = legend(scope, () => {
    const p = view.finest();
    const spot = view.cursor();
    const at = position(valueAt(p, spot), p.peaks[cellOf(p, spot).row] ?? 1, view.scale(), view.meta()) / 255;
    return { ramp: view.ramp(), width: Math.min(152, Math.max(96, size().width - 170)), marks: ticks(view.scale(), view.meta()), at };
  });
  const below = h("div", { class: "iw-row", style: "min-height:28px;justify-content:space-between;margin-top:4px" }, bar, scales);
  const panel = h("div", { style: "flex:none" }, title, box, below);

  scope.effect(() => {
    fill(name, headName(view.chosen()));
    fill(note, noteOf(view.scores(), view.chosen(), view.meta()));
    const side = view.meta().name;
    box.setAttribute("aria-label", `attention pattern of ${headName(view.chosen())}${side && `, ${side}`}; arrow keys move, Enter locks, Z and Shift+Z zoom, Escape releases`);
    whole.hidden = !view.zoom();
    note.hidden = !whole.hidden;
  });
  // the map keeps its size while only the thumbnail of a head is known: its cells are larger then
  const sized = scope.computed(() => {
    const { n, columns } = view.shown();
    const { width, height, gutter } = size();
    // a part of a flat map may grow taller than the whole, one of a narrow map wider
    const [across, down] = view.zoom() && width !== height ? [Math.max(width, 300 - gutter), Math.max(width, height)] : [width, height];
    const cell = Math.min(across / columns, down / n);
    return { ...size(), cell, width: cell * columns, height: cell * n, slanted: cell >= 15 };
  });
  const painted = scope.computed(() => paint(view.shown(), view.scale(), view.meta(), view.ramp()));
  scope.effect(() => {
    const { width, height, cell, gutter, below: hang } = sized();
    enlarge(canvas, painted(), width, height);
    canvas.style.left = `${gutter}px`;
    box.style.height = `${height + hang}px`;
    box.style.width = `${gutter + width}px`;
    panel.style.width = view.narrow() ? "100%" : `${panelWidth(size())}px`;
    below.style.marginLeft = `${width < 300 ? 0 : gutter}px`;
    for (const layer of [labels, marks]) resize(layer, gutter + width, height + hang);
    canvas.dataset.cell = String(cell);
  });
  scope.effect(() => {
    const p = view.shown();
    const { row, column } = cellOf(p, view.cursor());
    fill(labels, axes(view.tokens(), view.keys(), p, sized(), row, column, view.cursor()));
  });
  scope.effect(() => {
    const p = view.shown();
    const { cell, gutter, width, height, below } = sized();
    const at = cellOf(p, view.cursor());
    const name = (y: number, text: string) => svgText(gutter + width, y, "end", text);
    brushed.setAttribute("transform", `translate(${gutter} 0)`);
    const corner = masked(p, Math.ceil(30 / cell), Math.max(0, p.columns - Math.ceil(60 / cell)));
    const names = corner ? [name(12, "key →"), name(28, "query ↓")] : view.zoom() ? [] : [name(height + below, "query ↓  key →")];
    const hovering = view.hover() !== null;
    fill(drawn, width > 80 ? names : [], holds(p, view.cursor()) && s("g", { transform: `translate(${gutter} 0)` }, ring(at.column * cell, at.row * cell, cell, cell, hovering ? "var(--ink1)" : "var(--accent)")));
  });
  scope.effect(() => {
    const p = view.finest();
    const spot = view.cursor();
    const [query, key] = [tokenNode(view.tokens()[spot.query] ?? ""), tokenNode(view.keys()[spot.key] ?? "")];
    for (const node of [query, key]) node.style.cssText = "display:inline-block;max-width:90px;overflow:hidden;text-overflow:ellipsis;vertical-align:bottom";
    fill(readout, query, quiet(" → "), key, " ", bold(p.known ? format(valueAt(p, spot), p.exact || p.where !== null) : "…"));
    fill(locked, view.locked() && view.hover() === null ? lock() : null);
  });
  const cellUnder = (event: MouseEvent) => {
    const p = view.shown();
    const edge = canvas.getBoundingClientRect();
    return { row: Math.floor(((event.clientY - edge.top) / edge.height) * p.n), column: Math.floor(((event.clientX - edge.left) / edge.width) * p.columns) };
  };
  const brushing = brush(view, canvas, brushed, (event) => {
    const p = view.shown();
    const { row, column } = cellUnder(event);
    const at = (first: number, cell: number, n: number, all: number) => Math.min(all - 1, first + Math.max(0, Math.min(n - 1, cell)) * p.block);
    return { query: at(p.top, row, p.n, p.tokens), key: at(p.left, column, p.columns, p.keys) };
  }, say);
  const under = (event: MouseEvent) => {
    const p = view.shown();
    const { row, column } = cellUnder(event);
    if (row < 0 || column < 0 || row >= p.n || column >= p.columns || masked(p, row, column)) return null;
    return spotOf(p, row, column);
  };
  canvas.addEventListener("mousemove", (event) => {
    const spot = under(event);
    const now = view.hover();
    if (brushing.active()) return;
    if (spot?.query === now?.query && spot?.key === now?.key) return;
    view.hover.set(view.locked() ? null : spot);
    if (spot && !view.locked()) queueMicrotask(() => say(sentence(view)));
  });
  canvas.addEventListener("mouseleave", () => view.hover.set(null));
  canvas.addEventListener("click", (event) => {
    const spot = under(event);
    if (!spot) return;
    const same = view.locked() && cellSame(view, spot);
    view.select(spot, !same);
    box.focus({ preventScroll: true });
  });
  onKeys(box, (event) => {
    if (zooming(view, event, brushing.cancel, say)) return true;
    if (!keyboard(view, event)) return false;
    queueMicrotask(() => say(sentence(view) + (event.key === "Enter" ? ", locked" : event.key === "Escape" ? ", released" : "")));
    return true;
  });
  return panel;
}

const cellSame = (view: View, spot: { query: number; key: number }) => {
  const now = view.cursor();
  return now.query === spot.query && now.key === spot.key;
};

/** Z and Shift+Z zoom, Escape leaves what is being drawn, then the zoom. */
function zooming(view: View, event: KeyboardEvent, cancel: () => boolean, say: (text: string) => void): boolean {
  if (event.key === "Escape") return cancel() || (view.zoom() !== null && (show(view, null, say), true));
  if (event.key !== "z" && event.key !== "Z") return false;
  if (event.key === "z" || view.zoom()) zoomStep(view, !event.shiftKey, say);
  return true;
}

/** Arrows move one cell (with Shift ten), Enter locks, Escape releases, Page keys change the head. */
function keyboard(view: View, event: KeyboardEvent): boolean {
  const { query, key } = view.cursor();
  const [last, end] = [view.meta().tokens - 1, keysOf(view.meta()) - 1];
  const p = view.shown();
  const by = p.block * (event.shiftKey ? 10 : 1);
  const go = (q: number, k: number) => {
    const to = Math.min(last, Math.max(0, q));
    const spot = { query: to, key: Math.min(p.causal ? to : end, Math.max(0, k)) };
    view.select(spot, view.locked());
    follow(view, spot);
  };
  const lock = (on: boolean) => view.select({ query, key }, on);
  const acts: Record<string, () => unknown> = {
    ArrowUp: () => go(query - by, key),
    ArrowDown: () => go(query + by, key),
    ArrowLeft: () => go(query, key - by),
    ArrowRight: () => go(query, key + by),
    Home: () => go(query, 0),
    End: () => go(query, p.causal ? query : end),
    PageUp: () => view.step(-1),
    PageDown: () => view.step(1),
    Enter: () => lock(true),
    " ": () => lock(true),
    Escape: () => lock(false),
    c: () => copyCell(view),
  };
  return act(acts, event);
}

/** Puts query, key and value on the clipboard; whether the page may. */
export function copyCell(view: View): Promise<boolean> {
  const { query, key } = view.cursor();
  return copy([view.tokens()[query], view.keys()[key], valueAt(view.finest(), { query, key })].join("\t"));
}
