/** Labels along the sides of a map: as many as there is room for, the chosen one always, in accent and in full. */
import { s } from "./dom";
import { chosenIf, svgText } from "./parts";
import { tokenSpans } from "./tokens";

/** Every k-th label, k a power of two, so that labels stand at least 10.5 px (22 px once some are left out) apart. */
export function stride(pitch: number): number {
  if (pitch >= 10.5) return 1;
  let k = 2;
  while (k * pitch < 22) k *= 2;
  return k;
}

/** Which indices get a label: those of the stride, but none that would touch one of `always`. */
export function labelled(n: number, pitch: number, always: number[]): number[] {
  const k = stride(pitch);
  const reach = k === 1 ? 1 : 22 / pitch;
  const found: number[] = [];
  for (let i = 0; i < n; i++) if (always.includes(i) || (i % k === 0 && always.every((a) => Math.abs(a - i) >= reach))) found.push(i);
  return found;
}

export interface Axis {
  /** Cells along the axis, and the size of one in pixels. */
  count: number;
  pitch: number;
  chosen: number;
  /** What stands at a cell: its number, shown once labels are left out, and its token. */
  at(i: number): { index: number; token: string };
  /** Pixels that a label may take. */
  room: number;
}

function label({ pitch, at, room }: Axis, i: number): (SVGElement | string)[] {
  const { index, token } = at(i);
  const number = stride(pitch) > 1 ? `${index} ` : "";
  return [...(number ? [s("tspan", { class: "iw-space" }, number)] : []), ...tokenSpans(token, room)];
}

function tick(axis: Axis, d: string, on: boolean): SVGElement[] {
  return stride(axis.pitch) > 1 || on ? [s("path", { d, stroke: on ? "var(--accent)" : "var(--edge)", "stroke-width": on ? 2 : 1 })] : [];
}

/** Labels that end at `right`, one row of cells below the other. */
export function rowLabels(axis: Axis, right: number): SVGElement[] {
  return labelled(axis.count, axis.pitch, [axis.chosen]).flatMap((i) => {
    const on = i === axis.chosen;
    const y = i * axis.pitch + axis.pitch / 2;
    return [svgText(right - 8, y + 4, "end", label(axis, i), chosenIf(on)), ...tick(axis, `M${right - 5} ${y}h4`, on)];
  });
}

/** Labels that hang below `top`, turned: by 45 degrees where `slanted`, else upright. */
export function columnLabels(axis: Axis, left: number, top: number, slanted: boolean): SVGElement[] {
  return labelled(axis.count, slanted ? Math.max(axis.pitch, 14) : axis.pitch, [axis.chosen]).flatMap((i) => {
    const on = i === axis.chosen;
    const x = left + i * axis.pitch + axis.pitch / 2;
    const transform = slanted ? `translate(${x + 4} ${top + 13}) rotate(-45)` : `translate(${x + 4} ${top + 8}) rotate(-90)`;
    return [svgText(null, null, "end", label(axis, i), { ...chosenIf(on), transform }), ...tick(axis, `M${x} ${top + 1}v4`, on)];
  });
}
