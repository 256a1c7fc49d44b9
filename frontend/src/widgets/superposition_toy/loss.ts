/** Loss over training on a log scale, and below it what moves along: play, pause, a slider. */
import { attribute, fill, h, s } from "../../core/dom";
import { line, ornament, quiet, resize, svgText } from "../../core/parts";
import type { Read } from "../../core/signal";
import { upTo } from "../../core/words";
import type { Series, View } from "./view";
import { ACCENT, EDGE, INK1, LINE, loss as written, panel, titled } from "./words";

const LEFT = 36;
const RIGHT = 8;
const HEIGHT = 132;
const POINTS = 400; // of a line

/** What the drawn line says: the losses themselves, or their running mean where a batch alone says little. */
export function smoothed({ losses, smooth }: Series, count: number): Float64Array {
  let [mean, weight] = [0, 0];
  return Float64Array.from({ length: Math.min(losses.length, count) }, (_, i) => {
    mean = (smooth && smooth * mean) + (1 - smooth) * losses[i]!; // no 0 * NaN
    weight = smooth * weight + (1 - smooth);
    return mean / weight;
  });
}

/** Whole decades that hold the line, as exponents of ten. */
export function decades(values: Float64Array): [number, number] {
  const known = [...values].filter((value) => value > 0 && value < Infinity).map(Math.log10);
  const low = known.length ? Math.floor(Math.min(...known)) : -1;
  return [low, Math.max(low + 1, Math.ceil(Math.max(...known)))];
}

export function lossPanel(view: View, width: Read<number>): HTMLElement {
  const { scope, series, count, shown, goTo } = view;
  const [lines, marker] = [s("g"), s("g")];
  const drawing = s("svg", { role: "img", style: "cursor:pointer" }, lines, marker);
  const mean = scope.computed(() => smoothed(series(), count()));
  const scale = scope.computed(() => {
    const [low, high] = decades(mean());
    const { steps, last } = series();
    const [from, room] = [steps[0]!, width() - LEFT - RIGHT];
    const all = Math.max(1, steps[last]! - from);
    return {
      low, high, from, all, room,
      x: (step: number) => LEFT + ((step - from) / all) * room,
      y: (value: number) => 8 + ((high - Math.max(low, Math.log10(value))) / (high - low)) * (HEIGHT - 16),
    };
  });
  scope.effect(() => {
    const { low, high, from, all, room, x, y } = scale();
    const { losses, smooth, steps } = series();
    const every = Math.ceil(mean().length / POINTS);
    const curve = (values: ArrayLike<number>, stroke: string, wide: number) => {
      let d = "";
      for (let i = 0, known = false; i < mean().length; i += every) {
        if (!Number.isNaN(values[i])) d += `${known ? "L" : "M"}${x(steps[i]!).toFixed(1)} ${y(values[i]!).toFixed(1)}`;
        known = !Number.isNaN(values[i]);
      }
      return line(d, stroke, { "stroke-width": wide, "stroke-linejoin": "round" });
    };
    const apart = Math.ceil((high - low) / 5); // decades from one line to the next
    resize(drawing, width(), HEIGHT + 20);
    fill(
      lines,
      upTo(high - low + 1).filter((i) => i % apart === 0).map((i) => {
        const value = 10 ** (low + i);
        return [line(`M${LEFT} ${Math.round(y(value)) + 0.5}h${room}`, i ? LINE : EDGE), svgText(LEFT - 8, y(value) + 4, "end", written(value))];
      }),
      upTo(5).map((i) => {
        const step = Math.round(from + (i / 4) * all);
        return [line(`M${Math.round(x(step)) + 0.5} ${HEIGHT - 8}v4`, EDGE), svgText(x(step), HEIGHT + 9, i === 0 ? "start" : i === 4 ? "end" : "middle", step)];
      }),
      smooth > 0 && curve(losses, LINE, 1),
      curve(mean(), INK1, 1.5),
    );
  });
  scope.effect(() => {
    const { x, y } = scale();
    const value = mean()[Math.min(shown(), mean().length - 1)] ?? NaN;
    const step = series().steps[shown()]!;
    const [px, py] = [Math.round(x(step)) + 0.5, y(value)];
    const left = px > width() / 2;
    attribute(drawing, "aria-label", `loss by training step; ${written(value)} at step ${step}`);
    fill(
      marker,
      line(`M${px} 4V${HEIGHT - 8}`, ACCENT),
      value >= 0 && [s("circle", { cx: px, cy: py, r: 4, fill: ACCENT, stroke: "var(--paper)" }), svgText(px + (left ? -8 : 8), Math.max(12, py - 10), left ? "end" : "start", written(value), { class: "iw-chosen" })],
    );
  });
  const scrub = (event: PointerEvent) => {
    const { from, all, room } = scale();
    const step = from + ((event.clientX - drawing.getBoundingClientRect().left - LEFT) / room) * all;
    if (event.buttons & 1) goTo(series().steps.filter((one) => one <= step).length - 1);
  };
  drawing.addEventListener("pointerdown", scrub);
  drawing.addEventListener("pointermove", scrub);
  const found = panel("loss", titled("Loss", quiet("log scale, by training step")), drawing, transport(view));
  found.style.cssText = "flex:1;min-width:0";
  scope.effect(() => void (found.hidden = !series().last));
  return found;
}

/** Play and pause, and the slider along the steps. */
function transport({ scope, series, shown, playing, play, goTo }: View): HTMLElement {
  const icon = ornament({ width: 8, height: 10 });
  const button = h("button", { class: "iw-icon", "data-part": "play", style: `margin-right:${LEFT - 24}px;flex:none`, on: { click: play } }, icon);
  const input = h("input", { type: "range", min: 0, "aria-label": "training step", "data-part": "scrub", on: { input: () => goTo(Number(input.value)), keydown: (event: KeyboardEvent) => event.key !== " " && event.stopPropagation() } });
  const row = h("div", { class: "iw-row", style: "gap:0;margin-top:4px" }, button, h("div", { class: "iw-slider", style: `flex:1;padding-right:${RIGHT}px` }, input));
  scope.effect(() => {
    attribute(button, "aria-label", playing() ? "pause" : "play");
    fill(icon, s("path", { d: playing() ? "M0 0h3v10h-3zM5 0h3v10h-3z" : "M0 0l8 5-8 5z", fill: INK1 }));
  });
  scope.effect(() => {
    const { steps, last } = series();
    input.max = String(last);
    input.value = String(shown());
    input.style.setProperty("--share", `${(100 * shown()) / Math.max(1, last)}%`);
    attribute(input, "aria-valuetext", `step ${steps[shown()]}`);
  });
  return row;
}
