/** What stands behind one cell: its top tokens with their probabilities. A click on a token pins it. */
import { type Bar, barRows } from "../../core/bar_list";
import { type Child, fill, h } from "../../core/dom";
import { bold, focusNear } from "../../core/parts";
import { spoken, tokenNode, tokenWidth } from "../../core/tokens";
import { type Cell, type Plane, rowTitle, top, written } from "./data";
import type { View } from "./view";

/** The cell as a sentence for a screen reader. */
export function sentence(view: View): string {
  const cell = view.cursor();
  const parts = view.planes().map(({ lens, plane }) => {
    const found = plane ? top(plane, view.vocab(), cell).map(({ token, prob }) => `${spoken(token)} ${written("probability", prob)}`) : [];
    return `${view.planes().length > 1 ? `${lens}: ` : ""}${found.join(", ") || "nothing yet"}`;
  });
  return `${rowTitle(view.rows()[cell.row] ?? "")}, after ${spoken(view.tokens()[cell.position] ?? "")}, position ${cell.position}: ${parts.join("; ")}`;
}

/** Tab-separated: row, position, token, then the top tokens with their probabilities. */
export function cellText(view: View): string {
  const cell = view.cursor();
  const plane = view.planes()[0]?.plane;
  const found = plane ? top(plane, view.vocab(), cell).flatMap(({ token, prob }) => [token, prob]) : [];
  return [view.rows()[cell.row], cell.position, view.tokens()[cell.position], ...found].join("\t");
}

function bars(view: View, plane: Plane, cell: Cell): Bar[] {
  const ramp = view.ramp();
  return top(plane, view.vocab(), cell).map(({ token, prob }) => {
    const on = view.pinned().includes(token);
    const wanted = token === view.wanted(cell.position);
    return {
      name: h("span", { class: wanted ? "iw-accent iw-bold" : null }, tokenNode(token)),
      share: prob,
      colour: ramp.css(Math.round(255 * Math.min(1, prob))),
      text: written("probability", prob),
      act: { verb: "pin", on, run: () => view.pin(token) },
    };
  });
}

/** Entropy and divergence of a cell, as far as they are known. */
function nats(plane: Plane, { row, position }: Cell): string {
  const at = row * plane.columns + position;
  const known = [["entropy", plane.entropy], ["KL", plane.kl]] as const;
  return known.flatMap(([name, values]) => (values && Number.isFinite(values[at]!) ? [`${name} ${written("kl", values[at]!)}`] : [])).join(" · ");
}

function content(view: View): Child[] {
  const cell = view.cursor();
  const planes = view.planes();
  const after = h("span", { class: "iw-quiet iw-cut" }, "after ", tokenNode(view.tokens()[cell.position] ?? ""), ` ${cell.position}`);
  return [
    h("div", { class: "iw-row" }, bold(rowTitle(view.rows()[cell.row] ?? "")), after),
    planes.map(({ lens, plane }) => {
      const rows = plane ? bars(view, plane, cell) : [];
      const names = Math.min(72, Math.max(36, ...(plane ? top(plane, view.vocab(), cell).map(({ token }) => tokenWidth(token)) : [])));
      return [
        h("div", { class: "iw-quiet iw-row iw-bars-head" }, planes.length > 1 && bold(lens), h("span", null, plane && nats(plane, cell))),
        rows.length ? barRows(rows, Math.ceil(names)) : h("div", { class: "iw-quiet" }, plane ? "Nothing is written here" : "Not computed"),
      ];
    }),
    h("div", { class: "iw-quiet iw-hint", style: "margin-top:4px" }, view.locked() ? "Click a token to pin it" : "Click the cell to hold it, P pins its top"),
  ];
}

/** A card that follows the cursor; a button that had the focus keeps it. */
export function card(view: View): HTMLElement {
  const box = h("div", { class: "iw-card iw-lens-card", "data-part": "tip", role: "group", "aria-label": "top tokens of the cell" });
  view.scope.effect(() => {
    const buttons = () => [...box.querySelectorAll("button")];
    const focused = buttons().indexOf(focusNear(box) as HTMLButtonElement);
    box.style.setProperty("--bar-edge", view.ramp().css(140));
    fill(box, content(view));
    if (focused >= 0) buttons()[focused]?.focus({ preventScroll: true });
  });
  return box;
}
