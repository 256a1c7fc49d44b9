import { describe, expect, it } from "vitest";
import { column, fromTop, layerOf, linear, type Plane, probability, ranks, readFollowed, readPlane, rowTitle, top, written } from "../src/widgets/logit_lens/data";
import { layout } from "../src/widgets/logit_lens/geometry";

const f4 = (shape: number[], ...values: number[]) => ({ data: new Uint8Array(new Float32Array(values).buffer), dtype: "f4" as const, shape });
const u2 = (shape: number[], ...values: number[]) => ({ data: new Uint8Array(new Uint16Array(values).buffer), dtype: "u2" as const, shape });
const vocab = ["a", " b", "c"];
const wire = { lens: "logit", source: "residual", ids: u2([2, 2, 2], 0, 1, 2, 0, 1, 2, 1, 0), probs: f4([2, 2, 2], 0.5, 0.25, 0.75, 0.125, NaN, NaN, 1, 0), entropy: null, kl: null };
const plane: Plane = readPlane(wire);

describe("a plane", () => {
  it("tells the top tokens of a cell, strongest first", () => {
    expect([plane.rows, plane.columns, plane.k]).toEqual([2, 2, 2]);
    expect(top(plane, vocab, { row: 0, position: 1 })).toEqual([{ token: "c", prob: 0.75 }, { token: "a", prob: 0.125 }]);
  });

  it("has nothing to tell where nothing was computed", () => expect(top(plane, vocab, { row: 1, position: 0 })).toEqual([]));

  it("follows a token as far as it is among the top, and leaves gaps elsewhere", () => {
    const { prob, rank } = fromTop(plane, vocab, () => "a");
    expect([...prob]).toEqual([0.5, 0.125, NaN, 0]);
    expect([...rank]).toEqual([0, 1, NaN, 1]);
    expect([...column(rank, 2, 2, 1)]).toEqual([1, 1]);
  });

  it("follows another token at every position, and none where nothing follows", () => {
    expect([...fromTop(plane, vocab, (position) => (position ? null : " b")).prob]).toEqual([0.25, NaN, NaN, NaN]);
  });
});

it("tracks of followed tokens are found by lens and source", () => {
  const tracks = readFollowed({ token: "a", planes: [{ lens: "tuned", source: "mlp", prob: f4([1, 1], 0.5), rank: f4([1, 1], 0) }] });
  expect([...tracks.get('["tuned","mlp"]')!.prob]).toEqual([0.5]);
});

describe("scales", () => {
  it("end on a round number", () => {
    expect(linear(10.8).ticks.map(([, text]) => text)).toEqual(["0", "5", "10", "15"]);
    expect(linear(10.8).place(7.5)).toBe(0.5);
    expect(linear(0).ticks.at(-1)).toEqual([1, "1"]);
    expect(linear(3.1).ticks.at(-1)).toEqual([1, "4"]);
  });

  it("put the top rank at the strong end", () => {
    const scale = ranks(50_000);
    expect(scale.place(0)).toBe(1);
    expect(scale.place(99_999)).toBeCloseTo(0);
    expect(scale.ticks.map(([, text]) => text)).toEqual(["", "10⁴", "", "10²", "", "0"]);
    expect(ranks(0).ticks.at(-1)![1]).toBe("0");
  });

  it("name both ends of probability", () => expect([probability.ticks[0]![1], probability.ticks.at(-1)![1]]).toEqual(["0", "1"]));
});

it.each([
  ["probability", 0.31, "0.310"],
  ["rank", 12, "12"],
  ["rank", 31_234, "31k"],
  ["entropy", 2.306, "2.31"],
  ["kl", -0.001, "−0.00"],
  ["kl", NaN, "–"],
] as const)("%s of %d is written %s", (measure, value, text) => expect(written(measure, value)).toBe(text));

it("rows are called by what they are", () => expect(["8", "emb", "mlp 3"].map(rowTitle)).toEqual(["Layer 8", "Embedding", "mlp 3"]));

describe("the layout", () => {
  const asked = { page: 860, tokens: 12, rows: 13, names: 28, grids: 1, widest: 60, ratio: 1 };

  it("keeps columns at 46 pixels or more, and scrolls instead", () => {
    for (const page of [320, 420, 640, 860, 1000, 1400])
      for (const tokens of [1, 5, 12, 40, 128])
        for (const grids of [1, 2]) {
          const { cell, seen, width } = layout({ ...asked, page, tokens, grids });
          expect(cell).toBeGreaterThanOrEqual(46);
          expect(width).toBe(seen * cell);
          expect(seen).toBeLessThanOrEqual(tokens);
        }
  });

  it("is never wider than the page", () => {
    for (const page of [320, 639, 640, 700, 860, 899, 900, 1000, 1400])
      for (const tokens of [1, 3, 5, 12, 128])
        for (const grids of [1, 2]) {
          const { gutter, width, beside, chart, docked } = layout({ ...asked, page, tokens, grids });
          const grid = gutter + (beside ? 2 * width + 24 : width);
          expect(page < 640 ? Math.max(grid, gutter + chart) : grid + 24 + chart + (docked ? 24 + 188 : 0)).toBeLessThanOrEqual(page);
        }
  });

  it("keeps 160 pixels for the paths", () => {
    for (const page of [640, 860, 1200]) expect(layout({ ...asked, page, tokens: 128 }).chart).toBeGreaterThanOrEqual(150);
  });

  it("puts a second grid beside the first where both fit, else under it", () => {
    expect(layout({ ...asked, page: 1000, tokens: 4, grids: 2 }).beside).toBe(true);
    expect(layout({ ...asked, page: 1000, tokens: 12, grids: 2 }).beside).toBe(false);
  });

  it("gives the card a place of its own unless that costs columns", () => {
    expect([860, 1030].map((page) => layout({ ...asked, page }).docked)).toEqual([false, true]);
    expect(layout({ ...asked, page: 920, tokens: 14 }).docked).toBe(false);
  });

  it("makes rows lower where there are many", () => expect([13, 31, 60].map((rows) => layout({ ...asked, rows }).row)).toEqual([24, 20, 16]));
});

describe("the layer of a row", () => {
  it("is its name, layer 0 for the embedding, and its place where names are others", () => {
    const rows = ["emb", "0", "1", "end"];
    expect(rows.map((_, row) => layerOf(rows, row))).toEqual([0, 0, 1, 3]);
  });
});
