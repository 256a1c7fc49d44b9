import { describe, expect, it } from "vitest";
import { around, cellOf, crop, decoder, following, format, fromThumb, fromTile, holds, masked, type Meta, position, spotOf, squareOf, thumbs, ticks, valueAt } from "../src/widgets/attention_heads/data";
import { labelled, stride } from "../src/core/axes";
import { noteOf } from "../src/widgets/attention_heads/names";
import { shown } from "../src/widgets/attention_heads/strip";

const meta: Meta = { model: "", layers: 1, heads: 2, kv_heads: 2, tokens: 3, causal: true, signed: false, vmax: 1, block: 1, tile: 1, exact: "float32", note: "", name: "" };
const f4 = (...values: number[]) => ({ data: new Uint8Array(new Float32Array(values).buffer), dtype: "f4" as const, shape: [values.length] });
const u1 = (values: number[], shape: number[]) => ({ data: new Uint8Array(values), dtype: "u1" as const, shape });

describe("a tile", () => {
  it("unpacks the causal triangle", () => {
    const p = fromTile({ layer: 0, head: 0, block: 1, n: 3, packed: true, values: f4(1, 0.25, 0.75, 0.5, 0.125, 0.375), where: null }, meta);
    expect([...p.values]).toEqual([1, 0, 0, 0.25, 0.75, 0, 0.5, 0.125, 0.375]);
    expect([...p.peaks]).toEqual([1, 0.75, 0.5]);
    expect(p.exact).toBe(true);
    expect(valueAt(p, { query: 2, key: 1 })).toBe(0.125);
  });

  it("of blocks says which tokens its largest value belongs to", () => {
    const long = { ...meta, tokens: 5, causal: false };
    const p = fromTile({ layer: 0, head: 0, block: 2, n: 3, packed: false, values: f4(1, 2, 3, 4, 5, 6, 7, 8, 9), where: u1([3, 0, 0, 1, 2, 0, 0, 1, 0], [9]) }, long);
    expect(p.exact).toBe(false);
    expect(spotOf(p, 0, 0)).toEqual({ query: 1, key: 1 });
    expect(spotOf(p, 1, 1)).toEqual({ query: 3, key: 2 });
    expect(spotOf(p, 2, 2)).toEqual({ query: 4, key: 4 });
    expect(cellOf(p, { query: 4, key: 1 })).toEqual({ row: 2, column: 0 });
  });
});

describe("a zoom", () => {
  const tile = (n: number, block: number, tokens: number) => fromTile({ layer: 0, head: 0, block, n, packed: false, values: f4(...Array.from({ length: n * n }, (_, i) => i)), where: block > 1 ? u1(Array(n * n).fill(1), [n * n]) : null }, { ...meta, tokens });

  it("cuts a part out of the pattern, which keeps its places", () => {
    const p = crop(tile(6, 1, 6), [3, 1, 2]);
    expect([...p.values]).toEqual([19, 20, 25, 26]);
    expect([p.n, p.top, p.left]).toEqual([2, 3, 1]);
    expect(valueAt(p, { query: 4, key: 2 })).toBe(26);
    expect(spotOf(p, 1, 0)).toEqual({ query: 4, key: 1 });
    expect([...p.peaks]).toEqual([23, 29]);
    expect([holds(p, { query: 4, key: 2 }), holds(p, { query: 2, key: 2 }), holds(p, { query: 4, key: 3 })]).toEqual([true, false, false]);
  });

  it("of blocks shows whole blocks", () => {
    const p = crop(tile(5, 2, 10), [3, 5, 4]);
    expect([p.n, p.top, p.left, p.block]).toEqual([3, 2, 4, 2]);
    expect(valueAt(p, { query: 3, key: 5 })).toBe(7);
    expect(spotOf(p, 0, 0)).toEqual({ query: 2, key: 5 });
  });

  it("masks what lies above the diagonal of the whole", () => {
    const p = crop(tile(6, 1, 6), [2, 1, 3]);
    expect([0, 1, 2].map((column) => masked(p, 0, column))).toEqual([false, false, true]);
    expect(masked(p, 2, 2)).toBe(false);
  });

  it.each([
    [{ query: 4, key: 1 }, { query: 9, key: 4 }, [4, 0, 6]],
    [{ query: 9, key: 9 }, { query: 8, key: 9 }, [6, 8, 4]],
    [{ query: 0, key: 0 }, { query: 11, key: 2 }, [0, 0, 12]],
  ])("of %o to %o is the smallest square within the text", (from, to, expected) => {
    const [query, key, size] = squareOf(from, to, 12, 4);
    expect(size).toBe(expected[2]);
    expect(query).toBeLessThanOrEqual(Math.min(from.query, to.query));
    expect(query + size).toBeGreaterThan(Math.max(from.query, to.query));
    expect(key).toBeLessThanOrEqual(Math.min(from.key, to.key));
    expect(key + size).toBeGreaterThan(Math.max(from.key, to.key));
    expect(Math.max(query, key) + size).toBeLessThanOrEqual(12);
  });

  it("stays within the text and follows what is chosen", () => {
    expect(around({ query: 0, key: 11 }, 6, 12)).toEqual([0, 6, 6]);
    expect(around({ query: 5, key: 5 }, 40, 12)).toEqual([0, 0, 12]);
    expect(following([4, 4, 4], { query: 3, key: 9 })).toEqual([3, 6, 4]);
    expect(following([4, 4, 4], { query: 5, key: 7 })).toEqual([4, 4, 4]);
  });
});

describe("thumbnails", () => {
  it("decode to within the step of their code", () => {
    const table = decoder(meta);
    for (const value of [1, 0.5, 0.031, 0.0012]) {
      const code = 1 + Math.round(254 * (1 + Math.log10(value) / 4));
      expect(Math.abs(table[code]! / value - 1)).toBeLessThan(0.0184); // half a step is 1.8 %
    }
    expect(table[0]).toBe(0);
    expect(table[255]).toBe(1);
  });

  it("decode signs around 128", () => {
    const table = decoder({ ...meta, signed: true, vmax: 2 });
    expect([table[128], table[255], table[1]]).toEqual([0, 2, -2]);
  });

  it("keep the mean over heads behind the heads", () => {
    const all = thumbs(u1([255, 0, 0, 0, 0, 0, 255, 255, 1, 1, 1, 1].concat(Array(15).fill(0)), [1, 3, 3, 3]));
    expect(fromThumb(all, { layer: 0, head: null }, meta, decoder(meta)).values[0]).toBe(0);
    expect(fromThumb(all, { layer: 0, head: 0 }, meta, decoder(meta)).values[0]).toBe(1);
  });
});

describe("scales", () => {
  it.each([
    ["linear", 0.5, 0.5, 128],
    ["row", 0.25, 0.25, 255],
    ["log", 0.01, 1, 128],
    ["log", 0, 1, 0],
  ] as const)("%s puts %d (row peak %d) at %d", (scale, value, peak, at) => expect(position(value, peak, scale, meta)).toBe(at));

  it("centre signed values", () => {
    const signed = { ...meta, signed: true };
    expect([position(0, 1, "linear", signed), position(-1, 1, "linear", signed), position(1, 1, "row", signed)]).toEqual([128, 0, 255]);
  });

  it("name their ends", () => {
    expect(ticks("log", meta).map(([, text]) => text)).toEqual(["≤10⁻⁴", "10⁻³", "10⁻²", "0.1", "1"]);
    expect(ticks("linear", { ...meta, vmax: 2.5 }).at(-1)).toEqual([1, "2.5"]);
  });

  it("show three decimals only of exact values", () => expect([format(0.98961, true), format(0.98961, false), format(-0.5, true)]).toEqual(["0.990", "≈0.99", "−0.500"]));
});

describe("labels", () => {
  it("all from 10.5 pixels on, else every second, fourth ... at least 22 pixels apart", () => {
    expect([16, 10.5, 10.4, 5, 1].map(stride)).toEqual([1, 1, 4, 8, 32]);
  });

  it("always show the chosen one, and none that touches it", () => {
    const found = labelled(128, 3, [45]);
    expect(found).toContain(45);
    for (const i of found) if (i !== 45) expect(Math.abs(i - 45) * 3).toBeGreaterThanOrEqual(22);
  });
});

it("a head is named after its highest score, when one stands out", () => {
  const scores = new Map([
    ["induction", new Float32Array([0.9, 0.1])],
    ["previous token", new Float32Array([0.5, 0.2])],
  ]);
  expect(noteOf(scores, { layer: 0, head: 0 }, meta)).toBe("induction");
  expect(noteOf(scores, { layer: 0, head: 1 }, meta)).toBe("");
  expect(noteOf(scores, { layer: 0, head: null }, meta)).toBe("of 2 heads");
});

it("a long sentence shows the surroundings of the query and of its strongest keys", () => {
  const values = new Float32Array(100);
  values[10] = 0.9;
  const windows = shown(values, 60, true);
  expect(windows.has(10) && windows.has(60) && !windows.has(30)).toBe(true);
  expect(shown(new Float32Array(48), 3, true).size).toBe(48);
});

describe("keys of another text", () => {
  const wide = { ...meta, tokens: 2, keys: 5, causal: false };
  const p = fromTile({ layer: 0, head: 0, block: 1, n: 2, columns: 5, packed: false, values: f4(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), where: null }, wide);

  it("make rows of another length than columns", () => {
    expect([p.n, p.columns, p.tokens, p.keys]).toEqual([2, 5, 2, 5]);
    expect([...p.peaks]).toEqual([4, 9]);
    expect(valueAt(p, { query: 1, key: 3 })).toBe(8);
    expect(cellOf(p, { query: 9, key: 9 })).toEqual({ row: 1, column: 4 });
    expect([holds(p, { query: 1, key: 4 }), holds(p, { query: 2, key: 0 }), holds(p, { query: 0, key: 5 })]).toEqual([true, false, false]);
  });

  it("are zoomed by squares that show all queries where these are fewer", () => {
    expect(around({ query: 1, key: 3 }, 3, 2, 5)).toEqual([0, 2, 3]);
    expect(around({ query: 1, key: 3 }, 9, 2, 5)).toEqual([0, 0, 5]);
    expect(squareOf({ query: 0, key: 4 }, { query: 1, key: 4 }, 2, 4, 5)).toEqual([0, 1, 4]);
    const part = crop(p, [0, 2, 3]);
    expect([part.n, part.columns, part.top, part.left]).toEqual([2, 3, 0, 2]);
    expect([...part.values]).toEqual([2, 3, 4, 7, 8, 9]);
    expect(spotOf(part, 1, 2)).toEqual({ query: 1, key: 4 });
  });

  it("give thumbnails of that shape", () => {
    const all = thumbs(u1([...Array(10).fill(0), ...Array(9).fill(0), 255], [1, 2, 2, 5]));
    const mean = fromThumb(all, { layer: 0, head: null }, wide, decoder(wide));
    expect([mean.n, mean.columns, valueAt(mean, { query: 1, key: 4 })]).toEqual([2, 5, 1]);
  });

  it("have a sentence without the query", () => {
    const values = new Float32Array(100);
    values[10] = 0.9;
    expect(shown(values, null, false).has(10) && !shown(values, null, false).has(60)).toBe(true);
  });
});
