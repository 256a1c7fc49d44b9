/** The sentence, each token tinted by how much the chosen query attends to it. */
import { h } from "../../core/dom";
import { type Chip, surroundings, tokenStrip } from "../../core/token_strip";
import { tokenNode } from "../../core/tokens";
import { upTo } from "../../core/words";
import { cellOf, masked, position } from "./data";
import type { View } from "./view";

/** Attention from one query to every token; by blocks where nothing finer is known. */
export function rowOf(view: View): { values: Float32Array; exact: boolean } {
  const known = view.row();
  if (known) return { values: known, exact: true };
  const p = view.pattern();
  const { row } = cellOf(p, view.cursor());
  const values = Float32Array.from({ length: p.keys }, (_, key) => p.values[row * p.columns + Math.min(p.columns - 1, Math.floor(key / p.block))]!);
  return { values, exact: false };
}

/** Which tokens are shown: of a long sentence the surroundings of the query, if it is of this one, and of its two strongest keys. */
export function shown(values: Float32Array, query: number | null, causal: boolean): Set<number> {
  const last = causal ? query! : values.length - 1;
  const strongest = upTo(last + 1).sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!)).slice(0, 2);
  return surroundings(values.length, [...(query === null ? [] : [query]), ...strongest]);
}

export function stripPanel(view: View): HTMLElement {
  return tokenStrip(view.scope, () => {
    const { query } = view.cursor();
    const ramp = view.ramp();
    const p = view.pattern();
    const { values, exact } = rowOf(view);
    const { row } = cellOf(p, view.cursor());
    const visible = shown(values, view.cross() ? null : query, p.causal);
    const chips = view.keys().map((token, key): Chip | null => {
      if (!visible.has(key)) return null;
      const quiet = p.block === 1 ? masked(p, query, key) : p.causal && key > query;
      const at = position(values[key]!, p.peaks[row]!, view.scale(), view.meta());
      return { token, chosen: key === query && !view.cross(), quiet, ...(quiet ? {} : { fill: ramp.css(at), ink: ramp.ink(at), title: `${key}: ${values[key]!.toFixed(3)}` }) };
    });
    const from = exact || p.block === 1 ? "Attention from " : `Largest attention from tokens ${row * p.block} to ${Math.min(p.tokens, (row + 1) * p.block) - 1}, around `;
    const label = [from, h("span", { class: "iw-bold iw-accent" }, tokenNode(view.tokens()[query] ?? ""), ` ${query}`)];
    return { label, chips: chips.filter((chip, i) => chip || i === 0 || chips[i - 1]) };
  });
}
