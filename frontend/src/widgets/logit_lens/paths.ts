/** How the target and the pinned tokens fare from layer to layer at one position. */
import { attribute, fill, h } from "../../core/dom";
import { lineChart, sample, type Series } from "../../core/line_chart";
import { quiet } from "../../core/parts";
import type { Read } from "../../core/signal";
import { spoken, tokenNode, visible } from "../../core/tokens";
import { column, type Plane, top, written } from "./data";
import type { Layout } from "./geometry";
import type { Path, View } from "./view";

const TITLES = { probability: "probability", rank: "rank", entropy: "entropy, nats,", kl: "KL to the output, nats," };

/** The token of a path at a position; null where the text ends. */
const tokenAt = (view: View, path: Path, position: number): string | null => path.token || view.wanted(position);

/** Where there is neither a target nor a pin: what the last layer says. */
function instead(view: View, position: number): Path[] {
  const plane = view.planes()[0]?.plane;
  const last = plane && top(plane, view.vocab(), { row: plane.rows - 1, position })[0];
  return last ? [{ token: last.token, colour: "var(--ink2)", shape: 0, target: false }] : [];
}

export function shownPaths(view: View): Path[] {
  const { position } = view.cursor();
  const found = view.paths().filter((path) => tokenAt(view, path, position) !== null);
  return found.length ? found : instead(view, position);
}

const values = (view: View, path: Path, plane: Plane, position: number) => {
  const { track } = view.track(path, plane);
  return column(view.measure() === "rank" ? track.rank : track.prob, plane.rows, plane.columns, position);
};

function series(view: View): Series[] {
  const { position } = view.cursor();
  const nats = view.measure() === "entropy" || view.measure() === "kl";
  return view.planes().flatMap(({ lens, plane }, which): Series[] => {
    if (!plane) return [];
    const dashed = which > 0;
    if (nats) {
      const known = view.values(plane);
      return known ? [{ name: lens, values: column(known, plane.rows, plane.columns, position), colour: "var(--ink1)", shape: which, main: !which, dashed, named: view.planes().length > 1 }] : [];
    }
    return shownPaths(view).map((path) => ({ name: tokenAt(view, path, position)!, values: values(view, path, plane, position), colour: path.colour, shape: path.shape, main: path.target, dashed, named: !dashed }));
  });
}

export function chart(view: View, size: Read<Layout>): SVGSVGElement {
  const { scope } = view;
  const position = scope.computed(() => view.cursor().position);
  const drawing = lineChart(
    scope,
    () => `${TITLES[view.measure()]} by layer after ${spoken(view.tokens()[position()] ?? "")}: ${series(view).map(({ name }) => spoken(name)).join(", ")}`,
    () => {
      const { chartRow, chart: extent, gutter } = size();
      const scale = view.scale();
      return {
        series: series(view),
        steps: view.rows().length,
        pitch: chartRow,
        way: "down",
        extent,
        place: scale.place,
        ticks: scale.ticks,
        stepNames: view.narrow() ? view.rows() : null,
        gutter: view.narrow() ? gutter : 0,
        title: [`${TITLES[view.measure()]} after `, { token: view.tokens()[position()] ?? "" }],
      };
    },
    () => view.cursor().row,
    (row) => !view.locked() && view.hover.set(row === null ? null : { row, position: position() }),
    (row) => view.select({ row, position: position() }, view.locked()),
  );
  drawing.dataset.part = "trajectories";
  return drawing;
}

/** Any token of the model by its text; a space at its start belongs to it. */
function pinBox(view: View): HTMLInputElement {
  const input = h("input", { class: "iw-pin-box", "aria-label": "pin a token", placeholder: "␣token", size: 7, spellcheck: "false", title: "Pin a token: its text, with the space before it; Enter" });
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key !== "Enter" || event.isComposing || !input.value) return;
    const token = input.value.replace(/^␣/, " ");
    if (!view.pinned().includes(token)) view.pin(token);
    input.value = "";
  });
  return input;
}

/** What the lines are: shape, token, value at the chosen layer; pinned ones can be let go. */
export function chips(view: View): HTMLElement {
  const box = h("div", { class: "iw-pins" });
  const list = h("div", { style: "display:contents" });
  const more = view.hasModel && pinBox(view);
  fill(box, list, more);
  if (more) view.scope.effect(() => (more.disabled = view.kernel() === "none"));
  view.scope.effect(() => {
    const cell = view.cursor();
    const plane = view.planes()[0]?.plane;
    attribute(box, "hidden", view.measure() === "entropy" || view.measure() === "kl");
    let whole = true;
    const all = shownPaths(view).map((path) => {
      const token = tokenAt(view, path, cell.position)!;
      const value = plane ? values(view, path, plane, cell.position)[cell.row]! : NaN;
      const pinned = view.pinned().includes(path.token) && !path.target;
      whole &&= !plane || view.track(path, plane).whole;
      const close = pinned && h("button", { class: "iw-bare iw-unpin", "aria-label": `unpin ${spoken(token)}`, on: { click: () => view.pin(path.token) } }, "×");
      const text = view.measure() === "rank" || !Number.isFinite(value) ? written("rank", value) : value.toFixed(2);
      return h("span", { class: "iw-pin", "data-pin": visible(token) }, sample(path.shape, path.colour), h("span", { class: "iw-cut" }, tokenNode(token)), quiet(text), close);
    });
    const two = view.planes().length > 1 && [h("span", { class: "iw-pin" }, sample(0, "var(--ink2)"), view.lens()), h("span", { class: "iw-pin" }, sample(0, "var(--ink2)", true), view.compare())];
    fill(list, all, two, !whole && h("div", { class: "iw-small", style: "flex-basis:100%;order:1" }, `Gaps: not among the top ${view.meta().k}`));
  });
  return box;
}
