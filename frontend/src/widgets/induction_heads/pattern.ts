/** The pattern of the chosen head, with the cells that its score adds up marked. */
import { fill, h, s } from "../../core/dom";
import { detail, heatMap } from "../../core/heat_map";
import { act, bold, onKeys, panelTitle, spring, svgText } from "../../core/parts";
import { spoken, tokenNode } from "../../core/tokens";
import { capital, number, upTo } from "../../core/words";
import { headName, isOff, mainScore, secondCopy, stripe } from "./data";
import { LABELS } from "./geometry";
import { cellAt, cellOf, code, lastSpot, masked, type Pattern, type Spot, spotOf, valueAt } from "./tile";
import type { View } from "./view";

const MOST_MARKS = 600;
let made = 0;
const EMPTY: Pattern = { n: 1, block: 1, tokens: 1, causal: true, packed: true, values: [0], where: null };

/** Cells of a map that stand for more than one token each lie in blocks. */
const unit = (p: Pattern, room: number) => {
  const { block, cell } = detail(p.n, room, 24, devicePixelRatio);
  return { tokens: block * p.block, cell };
};

export const cellSentence = (view: View, { query, key }: Spot): string => {
  const p = view.pattern();
  const name = (i: number) => `${i} ${spoken(view.tokens()[i] ?? "")}`;
  return p ? `Query ${name(query)}, key ${name(key)}: ${number(valueAt(p, { query, key }), 3)}` : "";
};

function stripes(view: View, p: Pattern): SVGElement[] {
  const { tokens, cell } = unit(p, view.size().pattern);
  const score = view.score() === "copying" ? mainScore(view.names()) : view.score();
  const cells = [...new Set(stripe(score, view.tokens(), view.meta()).map(([q, k]) => `${Math.floor(k / tokens)} ${Math.floor(q / tokens)}`))];
  if (cells.length > MOST_MARKS) return [];
  const at = cells.map((one) => one.split(" ").map((n) => Number(n) * cell));
  const boxes = (by: number) => at.map(([x, y]) => `M${x! - by} ${y! - by}h${cell + 2 * by}v${cell + 2 * by}h-${cell + 2 * by}z`).join("");
  const id = `iw-stripe-${(made = (made + 1) % 1e6)}-${Math.random().toString(36).slice(2, 6)}`;
  const side = p.n * cell;
  return [
    // only the outline of all cells together: what lies in any of them is masked
    s("mask", { id, maskUnits: "userSpaceOnUse", x: -9, y: -9, width: side + 18, height: side + 18 }, s("rect", { x: -9, y: -9, width: side + 18, height: side + 18, fill: "#fff" }), s("path", { d: boxes(0.75), fill: "#000" })),
    s("path", { d: boxes(0.75), fill: "none", stroke: "var(--accent)", "stroke-width": 3, mask: `url(#${id})`, "data-marks": cells.length }),
  ];
}

/** Where the second copy begins, and the names of the axes in the corner that a causal pattern leaves free. */
function lines(view: View, p: Pattern): SVGElement[] {
  const { period, copies } = view.meta();
  const { tokens, cell } = unit(p, view.size().pattern);
  const side = Math.ceil(p.tokens / tokens) * cell;
  const names = view.meta().causal && side > 80 ? [svgText(side, 12, "end", "key →"), svgText(side, 28, "end", "query ↓")] : [];
  if (period === null) return names;
  const at = (secondCopy(view.meta()) / tokens) * cell;
  const named = view.meta().causal && side - at > 104 && at > 48;
  return [
    ...names,
    s("path", { d: `M0 ${at}H${at}V${side}`, fill: "none", stroke: "var(--edge)", "stroke-dasharray": "2 2" }),
    ...(named ? [s("path", { d: `M${at} ${at}H${side}`, stroke: "var(--line)" }), s("text", { x: at + 8, y: at - 8 }, copies === 2 ? "second copy starts" : "copies start")] : []),
  ];
}

function keyboard(view: View, event: KeyboardEvent, say: (text: string) => void): boolean {
  const p = view.pattern();
  if (!p) return false;
  const { query, key } = view.cell() ?? lastSpot(p);
  const top = p.tokens - 1;
  const go = (q: number, k: number) => {
    const to = Math.min(top, Math.max(0, q));
    const spot = { query: to, key: Math.min(p.causal ? to : top, Math.max(0, k)) };
    view.cell.set(spot);
    queueMicrotask(() => say(cellSentence(view, spot)));
  };
  const by = p.block * (event.shiftKey ? 10 : 1);
  const acts: Record<string, () => void> = {
    ArrowUp: () => go(query - by, key),
    ArrowDown: () => go(query + by, key),
    ArrowLeft: () => go(query, key - by),
    ArrowRight: () => go(query, key + by),
    Home: () => go(query, 0),
    End: () => go(query, p.causal ? query : top),
    Escape: () => view.cell.set(null),
  };
  return act(acts, event);
}

/** Says that the pattern is not here, and why. */
function absent(view: View): string {
  const name = headName(view.chosen());
  return view.kernel() === "here" ? `Fetching the pattern of ${name}` : `The pattern of ${name} was not saved: it needs a running kernel.`;
}

export function patternPanel(view: View, say: (text: string) => void): HTMLElement {
  const { scope } = view;
  const [name, value] = [bold(), bold()];
  const about = h("span", { class: "iw-quiet iw-cut" });
  const button = h("button", { "data-part": "switch", on: { click: () => view.toggle(view.chosen()) } });
  const title = panelTitle(name, about, value, spring(), button);
  const readout = h("div", { class: "iw-small iw-cut", "data-part": "readout", style: "height:16px;margin-bottom:4px" });
  const shown = () => view.pattern() ?? EMPTY;
  const toSpot = (p: Pattern, row: number, column: number): Spot | null => (masked(p, row, column) ? null : spotOf(p, row, column));
  const names = scope.computed(() => {
    const p = shown();
    return upTo(p.n).map((i) => view.tokens()[i * p.block] ?? "");
  });
  const map = heatMap(
    scope,
    () => `attention pattern of ${headName(view.chosen())}; arrow keys move`,
    () => {
      const p = shown();
      const { signed, vmax } = view.meta();
      const room = view.size().pattern;
      const at = (row: number, column: number) => (masked(p, row, column) ? -1 : code(cellAt(p, row, column), signed, vmax));
      return { cells: { rows: p.n, columns: p.n, at }, ramp: view.map(), rowNames: names(), columnNames: names(), width: room, height: room, largest: { across: 24, down: 24 } };
    },
    () => {
      const p = shown();
      const cell = (spot: Spot | null) => spot && cellOf(p, spot);
      return { chosen: cell(view.cell()), hovered: cell(view.hover()) };
    },
    (spot) => view.hover.set(spot && toSpot(shown(), spot.row, spot.column)),
    (spot) => (view.cell.set(toSpot(shown(), spot.row, spot.column)), map.focus({ preventScroll: true })),
  );
  map.tabIndex = 0;
  map.setAttribute("role", "application");
  map.setAttribute("aria-roledescription", "attention map");
  const overlay = s("svg", { "aria-hidden": "true", width: 1, height: 1, style: `position:absolute;left:${LABELS}px;top:0;pointer-events:none;overflow:visible` });
  map.append(overlay);
  const missing = h("div", { class: "iw-empty iw-quiet" });
  const panel = h("div", { "data-part": "pattern", style: "flex:none;min-width:0" }, title, readout, map, missing);
  onKeys(map, (event) => keyboard(view, event, say));
  scope.effect(() => {
    const head = view.chosen();
    fill(name, headName(head));
    fill(about, capital(view.score()).toLowerCase());
    fill(value, number(view.at(view.score(), head)));
    const off = isOff(view.off(), head);
    fill(button, off ? "Switch on" : "Switch off");
    button.hidden = !view.meta().can_ablate;
    button.disabled = !view.finished();
    button.title = view.finished() ? "Off: the head writes its mean over the positions" : "Heads can be switched off in the finished model";
  });
  scope.effect(() => {
    const p = view.pattern();
    const missed = p === null;
    map.hidden = readout.hidden = missed;
    missing.hidden = !missed;
    panel.style.width = `${view.size().pattern + LABELS}px`;
    if (!p) return fill(missing, absent(view));
    fill(overlay, lines(view, p), stripes(view, p));
  });
  scope.effect(() => {
    const p = view.pattern();
    const spot = view.hover() ?? view.cell();
    if (!p || !spot) return fill(readout, p ? "The marked cells are what the score adds up" : "");
    const token = (i: number) => [tokenNode(view.tokens()[i] ?? ""), ` ${i}`];
    fill(readout, token(spot.query), " → ", token(spot.key), " ", h("span", { class: "iw-bold", style: "color:var(--ink1)" }, number(valueAt(p, spot), 3)));
  });
  return panel;
}
