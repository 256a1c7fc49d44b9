/** From the wire to numbers: thumbnails of every head, and the one head on show. The codes are those of `_patterns.py`. */
import { numbers, type Packed } from "../../core/buffers";

export interface Meta {
  model: string;
  layers: number;
  heads: number;
  kv_heads: number;
  /** How many queries there are; `keys` too where they are of another text. */
  tokens: number;
  keys?: number;
  causal: boolean;
  signed: boolean;
  vmax: number;
  /** Tokens per side that one thumbnail cell covers. */
  block: number;
  /** The same for the large map. */
  tile: number;
  exact: "float32" | "float16";
  /** What the state line says first: of how many prompts this is the mean, what is taken from what. */
  note: string;
  /** What this side is called where two stand side by side. */
  name: string;
}

/** How many keys there are. */
export const keysOf = ({ tokens, keys }: Meta): number => keys ?? tokens;

export type HeadId = { layer: number; head: number | null };

/** A square part of the map: its first query, its first key, its size in tokens. */
export type Zoom = [number, number, number];

export interface Tile extends HeadId {
  block: number;
  n: number;
  /** Cells of a row, where there are not as many as rows. */
  columns?: number;
  /** Of which kind of attention it is, where there are several. */
  attention?: string;
  /** Of which part it is; absent of the whole. */
  zoom?: Zoom;
  packed: boolean;
  values: Packed;
  where: Packed | null;
}

/** The pattern of one head, n x columns; with block > 1 each cell is the largest value of block x block tokens. */
export interface Pattern {
  n: number;
  columns: number;
  block: number;
  tokens: number;
  keys: number;
  /** The query of the first row and the key of the first column. */
  top: number;
  left: number;
  values: Float32Array;
  /** Where in its block the largest value stands, row by row; absent where it is not known. */
  where: Uint8Array | null;
  /** Largest magnitude of each row. */
  peaks: Float32Array;
  exact: boolean;
  causal: boolean;
  /** False while nothing of this head has come. */
  known: boolean;
}

export interface Spot {
  query: number;
  key: number;
}

function unpack<A extends Uint8Array | Float32Array>(packed: A, n: number, dense: A): A {
  for (let q = 0, from = 0; q < n; from += ++q) dense.set(packed.subarray(from, from + q + 1), q * n);
  return dense;
}

function pattern(values: Float32Array, where: Uint8Array | null, n: number, columns: number, block: number, meta: Meta, exact: boolean): Pattern {
  const peaks = Float32Array.from({ length: n }, (_, q) => values.subarray(q * columns, (q + 1) * columns).reduce((peak, value) => Math.max(peak, Math.abs(value)), 0));
  return { n, columns, block, tokens: meta.tokens, keys: keysOf(meta), top: 0, left: 0, values, where, peaks, exact, causal: meta.causal, known: true };
}

export function fromTile(tile: Tile, meta: Meta): Pattern {
  const [top = 0, left = 0] = tile.zoom ?? [];
  return { ...read(tile, meta), top, left };
}

function read(tile: Tile, meta: Meta): Pattern {
  const { n, block, columns = n } = tile;
  const raw = Float32Array.from(numbers(tile.values));
  const where = tile.where && (numbers(tile.where) as Uint8Array);
  const dense = <A extends Uint8Array | Float32Array>(cells: A, room: A) => (tile.packed ? unpack(cells, n, room) : cells);
  return pattern(dense(raw, new Float32Array(n * n)), where && dense(where, new Uint8Array(n * n)), n, columns, block, meta, block === 1);
}

/** The value behind each code of a thumbnail. */
export function decoder(meta: Meta): Float32Array {
  const table = new Float32Array(256);
  for (let code = 1; code < 256; code++) {
    const [sign, step] = meta.signed ? [Math.sign(code - 128), (Math.abs(code - 128) - 1) / 126] : [1, (code - 1) / 254];
    table[code] = sign ? sign * meta.vmax * 10 ** (4 * (step - 1)) : 0;
  }
  return table;
}

/** All thumbnails: `[layer, head, t, columns]`, the mean over heads last in its layer. */
export interface Thumbs {
  codes: Uint8Array;
  t: number;
  columns: number;
  planes: number;
}

export function thumbs(array: Packed): Thumbs {
  return { codes: numbers(array) as Uint8Array, t: array.shape[2] ?? 0, columns: array.shape[3] ?? 0, planes: array.shape[1] ?? 0 };
}

export function plane(all: Thumbs, { layer, head }: HeadId): Uint8Array {
  const size = all.t * all.columns;
  const at = (layer * all.planes + (head ?? all.planes - 1)) * size;
  return all.codes.subarray(at, at + size);
}

export function fromThumb(all: Thumbs, id: HeadId, meta: Meta, table: Float32Array): Pattern {
  const codes = plane(all, id);
  return pattern(Float32Array.from(codes, (code) => table[code]!), null, all.t, all.columns, meta.block, meta, false);
}

/** The part of a pattern that a zoom shows, by whole cells; rows keep the peaks that they have in the whole. */
export function crop(p: Pattern, [query, key, size]: Zoom): Pattern {
  const cells = (from: number) => Math.ceil((from + size) / p.block) - Math.floor(from / p.block);
  const side = Math.max(cells(query), cells(key));
  const [n, columns] = [Math.min(p.n, side), Math.min(p.columns, side)];
  const [row, column] = [Math.min(p.n - n, Math.floor(query / p.block)), Math.min(p.columns - columns, Math.floor(key / p.block))];
  const cut = <A extends Float32Array | Uint8Array>(all: A, out: A): A => {
    for (let i = 0; i < n; i++) out.set(all.subarray((row + i) * p.columns + column, (row + i) * p.columns + column + columns), i * columns);
    return out;
  };
  return {
    ...p,
    n,
    columns,
    top: row * p.block,
    left: column * p.block,
    values: cut(p.values, new Float32Array(n * columns)),
    where: p.where && cut(p.where, new Uint8Array(n * columns)),
    peaks: p.peaks.slice(row, row + n),
  };
}

/** The square that a dragged rectangle asks for: as small as holds it, around its middle, within the text. */
export function squareOf(from: Spot, to: Spot, tokens: number, smallest: number, keys = tokens): Zoom {
  const [top, left] = [Math.min(from.query, to.query), Math.min(from.key, to.key)];
  const [height, wide] = [Math.abs(from.query - to.query) + 1, Math.abs(from.key - to.key) + 1];
  return around({ query: top + (height - 1) / 2, key: left + (wide - 1) / 2 }, Math.max(height, wide, smallest), tokens, keys);
}

/** A square of this size round a pair of tokens, within the text; it covers all queries, or keys, where there are fewer. */
export function around(spot: Spot, size: number, tokens: number, keys = tokens): Zoom {
  const side = Math.min(Math.max(tokens, keys), size);
  const first = (middle: number, all: number) => Math.max(0, Math.min(all - side, Math.round(middle - (side - 1) / 2)));
  return [first(spot.query, tokens), first(spot.key, keys), side];
}

/** The same square, moved as little as brings the pair of tokens into it. */
export function following([query, key, size]: Zoom, spot: Spot): Zoom {
  const moved = (first: number, at: number) => Math.min(at, Math.max(first, at - size + 1));
  return [moved(query, spot.query), moved(key, spot.key), size];
}

export function holds(p: Pattern, { query, key }: Spot): boolean {
  return query >= p.top && key >= p.left && query < p.top + p.n * p.block && key < p.left + p.columns * p.block;
}

/** The cell in which a pair of tokens falls. */
export const cellOf = (p: Pattern, { query, key }: Spot) => {
  const at = (place: number, n: number) => Math.max(0, Math.min(n - 1, Math.floor(place / p.block)));
  return { row: at(query - p.top, p.n), column: at(key - p.left, p.columns) };
};

/** The pair of tokens that a cell stands for: where its largest value is, else its last allowed corner. */
export function spotOf(p: Pattern, row: number, column: number): Spot {
  const inside = p.where?.[row * p.columns + column];
  const query = p.top + row * p.block + (inside === undefined ? p.block - 1 : Math.floor(inside / p.block));
  const key = p.left + column * p.block + (inside === undefined ? 0 : inside % p.block);
  return { query: Math.min(p.tokens - 1, query), key: Math.min(p.keys - 1, key) };
}

export function valueAt(p: Pattern, spot: Spot): number {
  const { row, column } = cellOf(p, spot);
  return p.values[row * p.columns + column] ?? 0;
}

export const masked = (p: Pattern, row: number, column: number): boolean => p.causal && p.left + column * p.block >= p.top + (row + 1) * p.block;

export type Scale = "linear" | "row" | "log";

/** A value as a position on the colour ramp, 0 to 255; 128 is zero when values have signs. */
export function position(value: number, peak: number, scale: Scale, meta: Meta): number {
  const reference = (scale === "row" ? peak : meta.vmax) || 1;
  const size = Math.abs(value) / reference;
  const shown = scale === "log" ? Math.max(0, 1 + Math.log10(Math.max(size, 1e-4)) / 4) : Math.min(1, size);
  return meta.signed ? Math.round(127.5 + 127.5 * Math.sign(value) * shown) : Math.round(255 * shown);
}

const superscript = ["10⁻⁴", "10⁻³", "10⁻²", "0.1", "1"];

/** The ticks of the colour bar: place along it and text. */
export function ticks(scale: Scale, meta: Meta): [number, string][] {
  const top = short(meta.vmax);
  if (scale === "row") return meta.signed ? [[0, "−row max"], [0.5, "0"], [1, "row max"]] : [[0, "0"], [1, "row max"]];
  if (meta.signed) return scale === "log" ? [[0, `−${top}`], [0.5, `±${short(meta.vmax * 1e-4)}`], [1, top]] : [[0, `−${top}`], [0.25, ""], [0.5, "0"], [0.75, ""], [1, top]];
  if (scale === "log") return meta.vmax === 1 ? superscript.map((text, i) => [i / 4, i ? text : `≤${text}`]) : [[0, `≤${short(meta.vmax * 1e-4)}`], [0.5, short(meta.vmax * 1e-2)], [1, top]];
  return [[0, "0"], [0.25, ""], [0.5, short(meta.vmax / 2)], [0.75, ""], [1, top]];
}

export const short = (value: number): string => String(Number(value.toPrecision(2))).replace("-", "−").replace(/e(.*)/, " × 10^$1");

/** A value in the read-out: three decimals when exact, two and a tilde when it comes from an 8-bit code. */
export const format = (value: number, exact: boolean): string => (exact ? "" : "≈") + value.toFixed(exact ? 3 : 2).replace("-", "−");
