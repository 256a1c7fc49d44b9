/** Where everything goes, from the width of the page, the number of tokens and the shape of the model. */
import { measure, tokenWidth, visible } from "../../core/tokens";

export const PANEL_GAP = 24;
const SMALLEST_THUMB = 19;
const LARGEST_THUMB = 30;
export const LAYER_GUTTER = 32;
export const GROUP_GAP = 4;
export const MEAN_GAP = 8;

export interface MapSize {
  /** Cells per side, and the size of one in CSS pixels (whole device pixels). */
  n: number;
  cell: number;
  side: number;
  /** Room for the labels left of and below the map. */
  gutter: number;
  below: number;
  slanted: boolean;
}

/** Every k-th label, k a power of two, so that labels stand at least 11 px (22 px once some are left out) apart. */
export function stride(pitch: number): number {
  if (pitch >= 11) return 1;
  let k = 2;
  while (k * pitch < 22) k *= 2;
  return k;
}

/** Which indices get a label: those of the stride, but none that would touch one of `always`. */
export function labelled(n: number, pitch: number, always: number[]): number[] {
  const k = stride(pitch);
  const reach = k === 1 ? 1 : 22 / pitch;
  const found: number[] = [];
  for (let i = 0; i < n; i++) if (always.includes(i) || (i % k === 0 && always.every((a) => Math.abs(a - i) >= reach))) found.push(i);
  return found;
}

export function mapSize(n: number, tokens: string[], width: number, ratio: number): MapSize {
  const narrow = width < 640;
  const widest = tokens.reduce((most, token) => Math.max(most, token.length > 40 ? 200 : tokenWidth(token)), 0);
  const index = stride(440 / n) > 1 ? measure(`${n} `) + 4 : 0;
  const gutter = Math.ceil(Math.min(narrow ? 84 : 110, Math.max(28, widest + index)) + 10);
  const asked = n <= 28 ? Math.min(32, 340 / n) : Math.min(16, 440 / n);
  const room = (narrow ? width : Math.max(width * 0.62, 300)) - gutter - 2;
  const cell = Math.max(1, Math.floor(Math.min(asked, room / n) * ratio)) / ratio;
  const slanted = cell >= 15;
  const long = Math.min(84, widest + index);
  return { n, cell, side: cell * n, gutter, below: Math.ceil(slanted ? long * 0.72 + 18 : long + 14), slanted };
}

export interface GridSize {
  /** Beside the map, or under it. */
  beside: boolean;
  thumb: number;
  pitch: number;
  width: number;
}

/** The largest thumbnails that fit beside the map; else under it; else as small as allowed, scrolling sideways. */
export function gridSize(width: number, map: MapSize, heads: number, groups: number): GridSize {
  const extra = LAYER_GUTTER + MEAN_GAP + (groups > 1 ? (groups - 1) * GROUP_GAP : 0);
  const fits = (room: number) => Math.min(LARGEST_THUMB, Math.floor((room - extra) / (heads + 1)) - 2);
  const besideRoom = width - map.gutter - map.side - PANEL_GAP;
  const beside = width >= 640 && fits(besideRoom) >= SMALLEST_THUMB;
  const thumb = Math.max(SMALLEST_THUMB, fits(beside ? besideRoom : width));
  return { beside, thumb, pitch: thumb + 2, width: beside ? besideRoom : width };
}

export const indexed = (token: string, index: number) => `${index} ${visible(token)}`;
