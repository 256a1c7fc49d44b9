/** Every part of the kit on one page, with made-up numbers: for people who build a widget, and for the tests. */
import { barList } from "./core/bar_list";
import { ramp, type Theme } from "./core/colour";
import { choice, select } from "./core/controls";
import { fill, h, type Child } from "./core/dom";
import { exportMenu } from "./core/export_menu";
import { addStyle, errorBox, noticeBox, stateLine } from "./core/frame";
import { heatMap, type Spot } from "./core/heat_map";
import { legend } from "./core/legend";
import { lineChart, sample } from "./core/line_chart";
import { announcer } from "./core/live_region";
import { promptBox } from "./core/prompt_box";
import { Scope, signal } from "./core/signal";
import { slider } from "./core/slider";
import { place, put, tooltip } from "./core/tooltip";
import { tokenStrip } from "./core/token_strip";
import { tokenNode } from "./core/tokens";

const TOKENS = ["<s>", "Once", " upon", " a", " time", "\n", " a", " little", " girl", " named", " Lily", "."];
const HOSTILE = ["<img src=x onerror=alert(1)>", "</script>", "\n", "\t", "", " ", "\u202egnp", "👩‍👧", "مرحبا", "x".repeat(10_000)];

/** A wave that falls off: the same on every page, so that pictures can be compared. */
const wave = (row: number, column: number) => Math.abs(Math.sin(1.7 * row + 0.9 * column) * Math.exp(-Math.abs(row - column) / 6));

export function gallery(el: HTMLElement, theme: Theme, scope = new Scope()): Scope {
  const colours = ramp("sequential", theme);
  const root = h("div", { class: "iw", "data-theme": theme, "data-widget": "gallery", role: "group", "aria-label": "the kit of page parts" });
  el.append(root);
  addStyle(el);
  root.style.setProperty("--bar-edge", colours.css(140));
  const { element: live, say } = announcer(scope);
  const part = (name: string, ...children: Child[]) => h("section", { "data-kit": name, "aria-label": name, style: "margin:0 0 24px;min-width:0" }, h("div", { class: "iw-small", style: "margin-bottom:8px" }, name), children);
  const code = (value: number) => Math.round(255 * Math.min(1, Math.max(0, value)));
  const room = () => Math.max(120, Math.min(340, root.clientWidth - 110));

  const strip = tokenStrip(scope, () => ({
    label: ["Attention from ", h("span", { class: "iw-bold iw-accent" }, tokenNode(" Lily"))],
    chips: TOKENS.map((token, i) => (i === 5 ? null : { token, chosen: i === 10, quiet: i === 11, ...(i < 11 ? { fill: colours.css(code(wave(10, i))), ink: colours.ink(code(wave(10, i))) } : {}) })),
  }));
  const odd = tokenStrip(scope, () => ({ label: "odd tokens", chips: HOSTILE.map((token) => ({ token, fill: "var(--fill)", ink: "var(--ink1)" })) }));

  const chosen = signal<Spot | null>({ row: 8, column: 3 });
  const hovered = signal<Spot | null>(null);
  const at = () => hovered() ?? chosen() ?? { row: 0, column: 0 };
  const map = heatMap(
    scope,
    () => "a map of 12 by 12 cells",
    () => ({ cells: { rows: 12, columns: 12, at: (row, column) => (column > row ? -1 : code(wave(row, column))) }, ramp: colours, rowNames: TOKENS, columnNames: TOKENS, width: room(), height: 340, largest: { across: 24, down: 24 } }),
    () => ({ chosen: chosen(), hovered: hovered() }),
    hovered.set,
    (spot) => (chosen.set(spot), say(`row ${spot.row}, column ${spot.column}`)),
  );
  const large = heatMap(
    scope,
    () => "a map of 2000 by 900 cells, joined to blocks",
    () => ({ cells: { rows: 900, columns: 2000, at: (row, column) => code(wave(row / 40, column / 90)) }, ramp: colours, rowNames: null, columnNames: null, width: room(), height: 160, largest: { across: 8, down: 8 } }),
    () => ({ chosen: null, hovered: null }),
    () => undefined,
    () => undefined,
  );
  const marks: [number, string][] = [[0, "0"], [0.25, ""], [0.5, "0.5"], [0.75, ""], [1, "1"]];
  const bar = legend(scope, () => ({ ramp: colours, width: 152, marks, at: wave(at().row, at().column) }));
  const zero = legend(scope, () => ({ ramp: ramp("diverging", theme), width: 152, marks: [[0, "−1"], [0.5, "0"], [1, "1"]], at: null }));

  const SERIES = [[" Rome", "var(--accent)"], [" the", "var(--series2)"], [" Paris", "var(--series3)"]] as const;
  const value = (which: number, i: number) => [1 / (1 + Math.exp(6 - 0.8 * i)), 0.5 * Math.exp(-((i - 4) ** 2) / 8), i === 5 ? NaN : 0.12 + 0.02 * i][which]!;
  const lines = (way: "down" | "across") => {
    const step = signal<number | null>(6);
    return lineChart(
      scope,
      () => "three made-up lines over twelve steps",
      () => ({
        series: SERIES.map(([name, colour], which) => ({ name, colour, shape: which, main: !which, dashed: which === 2, named: true, values: Array.from({ length: 12 }, (_, i) => value(which, i)) })),
        steps: 12,
        pitch: way === "down" ? 20 : Math.max(16, Math.min(32, (root.clientWidth - 50) / 12)),
        way,
        extent: way === "down" ? 240 : 140,
        place: (v) => v,
        ticks: marks,
        stepNames: Array.from({ length: 12 }, (_, i) => String(i)),
        gutter: 32,
        title: ["probability after ", { token: " is" }],
      }),
      step,
      (now) => now !== null && step.set(now),
      (now) => say(`step ${now}`),
    );
  };
  const samples = h("div", { class: "iw-pins" }, [0, 1, 2, 3, 4, 5].map((shape) => h("span", { class: "iw-pin" }, sample(shape, "var(--ink1)"), sample(shape, "var(--ink1)", true), `${shape}`)));

  const pinned = signal(" the");
  const BARS = [[" Paris", 0.511], [" the", 0.127], [" not", 0.061], [" a", 0.044], [" Lyon", 0.027]] as const;
  const bars = barList(scope, () => ({
    names: 48,
    bars: BARS.map(([token, share]) => ({ name: tokenNode(token), share, colour: colours.css(code(share)), text: share.toFixed(3), act: { verb: "pin", on: pinned() === token, run: () => pinned.set(token) } })),
  }));
  const cell = { x: 8, y: 96, width: 40, height: 24 };
  const panel = { width: 320, height: 128 };
  const card = put(tooltip(h("span", { class: "iw-bold" }, "L5 H1"), h("div", { class: "iw-quiet" }, "diagonal to its cell")), place(cell, { width: 180, height: 48 }, panel, "above"));
  const anchor = h("div", { style: `position:absolute;left:8px;top:96px;width:40px;height:24px;background:${colours.css(120)}` });
  const tips = h("div", { style: `position:relative;width:${panel.width}px;height:${panel.height}px` }, anchor, card);

  const [sparsity, scale, sort] = [signal(0.93), signal("row"), signal("layer")];
  const drag = h("div", { style: "max-width:240px" }, slider(scope, "Sparsity", () => ({ min: 0, max: 1, step: 0.01 }), sparsity, (v) => v.toFixed(2), sparsity.set));
  const controls = h(
    "div",
    { class: "iw-row iw-controls" },
    choice(scope, "colour scale", () => [["linear", "Linear"], ["row", "Per row"], ["log", "Log"]], scale, scale.set),
    select(scope, "Sort", () => [["layer", "Layer"], ["induction", "Induction"]], sort, sort.set),
    h("button", null, "Rest"),
    h("button", { disabled: true }, "Unavailable"),
  );
  const prompt = signal("The capital of France is Paris.\nThe capital of Italy is");
  const menu = exportMenu(scope, { root: () => root, file: () => "kit", csv: () => "a,b", table: "Table", more: [{ name: "Copy cell", detail: "C", act: () => say("copied") }] });
  const never = () => undefined;
  fill(
    root,
    h("div", { class: "iw-head" }, h("h3", null, "The kit"), h("span", { class: "iw-meta" }, "every part that widgets share"), menu),
    part("prompt box", promptBox(scope, prompt, () => false, () => false, prompt.set), promptBox(scope, () => "no kernel", () => true, () => false, never)),
    part("notice and error",
      noticeBox({ title: "Rows do not sum to one in 3 heads.", text: "L2 H4 (0.71 to 0.98), L2 H7, L9 H0.", hint: "Silence with normalized=False", heads: [[2, 4]] }, never, never),
      errorBox({ title: "21 tokens, but the patterns are 20 wide.", rows: [["expected", "[layer, head, 21, 21]"], ["got", "[12, 12, 20, 20]"]], advice: "Drop the first token." }, never),
    ),
    part("controls", controls, drag),
    h("div", { style: "display:flex;flex-wrap:wrap;gap:0 48px" },
      part("heat map, legend", map, h("div", { class: "iw-row", style: "flex-wrap:wrap" }, bar, zero)),
      part("heat map, joined to blocks", large),
      part("line chart, down", lines("down"), samples),
      part("line chart, across", lines("across")),
      part("bar list", h("div", { style: "width:240px" }, bars)),
      part("tooltip", tips),
    ),
    part("token strip", strip, odd),
    stateLine(scope, () => ({ dot: "ready", text: `Everything here is made up · row ${at().row}, column ${at().column}`, progress: 0.4 }), [{ keys: "⏎", name: "lock" }], () => root.clientWidth < 640),
    live,
  );
  return scope;
}

const main = document.querySelector("main");
if (main) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let scope: Scope | null = null;
  const draw = () => {
    scope?.dispose();
    fill(main);
    document.body.style.background = dark.matches ? "#111" : "#fff";
    scope = gallery(main, dark.matches ? "dark" : "light");
  };
  dark.addEventListener("change", draw);
  draw();
}
