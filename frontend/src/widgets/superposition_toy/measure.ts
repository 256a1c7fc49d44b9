/** What W says, as in methods/superposition.py. W is [hidden, feature]. */
import { upTo } from "../../core/words";

/** W^T W, [feature, feature]. */
export function overlap(W: ArrayLike<number>, n: number): Float64Array {
  const found = new Float64Array(n * n);
  for (let from = 0; from < W.length; from += n) for (let at = 0; at < n * n; at++) found[at]! += W[from + Math.floor(at / n)]! * W[from + (at % n)]!;
  return found;
}

/** Of each feature, from W^T W: the length of its direction, and its dimensionality |W_i|^2 / sum_j (W_i / |W_i| . W_j)^2. */
export function measures(G: Float64Array, n: number): { length: number; dimensions: number }[] {
  return upTo(n).map((i) => {
    const own = G[i * (n + 1)]!;
    const shared = G.subarray(i * n, (i + 1) * n).reduce((sum, value) => sum + value * value, 0);
    return { length: Math.sqrt(own), dimensions: shared && (own * own) / shared };
  });
}

const KEPT = 0.5; // the length from which on a feature counts as represented

export const represented = (features: { length: number }[]): number => features.filter(({ length }) => length > KEPT).length;

/** The geometries that the paper names, by the dimensions that each gives to a feature. */
const SHAPES: [number, string][] = [
  [1, "1, its own"],
  [3 / 4, "3/4, a tetrahedron"],
  [2 / 3, "2/3, a triangle"],
  [1 / 2, "1/2, a pair"],
  [2 / 5, "2/5, a pentagon"],
  [3 / 8, "3/8, an antiprism"],
];

/** The named geometry nearest to a dimensionality, if it is near at all. */
export function shape(dimensions: number): [number, string] | null {
  const off = ([at]: [number, string]) => Math.abs(at - dimensions);
  const best = SHAPES.reduce((best, one) => (off(one) < off(best) ? one : best));
  return off(best) < 0.04 ? best : null;
}
