/** W^T W as a map, and beside it, in the same rows, how many dimensions each feature has. */
import { ramp } from "../../core/colour";
import { fill, h, s } from "../../core/dom";
import { enlarge, paintCells } from "../../core/heat_map";
import { legend } from "../../core/legend";
import { line, quiet, resize, svgText } from "../../core/parts";
import { type Read, signal } from "../../core/signal";
import { number, upTo } from "../../core/words";
import { shape } from "./measure";
import type { View } from "./view";
import { ACCENT, INK1, INK2, onCells, panel, type Spot, titled } from "./words";

const MARGIN = 20; // left of the map and above it
const BAR = 64;
const GAP = 16;
const WRITTEN = 30; // pixels from which on a cell holds its number
const ROW = 12; // and a row a line below it, its name and the number of its bar

export function overlapPanel({ scope, theme, series, gram, each, chosen }: View, side: Read<number>): HTMLElement {
  const over = "position:absolute;left:0;top:0;pointer-events:none";
  const canvas = h("canvas", { style: `position:absolute;left:${MARGIN}px;top:${MARGIN}px` });
  const map = s("svg", { role: "img", style: over });
  const bars = s("svg", { role: "img", style: over, "data-part": "dimensions" });
  const box = h("div", { style: "position:relative" }, canvas, map, bars);
  const near = h("span", { class: "iw-small" });
  const about = quiet();
  const hover = signal<Spot | null>(null);
  const cell = scope.computed(() => Math.max(1, Math.min(40, Math.floor(side() / series().n))));
  const width = () => cell() * series().n;
  const most = scope.computed(() => Math.max(1.3, Math.ceil(10 * Math.max(...gram().map(Math.abs)) - 1e-9) / 10));
  const colours = () => ramp("diverging", theme());
  const code = (value: number) => Math.round(127.5 * (1 + value / most()));
  const pair = () => gram()[hover()![0] * series().n + hover()![1]] ?? 0;

  scope.effect(() => {
    const [{ n }, c, w, G, on] = [series(), cell(), width(), gram(), chosen()];
    const middle = (i: number) => MARGIN + i * c + c / 2;
    enlarge(canvas, paintCells({ rows: n, columns: n, at: (row, column) => code(G[row * n + column]!) }, colours()), w, w);
    resize(map, MARGIN + w, MARGIN + w, `W transpose W of ${n} features: feature ${on + 1} overlaps ${upTo(n).filter((i) => i !== on).map((i) => `with ${i + 1} by ${number(G[on * n + i]!)}`).join(", ")}`);
    const named = upTo(n).filter((i) => c >= ROW || i % Math.ceil(22 / c) === 0 || i === on);
    fill(
      map,
      c >= ROW && line(upTo(n - 1).map((i) => `M${MARGIN} ${MARGIN + (i + 1) * c - 0.5}h${w}M${MARGIN + (i + 1) * c - 0.5} ${MARGIN}v${w}`).join(""), "var(--paper)"),
      named.map((i) => [svgText(middle(i), 13, "middle", i + 1, { class: i === on && "iw-chosen" }), svgText(MARGIN - 8, middle(i) + 4, "end", i + 1, { class: i === on && "iw-chosen" })]),
      c >= WRITTEN && [...G].map((value, at) => svgText(middle(at % n) - 0.5, middle(Math.floor(at / n)) + 3.5, "middle", number(value), { style: `fill:${colours().ink(code(value))}` })),
    );
    box.style.cssText = `position:relative;width:${MARGIN + w + GAP + BAR + 36}px;height:${MARGIN + w}px`;
  });
  scope.effect(() => {
    const [c, all, on] = [cell(), each(), chosen()];
    const [left, thick] = [MARGIN + width() + GAP, Math.min(16, Math.max(1, c - 4))];
    const geometry = shape(all[on]!.dimensions);
    const mark = (x: number, height: number) => line(`M${Math.round(x) + 0.5} 0v${height}`, INK1, { "stroke-dasharray": "2 2", transform: `translate(0 ${height > 12 ? MARGIN : 0})` });
    resize(bars, left + BAR + 36, MARGIN + width(), `dimensionality: ${all.map(({ dimensions }, i) => `feature ${i + 1} ${number(dimensions)}`).join(", ")}`);
    fill(
      bars,
      svgText(left, 13, "start", "dimensionality"),
      all.map(({ dimensions }, i) => {
        const bar = { x: left, y: MARGIN + i * c + (c - thick) / 2, height: thick };
        return [
          s("rect", { ...bar, width: BAR, fill: "var(--fill)" }),
          s("rect", { ...bar, width: BAR * dimensions, fill: i === on ? ACCENT : INK2 }),
          (c >= ROW || i === on) && svgText(left + BAR + 8, MARGIN + i * c + c / 2 + 3.5, "start", number(dimensions), { style: `fill:${INK1}` }),
        ];
      }),
      geometry && mark(left + BAR * geometry[0], width()),
    );
    fill(near, geometry && [s("svg", { width: 5, height: 10, style: "display:inline-block" }, mark(1, 10)), geometry[1]]);
  });
  const bar = legend(scope, () => ({ ramp: colours(), width: width(), marks: [[0, number(-most(), 1)], [0.5, "0"], [1, number(most(), 1)]], at: hover() && (1 + pair() / most()) / 2 }));
  scope.effect(() => fill(about, hover() ? [`${hover()!.map((i) => i + 1).join(" and ")} `, h("b", { style: `color:${INK1}` }, number(pair(), 3))] : "overlap of features"));
  onCells(canvas, cell, hover, ([row]) => chosen.set(row));
  return panel("overlap", titled(["W", h("sup", { style: "font-size:8px;line-height:0" }, "T"), "W"], about), box, h("div", { class: "iw-row", style: `margin:8px 0 0 ${MARGIN}px;gap:${GAP}px` }, bar, near));
}
