import { describe, expect, it } from "vitest";
import { bytes, numbers } from "../src/core/buffers";
import { ramp } from "../src/core/colour";
import { csvCell } from "../src/core/save";
import { flush, Scope, signal } from "../src/core/signal";
import { pieces, spoken, visible } from "../src/core/tokens";

describe("buffers", () => {
  const four = new Uint8Array([9, 0, 0, 128, 63]); // one float32, 1.0, behind an odd offset
  it.each([
    ["DataView", new DataView(four.buffer, 1, 4)],
    ["Uint8Array", new Uint8Array(four.buffer, 1, 4)],
    ["ArrayBuffer", four.slice(1).buffer],
  ])("reads float32 from a %s, aligned or not", (_, data) => {
    expect([...bytes(data)]).toEqual([0, 0, 128, 63]);
    expect([...numbers({ data, dtype: "f4", shape: [1] })]).toEqual([1]);
  });

  it("reads half precision: signs, subnormals, infinities", () => {
    const codes = new Uint16Array([0x3c00, 0xbc00, 0x3555, 0x0001, 0x7c00, 0x0000]);
    const read = numbers({ data: new Uint8Array(codes.buffer), dtype: "f2", shape: [6] });
    expect([...read]).toEqual([1, -1, 0.333251953125, 2 ** -24, Infinity, 0]);
  });

  it("leaves bytes as they are", () => {
    expect([...numbers({ data: new Uint8Array([0, 255]), dtype: "u1", shape: [2] })]).toEqual([0, 255]);
  });
});

describe("colour", () => {
  const lightness = (css: string) => css.match(/\d+/g)!.map(Number).reduce((sum, c) => sum + c, 0);

  it("ends on the stops of the look", () => {
    expect(ramp("sequential", "light").css(0)).toBe("rgb(237 244 246)");
    expect(ramp("sequential", "light").css(255)).toBe("rgb(23 26 76)");
    expect(ramp("diverging", "dark").css(255)).toBe("rgb(166 236 244)");
  });

  it.each(["light", "dark"] as const)("gains contrast with the %s page from code to code", (theme) => {
    const values = Array.from({ length: 256 }, (_, code) => lightness(ramp("sequential", theme).css(code)));
    const sign = theme === "light" ? -1 : 1;
    for (let code = 8; code < 256; code += 8) expect(sign * (values[code]! - values[code - 8]!)).toBeGreaterThan(0);
  });

  it("writes on every colour with a contrast of at least 4.5", () => {
    const linear = (c: number) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    for (const name of ["sequential", "diverging"] as const)
      for (const theme of ["light", "dark"] as const)
        for (let code = 0; code < 256; code++) {
          const [r, g, b] = ramp(name, theme).css(code).match(/\d+/g)!.map((c) => linear(Number(c))) as [number, number, number];
          const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
          const ink = ramp(name, theme).ink(code) === "#fff" ? 1 : 0;
          const [bright, dim] = [Math.max(luminance, ink), Math.min(luminance, ink)];
          expect((bright + 0.05) / (dim + 0.05)).toBeGreaterThan(4.5);
        }
  });

  it("makes opaque pixels", () => {
    expect(ramp("sequential", "light").pixels[0]).toBe(((255 << 24) | (246 << 16) | (244 << 8) | 237) >>> 0);
  });
});

describe("tokens", () => {
  it.each([
    [" Lily", "␣Lily"],
    ["\n", "⏎"],
    ["\t\t", "⇥⇥"],
    ["", "∅"],
    ["</script>", "</script>"],
    ["<img src=x onerror=alert(1)>", "<img␣src=x␣onerror=alert(1)>"],
    ["a\u200bb", "a\\u200bb"],
    ["\u202eevil", "\\u202eevil"],
    ["\u00a0", "\\u00a0"],
    ["\ud83d", "\\ud83d"],
    ["مرحبا", "مرحبا"],
    ["👩‍👧", "👩‍👧"],
    ["👍🏽", "👍🏽"],
  ])("shows %j as %s", (token, shown) => expect(visible(token)).toBe(shown));

  it("draws a lone space at full strength and a leading one quietly", () => {
    expect(pieces(" ")[0]!.kind).toBe("mark");
    expect(pieces(" a")[0]!.kind).toBe("space");
  });

  it("cuts a token of ten thousand characters", () => expect(visible("x".repeat(10_000)).length).toBeLessThan(500));

  it("says what cannot be seen", () => {
    expect(["", " ", "\n", " Lily"].map(spoken)).toEqual(["empty token", "space", "line break", "Lily"]);
  });
});

describe("signals", () => {
  it("run an effect once for several changes, and not for equal values", () => {
    const scope = new Scope();
    const [a, b] = [signal(1), signal(2)];
    const seen: number[] = [];
    scope.effect(() => void seen.push(a() + b()));
    a.set(10);
    b.set(20);
    a.set(10);
    flush();
    expect(seen).toEqual([3, 30]);
  });

  it("show an effect what is derived only after it was renewed", () => {
    const scope = new Scope();
    const a = signal(1);
    const double = scope.computed(() => 2 * a());
    const seen: string[] = [];
    scope.effect(() => void seen.push(`${a()}:${double()}`));
    a.set(4);
    flush();
    expect(seen).toEqual(["1:2", "4:8"]);
  });

  it("stop when their scope ends", () => {
    const scope = new Scope();
    const a = signal(1);
    let runs = 0;
    scope.effect(() => void (a(), runs++));
    scope.dispose();
    a.set(2);
    flush();
    expect(runs).toBe(1);
  });

  it("complain about effects that wake each other for ever", () => {
    const scope = new Scope();
    const a = signal(0);
    scope.effect(() => a.set(a() + 1));
    expect(flush).toThrow("keep waking");
  });
});

describe("csv", () => {
  it.each([
    ["plain", "plain"],
    ['a "b"', '"a ""b"""'],
    ["a,b\n", '"a,b\n"'],
    ["=cmd()", "'=cmd()"],
    ["@x", "'@x"],
  ])("writes %j as %s", (text, cell) => expect(csvCell(text)).toBe(cell));
});
