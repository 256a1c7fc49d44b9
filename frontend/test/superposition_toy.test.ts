import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decades, smoothed } from "../src/widgets/superposition_toy/loss";
import { measures, overlap, represented, shape } from "../src/widgets/superposition_toy/measure";
import { alongSparsity, decayAt, downDecay, regions, sparsityAt } from "../src/widgets/superposition_toy/phase";
import { philox } from "../src/widgets/superposition_toy/random";
import { draw, type Toy, train } from "../src/widgets/superposition_toy/train";
import { number } from "../src/core/words";
import { loss } from "../src/widgets/superposition_toy/words";

interface Reference {
  toy: Toy;
  batch: number[][];
  steps: number[];
  W: number[][];
  b: number[][];
  loss: number[];
}
/** What torch finds in float64; tests/methods/test_superposition.py holds that it still does. */
const references = JSON.parse(readFileSync(new URL("superposition_toy.json", import.meta.url), "utf8")) as Reference[];

describe("the generator", () => {
  it("gives the words that its authors publish", () => {
    const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, "0")).join(" ");
    const all = 0xffffffff;
    expect(hex(philox(0, 0, 0, 0, 0, 0))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    expect(hex(philox(all, all, all, all, all, all))).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
    expect(hex(philox(0xa4093822, 0x299f31d0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344))).toBe("d16cfe09 94fdcceb 5001e420 24126ea1");
  });
});

describe.each(references)("a toy of $toy.features features in $toy.hidden dimensions", ({ toy, batch, steps, W, b, loss }) => {
  it("is shown the same features as in torch, to the last bit", () => {
    const x = new Float64Array(128 * toy.features);
    draw(toy, 7, x);
    expect([...x.subarray(0, batch.flat().length)]).toEqual(batch.flat());
  });

  it("learns the same weights as in torch over 200 steps", () => {
    const training = train(toy);
    while (training.done() < 200) training.step();
    const far = (found: ArrayLike<number>, expected: number[]) => Math.max(...expected.map((value, i) => Math.abs(value - found[i]!)));
    steps.forEach((step, i) => {
      expect(far(training.weights(step), W[i]!)).toBeLessThan(1e-9); // asked for: 1e-4
      expect(far(training.bias(step), b[i]!)).toBeLessThan(1e-9);
    });
    expect(far(training.losses, loss)).toBeLessThan(1e-9);
  });
});

describe("what W says", () => {
  const pentagon = Float64Array.from({ length: 10 }, (_, i) => (i < 5 ? Math.cos : Math.sin)((2 * Math.PI * (i % 5)) / 5));

  it("a pentagon gives two fifths of a dimension to each feature", () => {
    const each = measures(overlap(pentagon, 5), 5);
    for (const { dimensions, length } of each) expect([dimensions, length]).toEqual([expect.closeTo(0.4), expect.closeTo(1)]);
    expect(represented(each)).toBe(5);
    expect(shape(each[0]!.dimensions)).toEqual([2 / 5, "2/5, a pentagon"]);
  });

  it("a feature without a direction has no dimension, and no geometry", () => {
    expect(measures(overlap(new Float64Array([1, 0]), 2), 2)[1]).toEqual({ length: 0, dimensions: 0 });
    expect(shape(0)).toBeNull();
    expect(shape(0.85)).toBeNull();
  });
});

describe("the phase diagram", () => {
  it.each([0, 0.5, 0.9, 0.93, 0.99])("finds sparsity %f again where it stands", (sparsity) => expect(sparsityAt(alongSparsity(sparsity))).toBeCloseTo(sparsity, 9));
  it("runs from a decay of 1 on top to 0.4", () => expect([decayAt(0), decayAt(1), downDecay(0.7)]).toEqual([1, 0.4, expect.closeTo(0.5)]));
  it("writes a number in the middle of the largest square of it, and none where there is no room", () =>
    expect(regions({ rows: 3, columns: 4, values: [2, 2, 2, 3, 2, 2, 2, 4, 2, 2, 2, 4] })).toEqual([{ value: 2, row: 1, column: 1 }]));
});

describe("the loss", () => {
  const series = (losses: number[], smooth: number) => ({ losses, smooth }) as never;
  it("is drawn as its running mean, from the first step on", () => expect([...smoothed(series([4, 2, 9], 0.5), 2)]).toEqual([4, expect.closeTo(8 / 3)]));
  it("is drawn as it came where Python sent it, gaps included", () => expect([...smoothed(series([4, NaN, 9], 0), 3)].filter(Number.isFinite)).toEqual([4, 9]));
  it("stands between whole decades, even where there is none", () => {
    expect(decades(Float64Array.of(0.3, 0.02, NaN, 0)).join()).toBe("-2,0");
    expect(decades(new Float64Array()).join()).toBe("-1,0");
  });
  it.each([[0.01234, "0.0123"], [1, "1"], [1e-7, "1e−7"]])("%f is written as %s", (value, text) => expect(loss(value)).toBe(text));
});

it("numbers have a real minus sign, and nothing is minus zero", () => expect([number(-0.5), number(-0.001)]).toEqual(["−0.50", "0.00"]));
