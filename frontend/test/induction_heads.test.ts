import { describe, expect, it } from "vitest";
import { above, drawn, mainScore, mean, offKey, rowOf, scoreName, scoresAt, secondCopy, shownArrows, signed, stripe } from "../src/widgets/induction_heads/data";
import { number } from "../src/core/words";
import { layout } from "../src/widgets/induction_heads/geometry";
import { reachable } from "../src/widgets/induction_heads/list";
import { cellAt, code, lastSpot, masked, readTile, spotOf, type Tile, valueAt } from "../src/widgets/induction_heads/tile";

const f4 = (shape: number[], ...values: number[]) => ({ data: new Uint8Array(new Float32Array(values).buffer), dtype: "f4" as const, shape });
const u1 = (shape: number[], ...values: number[]) => ({ data: new Uint8Array(values), dtype: "u1" as const, shape });

describe("scores", () => {
  const wire = f4([2, 2, 1, 2], 1, 2, 3, 4, 5, 6, 7, 8);
  it("are found by name at each step of training", () => {
    expect([...scoresAt(wire, ["a", "b"], 0).get("b")!]).toEqual([3, 4]);
    expect([...scoresAt(wire, ["a", "b"], 1).get("a")!]).toEqual([5, 6]);
  });
  it("list the heads above a threshold, the highest first", () => {
    expect(above(Float32Array.of(0.5, 0.25, 0.75, 0.5), 2, 0.25)).toEqual([{ layer: 1, head: 0 }, { layer: 0, head: 0 }, { layer: 1, head: 1 }]);
    expect(above(Float32Array.of(0.5), 1, 0.5)).toEqual([]);
  });
  it("make a head an induction head by the block, or by prefixes where none is repeated", () => {
    expect(mainScore(["induction", "prefix matching"])).toBe("induction");
    expect(mainScore(["previous token", "prefix matching"])).toBe("prefix matching");
  });
});

it.each([[0.94, 0.9], [0.41, 0.4], [0.4, 0.35], [0.03, 0], [0, 0]])("a threshold below %f is %f", (best, expected) => {
  expect(reachable(best)).toBeCloseTo(expected);
});

it("arrows lead to listed heads only, and are few", () => {
  const main = Float32Array.of(0, 0, 0.9, 0.1);
  expect(shownArrows([[0, 0, 1, 0, 0.3], [0, 1, 1, 1, 0.2]], main, 2, 0.4)).toEqual([{ first: { layer: 0, head: 0 }, second: { layer: 1, head: 0 }, score: expect.closeTo(0.3) }]);
  expect(shownArrows(Array.from({ length: 30 }, () => [0, 0, 1, 0, 0.3]), main, 2, 0.4)).toHaveLength(8);
});

describe("the cells of a score", () => {
  const tokens = [..."<abcabc"];
  const repeat = { start: 1, period: 3 };
  it("lie one step after the place a period ago", () => expect(stripe("induction", tokens, repeat)).toEqual([[4, 2], [5, 3], [6, 4]]));
  it("lie one step back", () => expect(stripe("previous token", tokens, repeat).slice(0, 2)).toEqual([[1, 0], [2, 1]]));
  it("lie at the same token", () => expect(stripe("duplicate token", tokens, repeat)).toEqual([[4, 1], [5, 2], [6, 3]]));
  it("lie after every earlier place of the token", () => expect(stripe("prefix matching", [..."aaa"], { start: 0, period: null })).toEqual([[1, 1], [2, 1], [2, 2]]));
});

describe("loss", () => {
  it("is averaged over the second copy", () => {
    expect(secondCopy({ start: 1, period: 3 })).toBe(4);
    expect(secondCopy({ start: 1, period: null })).toBe(0);
    expect(mean([9, 9, 1, 3], 2)).toBe(2);
    expect(mean([], 0)).toBe(0);
  });
  it("is known by which heads are off, in any order", () => expect(offKey([[1, 0], [0, 3]])).toBe(offKey([[0, 3], [1, 0]])));
  it("is one row for each step", () => {
    expect([...rowOf(f4([2, 2], 1, 2, 3, 4), 1)!]).toEqual([3, 4]);
    expect(rowOf(null, 0)).toBeNull();
  });
});

it("numbers have real minus signs and no minus zero", () => {
  expect([number(-0.5), number(-0.001), signed(0.5), signed(-0.5)]).toEqual(["−0.50", "0.00", "+0.50", "−0.50"]);
  expect([drawn(12, 2), drawn(4, 3)]).toEqual(["12 random tokens, twice", "4 random tokens, 3 times"]);
  expect([scoreName("previous token", true), scoreName("previous token", false), scoreName("copying", true)]).toEqual(["Previous", "Previous token", "Copying"]);
});

describe("a pattern", () => {
  const tile: Tile = { layer: 0, head: 0, step: null, block: 1, n: 3, packed: true, values: f4([6], 1, 0.5, 0.25, 0.125, 0.75, 0), where: null };
  const p = readTile(tile, 3, true);
  it("is unpacked row by row", () => {
    expect([cellAt(p, 0, 0), cellAt(p, 2, 1), cellAt(p, 0, 2)]).toEqual([1, 0.75, 0]);
    expect([masked(p, 0, 1), masked(p, 1, 1)]).toEqual([true, false]);
  });
  it("begins at the key that the last query attends to most", () => expect(lastSpot(p)).toEqual({ query: 2, key: 1 }));
  it("knows where in a block its largest value stands", () => {
    const pooled = readTile({ ...tile, block: 2, n: 2, packed: false, values: f4([4], 1, 0, 0.5, 0.25), where: u1([4], 0, 0, 3, 1) }, 3, false);
    expect(spotOf(pooled, 1, 0)).toEqual({ query: 2, key: 1 });
    expect(valueAt(pooled, { query: 2, key: 1 })).toBe(0.5);
  });
  it("has colours from none to all, or around zero", () => expect([code(0, false, 1), code(1, false, 1), code(0, true, 1), code(-1, true, 1)]).toEqual([0, 255, 128, 0]));
});

describe("the layout", () => {
  it.each([[852, "wide"], [1400, "wide"], [740, "middle"], [420, "narrow"], [320, "narrow"]])("of %i pixels is %s and fits", (page, kind) => {
    for (const [layers, heads] of [[12, 12], [30, 9], [2, 2], [1, 1], [48, 25], [32, 32]] as const) {
      const size = layout(page, layers, heads, 1);
      expect(size.kind).toBe(kind);
      if (kind === "narrow") expect(Math.max(size.pattern + 84, size.grid + 100)).toBeLessThanOrEqual(page);
      else expect(size.grid + 24 + 84 + size.pattern + (kind === "wide" ? 24 + 100 : 0)).toBeLessThanOrEqual(page);
    }
  });
});
