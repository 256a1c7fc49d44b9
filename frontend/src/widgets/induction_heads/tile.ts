/** The pattern of one head, as `_patterns.py` sends it: n x n cells, of which each stands for block x block tokens. */
import { numbers, type Packed } from "../../core/buffers";
import type { Head } from "./data";

export interface Tile extends Head {
  /** The step of training that it belongs to; null where only the finished model is here. */
  step: number | null;
  block: number;
  n: number;
  packed: boolean;
  values: Packed;
  /** Where in its block the largest value stands; null where each cell is one pair of tokens. */
  where: Packed | null;
}

export interface Spot {
  query: number;
  key: number;
}

export interface Pattern {
  n: number;
  block: number;
  tokens: number;
  causal: boolean;
  /** Row by row; of a causal pattern the lower triangle alone. */
  packed: boolean;
  values: ArrayLike<number>;
  where: ArrayLike<number> | null;
}

export const readTile = ({ n, block, packed, values, where }: Tile, tokens: number, causal: boolean): Pattern => ({
  n, block, tokens, causal, packed, values: numbers(values), where: where && numbers(where),
});

const index = ({ n, packed }: Pattern, row: number, column: number) => (packed ? (row * (row + 1)) / 2 + column : row * n + column);

export const masked = ({ causal }: Pattern, row: number, column: number): boolean => causal && column > row;

export const cellAt = (p: Pattern, row: number, column: number): number => (p.packed && column > row ? 0 : (p.values[index(p, row, column)] ?? 0));

export const cellOf = ({ n, block }: Pattern, { query, key }: Spot) => ({ row: Math.min(n - 1, Math.floor(query / block)), column: Math.min(n - 1, Math.floor(key / block)) });

export function valueAt(p: Pattern, spot: Spot): number {
  const { row, column } = cellOf(p, spot);
  return cellAt(p, row, column);
}

/** The pair of tokens that a cell stands for: that of its largest value. */
export function spotOf(p: Pattern, row: number, column: number): Spot {
  const inside = p.where?.[index(p, row, column)] ?? 0;
  const last = p.tokens - 1;
  return { query: Math.min(last, row * p.block + Math.floor(inside / p.block)), key: Math.min(last, column * p.block + (inside % p.block)) };
}

/** The last query and the key it attends to most. */
export function lastSpot(p: Pattern): Spot {
  const row = p.n - 1;
  let best = 0;
  for (let column = 0; column < p.n; column++) if (Math.abs(cellAt(p, row, column)) > Math.abs(cellAt(p, row, best))) best = column;
  return spotOf(p, row, best);
}

/** A value as a place on the ramp, 0 to 255; 128 is zero where values have signs. */
export function code(value: number, signed: boolean, vmax: number): number {
  const share = Math.min(1, Math.abs(value) / (vmax || 1));
  return signed ? Math.round(127.5 + 127.5 * Math.sign(value) * share) : Math.round(255 * share);
}
