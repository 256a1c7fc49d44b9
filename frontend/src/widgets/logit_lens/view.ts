/** What the parts of the widget share: the model's traits as signals, what is derived from them, what can be done. */
import { ramp, type Ramp, type Theme } from "../../core/colour";
import { type Failure, type Kernel, type Notice, type Status, watchKernel } from "../../core/frame";
import { assign, type Read, type Scope, signal, type Signal } from "../../core/signal";
import type { Model } from "../../types";
import { type Cell, column, fromTop, largest, layerOf, linear, type Measure, type Meta, type Plane, planeKey, probability, ranks, readFollowed, readPlane, type Scale, type Track, type WireFollowed, type WirePlane } from "./data";

/** A token on its way through the layers: the target, or a pinned one. */
export interface Path {
  /** "" for the target that differs from position to position: the token that really follows. */
  token: string;
  colour: string;
  shape: number;
  target: boolean;
}

export interface View {
  scope: Scope;
  model: Model;
  tokens: Read<string[]>;
  rows: Read<string[]>;
  meta: Read<Meta>;
  vocab: Read<string[]>;
  /** The planes on show: under the lens, and under the one beside it. Null while one is not there. */
  planes: Read<{ lens: string; plane: Plane | null }[]>;
  lenses: Read<string[]>;
  sources: Read<string[]>;
  measure: Signal<Measure>;
  /** How the measure becomes colour and length. */
  scale: Read<Scale>;
  /** The measure in every cell of a plane; null where it is not known at all. */
  values(plane: Plane): ArrayLike<number> | null;
  lens: Signal<string>;
  compare: Signal<string>;
  source: Signal<string>;
  target: Signal<string>;
  pinned: Signal<string[]>;
  /** The token that the target is at a position; null where nothing follows. */
  wanted(position: number): string | null;
  paths: Read<Path[]>;
  /** The numbers of a path under a plane, and whether they are known everywhere. */
  track(path: Path, plane: Plane): { track: Track; whole: boolean };
  /** The cell under the pointer, else the chosen one. */
  cursor: Read<Cell>;
  chosen: Read<Cell>;
  hover: Signal<Cell | null>;
  locked: Signal<boolean>;
  kernel: Read<Kernel>;
  status: Read<Status>;
  notice: Signal<Notice | null>;
  failure: Signal<Failure | null>;
  prompt: Read<string>;
  hasModel: boolean;
  ramp: Read<Ramp>;
  width: Read<number>;
  narrow: Read<boolean>;
  select(cell: Cell, locked: boolean): void;
  pin(token: string): void;
  aim(token: string): void;
  run(prompt: string): void;
}

const COLOURS = ["var(--series2)", "var(--series3)", "var(--ink1)", "var(--ink2)"];

/** Asks the kernel once for each plane that is chosen and not there. */
function fetching(scope: Scope, model: Model, planes: View["planes"], source: Read<string>, kernel: Read<Kernel>, wire: Read<WirePlane[]>): void {
  const asked = new Set<string>();
  scope.effect(() => {
    wire();
    asked.clear();
  });
  scope.effect(() => {
    if (kernel() !== "here") return;
    for (const { lens, plane } of planes()) {
      const key = planeKey(lens, source());
      if (plane || asked.has(key)) continue;
      asked.add(key);
      model.send({ type: "plane", lens, source: source() });
    }
  });
}

/** The layer follows the row and the row the layer, whichever is set: other widgets are tied by layers. */
function tieLayer(scope: Scope, model: Model): void {
  const rows = () => model.get<string[]>("_rows");
  const agree = () => layerOf(rows(), model.get("row")) === model.get("layer");
  const put = (name: string, value: number) => assign(model, { [name]: value });
  const byRow = () => void (agree() || put("layer", layerOf(rows(), model.get("row"))));
  const byLayer = () => {
    const there = rows().indexOf(String(model.get("layer")));
    if (!agree() && there >= 0) put("row", there);
  };
  model.on("change:row", byRow);
  model.on("change:layer", byLayer);
  scope.onEnd(() => (model.off("change:row", byRow), model.off("change:layer", byLayer)));
}

export function createView(scope: Scope, model: Model, theme: Read<Theme>, width: Read<number>): View {
  const trait = <T>(name: string) => scope.trait<T>(model, name);
  const [tokens, rows, meta, vocab] = [trait<string[]>("tokens"), trait<string[]>("_rows"), trait<Meta>("_meta"), trait<string[]>("_vocab")];
  const [wire, wireFollowed] = [trait<WirePlane[]>("_planes"), trait<WireFollowed[]>("_followed")];
  const [lens, compare, source, target, pinned] = [trait<string>("lens"), trait<string>("compare"), trait<string>("source"), trait<string>("target"), trait<string[]>("pinned")];
  const [row, position, locked, measure] = [trait<number>("row"), trait<number>("position"), trait<boolean>("locked"), trait<Measure>("measure")];
  const known = scope.computed(() => new Map(wire().map((plane) => [planeKey(plane.lens, plane.source), readPlane(plane)])));
  const followed = scope.computed(() => new Map(wireFollowed().map((one) => [one.token, readFollowed(one)])));
  const planes = scope.computed(() => [lens(), compare()].filter((name, i) => i === 0 || (name && name !== lens())).map((name) => ({ lens: name, plane: known().get(planeKey(name, source())) ?? null })));
  const distinct = (names: string[]) => [...new Set(names)];
  const hover = signal<Cell | null>(null);
  const clamp = (cell: Cell): Cell => ({ row: Math.max(0, Math.min(rows().length - 1, cell.row)), position: Math.max(0, Math.min(tokens().length - 1, cell.position)) });
  const chosen = scope.computed(() => clamp({ row: row(), position: position() }));
  const wanted = (at: number) => target() || (tokens()[at + 1] ?? null);
  const kernel = watchKernel(scope, model);
  if (model.get<number | undefined>("layer") !== undefined) tieLayer(scope, model);
  fetching(scope, model, planes, source, kernel.state, wire);

  const tracks = scope.computed(() => (followed(), known(), tokens(), vocab(), target(), new Map<string, Track>())); // emptied when one of these changes
  const track = (path: Path, plane: Plane) => {
    const key = planeKey(plane.lens, plane.source);
    const exact = followed().get(path.token)?.get(key);
    if (exact) return { track: exact, whole: true };
    const name = JSON.stringify([path.token, path.target, key]);
    const kept = tracks().get(name) ?? fromTop(plane, vocab(), path.token ? () => path.token : wanted);
    tracks().set(name, kept);
    return { track: kept, whole: false };
  };
  const paths = scope.computed((): Path[] => [
    { token: target(), colour: "var(--accent)", shape: 0, target: true },
    ...pinned().filter((token) => token !== target()).map((token, i) => ({ token, colour: COLOURS[i % COLOURS.length]!, shape: i + 1, target: false })),
  ]);
  const values = (plane: Plane): ArrayLike<number> | null => {
    if (measure() === "rank") return track(paths()[0]!, plane).track.rank;
    if (measure() !== "probability") return plane[measure() as "entropy" | "kl"];
    return Float32Array.from({ length: plane.rows * plane.columns }, (_, cell) => plane.probs[cell * plane.k]!);
  };
  const scale = scope.computed(() => {
    if (measure() === "probability") return probability;
    const here = planes().flatMap(({ plane }) => (plane ? [plane] : []));
    const known = measure() === "rank" ? here.flatMap((plane) => paths().map((path) => track(path, plane).track.rank)) : here.map(values);
    const most = Math.max(0, ...known.map((one) => (one ? largest(one) : 0)));
    return measure() === "rank" ? ranks(most) : linear(most);
  });
  const set = (changes: Record<string, unknown>) => assign(model, changes);
  const follow = () => {
    model.send({ type: "follow", tokens: distinct([target(), ...pinned()].filter(Boolean)) });
    kernel.ask();
  };
  return {
    scope,
    model,
    tokens,
    rows,
    meta,
    vocab,
    planes,
    lenses: scope.computed(() => distinct([...(meta().lenses ?? []), ...wire().map((plane) => plane.lens), lens()])),
    sources: scope.computed(() => distinct([...(meta().sources ?? []), ...wire().map((plane) => plane.source), source()])),
    measure,
    scale,
    values,
    lens,
    compare,
    source,
    target,
    pinned,
    wanted,
    paths,
    track,
    cursor: scope.computed(() => clamp(hover() ?? chosen())),
    chosen,
    hover,
    locked,
    kernel: kernel.state,
    status: trait<Status>("_status"),
    notice: trait<Notice | null>("_notice"),
    failure: trait<Failure | null>("_error"),
    prompt: trait<string>("prompt"),
    hasModel: model.get<boolean>("_has_model"),
    ramp: scope.computed(() => ramp("sequential", theme())),
    width,
    narrow: scope.computed(() => width() < 640),
    select: (cell, lock) => {
      hover.set(null);
      set({ ...clamp(cell), locked: lock });
    },
    pin: (token) => {
      set({ pinned: pinned().includes(token) ? pinned().filter((other) => other !== token) : [...pinned(), token] });
      follow();
    },
    aim: (token) => {
      set({ target: token });
      follow();
    },
    run: (prompt) => {
      model.send({ type: "run", prompt });
      kernel.ask();
    },
  };
}

export { column };
