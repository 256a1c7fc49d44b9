/** The sentence, each token tinted by how much the chosen query attends to it. */
import { fill, h } from "../../core/dom";
import { tokenNode } from "../../core/tokens";
import { cellOf, masked, position } from "./data";
import type { View } from "./view";

const ALL_UP_TO = 48;
const AROUND = 4;

/** Attention from one query to every token; by blocks where nothing finer is known. */
function rowOf(view: View): { values: Float32Array; exact: boolean } {
  const known = view.row();
  if (known) return { values: known, exact: true };
  const p = view.pattern();
  const { row } = cellOf(p, view.cursor());
  const values = Float32Array.from({ length: p.tokens }, (_, key) => p.values[row * p.n + Math.min(p.n - 1, Math.floor(key / p.block))]!);
  return { values, exact: false };
}

/** Which tokens are shown: all of a short sentence; of a long one the surroundings of the query and its strongest keys. */
export function shown(values: Float32Array, query: number, causal: boolean): Set<number> {
  const all = new Set<number>();
  if (values.length <= ALL_UP_TO) return new Set(values.keys());
  const last = causal ? query : values.length - 1;
  const strongest = Array.from({ length: last + 1 }, (_, key) => key).sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!)).slice(0, 2);
  for (const centre of [query, ...strongest]) for (let i = centre - AROUND; i <= centre + 2; i++) if (i >= 0 && i < values.length) all.add(i);
  return all;
}

export function stripPanel(view: View): HTMLElement {
  const panel = h("div", { class: "iw-strip", "data-part": "strip" });
  view.scope.effect(() => {
    const tokens = view.tokens();
    const { query } = view.cursor();
    const meta = view.meta();
    const ramp = view.ramp();
    const p = view.pattern();
    const { values, exact } = rowOf(view);
    const row = cellOf(p, view.cursor()).row;
    const visible = shown(values, query, p.causal);
    const chips: (Node | string)[] = [];
    let gap = false;
    for (let key = 0; key < tokens.length; key++) {
      if (!visible.has(key)) {
        gap = true;
        continue;
      }
      if (gap) chips.push(h("span", { class: "iw-small" }, " … "));
      gap = false;
      const future = p.block === 1 ? masked(p, query, key) : p.causal && key > query;
      const at = position(values[key]!, p.peaks[row]!, view.scale(), meta);
      const style = future ? null : `background:${ramp.css(at)};color:${ramp.ink(at)}`;
      chips.push(h("span", { class: "iw-chip", style, "data-query": key === query, "data-future": future, title: future ? null : `${key}: ${values[key]!.toFixed(3)}` }, tokenNode(tokens[key]!)));
    }
    if (gap) chips.push(h("span", { class: "iw-small" }, " … "));
    const from = exact || p.block === 1 ? "Attention from " : `Largest attention from tokens ${row * p.block} to ${Math.min(p.tokens, (row + 1) * p.block) - 1}, around `;
    const label = h("span", { class: "iw-small", style: "margin-right:8px" }, from, h("span", { class: "iw-bold", style: "color:var(--accent)" }, tokenNode(tokens[query] ?? ""), ` ${query}`));
    fill(panel, label, chips);
  });
  return panel;
}
