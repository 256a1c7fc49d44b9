/** The colour bar under a map: what its colours mean, and where the value under the pointer stands. */
import type { Ramp } from "./colour";
import { attribute, fill, s } from "./dom";
import { ornament, svgText } from "./parts";
import type { Read, Scope } from "./signal";
import { upTo } from "./words";

/** A place along the bar, 0 to 1, and what is written there. */
export type Mark = [number, string];

let made = 0;

/** A colour bar 8 px high with ticks below. */
export function colourBar(ramp: Ramp, width: number, marks: Mark[]): SVGElement[] {
  const id = `iw-ramp-${(made = (made + 1) % 1e6)}-${Math.random().toString(36).slice(2, 6)}`;
  return [
    s("defs", null, s("linearGradient", { id }, upTo(33).map((i) => s("stop", { offset: i / 32, "stop-color": ramp.css(Math.round((i * 255) / 32)) })))),
    s("rect", { x: 0, y: 4, width, height: 8, fill: `url(#${id})` }),
    ...marks.flatMap(([u, text], i) => [
      s("path", { d: `M${Math.min(width - 0.5, Math.max(0.5, u * width))} 12v3`, stroke: "var(--edge)" }),
      svgText(u * width, 25, i === 0 ? "start" : i === marks.length - 1 ? "end" : "middle", text),
    ]),
  ];
}

export interface Legend {
  ramp: Ramp;
  width: number;
  marks: Mark[];
  /** The value under the pointer, 0 to 1 along the bar. */
  at: number | null;
}

/** A colour bar that follows what it reads; while only the value moves, so does only the pointer. */
export function legend(scope: Scope, read: Read<Legend>): SVGSVGElement {
  const colours = s("g");
  const pointer = s("path", { fill: "var(--accent)" });
  const bar = ornament({ height: 28, style: "flex:none;height:28px", "data-part": "legend" }, colours, pointer);
  let drawn = "";
  scope.effect(() => {
    const { ramp, width, marks, at } = read();
    attribute(pointer, "d", at === null ? null : `M${Math.min(1, Math.max(0, at)) * width} 4l-4-5h8z`);
    if (drawn === (drawn = JSON.stringify([ramp.css(0), ramp.css(255), width, marks]))) return;
    attribute(bar, "width", width);
    fill(colours, colourBar(ramp, width, marks));
  });
  return bar;
}
