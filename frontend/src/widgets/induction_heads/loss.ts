/** Loss by position, with every head and with some switched off; what lies between is what they were good for. */
import { columnLabels } from "../../core/axes";
import { fill, h, s } from "../../core/dom";
import { path, points } from "../../core/line_chart";
import { quiet, resize, spring, svgText } from "../../core/parts";
import { signal } from "../../core/signal";
import { tokenNode } from "../../core/tokens";
import { number } from "../../core/words";
import { largest, linear } from "../logit_lens/data";
import { headName, mean, secondCopy, signed } from "./data";
import type { View } from "./view";

const [LEFT, TOP, HEIGHT, BELOW] = [32, 24, 112, 56];

const names = (off: [number, number][]) => off.map(([layer, head]) => headName({ layer, head })).join(", ");
const heads = (n: number) => `${n} head${n === 1 ? "" : "s"} off`;

/** The heads that are off, each with a way to switch it on. */
function switches(view: View): HTMLElement {
  const box = h("span", { class: "iw-row", style: "flex-wrap:wrap;gap:4px" });
  view.scope.effect(() => {
    const off = view.off();
    const chip = ([layer, head]: [number, number]) => {
      const name = headName({ layer, head });
      return h("span", { class: "iw-pin" }, name, h("button", { class: "iw-bare iw-unpin", "aria-label": `switch on ${name}`, on: { click: () => view.toggle({ layer, head }) } }, "×"));
    };
    fill(box, off.length > 0 && [h("span", { class: "iw-small" }, "Off"), off.map(chip), h("button", { on: { click: () => view.off.set([]) } }, "Clear")]);
  });
  return box;
}

/** What the loss is, and what it becomes; or why that is not known. */
function sentence(view: View): (Node | string)[] {
  const loss = view.loss();
  if (!loss) return [];
  const from = secondCopy(view.meta());
  const what = view.meta().period === null ? "All tokens" : view.meta().copies === 2 ? "Second copy" : "From the second copy on";
  const bold = (value: number, accent = false) => h("span", { class: accent ? "iw-bold iw-accent" : "iw-bold" }, number(value));
  const [off, without] = [view.off(), view.lossOff()];
  const plain = [`${what}: `, bold(mean(loss, from))];
  if (!view.finished()) return [...plain, ` nats per token at step ${view.steps()[view.time()]}`];
  if (!off.length) return [...plain, quiet(view.meta().can_ablate ? " nats per token. Switch a head off to see what it is good for." : " nats per token")];
  if (without) {
    const [a, b] = [mean(loss, from), mean(without, from)];
    return [...plain, " → ", bold(b, true), quiet(` nats per token with ${heads(off.length)} (${signed(b - a)}). A head that is off writes its mean over the positions.`)];
  }
  if (view.kernel() === "here" || view.kernel() === "waiting") return [...plain, ` nats per token; computing it with ${heads(off.length)}`];
  const saved = view.computed().slice(0, 4);
  const ways = saved.map((one) => h("button", { class: "iw-link", style: "margin-left:8px", on: { click: () => view.off.set(one) } }, names(one)));
  const others = saved.length ? [" Computed before:", ...ways] : [];
  return [...plain, quiet(` nats per token. With ${names(off)} off it was not computed, which needs a running kernel.`), ...others];
}

export function lossPanel(view: View): HTMLElement {
  const { scope } = view;
  const over = signal<number | null>(null);
  const drawing = s("svg", { role: "img", "data-part": "loss" });
  const words = h("div", { "data-part": "loss-sentence", style: "margin-top:4px;min-height:16px" });
  const readout = h("span", { class: "iw-small iw-cut", style: "min-width:0" });
  const title = h("div", { class: "iw-panel-title", style: "height:auto;min-height:24px;flex-wrap:wrap;gap:4px 8px;margin-bottom:0" }, h("span", { class: "iw-bold" }, "Loss by position"), quiet("nats per token"), readout, spring(), switches(view));
  const panel = h("div", { style: "margin-top:16px" }, title, drawing, words);
  const pitch = () => (view.width() - LEFT - (view.narrow() ? 8 : 96)) / Math.max(1, view.tokens().length - 1);

  scope.effect(() => {
    const loss = view.loss();
    panel.hidden = loss === null;
    if (!loss) return;
    const without = view.lossOff();
    const step = pitch();
    const n = loss.length;
    const scale = linear(Math.max(largest(loss), without ? largest(without) : 0));
    const chart = { way: "across" as const, pitch: step, extent: HEIGHT, place: scale.place, gutter: LEFT };
    const [on, off] = [points(chart, loss), without ? points(chart, without) : null];
    const from = view.meta().period === null ? 0 : Math.max(0, secondCopy(view.meta()) - 1);
    const right = LEFT + n * step;
    const slanted = step >= 15;
    const at = over();
    resize(drawing, view.width(), TOP + HEIGHT + BELOW + (slanted ? 0 : 16), words.textContent || "loss by position");
    const area = off ? [s("path", { d: `M${[...on.slice(from), ...off.slice(from).reverse()].map((p) => `${p!.x.toFixed(1)} ${p!.y.toFixed(1)}`).join("L")}Z`, fill: "var(--accent-soft)" })] : [];
    const border = Math.round(LEFT + secondCopy(view.meta()) * step - step) + 0.5;
    const copies = view.meta().period === null || from < 1 ? [] : [
      s("path", { d: `M${border} ${TOP - 16}V${TOP + HEIGHT + 28}`, stroke: "var(--edge)", "stroke-dasharray": "2 2" }),
      svgText(border - 8, TOP - 8, "end", "first copy"),
      svgText(border + 8, TOP - 8, "start", "second copy"),
    ];
    const line = (all: typeof on, colour: string, width: number, dash: string | null) => s("path", { d: path(all), fill: "none", stroke: colour, "stroke-width": width, "stroke-dasharray": dash, "stroke-linejoin": "round" });
    const ends = [on[n - 1]!.y, off?.[n - 1]!.y];
    const apart = ends[1] === undefined ? 0 : Math.max(0, 13 - Math.abs(ends[0]! - ends[1])) / 2;
    const named = (y: number, text: string, style: string, up: boolean) =>
      view.narrow()
        ? svgText(right - 2, y - 8, "end", text, { class: "iw-line-name", style })
        : svgText(right + 4, y + 4 + (up ? -apart : apart), "start", text, { class: "iw-line-name", style });
    const higher = ends[1] !== undefined && ends[1] < ends[0]!;
    fill(
      drawing,
      at !== null && s("rect", { x: LEFT + at * step, y: TOP, width: step, height: HEIGHT, fill: "var(--fill)" }),
      scale.ticks.map(([u, text], i) => {
        const y = Math.round(TOP + HEIGHT * (1 - u)) + 0.5;
        return [s("path", { d: `M${LEFT} ${y}H${right}`, stroke: i ? "var(--line)" : "var(--edge)" }), svgText(LEFT - 8, y + 4, "end", text)];
      }),
      area,
      copies,
      off && line(off, "var(--accent)", 1.5, "5 3"),
      line(on, "var(--ink1)", 2, null),
      columnLabels({ count: n, pitch: step, chosen: at ?? -1, room: 64, at: (i) => ({ index: i + 1, token: view.tokens()[i + 1] ?? "" }) }, LEFT, TOP + HEIGHT, slanted),
      off && named(ends[1]!, heads(view.off().length), "fill:var(--accent)", higher),
      named(ends[0]!, "all heads", "fill:var(--ink1)", !higher),
    );
  });
  scope.effect(() => fill(words, sentence(view)));
  scope.effect(() => {
    const i = over();
    const [loss, without] = [view.loss(), view.lossOff()];
    if (i === null || !loss || loss[i] === undefined) return fill(readout, "");
    fill(readout, tokenNode(view.tokens()[i + 1] ?? ""), ` ${i + 1}: `, h("span", { class: "iw-bold" }, number(loss[i])), without && [" → ", h("span", { class: "iw-bold iw-accent" }, number(without[i]!))]);
  });
  drawing.addEventListener("mousemove", (event) => {
    const i = Math.floor((event.clientX - drawing.getBoundingClientRect().left - LEFT) / pitch());
    over.set(i >= 0 && i < view.tokens().length - 1 ? i : null);
  });
  drawing.addEventListener("mouseleave", () => over.set(null));
  return panel;
}
