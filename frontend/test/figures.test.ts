import { expect, test } from "vitest";
import { recolour } from "../src/host/figures";

const colours = { "#cc5418": ["#c2410c", "#ff8a4c"], "rgba(1,2,3,0.2)": ["#dfe2e6", "#30343a"] } as const;

test("every colour that has a light and a dark form is swapped, at any depth", () => {
  const spec = { data: [{ line: { color: "#cc5418" } }], layout: { scale: [[0, "rgba(1,2,3,0.2)"]] } };
  expect(recolour(spec, colours, true)).toEqual({ data: [{ line: { color: "#ff8a4c" } }], layout: { scale: [[0, "#30343a"]] } });
  expect(recolour(spec, colours, false).data[0]!.line.color).toBe("#c2410c");
});

test("everything else stays what it is, and the original is not touched", () => {
  const spec = { text: ["constructor", "#123456", null, 3, true], bdata: "AAEC" };
  const copy = recolour(spec, colours, true);
  expect(copy).toEqual(spec);
  expect(copy.text).not.toBe(spec.text);
});
