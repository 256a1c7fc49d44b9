/** Layer by head: the score of each in colour, crosses on those that are off, arrows from one that another reads. */
import { stride } from "../../core/axes";
import { barRows } from "../../core/bar_list";
import { fill, h, s } from "../../core/dom";
import { ring } from "../../core/heat_map";
import { legend } from "../../core/legend";
import { bold, chosenIf, onKeys, ornament, pane, panelTitle, quiet, resize, spring, svgText } from "../../core/parts";
import { signal } from "../../core/signal";
import { place, put, tooltip } from "../../core/tooltip";
import { capital, number, upTo } from "../../core/words";
import { type Arrow, type Head, headName, isOff, same } from "./data";
import { HEADER, type Layout } from "./geometry";
import type { View } from "./view";

/** A score as a place on the ramp: 0 to 255, or around 128 where it has a sign. */
export const code = (score: string, value: number): number => Math.round(255 * Math.min(1, Math.max(0, score === "copying" ? (value + 1) / 2 : value)));

export const sentence = (view: View): string => {
  const head = view.chosen();
  return `${headName(head)}, ${view.score()} ${number(view.at(view.score(), head))}${isOff(view.off(), head) ? ", off" : ""}`;
};

const centre = ({ gutter, across, down }: Layout, { layer, head }: Head) => ({ x: gutter + head * across + (across - 1) / 2, y: HEADER + layer * down + (down - 1) / 2 });

/** A bent line from one head to another, as thick as they compose, ending at the cell. */
export function arrow(size: Layout, { first, second, score }: Arrow): SVGElement[] {
  const [from, to] = [centre(size, first), centre(size, second)];
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const distance = Math.hypot(dx, dy) || 1;
  const bend = Math.min(28, distance * 0.18);
  const middle = { x: (from.x + to.x) / 2 - (dy / distance) * bend * Math.sign(dx || 1) * -1, y: (from.y + to.y) / 2 - (Math.abs(dx) / distance) * bend * 0.6 };
  const [out, into] = [Math.atan2(middle.y - from.y, middle.x - from.x), Math.atan2(to.y - middle.y, to.x - middle.x)];
  const near = Math.min(8, size.down / 3 + 2);
  const far = Math.min((size.across / 2 + 1) / Math.max(1e-6, Math.abs(Math.cos(into))), (size.down / 2 + 1) / Math.max(1e-6, Math.abs(Math.sin(into)))) + 1; // the edge of the cell
  const start = [from.x + near * Math.cos(out), from.y + near * Math.sin(out)];
  const end = [to.x - far * Math.cos(into), to.y - far * Math.sin(into)] as const;
  const line = `M${start.map((v) => v.toFixed(1)).join(" ")}Q${middle.x.toFixed(1)} ${middle.y.toFixed(1)} ${end.map((v) => v.toFixed(1)).join(" ")}`;
  const corner = (by: number) => `${(end[0] - 8 * Math.cos(into + by)).toFixed(1)} ${(end[1] - 8 * Math.sin(into + by)).toFixed(1)}`;
  const thick = 0.75 + 2.6 * Math.min(1, score);
  return [
    s("path", { d: line, fill: "none", stroke: "var(--paper)", "stroke-width": thick + 2.5, opacity: 0.9 }),
    s("path", { d: line, fill: "none", stroke: "var(--ink1)", "stroke-width": thick, "stroke-linecap": "round", "data-arrow": `${headName(first)} ${headName(second)}` }),
    s("path", { d: `M${end.map((v) => v.toFixed(1)).join(" ")}L${corner(-0.42)}L${corner(0.42)}Z`, fill: "var(--ink1)", stroke: "var(--paper)" }),
  ];
}

function source(size: Layout, head: Head): SVGElement[] {
  const { x, y } = centre(size, head);
  const r = Math.min(6, Math.max(3, Math.min(size.across, size.down) / 4));
  return [s("circle", { cx: x, cy: y, r, fill: "var(--paper)", stroke: "var(--ink1)", "stroke-width": 1.5 }), s("circle", { cx: x, cy: y, r: r / 3, fill: "var(--ink1)" })];
}

function cross({ across, down }: Layout, x: number, y: number, colour: string): SVGElement {
  const r = Math.max(2, Math.min(4, Math.min(across, down) / 2 - 2));
  const [cx, cy] = [x + (across - 1) / 2, y + (down - 1) / 2];
  return s("path", { d: `M${cx - r} ${cy - r}l${2 * r} ${2 * r}m0-${2 * r}l-${2 * r} ${2 * r}`, stroke: colour, "stroke-width": 1.5, fill: "none" });
}

/** Numbers of layers and heads, as many as have room; the chosen ones always. */
function numbersAlong(count: number, pitch: number, chosen: number, draw: (i: number, on: boolean) => SVGElement): SVGElement[] {
  const k = stride(Math.max(pitch, 0.5));
  const wide = 16 / pitch;
  return upTo(count)
    .filter((i) => i === chosen || (i % k === 0 && (k === 1 ? true : Math.abs(i - chosen) >= wide)))
    .map((i) => draw(i, i === chosen));
}

function paint(view: View, canvas: HTMLCanvasElement): void {
  const { across, down } = view.size();
  const { layers, heads } = view.meta();
  const ratio = devicePixelRatio;
  canvas.width = Math.round(heads * across * ratio);
  canvas.height = Math.round(layers * down * ratio);
  const context = canvas.getContext("2d")!;
  const gap = Math.min(across, down) >= 6 ? 1 : 0;
  const [colours, score, values] = [view.ramp(), view.score(), view.values()];
  for (let i = 0; i < layers * heads; i++) {
    context.fillStyle = colours.css(code(score, values[i]!));
    context.fillRect(Math.round((i % heads) * across * ratio), Math.round(Math.floor(i / heads) * down * ratio), Math.round((across - gap) * ratio), Math.round((down - gap) * ratio));
  }
}

function marks(view: View): SVGElement[] {
  const size = view.size();
  const { gutter, across, down } = size;
  const { layers, heads } = view.meta();
  const chosen = view.chosen();
  const at = ({ layer, head }: Head) => [gutter + head * across, HEADER + layer * down] as const;
  const arrows = view.arrows();
  const sources = arrows.map(({ first }) => first).filter((head, i, all) => all.findIndex((other) => same(head, other)) === i);
  const crosses = view.off().map(([layer, head]) => {
    const value = view.values()[layer * heads + head]!;
    return cross(size, ...at({ layer, head }), view.ramp().ink(code(view.score(), value)));
  });
  return [
    ...numbersAlong(heads, across, chosen.head, (i, on) => svgText(gutter + i * across + across / 2, 13, "middle", i, chosenIf(on))),
    ...numbersAlong(layers, down, chosen.layer, (i, on) => svgText(gutter - 8, HEADER + i * down + down / 2 + 4, "end", i, chosenIf(on))),
    ...sources.flatMap((head) => source(size, head)),
    ...arrows.flatMap((one) => arrow(size, one)),
    ...crosses,
    ...ring(...at(chosen), across - 1, down - 1),
  ];
}

const composition = () =>
  ornament({ width: 34, height: 12 },
    s("circle", { cx: 6, cy: 6, r: 5, fill: "none", stroke: "var(--ink1)", "stroke-width": 1.5 }),
    s("circle", { cx: 6, cy: 6, r: 1.6, fill: "var(--ink1)" }),
    s("path", { d: "M13 6h14", stroke: "var(--ink1)", "stroke-width": 1.5 }),
    s("path", { d: "M33 6l-8-3.2v6.4z", fill: "var(--ink1)" }),
  );

export function gridPanel(view: View, say: (text: string) => void, keyboard: (event: KeyboardEvent) => boolean): HTMLElement {
  const { scope } = view;
  const over = signal<Head | null>(null);
  const canvas = h("canvas", { style: `position:absolute;top:${HEADER}px` });
  const drawing = pane();
  const tip = tooltip();
  const box = h("div", { "data-part": "scores", tabindex: 0, role: "application", "aria-roledescription": "grid of layers and heads", style: "position:relative" }, canvas, drawing, tip);
  const bar = legend(scope, () => {
    const value = view.at(view.score(), over() ?? view.chosen());
    const copying = view.score() === "copying";
    return { ramp: view.ramp(), width: 96, marks: copying ? [[0, "−1"], [0.5, "0"], [1, "1"]] : [[0, "0"], [0.5, "0.5"], [1, "1"]], at: code(view.score(), value) / 255 };
  });
  const sign = h("span", { class: "iw-small iw-row", style: "gap:4px;white-space:nowrap", "data-part": "composition" });
  const below = h("div", { class: "iw-row", style: "min-height:28px;margin-top:8px;gap:4px 12px" }, bar, spring(), sign);
  const panel = h("div", { style: "flex:none" }, panelTitle(bold("Score"), quiet("layer × head")), box, below);
  scope.effect(() => {
    const { gutter, across, down, grid } = view.size();
    const { layers, heads } = view.meta();
    const [width, height] = [heads * across, layers * down];
    canvas.style.cssText = `position:absolute;left:${gutter}px;top:${HEADER}px;width:${width}px;height:${height}px`;
    box.style.cssText = `position:relative;width:${gutter + width}px;height:${HEADER + height}px`;
    panel.style.width = `${grid}px`;
    below.style.marginLeft = grid < 240 ? "0" : `${gutter}px`;
    below.style.flexWrap = grid < 240 ? "wrap" : "nowrap";
    resize(drawing, gutter + width, HEADER + height);
    paint(view, canvas);
  });
  scope.effect(() => fill(drawing, marks(view)));
  scope.effect(() => {
    const some = view.arrows().length > 0;
    sign.hidden = !some && (!view.meta().composed || !view.listed().length);
    fill(sign, some ? [composition(), "composition"] : "no strong composition");
    sign.title = some ? "K-composition: the first head writes what the keys of the second one read" : "No head that looks one step back writes what their keys read twice as strongly as by chance";
  });
  scope.effect(() => box.setAttribute("aria-label", `${view.score()} of ${view.meta().layers} layers by ${view.meta().heads} heads; arrow keys move, X switches off, T sends the list to Python`));
  scope.effect(() => {
    const head = over();
    tip.hidden = head === null;
    if (!head) return;
    const { gutter, across, down } = view.size();
    const bars = view.names().map((name) => ({ name: capital(name), share: Math.max(0, view.at(name, head)), text: number(view.at(name, head)) }));
    fill(tip, h("div", { class: "iw-bold" }, headName(head)), barRows(bars, 96));
    const cell = { x: gutter + head.head * across, y: HEADER + head.layer * down, width: across, height: down };
    put(tip, place(cell, { width: 244, height: 40 + 18 * bars.length }, { width: view.width(), height: HEADER + view.meta().layers * down }, "below"));
  });
  const under = (event: MouseEvent): Head | null => {
    const { across, down } = view.size();
    const edge = canvas.getBoundingClientRect();
    const [layer, head] = [Math.floor((event.clientY - edge.top) / down), Math.floor((event.clientX - edge.left) / across)];
    return layer < 0 || head < 0 || layer >= view.meta().layers || head >= view.meta().heads ? null : { layer, head };
  };
  canvas.addEventListener("mousemove", (event) => over.set(under(event)));
  canvas.addEventListener("mouseleave", () => over.set(null));
  canvas.addEventListener("click", (event) => {
    const head = under(event);
    if (head) view.choose(head);
    box.focus({ preventScroll: true });
    queueMicrotask(() => say(sentence(view)));
  });
  onKeys(box, keyboard);
  return panel;
}
