import { describe, expect, it } from "vitest";
import { labelled, stride } from "../src/core/axes";
import { numbers } from "../src/core/buffers";
import { type Cells, detail, pooled } from "../src/core/heat_map";
import { alone, labels, path, points } from "../src/core/line_chart";
import { surroundings } from "../src/core/token_strip";
import { place } from "../src/core/tooltip";

describe("axis labels", () => {
  it("are all there from 10.5 pixels on, else every second, fourth ...", () => expect([16, 10.5, 10.4, 5, 1].map(stride)).toEqual([1, 1, 4, 8, 32]));

  it("keep the chosen one and leave out what would touch it", () => {
    const found = labelled(64, 5, [30]);
    expect(found).toContain(30);
    expect(found.filter((i) => i !== 30 && Math.abs(i - 30) * 5 < 22)).toEqual([]);
  });
});

describe("a heat map", () => {
  const cells: Cells = { rows: 3, columns: 5, at: (row, column) => (column > row + 2 ? -1 : 10 * row + column) };

  it("has cells of whole device pixels, as large as there is room for", () => {
    expect(detail(12, 340, 32, 1)).toEqual({ block: 1, cell: 28 });
    expect(detail(12, 340, 16, 1.5)).toEqual({ block: 1, cell: 16 });
    expect((detail(100, 333, 16, 1.5).cell * 1.5) % 1).toBe(0);
  });

  it("joins cells to blocks where there is less than a device pixel for each", () => {
    expect(detail(4096, 400, 16, 1)).toEqual({ block: 16, cell: 1 });
    expect(detail(4096, 400, 16, 2)).toEqual({ block: 8, cell: 0.5 });
  });

  it("shows of a block its strongest cell, and nothing where all are clear", () => {
    const blocks = pooled(cells, 2, 2);
    expect([blocks.rows, blocks.columns]).toEqual([2, 3]);
    expect([blocks.at(0, 0), blocks.at(1, 1), blocks.at(0, 2)]).toEqual([11, 23, -1]);
    expect(pooled(cells, 2, 2, (code) => -code).at(0, 0)).toBe(0);
  });

  it("is left as it is where every cell has its place", () => expect(pooled(cells, 1, 1)).toBe(cells));
});

describe("a line", () => {
  const frame = { way: "down", pitch: 10, extent: 100, place: (value: number) => value, gutter: 0 } as const;

  it("runs down or across, within its frame", () => {
    expect(points(frame, [0, 0.5, 2])).toEqual([{ x: 0, y: 28.5 }, { x: 50, y: 38.5 }, { x: 100, y: 48.5 }]);
    expect(points({ ...frame, way: "across", gutter: 20 }, [0, 1])).toEqual([{ x: 25, y: 124 }, { x: 35, y: 24 }]);
  });

  it("is broken where nothing is known, and a lone point is a dot", () => {
    const all = points(frame, [0.1, 0.2, NaN, 0.4, NaN, 0.1, 0.2]);
    expect(path(all).match(/M/g)).toHaveLength(3);
    expect(alone(all)).toEqual([all[3]]);
  });

  it("is named where no other line and no other name is", () => {
    const lines = [points(frame, Array(12).fill(0.1)), points(frame, Array(12).fill(0.8))];
    const [low, high] = labels(lines, [30, 30], { left: 0, top: 24, right: 100, bottom: 144 });
    expect(low!.x).toBe(19);
    expect(Math.abs(high!.x - 80)).toBeLessThan(10);
  });

  it("stays without a name where there is no room for one", () => {
    const crowd = Array.from({ length: 40 }, (_, i) => points(frame, Array(12).fill(i / 40)));
    expect(labels(crowd, Array(40).fill(90), { left: 0, top: 24, right: 100, bottom: 144 })).toContain(null);
    expect(labels([points(frame, [NaN, NaN])], [30], { left: 0, top: 0, right: 100, bottom: 100 })).toEqual([null]);
  });
});

describe("a tooltip", () => {
  const [card, panel] = [{ width: 200, height: 120 }, { width: 600, height: 300 }];
  const cell = (x: number, y: number) => ({ x, y, width: 40, height: 24 });

  it("stands diagonal to its cell, on the asked side if it fits there", () => {
    expect(place(cell(100, 200), card, panel, "above")).toEqual({ left: 146, bottom: 106 });
    expect(place(cell(100, 100), card, panel, "below")).toEqual({ left: 146, top: 130 });
  });

  it("turns round at the edges of its panel", () => {
    expect(place(cell(500, 200), card, panel, "above")).toEqual({ right: 106, bottom: 106 });
    expect(place(cell(100, 20), card, panel, "above")).toEqual({ left: 146, top: 50 });
    expect(place(cell(100, 250), card, panel, "below")).toEqual({ left: 146, bottom: 56 });
  });
});

it("a long strip shows what surrounds the tokens that matter", () => {
  expect(surroundings(48, []).size).toBe(48);
  expect([...surroundings(100, [0, 50])]).toEqual([0, 1, 2, 46, 47, 48, 49, 50, 51, 52]);
});

it("codes of two bytes are read wherever they start", () => {
  const raw = new Uint8Array([9, 1, 0, 255, 255]);
  expect([...numbers({ data: new DataView(raw.buffer, 1, 4), dtype: "u2", shape: [2] })]).toEqual([1, 65535]);
});
