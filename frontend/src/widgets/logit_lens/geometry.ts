/** Where everything goes, from the width of the page, the tokens and the layers. */
import { tokenWidth } from "../../core/tokens";

export const GAP = 24;
/** Tokens over the grid, and what follows them under it. */
export const HEADER = 24;
export const CARD = 188;
const NARROWEST = 46;
const WIDEST = 72;
const [CHART_LEAST, CHART_GOOD, CHART_MOST] = [160, 220, 300];

export interface Layout {
  gutter: number;
  /** Size of a cell, in CSS pixels (whole device pixels), and of all that can be seen of one grid. */
  cell: number;
  row: number;
  width: number;
  height: number;
  /** Columns that can be seen at once. */
  seen: number;
  /** A second grid stands beside the first, or under it. */
  beside: boolean;
  chart: number;
  chartRow: number;
  /** The card has a place of its own beside the grid. */
  docked: boolean;
}

interface Asked {
  page: number;
  tokens: number;
  rows: number;
  /** The width of the longest name of a row. */
  names: number;
  grids: number;
  /** The width that the tokens ask for. */
  widest: number;
  ratio: number;
}

const clamp = (value: number, least: number, most: number) => Math.max(least, Math.min(most, value));

/** The width that most tokens need, cut where a few are far longer. */
export const widestToken = (tokens: string[]): number => tokens.reduce((most, token) => Math.max(most, token.length > 30 ? WIDEST : tokenWidth(token)), 0) + 10;

export function layout({ page, tokens, rows, names, grids, widest, ratio }: Asked): Layout {
  const narrow = page < 640;
  const gutter = Math.ceil(clamp(12 + names, 32, 72));
  const least = gutter + NARROWEST * tokens;
  const rest = (card: boolean, chart: number) => (narrow ? page : page - GAP - chart - (card ? GAP + CARD : 0)) - gutter;
  // the card floats where the whole text fits only without it
  const docked = page >= 900 && (least - gutter <= rest(true, CHART_LEAST) || least - gutter > rest(false, CHART_LEAST));
  const beside = grids === 2 && !narrow && 2 * NARROWEST * tokens + GAP <= rest(docked, CHART_LEAST);
  const share = (chart: number) => (beside ? (rest(docked, chart) - GAP) / 2 : rest(docked, chart));
  const whole = (size: number) => Math.floor(size * ratio) / ratio;
  const room = share(CHART_LEAST);
  const fits = NARROWEST * tokens <= room;
  const seen = fits ? tokens : Math.max(1, Math.floor(room / NARROWEST));
  const cell = whole(fits ? clamp(share(CHART_GOOD) / tokens, NARROWEST, Math.min(WIDEST, Math.max(NARROWEST, widest), room / tokens)) : room / seen);
  const width = seen * cell;
  const row = rows <= 20 ? 24 : rows <= 36 ? 20 : 16;
  const used = gutter + (beside ? 2 * width + GAP : width);
  const chart = narrow ? page - gutter - 12 : clamp(page - used - GAP - (docked ? GAP + CARD : 0) - 8, CHART_LEAST - 8, CHART_MOST);
  return { gutter, cell, row, width, height: rows * row, seen, beside, chart, chartRow: narrow ? clamp(Math.floor(320 / rows), 8, 18) : row, docked };
}
