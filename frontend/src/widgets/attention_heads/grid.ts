/** Every head of every layer as a thumbnail, by layer or sorted by a score. Always on the log scale. */
import { barRows } from "../../core/bar_list";
import type { Ramp } from "../../core/colour";
import { select } from "../../core/controls";
import { attribute, fill, h, s } from "../../core/dom";
import { ring } from "../../core/heat_map";
import { bold, chosenIf, onKeys, ornament, pane, panelTitle, pointing, resize, spring, svgText } from "../../core/parts";
import type { Read } from "../../core/signal";
import { measure } from "../../core/tokens";
import { place, put, tooltip } from "../../core/tooltip";
import { capital, number } from "../../core/words";
import { type HeadId, type Meta, plane, type Thumbs } from "./data";
import { type GridSize, GROUP_GAP, HEADER, LAYER_GUTTER, MEAN_GAP } from "./geometry";
import { headName, scoreOf } from "./names";
import type { View } from "./view";

interface Layout {
  items: HeadId[];
  columns: number;
  thumb: number;
  /** The thumbnail within that square, where there are fewer queries, or keys. */
  tall: number;
  wide: number;
  rowPitch: number;
  sorted: boolean;
  width: number;
  height: number;
  x(column: number): number;
}

const SORTED_THUMBS = [72, 64, 56, 48, 40, 34];
const UNDER_SORTED = 22;
const FLATTEST = 14; // pixels of a thumbnail at least, so that a layer keeps its number beside it

/** Thumbnails in the order of a score: the largest with which all of them are no taller than the map. */
function flow(count: number, width: number, height: number, aspect: number): { thumb: number; columns: number } {
  const fits = SORTED_THUMBS.map((thumb) => ({ thumb, columns: Math.max(1, Math.min(count, Math.floor((width + 4) / (thumb + 4)))) }));
  return fits.find(({ thumb, columns }) => Math.ceil(count / columns) * (thumb * aspect + UNDER_SORTED) <= height) ?? fits.at(-1)!;
}

function layoutOf(view: View, grid: GridSize, tallest: number): Layout {
  const { layers, heads, kv_heads } = view.meta();
  const { t, columns: across } = view.thumbs();
  const side = (thumb: number, cells: number) => Math.max(Math.min(thumb, FLATTEST), (thumb * cells) / Math.max(t, across));
  const sides = (thumb: number) => ({ thumb, tall: side(thumb, t), wide: side(thumb, across) });
  if (view.sort() !== "layer" && view.scores().has(view.sort())) {
    const items = view.order();
    const { thumb, columns } = flow(items.length, grid.width, tallest, Math.min(1, t / across));
    const own = sides(thumb);
    const [pitch, rowPitch] = [thumb + 4, own.tall + UNDER_SORTED];
    return { ...own, items, columns, rowPitch, sorted: true, width: columns * pitch - 4, height: Math.ceil(items.length / columns) * rowPitch, x: (column) => column * pitch + (thumb - own.wide) / 2 };
  }
  const items: HeadId[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++) items.push({ layer, head });
    items.push({ layer, head: null });
  }
  const perGroup = kv_heads < heads ? heads / kv_heads : heads;
  const groups = (column: number) => Math.floor(Math.min(column, heads - 1) / perGroup) * GROUP_GAP;
  const mean = LAYER_GUTTER + heads * grid.pitch + groups(heads) + MEAN_GAP;
  const slack = grid.width - mean - grid.thumb; // the mean stands flush with the edge of the widget
  const x = (column: number) => (column === heads ? mean + (slack > 0 && slack < 32 ? slack : 0) : LAYER_GUTTER + column * grid.pitch + groups(column));
  const own = sides(grid.thumb);
  const rowPitch = own.tall + 5;
  return { ...own, items, columns: heads + 1, rowPitch, sorted: false, width: x(heads) + grid.thumb, height: layers * rowPitch, x: (column) => x(column) + (grid.thumb - own.wide) / 2 };
}

/** Place of each code on the ramp: the last three of the four decades, raised so that faint cells stay faint. */
function places(meta: Meta): Float32Array {
  return Float32Array.from({ length: 256 }, (_, code) => {
    const [sign, step] = meta.signed ? [Math.sign(code - 128), (Math.abs(code - 128) - 1) / 126] : [Math.sign(code), (code - 1) / 254];
    const shown = sign ? Math.max(0, (step - 0.25) / 0.75) ** 1.6 : 0;
    return meta.signed ? 127.5 + 127.5 * sign * shown : 255 * shown;
  });
}

/** The cells that each of n pixels covers when t cells are drawn on them: from, to, and the share of the first. */
function cover(t: number, n: number): { from: Int32Array; to: Int32Array; first: Float32Array } {
  const at = (i: number) => (i * t) / n;
  const from = Int32Array.from({ length: n }, (_, i) => Math.floor(at(i)));
  const to = Int32Array.from({ length: n }, (_, i) => Math.min(t, Math.max(from[i]! + 1, t > n ? Math.floor(at(i + 1)) : Math.ceil(at(i + 1) - 1e-6))));
  const first = Float32Array.from({ length: n }, (_, i) => (to[i]! - from[i]! === 1 ? 1 : (from[i]! + 1 - at(i)) / (at(i + 1) - at(i))));
  return { from, to, first };
}

/** Draws thumbnails of t x t codes on n x n pixels: enlarged by the area that a pixel covers, reduced by the maximum. */
function sampler(t: number, columns: number, n: number, across: number, meta: Meta, ramp: Ramp): (codes: Uint8Array, out: Uint32Array, offset: number, width: number) => void {
  const [rows, cols] = [cover(t, n), cover(columns, across)];
  const place = places(meta);
  const strength = (code: number) => (meta.signed ? Math.abs(code - 128) : code);
  const strongest = (codes: Uint8Array, y: number, x: number): number => {
    let found = -1;
    for (let q = rows.from[y]!; q < rows.to[y]!; q++)
      for (let k = cols.from[x]!; k < cols.to[x]!; k++) {
        const code = codes[q * columns + k]!;
        if (!(meta.causal && k > q) && (found < 0 || strength(code) > strength(found))) found = code;
      }
    return found < 0 ? -1 : place[found]!;
  };
  const average = (codes: Uint8Array, y: number, x: number): number => {
    let [sum, weight] = [0, 0];
    for (let q = rows.from[y]!; q < rows.to[y]!; q++)
      for (let k = cols.from[x]!; k < cols.to[x]!; k++) {
        if (meta.causal && k > q) continue;
        const share = (q === rows.from[y]! ? rows.first[y]! : 1 - rows.first[y]!) * (k === cols.from[x]! ? cols.first[x]! : 1 - cols.first[x]!);
        sum += share * place[codes[q * columns + k]!]!;
        weight += share;
      }
    return weight > 0.5 ? sum / weight : -1;
  };
  const shade = t > n || columns > across ? strongest : average;
  return (codes, out, offset, width) => {
    for (let y = 0; y < n; y++)
      for (let x = 0; x < across; x++) {
        const at = shade(codes, y, x);
        if (at >= 0) out[offset + y * width + x] = ramp.pixels[Math.round(at)]!;
      }
  };
}

function drawAtlas(canvas: HTMLCanvasElement, layout: Layout, all: Thumbs, meta: Meta, ramp: Ramp): void {
  const ratio = devicePixelRatio;
  const [n, across] = [layout.tall, layout.wide].map((side) => Math.max(1, Math.round(side * ratio))) as [number, number];
  const width = (canvas.width = Math.ceil(layout.width * ratio) + 1); // positions are rounded to device pixels
  const height = (canvas.height = Math.ceil(layout.height * ratio) + 1);
  canvas.style.width = `${width / ratio}px`;
  canvas.style.height = `${height / ratio}px`;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const sample = sampler(all.t, all.columns, n, across, meta, ramp);
  layout.items.forEach((id, i) => {
    const left = Math.round(layout.x(i % layout.columns) * ratio);
    const top = Math.round(Math.floor(i / layout.columns) * layout.rowPitch * ratio);
    sample(plane(all, id), pixels, top * width + left, width);
  });
  context.putImageData(image, 0, 0);
}

/** Head numbers, and for grouped queries a bracket over the heads that share a key/value head. */
function header(layout: Layout, meta: Meta, chosen: HeadId): SVGElement[] {
  if (layout.sorted) return [];
  const { heads, kv_heads } = meta;
  const centre = (column: number) => layout.x(column) + layout.wide / 2;
  const drawn: SVGElement[] = [];
  const wide = layout.thumb >= 15 || heads < 100;
  for (let column = 0; column < heads; column++) if (wide) drawn.push(svgText(centre(column), 20, "middle", column, chosenIf(column === chosen.head)));
  drawn.push(svgText(layout.x(heads) + layout.wide, 20, "end", "mean", chosenIf(chosen.head === null)));
  if (kv_heads === heads) return drawn;
  const size = heads / kv_heads;
  for (let group = 0; group < kv_heads; group++) {
    const [left, right] = [layout.x(group * size) + 0.5, layout.x(group * size + size - 1) + layout.wide - 0.5];
    const on = chosen.head !== null && Math.floor(chosen.head / size) === group;
    const middle = (left + right) / 2;
    const text = right - left > 44 ? `kv ${group}` : `${group}`;
    const half = text.length > 3 ? 14 : 7;
    drawn.push(
      s("path", { d: `M${left} 7V3.5H${middle - half}M${middle + half} 3.5H${right}V7`, fill: "none", stroke: on ? "var(--accent)" : "var(--edge)" }),
      svgText(middle, 7, "middle", text, chosenIf(on)),
    );
  }
  return drawn;
}

/** Layer numbers or layer.head labels, score bars, and the ring round the chosen head. */
function overlay(view: View, layout: Layout, hovered: HeadId | null): SVGElement[] {
  const { tall, wide, rowPitch, columns, sorted } = layout;
  const meta = view.meta();
  const chosen = view.chosen();
  const score = view.scores().get(sorted ? view.sort() : view.bar());
  const drawn: SVGElement[] = [];
  const rings: SVGElement[] = [];
  if (!sorted)
    for (let layer = 0; layer < meta.layers; layer++)
      drawn.push(svgText(LAYER_GUTTER - 8, layer * rowPitch + tall / 2 + 4, "end", layer, chosenIf(layer === chosen.layer)));
  layout.items.forEach((id, i) => {
    const x = layout.x(i % columns);
    const y = Math.floor(i / columns) * rowPitch;
    const on = id.layer === chosen.layer && id.head === chosen.head;
    const value = scoreOf(score, id, meta);
    const barred = value >= 0.2;
    if (barred) drawn.push(s("rect", { x, y: y + tall + 1, width: Math.round(wide * Math.min(1, value)), height: 2, fill: "var(--ink1)" }));
    if (sorted) drawn.push(svgText(x + wide / 2, y + tall + 14, "middle", `${id.layer}.${id.head}`, chosenIf(on)));
    if (on) rings.push(...ring(x, y, wide, barred && !sorted ? tall + 3 : tall));
    else if (hovered && id.layer === hovered.layer && id.head === hovered.head) rings.push(s("rect", { x: x - 0.5, y: y - 0.5, width: wide + 1, height: tall + 1, fill: "none", stroke: "var(--ink1)" }));
  });
  return [...drawn, ...rings];
}

function tip(view: View, id: HeadId): HTMLElement {
  const rows = [...view.scores()].slice(0, 5).map(([name, score]) => [name, scoreOf(score, id, view.meta())] as const);
  const names = Math.ceil(Math.max(0, ...rows.map(([name]) => measure(name))));
  return tooltip(
    h("div", { class: "iw-bold" }, headName(id)),
    id.head === null
      ? h("div", { class: "iw-quiet" }, `mean of ${view.meta().heads} heads`)
      : barRows(rows.map(([name, value]) => ({ name, share: value, text: number(value) })), names),
  );
}

export function gridPanel(view: View, grid: Read<GridSize>, tallest: Read<number>, say: (text: string) => void): HTMLElement {
  const { scope } = view;
  const hovered = { value: null as HeadId | null };
  const scoreNames = () => [...view.scores().keys()];
  const sort = select(scope, "Sort", () => [["layer", "Layer"], ...scoreNames().map((name): [string, string] => [name, capital(name)])], view.sort, view.sort.set);
  const bar = select(scope, "Bar", () => [["none", "None"], ...scoreNames().map((name): [string, string] => [name, capital(name)])], view.bar, view.bar.set);
  const logScale = h("span", { class: "iw-small", title: "Thumbnails show the logarithm of attention, 0.001 to 1" }, "log scale");
  scope.effect(() => attribute(logScale, "hidden", grid().width < 360));
  const title = panelTitle(bold("All heads"), logScale, spring(), sort, bar);

  const top = ornament({ height: HEADER, style: "position:sticky;top:0;z-index:1;background:linear-gradient(var(--paper) 20px,transparent 20px)" });
  const canvas = h("canvas");
  const marks = pane();
  const box = h("div", { style: "position:relative" }, canvas, marks);
  const scroller = h("div", { "data-part": "heads", tabindex: 0, role: "application", "aria-roledescription": "grid of attention heads", style: "overflow:auto;padding:3px;margin:-3px;position:relative" }, top, box);
  const legend = h("div", { class: "iw-small", style: "margin-top:8px" }, "Labels are layer.head, highest score first.");
  const card = h("div");
  const panel = h("div", { style: "flex:1;min-width:0;position:relative" }, title, scroller, legend, card);

  const layout = scope.computed(() => layoutOf(view, grid(), tallest()));
  scope.effect(() => {
    const now = layout();
    sort.hidden = !scoreNames().length;
    bar.hidden = now.sorted || sort.hidden;
    legend.hidden = !now.sorted;
    top.style.display = now.sorted ? "none" : "block";
    scroller.style.maxHeight = now.height + HEADER > tallest() + 24 ? `${tallest()}px` : "";
    resize(top, now.width, HEADER);
    resize(marks, now.width, now.height);
    drawAtlas(canvas, now, view.thumbs(), view.meta(), view.ramp());
  });
  const redraw = () => fill(marks, overlay(view, layout(), hovered.value));
  scope.effect(() => {
    const chosen = view.chosen();
    fill(top, header(layout(), view.meta(), chosen));
    redraw();
    scroller.setAttribute("aria-label", `${view.meta().layers} layers of ${view.meta().heads} heads, ${headName(chosen)} chosen; arrow keys choose`);
  });
  scope.effect(() => {
    const now = layout();
    const chosen = view.chosen();
    const at = now.items.findIndex((id) => id.layer === chosen.layer && id.head === chosen.head);
    const y = Math.floor(at / now.columns) * now.rowPitch;
    if (!scroller.style.maxHeight) return;
    if (y < scroller.scrollTop) scroller.scrollTop = y;
    else if (y + now.rowPitch + HEADER > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = y + now.rowPitch + HEADER - scroller.clientHeight + 8;
  });

  const under = (event: MouseEvent): number | null => {
    const now = layout();
    const edge = canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - edge.top) / now.rowPitch);
    const x = event.clientX - edge.left;
    for (let column = 0; column < now.columns; column++) {
      const at = row * now.columns + column;
      if (x >= now.x(column) && x < now.x(column) + now.wide + 2 && at < now.items.length && row >= 0) return at;
    }
    return null;
  };
  const hover = (at: number | null) => {
    const now = layout();
    const id = at === null ? null : now.items[at]!;
    if (id?.layer === hovered.value?.layer && id?.head === hovered.value?.head) return;
    hovered.value = id;
    redraw();
    fill(card, id && !view.narrow() ? placed(tip(view, id), panel, box, now, at!) : null);
  };
  pointing(canvas, under, hover, (at) => {
    view.choose(layout().items[at]!);
    scroller.focus({ preventScroll: true });
  });
  onKeys(scroller, (event) => {
    const now = layout();
    const chosen = view.chosen();
    const at = now.items.findIndex((id) => id.layer === chosen.layer && id.head === chosen.head);
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: now.columns, ArrowUp: -now.columns, Home: -at, End: now.items.length - 1 - at }[event.key];
    if (by === undefined) return false;
    const id = now.items[at + by];
    if (!id) return true;
    view.choose(id);
    const scores = [...view.scores()].map(([name, score]) => `${name} ${scoreOf(score, id, view.meta()).toFixed(2)}`);
    say([headName(id), ...(id.head === null ? [] : scores)].join(", "));
    return true;
  });
  return panel;
}

/** Puts the tooltip diagonal to its thumbnail. */
function placed(element: HTMLElement, panel: HTMLElement, box: HTMLElement, layout: Layout, at: number): HTMLElement {
  const edge = panel.getBoundingClientRect();
  const inner = box.getBoundingClientRect();
  const x = inner.left - edge.left + layout.x(at % layout.columns);
  const y = inner.top - edge.top + Math.floor(at / layout.columns) * layout.rowPitch;
  return put(element, place({ x, y, width: layout.wide, height: layout.tall }, { width: 204, height: 144 }, edge, "below"));
}
