/** Where everything goes, from the width of the page and the shape of the model. */

export const GAP = 24;
export const LIST = 136;
/** Room for token labels beside and below the pattern, as the heat map takes it. */
export const LABELS = 84;
/** Numbers over the grid of scores. */
export const HEADER = 20;

export interface Layout {
  /** Panels side by side: grid, pattern and list; the list under them; or one column. */
  kind: "wide" | "middle" | "narrow";
  /** The grid of scores: room for layer numbers, and the size of a cell. */
  gutter: number;
  across: number;
  down: number;
  grid: number;
  /** Pixels for the pattern, labels not counted. */
  pattern: number;
  list: number;
}

/** Whole device pixels, as many as fit. */
const whole = (room: number, count: number, ratio: number, least: number, most: number) => Math.max(least, Math.min(most, Math.floor((room / count) * ratio) / ratio));

export function layout(page: number, layers: number, heads: number, ratio: number): Layout {
  const kind = page < 640 ? "narrow" : page < 800 ? "middle" : "wide";
  const gutter = 24;
  const room = kind === "narrow" ? page - gutter - 20 - 112 : kind === "middle" ? 240 : 288;
  const down = whole(Math.max(room, 360), layers, ratio, 4, 72);
  const across = whole(room, heads, ratio, 3, Math.min(72, Math.max(24, 2 * down)));
  const square = layers <= heads ? Math.min(across, down) : down;
  const grid = Math.max(gutter + across * heads, 176);
  const beside = page - grid - GAP - LABELS - (kind === "wide" ? LIST + GAP : 0);
  const pattern = kind === "narrow" ? page - LABELS - 4 : Math.max(160, Math.min(340, beside));
  return { kind, gutter, across, down: square, grid, pattern, list: kind === "wide" ? Math.min(220, page - grid - pattern - LABELS - 2 * GAP) : page - grid - 20 };
}
