/** From the wire to numbers: scores of every head, losses, arrows, and the cells of a pattern that a score adds up. */
import { numbers, type Packed } from "../../core/buffers";
import { capital } from "../../core/words";

export interface Meta {
  model: string;
  layers: number;
  heads: number;
  tokens: number;
  causal: boolean;
  signed: boolean;
  vmax: number;
  /** The block of tokens that is repeated: where it begins, how long it is (null where nothing is), how often it stands. */
  start: number;
  period: number | null;
  copies: number;
  /** Which random tokens these are; null for a text of somebody's own. */
  seed: number | null;
  can_ablate: boolean;
  /** Whether steps of this model's training could be shown. */
  training: boolean;
  /** Whether anybody looked for heads that one of these reads. */
  composed: boolean;
  /** The longest period that the model can read. */
  longest: number | null;
}

export interface Head {
  layer: number;
  head: number;
}

export interface Arrow {
  first: Head;
  second: Head;
  score: number;
}

export const headName = ({ layer, head }: Head): string => `L${layer} H${head}`;
export const same = (a: Head, b: Head): boolean => a.layer === b.layer && a.head === b.head;
export const isOff = (off: [number, number][], { layer, head }: Head): boolean => off.some(([l, x]) => l === layer && x === head);

/** The scores at one step of training: name -> one number for each head, layer by layer. */
export function scoresAt(wire: Packed, names: string[], time: number): Map<string, Float32Array> {
  const [, , layers = 0, heads = 0] = wire.shape;
  const all = numbers(wire) as Float32Array;
  const size = layers * heads;
  return new Map(names.map((name, i) => [name, all.subarray((time * names.length + i) * size, (time * names.length + i + 1) * size)]));
}

/** One row of a wire array [time, position]. */
export function rowOf(wire: Packed | null, time: number): Float32Array | null {
  if (!wire) return null;
  const n = wire.shape[wire.shape.length - 1]!;
  return (numbers(wire) as Float32Array).subarray(time * n, (time + 1) * n);
}

/** The score by which a head is an induction head on this text. */
export const mainScore = (names: string[]): string => (names.includes("induction") ? "induction" : "prefix matching");

/** The heads that score more than the threshold, the highest first. */
export function above(score: Float32Array, heads: number, threshold: number): Head[] {
  const found = [...score.keys()].filter((i) => score[i]! > threshold);
  return found.sort((a, b) => score[b]! - score[a]!).map((i) => ({ layer: Math.floor(i / heads), head: i % heads }));
}

const MOST_ARROWS = 8;

/** Arrows to heads that are listed: the strongest, so that the picture stays readable. */
export function shownArrows(wire: number[][], main: Float32Array, heads: number, threshold: number): Arrow[] {
  return wire
    .map(([l = 0, h = 0, l2 = 0, h2 = 0, score = 0]) => ({ first: { layer: l, head: h }, second: { layer: l2, head: h2 }, score }))
    .filter(({ second }) => main[second.layer * heads + second.head]! > threshold)
    .slice(0, MOST_ARROWS);
}

export const offKey = (off: [number, number][]): string => JSON.stringify([...off].sort(([a, b], [c, d]) => a - c || b - d));

/** Which entries of a loss are predicted within the second copy; 0 where nothing is repeated. */
export const secondCopy = ({ start, period }: Pick<Meta, "start" | "period">): number => (period === null ? 0 : start + period);

export function mean(values: ArrayLike<number>, from: number): number {
  let sum = 0;
  for (let i = from; i < values.length; i++) sum += values[i]!;
  return sum / Math.max(1, values.length - from);
}

/** The pairs (query, key) whose attention a score adds up. */
export function stripe(score: string, tokens: string[], { start, period }: Pick<Meta, "start" | "period">): [number, number][] {
  const queries = [...tokens.keys()];
  if (score === "previous token") return queries.slice(1).map((q) => [q, q - 1]);
  if (score === "induction" && period !== null) return queries.slice(start + period).map((q) => [q, q - period + 1]);
  const step = score === "duplicate token" ? 0 : 1;
  return queries.flatMap((q) => queries.slice(0, q).filter((k) => tokens[k] === tokens[q]).map((k): [number, number] => [q, k + step]));
}

const NARROW: Record<string, string> = { "previous token": "Previous", "duplicate token": "Duplicate", "prefix matching": "Prefix" };
export const scoreName = (name: string, narrow: boolean): string => (narrow && NARROW[name]) || capital(name);

/** "12 random tokens, twice". */
export function drawn(period: number, copies: number): string {
  return `${period} random tokens, ${copies === 2 ? "twice" : `${copies} times`}`;
}

export const signed = (value: number): string => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
