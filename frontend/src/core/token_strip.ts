/** A sentence as chips, one for each token, tinted by a value. */
import { type Child, fill, h } from "./dom";
import type { Read, Scope } from "./signal";
import { tokenNode } from "./tokens";

export interface Chip {
  token: string;
  /** Colours of the chip and of its text; none for a chip without a value. */
  fill?: string;
  ink?: string;
  chosen?: boolean;
  /** Not yet to be seen, as the future of a causal model. */
  quiet?: boolean;
  title?: string;
}

const ALL_UP_TO = 48;
const [BEFORE, AFTER] = [4, 2];

/** Which tokens are shown: all of a short sentence; of a long one the surroundings of the ones that matter. */
export function surroundings(count: number, centres: number[]): Set<number> {
  if (count <= ALL_UP_TO) return new Set(Array(count).keys());
  const found = new Set<number>();
  for (const centre of centres) for (let i = Math.max(0, centre - BEFORE); i <= Math.min(count - 1, centre + AFTER); i++) found.add(i);
  return found;
}

/** Chips with what stands before them. A `null` among them is a gap: tokens left out. */
export function chips(all: (Chip | null)[]): Node[] {
  return all.map((chip) =>
    chip
      ? h("span", { class: "iw-chip", style: chip.fill ? `background:${chip.fill};color:${chip.ink}` : null, "data-query": chip.chosen, "data-future": chip.quiet, title: chip.title }, tokenNode(chip.token))
      : h("span", { class: "iw-small" }, " … "),
  );
}

/** The strip, renewed as what it reads changes. */
export function tokenStrip(scope: Scope, read: Read<{ label: Child; chips: (Chip | null)[] }>): HTMLElement {
  const strip = h("div", { class: "iw-strip", "data-part": "strip" });
  scope.effect(() => {
    const { label, chips: all } = read();
    fill(strip, h("span", { class: "iw-small", style: "margin-right:8px" }, label), chips(all));
  });
  return strip;
}
