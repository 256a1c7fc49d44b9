/** Layers by positions: the token on top of every cell, its colour by the measure. Only the columns in sight are drawn. */
import { fill, h, s } from "../../core/dom";
import { heatMap, ring } from "../../core/heat_map";
import { chosenIf, ornament, pane, resize, svgText } from "../../core/parts";
import type { Read, Signal } from "../../core/signal";
import { tokenSpans } from "../../core/tokens";
import { upTo } from "../../core/words";
import { type Cell, type Plane, top, written } from "./data";
import { HEADER, type Layout } from "./geometry";
import type { View } from "./view";

const BEYOND = 4; // columns drawn on either side of what can be seen

function cells(view: View, plane: Plane, { cell, row }: Layout, from: number, to: number): SVGElement[] {
  const values = view.values(plane);
  const { place } = view.scale();
  const [ramp, vocab, measure] = [view.ramp(), view.vocab(), view.measure()];
  const drawn: SVGElement[] = [];
  for (let r = 0; r < plane.rows; r++)
    for (let c = from; c < to; c++) {
      const first = top(plane, vocab, { row: r, position: c })[0];
      const value = values?.[r * plane.columns + c] ?? NaN;
      const [x, y] = [c * cell, HEADER + r * row];
      const box = { x, y, width: cell - 1, height: row - 1 };
      if (!first) {
        drawn.push(s("rect", { ...box, fill: "var(--fill)" }));
        continue;
      }
      const on = first.token === view.wanted(c);
      const blank = !Number.isFinite(value);
      const code = blank ? 0 : Math.round(255 * Math.min(1, Math.max(0, place(value))));
      const ink = blank ? "var(--ink3)" : ramp.ink(code);
      const text = measure === "rank" && !blank ? [written("rank", value)] : tokenSpans(first.token, cell - (on ? 7 : 3));
      const bold = measure === "probability" && value > 0.6 ? ";font-weight:600" : "";
      drawn.push(
        s("rect", { ...box, fill: blank ? "var(--fill)" : ramp.css(code) }),
        svgText(x + (cell - 1) / 2 + (on ? 2 : 0), y + row / 2 + 3.5, "middle", text, { class: "iw-cell", style: `fill:${ink}${bold}` }),
      );
      if (on) drawn.push(s("rect", { x, y, width: 4, height: row - 1, fill: "var(--accent)" }));
    }
  return drawn;
}

/** Cells without anything in them: the frame stands before the numbers come. */
function empty(rows: number, { cell, row }: Layout, from: number, to: number): SVGElement[] {
  return Array.from({ length: rows * (to - from) }, (_, i) => s("rect", { x: (from + (i % (to - from))) * cell, y: HEADER + Math.floor(i / (to - from)) * row, width: cell - 1, height: row - 1, fill: "var(--fill)" }));
}

/** Tokens over the columns, and under them what really follows. */
function words(view: View, { cell, height }: Layout, from: number, to: number): SVGElement[] {
  const tokens = view.tokens();
  const { position } = view.cursor();
  return upTo(to - from).map((i) => from + i).flatMap((c) => {
    const middle = c * cell + (cell - 1) / 2;
    const next = tokens[c + 1];
    return [
      svgText(middle, 16, "middle", tokenSpans(tokens[c] ?? "", cell - 3), chosenIf(c === position)),
      svgText(middle, HEADER + height + 16, "middle", next === undefined ? "?" : tokenSpans(next, cell - 3)),
    ];
  });
}

/** Names of the rows, which stay while the grid scrolls. */
export function rowNames(view: View, size: Read<Layout>): SVGSVGElement {
  const names = ornament({ style: "flex:none" });
  view.scope.effect(() => {
    const { gutter, row, height } = size();
    const { row: on } = view.cursor();
    resize(names, gutter, 2 * HEADER + height);
    const name = (y: number, text: string, chosen = false) => svgText(gutter - 8, y, "end", tokenSpans(text, gutter - 10), chosenIf(chosen));
    fill(names, name(16, "layer"), view.rows().map((text, r) => name(HEADER + r * row + row / 2 + 4, text, r === on)), name(HEADER + height + 16, "next"));
  });
  return names;
}

/** One grid under one lens; `scroll` is shared, so that grids move together. `entered` is told when the pointer comes in. */
export function grid(view: View, which: number, size: Read<Layout>, scroll: Signal<number>, entered: () => void): HTMLElement {
  const { scope } = view;
  const [body, heads, marks] = [pane(), pane(), pane()];
  const content = h("div", { style: "position:relative" }, body, heads);
  const scroller = h("div", { class: "iw-scroll" }, content);
  const box = h("div", { style: "flex:none;min-width:0;position:relative" }, scroller, marks); // a ring at the edge is seen whole
  const count = () => view.tokens().length;
  const edge = (columns: number) => Math.max(0, Math.min(count(), columns));
  const from = scope.computed(() => edge(4 * Math.floor((scroll() / size().cell - BEYOND) / 4)));
  const to = scope.computed(() => edge(4 * Math.ceil((scroll() / size().cell + size().seen + BEYOND) / 4)));
  const plane = () => view.planes()[which]?.plane ?? null;

  scope.effect(() => {
    const { width, height, cell } = size();
    for (const one of [body, heads, marks]) resize(one, one === marks ? width : count() * cell, 2 * HEADER + height);
    content.style.width = `${count() * cell}px`;
    content.style.height = `${2 * HEADER + height}px`;
    scroller.style.width = `${width}px`;
    scroller.dataset.cell = String(cell);
    scroller.dataset.row = String(size().row);
  });
  scope.effect(() => {
    const here = plane();
    fill(body, here && here.columns === count() && here.rows === view.rows().length ? cells(view, here, size(), from(), to()) : empty(view.rows().length, size(), from(), to()));
  });
  scope.effect(() => fill(heads, words(view, size(), from(), to())));
  scope.effect(() => {
    const { cell, row, width } = size();
    const [chosen, hovered] = [view.chosen(), view.hover()];
    const left = ({ position }: Cell) => position * cell - scroll();
    const seen = left(chosen) > -2 && left(chosen) + cell < width + 2;
    const frame = hovered && s("rect", { x: left(hovered) - 0.5, y: HEADER + hovered.row * row - 0.5, width: cell, height: row, fill: "none", stroke: "var(--ink1)" });
    fill(marks, seen && ring(left(chosen), HEADER + chosen.row * row, cell - 1, row - 1), frame);
  });
  scope.effect(() => {
    if (Math.abs(scroller.scrollLeft - scroll()) > 0.5) scroller.scrollLeft = scroll();
  });
  scroller.addEventListener("scroll", () => scroll.set(scroller.scrollLeft), { passive: true });

  const under = (event: MouseEvent): Cell | null => {
    const { cell, row, height } = size();
    const { left, top: above } = content.getBoundingClientRect();
    const [r, c] = [Math.floor((event.clientY - above - HEADER) / row), Math.floor((event.clientX - left) / cell)];
    return r < 0 || r * row >= height || c < 0 || c >= count() ? null : { row: r, position: c };
  };
  content.addEventListener("mouseenter", entered);
  content.addEventListener("mousemove", (event) => {
    const cell = view.locked() ? null : under(event);
    const now = view.hover();
    if (cell?.row !== now?.row || cell?.position !== now?.position) view.hover.set(cell);
  });
  content.addEventListener("mouseleave", () => view.hover.set(null));
  content.addEventListener("click", (event) => {
    const cell = under(event);
    const chosen = view.chosen();
    if (cell) view.select(cell, !(view.locked() && cell.row === chosen.row && cell.position === chosen.position));
  });
  return box;
}

/** All columns at once, a few pixels each; a click goes there. Only for texts that are far wider than the grid. */
export function overview(view: View, size: Read<Layout>, scroll: Signal<number>): HTMLElement {
  const { scope } = view;
  const map = heatMap(
    scope,
    () => "all positions at a glance",
    () => {
      const plane = view.planes()[0]?.plane;
      const { rows, columns } = plane ?? { rows: 1, columns: 1 };
      const values = plane && view.values(plane);
      const { place } = view.scale();
      const at = (row: number, position: number) => {
        const value = values?.[row * columns + position] ?? NaN;
        return Number.isFinite(value) ? Math.round(255 * Math.min(1, Math.max(0, place(value)))) : -1;
      };
      return { cells: { rows, columns, at }, ramp: view.ramp(), rowNames: null, columnNames: null, width: size().width, height: 3 * rows, largest: { across: 24, down: 3 } };
    },
    () => ({ chosen: { row: view.chosen().row, column: view.chosen().position }, hovered: null }),
    () => undefined,
    ({ column, row }) => view.select({ row, position: column }, view.locked()),
  );
  const sight = h("div", { class: "iw-sight" });
  map.append(sight);
  map.dataset.part = "overview";
  map.style.marginBottom = "8px";
  scope.effect(() => {
    const { cell, width, gutter, seen } = size();
    const whole = view.tokens().length * cell;
    map.hidden = view.tokens().length < 2 * seen;
    map.style.marginLeft = `${gutter}px`;
    const shown = parseFloat(map.style.width) || width;
    sight.style.left = `${(scroll() / whole) * shown}px`;
    sight.style.width = `${(width / whole) * shown}px`;
  });
  return map;
}
