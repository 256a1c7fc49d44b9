/** Cells in colours: whole device pixels, no smoothing, and blocks of cells where there is no room for each. */
import { columnLabels, rowLabels } from "./axes";
import type { Ramp } from "./colour";
import { attribute, fill, h, s } from "./dom";
import { pane, pointing, resize } from "./parts";
import type { Read, Scope } from "./signal";

/** Places on a ramp, 0 to 255, row by row; what is below zero stays clear. */
export interface Cells {
  rows: number;
  columns: number;
  at(row: number, column: number): number;
}

/** A picture with one pixel for each cell. */
export function paintCells({ rows, columns, at }: Cells, ramp: Ramp): HTMLCanvasElement {
  const canvas = h("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0, i = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, i++) {
      const code = at(row, column);
      if (code >= 0) pixels[i] = ramp.pixels[code]!;
    }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draws one picture enlarged to whole device pixels. */
export function enlarge(canvas: HTMLCanvasElement, picture: HTMLCanvasElement, width: number, height: number): void {
  canvas.width = Math.max(picture.width, Math.round(width * devicePixelRatio));
  canvas.height = Math.max(picture.height, Math.round(height * devicePixelRatio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d")!;
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
}

/** How much is shown: cells of whole device pixels, each of which stands for `block` values (a power of two). */
export function detail(count: number, room: number, largest: number, ratio: number): { block: number; cell: number } {
  let block = 1;
  while (Math.ceil(count / block) > Math.max(1, room * ratio)) block *= 2;
  const cell = Math.max(1, Math.min(Math.round(largest * ratio), Math.floor((room * ratio) / Math.max(1, Math.ceil(count / block)))));
  return { block, cell: cell / ratio };
}

/** Blocks of cells, each as strong as its strongest; `weight` says how strong a code is, by default the code itself. */
export function pooled(cells: Cells, down: number, across: number, weight = (code: number) => code): Cells {
  if (down === 1 && across === 1) return cells;
  return {
    rows: Math.ceil(cells.rows / down),
    columns: Math.ceil(cells.columns / across),
    at(row, column) {
      let found = -1;
      for (let r = row * down; r < Math.min(cells.rows, (row + 1) * down); r++)
        for (let c = column * across; c < Math.min(cells.columns, (column + 1) * across); c++) {
          const code = cells.at(r, c);
          if (code >= 0 && (found < 0 || weight(code) > weight(found))) found = code;
        }
      return found;
    },
  };
}

/** A ring round a cell: accent with a paper halo when chosen, never smaller than 9 px. */
export function ring(x: number, y: number, width: number, height: number, colour = "var(--accent)"): SVGElement[] {
  const [w, t] = [Math.max(9, width), Math.max(9, height)];
  const [left, top] = [x - (w - width) / 2, y - (t - height) / 2];
  return [
    s("rect", { x: left - 2.5, y: top - 2.5, width: w + 5, height: t + 5, fill: "none", stroke: "var(--paper)" }),
    s("rect", { x: left - 1, y: top - 1, width: w + 2, height: t + 2, fill: "none", stroke: colour, "stroke-width": 2 }),
  ];
}

export interface Spot {
  row: number;
  column: number;
}

export interface HeatMap {
  cells: Cells;
  ramp: Ramp;
  /** Names of rows and columns; none where another panel already has them. */
  rowNames: string[] | null;
  columnNames: string[] | null;
  /** Room for the map in CSS pixels, labels not counted, and the largest a cell may be. */
  width: number;
  height: number;
  largest: { across: number; down: number };
}

const GUTTER = 84;
const HANG = 72;

export interface Spots {
  chosen: Spot | null;
  hovered: Spot | null;
}

/** A map with its axes and its ring; tells which cell is under the pointer. What `spots` reads repaints no cell. */
export function heatMap(scope: Scope, label: Read<string>, read: Read<HeatMap>, spots: Read<Spots>, hover: (spot: Spot | null) => void, choose: (spot: Spot) => void): HTMLElement {
  const canvas = h("canvas", { style: "position:absolute;top:0" });
  const marks = pane();
  const box = h("div", { "data-part": "map", role: "img", style: "position:relative" }, canvas, marks);
  const size = scope.computed(() => {
    const { cells, width, height, largest, rowNames, columnNames } = read();
    const [across, down] = [detail(cells.columns, width, largest.across, devicePixelRatio), detail(cells.rows, height, largest.down, devicePixelRatio)];
    const shown = pooled(cells, down.block, across.block);
    return { shown, across, down, left: rowNames ? GUTTER : 0, width: shown.columns * across.cell, height: shown.rows * down.cell, below: columnNames ? HANG : 0 };
  });
  scope.effect(() => {
    const { shown, left, width, height, below } = size();
    enlarge(canvas, paintCells(shown, read().ramp), width, height);
    canvas.style.left = `${left}px`;
    box.style.width = `${left + width}px`;
    box.style.height = `${height + below}px`;
    resize(marks, left + width, height + below);
    attribute(box, "aria-label", label());
  });
  scope.effect(() => {
    const { across, down, left, height, shown } = size();
    const { rowNames, columnNames } = read();
    const { chosen, hovered } = spots();
    const at = ({ row, column }: Spot) => [left + Math.floor(column / across.block) * across.cell, Math.floor(row / down.block) * down.cell, across.cell, down.cell] as const;
    const axis = (names: string[], { block, cell }: { block: number; cell: number }, count: number, on: number | undefined) => ({
      count, pitch: cell, room: GUTTER - 30, chosen: on === undefined ? -1 : Math.floor(on / block),
      at: (i: number) => ({ index: i * block, token: names[i * block] ?? "" }),
    });
    fill(
      marks,
      rowNames && rowLabels(axis(rowNames, down, shown.rows, chosen?.row), left),
      columnNames && columnLabels(axis(columnNames, across, shown.columns, chosen?.column), left, height, across.cell >= 15),
      chosen && ring(...at(chosen)),
      hovered && s("rect", { ...framed(...at(hovered)), fill: "none", stroke: "var(--ink1)" }),
    );
  });
  const under = (event: MouseEvent): Spot | null => {
    const { across, down, shown } = size();
    const edge = canvas.getBoundingClientRect();
    const [row, column] = [Math.floor((event.clientY - edge.top) / down.cell), Math.floor((event.clientX - edge.left) / across.cell)];
    if (row < 0 || column < 0 || row >= shown.rows || column >= shown.columns || shown.at(row, column) < 0) return null;
    return { row: row * down.block, column: column * across.block };
  };
  pointing(canvas, under, hover, choose);
  return box;
}

const framed = (x: number, y: number, width: number, height: number) => ({ x: x - 0.5, y: y - 0.5, width: width + 1, height: height + 1 });
