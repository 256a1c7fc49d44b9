/** Feature directions: each column of W as an arrow, and the way that it came. */
import { fill, h, s } from "../../core/dom";
import { line, quiet, resize, svgText } from "../../core/parts";
import type { Read } from "../../core/signal";
import { number, upTo } from "../../core/words";
import { represented } from "./measure";
import type { View } from "./view";
import { ACCENT, EDGE, INK1, LINE, panel, titled } from "./words";

const TRAIL = 120; // points of the way so far
const LABELLED = 20; // features that can still be told apart by a number

type Point = [number, number];

export function arrowsPanel({ scope, series, count, shown, chosen, each }: View, side: Read<number>): HTMLElement {
  const drawing = s("svg", { role: "img", style: "margin:0 auto" });
  const readout = h("div", { class: "iw-small", style: "margin-top:4px;text-align:center", "data-part": "readout" });
  const step = quiet();
  /** Where a feature points, in units of W: h₁ to the right, h₂ up. */
  const tip = (W: ArrayLike<number>, i: number): Point => [W[i]!, series().hidden > 1 ? -W[series().n + i]! : 0];
  const unit = scope.computed(() => {
    const W = series().weights(count() - 1);
    return (side() * 0.36) / Math.max(1, ...upTo(series().n).map((i) => Math.hypot(...tip(W, i)) / 1.2));
  });
  scope.effect(() => {
    const [{ n, hidden, weights }, middle, at, on] = [series(), side() / 2, shown(), chosen()];
    const place = (W: ArrayLike<number>, i: number) => tip(W, i).map((v) => middle + v * unit()) as Point;
    const points = Math.max(1, Math.min(TRAIL, at));
    const trail = upTo(points + 1).map((i) => weights(Math.round((i * at) / points)));
    const level = Math.round(middle) + 0.5;
    const order = [...upTo(n).filter((i) => i !== on), on];
    resize(drawing, 2 * middle, 2 * middle, `${n} feature directions, ${represented(each())} of them longer than a half`);
    fill(
      drawing,
      line(`M0 ${level}H${2 * middle}${hidden > 1 ? `M${level} 0V${2 * middle}` : ""}`, LINE),
      s("circle", { cx: middle, cy: middle, r: unit(), fill: "none", stroke: LINE }),
      svgText(2 * middle, middle - 6, "end", "h₁"),
      hidden > 1 && svgText(middle + 6, 10, "start", "h₂"),
      order.map((i) => line(`M${trail.map((W) => place(W, i).map((v) => v.toFixed(1))).join("L")}`, i === on ? ACCENT : EDGE, { opacity: 0.55 })),
      order.map((i) => arrow(place(weights(at), i), middle, i === on, n <= LABELLED && i + 1)),
    );
  });
  scope.effect(() => {
    const { steps, hidden, bias } = series();
    const [i, b] = [chosen(), bias(shown())];
    fill(step, `step ${steps[shown()]}`, hidden > 2 && ` · h₁ and h₂ of ${hidden}`);
    fill(readout, h("b", { class: "iw-accent" }, `feature ${i + 1} `), `length ${number(each()[i]!.length)}`, b && `, bias ${number(b[i]!)}`);
  });
  drawing.addEventListener("click", ({ clientX, clientY }) => {
    const edge = drawing.getBoundingClientRect();
    const along = upTo(series().n).map((i) => {
      const [x, y] = tip(series().weights(shown()), i);
      return (x * (clientX - edge.left - side() / 2) + y * (clientY - edge.top - side() / 2)) / (Math.hypot(x, y) || 1);
    });
    chosen.set(along.indexOf(Math.max(...along)));
  });
  return panel("arrows", titled("Feature directions", step), drawing, readout);
}

function arrow([x, y]: Point, middle: number, on: boolean, name: number | false): SVGElement[] {
  const colour = on ? ACCENT : "var(--series2)";
  const [length, angle] = [Math.hypot(x - middle, y - middle), Math.atan2(y - middle, x - middle)];
  const from = (by: number, turn = 0) => [x + by * Math.cos(angle + turn), y + by * Math.sin(angle + turn)] as const;
  if (length < 8) return [s("circle", { cx: x, cy: y, r: 2.5, fill: colour })];
  const [left, top] = from(12);
  return [
    line(`M${middle} ${middle}L${from(-6)}`, colour, { "stroke-width": 2.5 }),
    line(`M${x} ${y}L${from(-10, 0.38)}L${from(-10, -0.38)}Z`, "none", { fill: colour }),
    svgText(left, top + 4, "middle", name, { class: on ? "iw-chosen" : "iw-line-name", style: on ? null : `fill:${INK1}` }),
  ];
}
