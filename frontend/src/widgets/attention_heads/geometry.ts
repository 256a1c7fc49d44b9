/** Where everything goes, from the width of the page, the number of tokens and the shape of the model. */
import { stride } from "../../core/axes";
import { measure, tokenWidth } from "../../core/tokens";

export const PANEL_GAP = 24;
const SMALLEST_THUMB = 19;
const LARGEST_THUMB = 30;
export const LAYER_GUTTER = 32;
export const GROUP_GAP = 4;
export const MEAN_GAP = 8;
/** Head numbers over the grid. */
export const HEADER = 24;

export interface MapSize {
  /** The size of a cell in CSS pixels (whole device pixels), and of all of them. */
  cell: number;
  width: number;
  height: number;
  /** Room for the labels left of and below the map. */
  gutter: number;
  below: number;
  slanted: boolean;
}

/** What the grid needs: its columns, the gaps between groups of heads, or a free flow when sorted. */
export interface Shape {
  layers: number;
  heads: number;
  /** Height of a thumbnail by its width, where it is less. */
  aspect: number;
  groups: number;
  sorted: boolean;
}

const gaps = ({ groups }: Shape) => LAYER_GUTTER + MEAN_GAP + (groups > 1 ? (groups - 1) * GROUP_GAP : 0);
const narrowest = (shape: Shape) => (shape.sorted ? 240 : gaps(shape) + (shape.heads + 1) * (SMALLEST_THUMB + 2));

/** As large as the tokens ask for, a little smaller if the grid then fits beside it. There are `rows` x `columns` cells. */
export function mapSize(rows: number, columns: number, tokens: string[], keys: string[], width: number, ratio: number, shape: Shape): MapSize {
  const narrow = width < 640;
  const n = Math.max(rows, columns);
  const widest = (all: string[]) => all.reduce((most, token) => Math.max(most, token.length > 40 ? 200 : tokenWidth(token)), 0);
  const index = stride(440 / n) > 1 ? measure(`${n} `) + 4 : 0;
  const gutter = Math.ceil(Math.min(narrow ? 84 : 100, Math.max(28, widest(tokens) + index)) + 10);
  const asked = n <= 28 ? Math.min(32, (narrow ? 440 : 340) / n) : Math.max(1, Math.min(16, 440 / n));
  const besideGrid = width - gutter - PANEL_GAP - narrowest(shape);
  const room = !narrow && besideGrid >= 280 ? besideGrid : width - gutter - 2;
  const cell = Math.max(1, Math.min(Math.round(asked * ratio), Math.floor((room / columns) * ratio))) / ratio;
  const slanted = cell >= 15;
  const long = Math.min(84, widest(keys) + index);
  return { cell, width: cell * columns, height: cell * rows, gutter, below: Math.ceil(slanted ? long * 0.72 + 18 : long + 14), slanted };
}

export interface GridSize {
  /** Beside the map, or under it. */
  beside: boolean;
  thumb: number;
  pitch: number;
  width: number;
}

/** The title line over the map needs this much, also where the map itself is smaller. */
export const panelWidth = (map: MapSize) => Math.max(map.gutter + map.width, 300);

/** The largest thumbnails that fit beside the map; else under it; else as small as allowed, scrolling sideways. */
export function gridSize(width: number, map: MapSize, shape: Shape): GridSize {
  // a model of few heads may show them larger, as long as the grid is no taller than the map
  const largest = Math.max(LARGEST_THUMB, Math.min(72, Math.floor(((map.height - HEADER) / shape.layers - 5) / shape.aspect)));
  const fits = (room: number) => Math.min(largest, Math.floor((room - gaps(shape)) / (shape.heads + 1)) - 2);
  const besideRoom = width - panelWidth(map) - PANEL_GAP;
  const beside = width >= 640 && (shape.sorted ? besideRoom >= 240 : fits(besideRoom) >= SMALLEST_THUMB);
  const thumb = Math.max(SMALLEST_THUMB, fits(beside ? besideRoom : width));
  return { beside, thumb, pitch: thumb + 2, width: beside ? besideRoom : width };
}
