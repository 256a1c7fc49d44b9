/** From the wire to numbers: top tokens of every cell under each lens, and the tokens that are followed. */
import { numbers, type Packed } from "../../core/buffers";
import { upTo } from "../../core/words";

export type Measure = "probability" | "rank" | "entropy" | "kl";

export interface Meta {
  model: string;
  layers: number;
  tokens: number;
  k: number;
  has_entropy: boolean;
  has_kl: boolean;
  /** What a kernel could compute, where it says so; else only what is here can be chosen. */
  lenses?: string[];
  sources?: string[];
}

interface Name {
  lens: string;
  source: string;
}

export interface WirePlane extends Name {
  ids: Packed;
  probs: Packed;
  entropy: Packed | null;
  kl: Packed | null;
}

export interface WireFollowed {
  token: string;
  planes: (Name & { prob: Packed; rank: Packed })[];
}

/** One lens on one source: rows x columns cells, each with k tokens (codes into the vocabulary), strongest first. */
export interface Plane extends Name {
  rows: number;
  columns: number;
  k: number;
  ids: ArrayLike<number>;
  probs: ArrayLike<number>;
  entropy: ArrayLike<number> | null;
  kl: ArrayLike<number> | null;
}

/** The numbers of one token in every cell of a plane. A rank of 0 is the top. */
export interface Track {
  prob: ArrayLike<number>;
  rank: ArrayLike<number>;
}

export interface Cell {
  row: number;
  position: number;
}

export const planeKey = (lens: string, source: string): string => JSON.stringify([lens, source]);

export function readPlane(wire: WirePlane): Plane {
  const [rows = 0, columns = 0, k = 0] = wire.ids.shape;
  const plain = (array: Packed | null) => array && numbers(array);
  return { lens: wire.lens, source: wire.source, rows, columns, k, ids: numbers(wire.ids), probs: numbers(wire.probs), entropy: plain(wire.entropy), kl: plain(wire.kl) };
}

export function readFollowed(wire: WireFollowed): Map<string, Track> {
  return new Map(wire.planes.map(({ lens, source, prob, rank }) => [planeKey(lens, source), { prob: numbers(prob), rank: numbers(rank) }]));
}

/** The top tokens of a cell; none where the plane has nothing to say there. */
export function top(plane: Plane, vocab: string[], { row, position }: Cell): { token: string; prob: number }[] {
  const at = (row * plane.columns + position) * plane.k;
  const found = upTo(plane.k).map((i) => ({ token: vocab[plane.ids[at + i]!] ?? "", prob: plane.probs[at + i]! }));
  return found.filter(({ prob }) => Number.isFinite(prob));
}

/** A token that was not followed: known where it is among the top k, unknown (NaN) elsewhere. */
export function fromTop(plane: Plane, vocab: string[], wanted: (position: number) => string | null): Track {
  const size = plane.rows * plane.columns;
  const prob = new Float32Array(size).fill(NaN);
  const rank = new Float32Array(size).fill(NaN);
  for (let cell = 0; cell < size; cell++) {
    const token = wanted(cell % plane.columns);
    for (let i = 0; token !== null && i < plane.k; i++)
      if (vocab[plane.ids[cell * plane.k + i]!] === token) {
        prob[cell] = plane.probs[cell * plane.k + i]!;
        rank[cell] = i;
        break;
      }
  }
  return { prob, rank };
}

/** One column of a plane, top to bottom. */
export const column = (values: ArrayLike<number>, rows: number, columns: number, position: number): Float32Array => Float32Array.from({ length: rows }, (_, row) => values[row * columns + position]!);

export function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! > most && values[i]! < Infinity) most = values[i]!;
  return most;
}

/** How a measure becomes a place between 0 and 1: along the colours, and along the chart. */
export interface Scale {
  place(value: number): number;
  ticks: [number, string][];
}

/** 0 to a round number, in steps of 1, 2 or 5 times a power of ten. */
export function linear(most: number): Scale {
  const rough = (most || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((by) => by * power >= rough) ?? 10);
  const count = Math.max(1, Math.ceil((most || 1) / step - 1e-9));
  const ticks = upTo(count + 1).map((i): [number, string] => [i / count, count > 3 && i % 2 ? "" : String(Number((i * step).toPrecision(6)))]);
  return { place: (value) => value / (count * step), ticks };
}

const POWERS = ["0", "10", "10²", "10³", "10⁴", "10⁵", "10⁶"];

/** Ranks by their logarithm, 0 at the strong end. */
export function ranks(most: number): Scale {
  const decades = Math.min(6, Math.max(1, Math.ceil(Math.log10(1 + most))));
  return {
    place: (value) => 1 - Math.log10(1 + value) / decades,
    ticks: upTo(decades + 1).map((i): [number, string] => [i / decades, decades > 3 && (decades - i) % 2 ? "" : POWERS[decades - i]!]),
  };
}

export const probability: Scale = { place: (value) => value, ticks: [[0, "0"], [0.25, ""], [0.5, "0.5"], [0.75, ""], [1, "1"]] };

/** A value as it is written: three decimals of a probability, two of nats, whole ranks. */
export function written(measure: Measure, value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (measure === "rank") return value < 10_000 ? String(Math.round(value)) : `${Math.round(value / 1000)}k`;
  return value.toFixed(measure === "probability" ? 3 : 2).replace("-", "−");
}

/** "Layer 8" of "8", "Embedding" of "emb"; any other name stays what it is. */
export const rowTitle = (name: string): string => (/^\d+$/.test(name) ? `Layer ${name}` : name === "emb" ? "Embedding" : name);

/** The layer that a row belongs to: its name, or the place of the row where names are others; of the embedding layer 0, which reads it. */
export const layerOf = (rows: readonly string[], row: number): number => (/^\d+$/.test(rows[row] ?? "") ? Number(rows[row]) : rows[row] === "emb" ? 0 : row);
