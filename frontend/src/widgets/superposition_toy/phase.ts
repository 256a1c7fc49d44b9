/** The places of the phase diagram, as in widgets/_phases.py, and where its numbers are written. */

const thousandths = (value: number) => Math.round(1000 * value) / 1000;

/** Sparsity along a line, 0 to 1: equal lengths are equal ratios of 1 - sparsity, down to 0.01. */
export const sparsityAt = (along: number): number => thousandths(1 - 10 ** (-2 * along));
export const alongSparsity = (sparsity: number): number => -Math.log10(1 - sparsity) / 2;

/** Decay down a line: 1 on top, 0.4 below. */
export const decayAt = (down: number): number => thousandths(1 - 0.6 * down);
export const downDecay = (decay: number): number => (1 - decay) / 0.6;

export interface Grid {
  rows: number;
  columns: number;
  values: ArrayLike<number>;
}

/** For each value that has room: the middle of the largest square of it. */
export function regions({ rows, columns, values }: Grid): { value: number; row: number; column: number }[] {
  const found: Record<number, [number, number]> = {}; // the side of the largest square, and the cell where it ends
  const sides: number[] = [];
  for (let at = 0; at < rows * columns; at++) {
    const value = values[at]!;
    const around = at % columns ? [at - 1, at - columns, at - columns - 1] : [-1];
    sides[at] = 1 + (around.every((i) => values[i] === value) ? Math.min(...around.map((i) => sides[i]!)) : 0);
    if (sides[at]! > (found[value]?.[0] ?? 1)) found[value] = [sides[at]!, at];
  }
  return Object.entries(found).map(([value, [side, at]]) => ({ value: Number(value), row: Math.floor(at / columns) - (side - 1) / 2, column: (at % columns) - (side - 1) / 2 }));
}
