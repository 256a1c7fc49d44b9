import { describe, expect, it } from "vitest";
import { cellOf, decoder, format, fromThumb, fromTile, type Meta, position, spotOf, thumbs, ticks, valueAt } from "../src/widgets/attention_heads/data";
import { labelled, stride } from "../src/widgets/attention_heads/geometry";
import { noteOf } from "../src/widgets/attention_heads/names";
import { shown } from "../src/widgets/attention_heads/strip";

const meta: Meta = { model: "", layers: 1, heads: 2, kv_heads: 2, tokens: 3, causal: true, signed: false, vmax: 1, block: 1, tile: 1, exact: "float32" };
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
