/** A card beside what it is about: diagonal to the cell, over neither its row nor its column. */
import { type Child, h } from "./dom";

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export const tooltip = (...children: Child[]): HTMLElement => h("div", { class: "iw-card iw-tip", role: "tooltip" }, ...children);

export interface Place {
  left?: number;
  right?: number;
  top?: number;
  bottom?: number;
}

const GAP = 6;

/** Where a card of a size goes in a panel: right of the cell if it fits there, and `first` above or below it. */
export function place(cell: Box, card: { width: number; height: number }, panel: { width: number; height: number }, first: "above" | "below"): Place {
  const right = cell.x + cell.width + GAP + card.width < panel.width;
  const fitsBelow = cell.y + cell.height + GAP + card.height < panel.height;
  const fitsAbove = cell.y - GAP - card.height >= 0;
  const below = first === "below" ? fitsBelow || !fitsAbove : fitsBelow && !fitsAbove;
  return {
    ...(right ? { left: cell.x + cell.width + GAP } : { right: panel.width - cell.x + GAP }),
    ...(below ? { top: cell.y + cell.height + GAP } : { bottom: panel.height - cell.y + GAP }),
  };
}

/** Puts a card there. */
export function put(card: HTMLElement, at: Place): HTMLElement {
  for (const side of ["left", "right", "top", "bottom"] as const) card.style[side] = at[side] === undefined ? "" : `${at[side]}px`;
  return card;
}
