/** Lines that are named where they run; shape and dash repeat what the colour says, and gaps stay gaps. */
import { fill, s } from "./dom";
import { chosenIf, ornament, pointing, resize, svgText } from "./parts";
import type { Read, Scope } from "./signal";
import { tokenSpans, tokenWidth } from "./tokens";

export interface Series {
  /** A token, or any other name. */
  name: string;
  /** One number for each step; NaN where it is not known. */
  values: ArrayLike<number>;
  colour: string;
  /** Which of the shapes marks the chosen step. */
  shape: number;
  main: boolean;
  dashed: boolean;
  /** Lines without a label are named elsewhere. */
  named: boolean;
}

export interface LineChart {
  series: Series[];
  /** Number of steps, pixels from one to the next, and which way they run. */
  steps: number;
  pitch: number;
  way: "down" | "across";
  /** Pixels for the values, and where in them (0 to 1) a value lies. */
  extent: number;
  place(value: number): number;
  /** Places along the values, 0 to 1; a tick without text is a line only. */
  ticks: [number, string][];
  /** Names of the steps, where no panel beside the chart has them, and the room that they take. */
  stepNames: string[] | null;
  gutter: number;
  /** What stands over the chart: text, and tokens in accent. */
  title: (string | { token: string })[];
}

export interface Point {
  x: number;
  y: number;
}
interface Area {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const TOP = 24;
const BELOW = 24;
const SHAPES: ((x: number, y: number) => string)[] = [
  (x, y) => `M${x - 3.5} ${y}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z`,
  (x, y) => `M${x - 3} ${y - 3}h6v6h-6z`,
  (x, y) => `M${x} ${y - 4.2}l4 7h-8z`,
  (x, y) => `M${x} ${y - 4.5}l4.5 4.5-4.5 4.5-4.5-4.5z`,
  (x, y) => `M${x} ${y + 4.2}l4-7h-8z`,
  (x, y) => `M${x - 1.3} ${y - 4}h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z`,
];

/** One of the shapes, full, at a place. */
export const mark = (shape: number, x: number, y: number, colour: string): SVGElement => s("path", { d: SHAPES[shape % SHAPES.length]!(x, y), fill: colour });

/** Line and shape as a sample for a legend. */
export function sample(shape: number, colour: string, dashed = false): SVGSVGElement {
  const line = dashed ? [s("path", { d: "M0 5h5m6 0h5", stroke: colour, "stroke-width": 1.5 })] : [];
  return ornament({ width: dashed ? 16 : 9, height: 10, style: "flex:none" }, line, mark(shape, dashed ? 8 : 4.5, 5, colour));
}

/** Where every known value stands; null for a gap. */
export function points({ way, pitch, extent, place, gutter }: Pick<LineChart, "way" | "pitch" | "extent" | "place" | "gutter">, values: ArrayLike<number>): (Point | null)[] {
  return Array.from(values, (value, i) => {
    if (!Number.isFinite(value)) return null;
    const u = Math.min(1, Math.max(0, place(value))) * extent;
    const along = i * pitch + pitch / 2;
    return way === "down" ? { x: gutter + u, y: TOP + along - 0.5 } : { x: gutter + along, y: TOP + extent - u };
  });
}

/** A path through points, broken at gaps. */
export const path = (all: (Point | null)[]): string => all.map((point, i) => (point ? `${all[i - 1] ? "L" : "M"}${point.x.toFixed(1)} ${point.y.toFixed(1)}` : "")).join("");

/** Points between two gaps, which no line would show. */
export const alone = (all: (Point | null)[]): Point[] => all.filter((point, i): point is Point => point !== null && !all[i - 1] && !all[i + 1]);

const inside = ({ x, y }: Point, area: Area) => x > area.left && x < area.right && y > area.top && y < area.bottom;

/** How much of a line runs through an area, in eighths of its steps. */
function crossing(all: (Point | null)[], area: Area): number {
  let found = 0;
  for (let i = 0; i + 1 < all.length; i++) {
    const [a, b] = [all[i], all[i + 1]];
    if (!a || !b || Math.max(a.y, b.y) < area.top || Math.min(a.y, b.y) > area.bottom || Math.max(a.x, b.x) < area.left || Math.min(a.x, b.x) > area.right) continue;
    for (let t = 0; t <= 1; t += 0.125) if (inside({ x: a.x + t * (b.x - a.x), y: a.y + t * (b.y - a.y) }, area)) found++;
  }
  return found;
}

const apart = (a: Area, b: Area) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;

export interface Label extends Point {
  anchor: "start" | "end";
}

/** A place for the name of each line: beside it, where it meets no line and no other name, rather where it is high. */
export function labels(lines: (Point | null)[][], widths: number[], frame: Area): (Label | null)[] {
  const taken: Area[] = [];
  return lines.map((line, own) => {
    let best: { label: Label; area: Area; cost: number } | null = null;
    line.forEach((point) => {
      if (!point || !widths[own]) return;
      for (const anchor of ["start", "end"] as const) {
        const x = point.x + (anchor === "start" ? 9 : -9);
        for (const y of [point.y + 4, point.y - 6, point.y + 15]) {
          const left = anchor === "start" ? x : x - widths[own]!;
          const area = { left: left - 2, right: left + widths[own]! + 2, top: y - 10, bottom: y + 4 };
          if (area.left < frame.left - 2 || area.right > frame.right + 6 || area.top < frame.top || area.bottom > frame.bottom || taken.some((other) => !apart(area, other))) continue;
          const crossed = lines.reduce((sum, other) => sum + crossing(other, area), 0);
          const high = (point.x - frame.left) / (frame.right - frame.left);
          const cost = 4 * crossed - high + (y === point.y + 4 ? 0 : 0.3) + (anchor === "start" ? 0 : 0.1);
          if (!best || cost < best.cost) best = { label: { x, y, anchor }, area, cost };
        }
      }
    });
    const found = best as { label: Label; area: Area; cost: number } | null;
    if (!found || found.cost > 40) return null;
    taken.push(found.area);
    return found.label;
  });
}

function axes(chart: LineChart, chosen: number | null): SVGElement[] {
  const { way, steps, pitch, extent, ticks, gutter, stepNames } = chart;
  const length = steps * pitch;
  const drawn: SVGElement[] = [];
  const at = (u: number) => Math.round(u * extent) + 0.5;
  const anchor = (i: number) => (way === "across" ? "end" : i === 0 ? "start" : i === ticks.length - 1 ? "end" : "middle");
  ticks.forEach(([u, text], i) => {
    drawn.push(s("path", { d: way === "down" ? `M${gutter + at(u)} ${TOP}v${length}` : `M${gutter} ${TOP + extent - at(u) + 1}h${length}`, stroke: "var(--line)" }));
    if (text) drawn.push(way === "down" ? svgText(gutter + u * extent, TOP + length + 16, anchor(i), text) : svgText(gutter - 8, TOP + extent - u * extent + 4, "end", text));
  });
  const every = Math.max(1, Math.ceil((way === "across" ? 36 : 13) / pitch));
  stepNames?.forEach((name, i) => {
    const on = i === chosen;
    if (!on && (i % every || (chosen !== null && Math.abs(i - chosen) < every))) return;
    const middle = i * pitch + pitch / 2;
    drawn.push(way === "down" ? svgText(gutter - 8, TOP + middle + 4, "end", tokenSpans(name, gutter - 10), chosenIf(on)) : svgText(gutter + middle, TOP + extent + 17, "middle", tokenSpans(name, every * pitch), chosenIf(on)));
  });
  return drawn;
}

function lines(chart: LineChart, chosen: number | null): SVGElement[] {
  const { series, way, steps, pitch, extent, gutter } = chart;
  const all = series.map(({ values }) => points(chart, values));
  const frame = way === "down" ? { left: gutter, top: TOP, right: gutter + extent, bottom: TOP + steps * pitch } : { left: gutter, top: TOP, right: gutter + steps * pitch, bottom: TOP + extent };
  const widths = series.map(({ name, named }) => (named ? Math.min(96, tokenWidth(name)) : 0));
  const names = labels(all, widths, frame);
  const drawn: SVGElement[] = [];
  const back = series.map((_, i) => series.length - 1 - i); // the first series lies on top
  for (const i of back) {
    const { colour, main, dashed } = series[i]!;
    const line = { d: path(all[i]!), fill: "none", "stroke-linejoin": "round", "stroke-linecap": "round" };
    drawn.push(s("path", { ...line, stroke: "var(--paper)", "stroke-width": 4 }), s("path", { ...line, stroke: colour, "stroke-width": main ? 2 : 1.5, "stroke-dasharray": dashed ? "4 4" : null }));
    drawn.push(...alone(all[i]!).map(({ x, y }) => s("circle", { cx: x, cy: y, r: 2, fill: colour })));
  }
  for (const i of back) {
    const point = chosen === null ? null : all[i]![chosen];
    if (point) drawn.push(mark(series[i]!.shape, point.x, point.y, series[i]!.colour));
  }
  series.forEach(({ name, colour }, i) => {
    const label = names[i];
    if (label) drawn.push(svgText(label.x, label.y, label.anchor, tokenSpans(name, 96), { class: "iw-line-name", style: `fill:${colour}` }));
  });
  return drawn;
}

function title(chart: LineChart): SVGElement[] {
  if (!chart.title.length) return [];
  return [s("text", { x: chart.gutter, y: 16 }, chart.title.map((part) => (typeof part === "string" ? part : s("tspan", { class: "iw-chosen" }, tokenSpans(part.token, 90)))))];
}

/** The chart; `chosen` is the step on show, and moving the pointer over it or clicking tells a step. */
export function lineChart(scope: Scope, label: Read<string>, read: Read<LineChart>, chosen: Read<number | null>, hover: (step: number | null) => void, choose: (step: number) => void): SVGSVGElement {
  const drawing = s("svg", { role: "img", "data-part": "chart", style: "flex:none" });
  scope.effect(() => {
    const chart = read();
    const now = chosen();
    const { way, steps, pitch, extent, gutter } = chart;
    const [width, height] = way === "down" ? [gutter + extent, steps * pitch] : [gutter + steps * pitch, extent];
    resize(drawing, width + 8, TOP + height + BELOW, label());
    const band = way === "down" ? { x: gutter, y: TOP + (now ?? 0) * pitch, width: extent, height: pitch - 1 } : { x: gutter + (now ?? 0) * pitch, y: TOP, width: pitch, height: extent };
    fill(drawing, now !== null && s("rect", { ...band, fill: "var(--fill)" }), axes(chart, now), title(chart), lines(chart, now));
  });
  const under = (event: MouseEvent): number | null => {
    const { way, steps, pitch, gutter } = read();
    const edge = drawing.getBoundingClientRect();
    const step = Math.floor((way === "down" ? event.clientY - edge.top - TOP : event.clientX - edge.left - gutter) / pitch);
    return step >= 0 && step < steps ? step : null;
  };
  pointing(drawing, under, hover, choose);
  return drawing;
}
