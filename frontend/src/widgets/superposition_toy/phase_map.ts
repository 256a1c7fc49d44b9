/** The phase diagram: how many features are represented at each sparsity and decay; a click takes the toy there. */
import { ramp } from "../../core/colour";
import { attribute, fill, h } from "../../core/dom";
import { enlarge, paintCells, ring } from "../../core/heat_map";
import { line, onKeys, ornament, quiet, resize, svgText } from "../../core/parts";
import { type Read, signal } from "../../core/signal";
import { count, number } from "../../core/words";
import { alongSparsity, decayAt, downDecay, regions, sparsityAt } from "./phase";
import type { View } from "./view";
import { EDGE, onCells, panel, type Spot, titled } from "./words";

export const LEFT = 40;

export function phasePanel({ scope, theme, toy, phase, change }: View, cell: Read<number>, say: (text: string) => void): HTMLElement {
  const canvas = h("canvas", { style: `position:absolute;left:${LEFT}px;top:0` });
  const marks = ornament({ style: "position:absolute;pointer-events:none" });
  const map = h("div", { tabindex: 0, role: "application", "aria-roledescription": "map", style: "position:relative" }, canvas, marks);
  const about = quiet();
  const other = h("div", { class: "iw-small" });
  const found = panel("phase", titled("Phase diagram", about), map, other);
  const hover = signal<Spot | null>(null);
  /** The cell of the settings. */
  const here = (): Spot => [Math.round(downDecay(toy().decay) * (phase()!.rows - 1)), Math.round(alongSparsity(toy().sparsity) * (phase()!.columns - 1))];
  const settings = ([row, column]: Spot) => ({ sparsity: sparsityAt(column / (phase()!.columns - 1)), decay: decayAt(row / (phase()!.rows - 1)) });
  const words = (at: Spot) => {
    const { sparsity, decay } = settings(at);
    return `sparsity ${number(sparsity)}, decay ${number(decay)}: ${count(phase()!.values[at[0] * phase()!.columns + at[1]]!, "feature")}`;
  };
  const go = (at: Spot) => {
    change(settings(at));
    say(words(at));
  };
  scope.effect(() => {
    const grid = phase();
    found.hidden = !grid;
    if (!grid) return;
    const { rows, columns, values, of } = grid;
    const [c, all, colours] = [cell(), Array.from(values), ramp("sequential", theme())];
    const [width, height, low, high] = [columns * c, rows * c, Math.min(...all), Math.max(...all)];
    const code = (value: number) => Math.round(31 + 198 * (high > low ? (value - low) / (high - low) : 0.5));
    enlarge(canvas, paintCells({ rows, columns, at: (row, column) => code(all[row * columns + column]!) }, colours), width, height);
    map.style.cssText = `position:relative;width:${LEFT + width}px;height:${height + 24}px`;
    resize(marks, LEFT + width, height + 24);
    const fits = of[0] === toy().features && of[1] === toy().hidden;
    const [row, column] = here();
    const nine = LEFT + Math.round(width / 2) + 0.5;
    fill(
      marks,
      line(`M${LEFT + 0.5} ${height}v4M${nine} ${height}v4M${LEFT + width - 0.5} ${height}v4`, EDGE),
      ([[LEFT, "start", 0], [LEFT + width / 4, "middle", "sparsity →"], [nine, "middle", 0.9], [LEFT + width, "end", 0.99]] as const).map(([x, anchor, text]) => svgText(x, height + 16, anchor, text)),
      ([[9, "1.0"], [height / 4 + 4, "decay"], [height / 2 + 4, "0.7"], [height, "0.4"]] as const).map(([y, text]) => svgText(LEFT - 8, y, "end", text)),
      regions(grid).map(({ value, row, column }) => svgText(LEFT + (column + 0.5) * c, (row + 0.5) * c + 4, "middle", value, { style: `font-weight:600;fill:${colours.ink(code(value))}` })),
      fits && ring(LEFT + column * c, row * c, c, c),
    );
    attribute(map, "aria-label", `phase diagram, ${words([row, column])}; arrow keys move`);
    const back = () => change({ features: of[0], hidden: of[1] });
    fill(other, !fits && [`This map is of ${of[0]} features in ${of[1]}. `, h("button", { class: "iw-link", on: { click: back } }, "Back to them")]);
  });
  scope.effect(() => fill(about, hover() && phase() ? words(hover()!) : "features represented"));
  onCells(canvas, cell, hover, go);
  onKeys(map, (event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by) return false;
    const ends = [phase()!.rows - 1, phase()!.columns - 1];
    go(here().map((at, i) => Math.max(0, Math.min(ends[i]!, at + by[i]!))) as Spot);
    return true;
  });
  return found;
}
