/** What the parts of the widget share: the model's traits as signals, what is derived from them, what can be done. */
import { bytes, type Packed } from "../../core/buffers";
import { ramp, type Ramp, type Theme } from "../../core/colour";
import { type Failure, type Kernel, type Notice, type Status, watchKernel } from "../../core/frame";
import { assign, type Read, type Scope, signal, type Signal } from "../../core/signal";
import type { Model } from "../../types";
import { crop, decoder, fromThumb, fromTile, type HeadId, holds, keysOf, type Meta, type Pattern, type Scale, type Spot, thumbs, type Thumbs, type Tile, type Zoom } from "./data";

/** While thumbnails come, layer by layer, prompts may be run all the same. */
export type HeadsStatus = Status & { filling?: boolean };

/** "other" is the second of two that stand side by side. */
export type Side = "" | "other";

export interface View {
  scope: Scope;
  model: Model;
  tokens: Read<string[]>;
  /** The tokens of the keys: the same, or in cross attention those of another text. */
  keys: Read<string[]>;
  cross: Read<boolean>;
  meta: Read<Meta>;
  thumbs: Read<Thumbs>;
  table: Read<Float32Array>;
  /** The head on show. */
  chosen: Read<HeadId>;
  pattern: Read<Pattern>;
  /** The part of it that the large map shows, in the finest cells that are known. */
  shown: Read<Pattern>;
  /** The finest pattern that holds the pair of tokens under the cursor. */
  finest: Read<Pattern>;
  zoom: Signal<Zoom | null>;
  /** The pair of tokens under the pointer, else the chosen one. */
  cursor: Read<Spot>;
  hover: Signal<Spot | null>;
  /** The query that stays chosen while the pointer moves. */
  chosenQuery: Read<number>;
  locked: Signal<boolean>;
  /** The query's whole row over all tokens; null while it is only known by blocks. */
  row: Read<Float32Array | null>;
  scale: Signal<Scale>;
  sort: Signal<string>;
  bar: Signal<string>;
  scores: Read<Map<string, Float32Array>>;
  /** Heads in the order of the grid. */
  order: Read<HeadId[]>;
  kernel: Read<Kernel>;
  status: Read<HeadsStatus>;
  notice: Signal<Notice | null>;
  failure: Signal<Failure | null>;
  prompt: Read<string>;
  hasModel: boolean;
  theme: Read<Theme>;
  ramp: Read<Ramp>;
  width: Read<number>;
  narrow: Read<boolean>;
  choose(id: HeadId): void;
  /** Moves along the order of the grid. */
  step(by: number): void;
  select(spot: Spot, locked: boolean): void;
  run(prompt: string): void;
}

/** Every tile that came since the thumbnails changed. */
function patterns(scope: Scope, model: Model, meta: Read<Meta>, tokens: Read<string[]>, all: Read<Thumbs>, table: Read<Float32Array>, status: Read<HeadsStatus>, chosen: Read<HeadId>): Read<Pattern> {
  const tile = scope.trait<Tile | null>(model, "_tile");
  const kept = new Map<string, Pattern>();
  let of: string[] | null = null;
  return scope.computed(() => {
    const id = chosen();
    if (of !== tokens()) kept.clear(); // another text; thumbnails alone may still be on their way
    of = tokens();
    const came = tile();
    const name = ({ layer, head }: HeadId) => `${layer}.${head}`;
    if (came && came.n === Math.ceil(meta().tokens / came.block) && (came.columns ?? came.n) === Math.ceil(keysOf(meta()) / came.block)) kept.set(name(came), kept.get(name(came)) ?? fromTile(came, meta()));
    if (kept.size > 32) kept.delete(kept.keys().next().value!);
    const { filling, progress } = status();
    const missing = filling && id.layer >= Math.round((progress ?? 0) * meta().layers);
    return kept.get(name(id)) ?? { ...fromThumb(all(), id, meta(), table()), known: !missing };
  });
}

/** The zoomed part: cut out of what is here, until the kernel has sent it in finer cells. */
function zoomed(scope: Scope, model: Model, meta: Read<Meta>, pattern: Read<Pattern>, chosen: Read<HeadId>, zoom: Read<Zoom | null>): Read<Pattern> {
  const window = scope.trait<Tile | null>(model, "_window");
  return scope.computed(() => {
    const [at, part, id] = [zoom(), window(), chosen()];
    if (!at) return pattern();
    const here = part?.zoom && part.layer === id.layer && part.head === id.head && part.zoom.every((n, i) => n === at[i]);
    return here ? fromTile(part, meta()) : crop(pattern(), at);
  });
}

/** The chosen query's exact row: read off the pattern, or asked for above 512 tokens. */
function exactRow(scope: Scope, model: Model, side: Side, pattern: Read<Pattern>, chosen: Read<HeadId>, query: Read<number>): Read<Float32Array | null> {
  const answer = signal<Float32Array | null>(null);
  let asked = 0;
  const hear = (content: { type?: string; id?: number; side?: Side }, buffers: DataView[]) => {
    if (content?.type === "row" && content.id === asked && (content.side ?? "") === side && buffers[0]) answer.set(new Float32Array(bytes(buffers[0]).slice().buffer));
  };
  model.on("msg:custom", hear);
  scope.onEnd(() => model.off("msg:custom", hear));
  scope.effect(() => {
    const p = pattern();
    const q = query();
    const id = chosen();
    asked++;
    answer.set(p.block === 1 ? p.values.subarray(q * p.columns, (q + 1) * p.columns) : null);
    if (p.block > 1 && model.get<Tile | null>("_tile")?.block !== 1)
      try {
        model.send({ type: "row", id: asked, side, layer: id.layer, head: id.head, query: q });
      } catch {
        // no kernel: the strip shows blocks
      }
  });
  return answer;
}

/** `hovered`: the pair of tokens under the pointer, where two views share it. */
export function createView(scope: Scope, model: Model, theme: Read<Theme>, width: Read<number>, side: Side = "", hovered?: Signal<Spot | null>): View {
  const tokens = scope.trait<string[]>(model, "tokens");
  const other = scope.trait<string[] | undefined>(model, "key_tokens");
  const meta = scope.trait<Meta>(model, "_meta");
  const rawThumbs = scope.trait<Packed>(model, "_thumbs");
  const all = scope.computed(() => thumbs(rawThumbs()));
  const table = scope.computed(() => decoder(meta()));
  const [layer, head, query, key] = ["layer", "head", "query", "key"].map((name) => scope.trait<number>(model, name)) as [Signal<number>, Signal<number | null>, Signal<number>, Signal<number>];
  const locked = scope.trait<boolean>(model, "locked");
  const clamp = (value: number, top: number) => Math.min(top - 1, Math.max(0, value));
  const chosen = scope.computed(() => ({ layer: clamp(layer(), meta().layers), head: head() === null ? null : clamp(head()!, meta().heads) }));
  const status = scope.trait<HeadsStatus>(model, "_status");
  const pattern = patterns(scope, model, meta, tokens, all, table, status, chosen);
  const hover = hovered ?? signal<Spot | null>(null);
  const cursor = scope.computed(() => {
    const spot = hover() ?? { query: query(), key: key() };
    return { query: clamp(spot.query, meta().tokens), key: clamp(spot.key, keysOf(meta())) };
  });
  const cursorQuery = scope.computed(() => cursor().query);
  const sort = scope.trait<string>(model, "sort");
  const names = scope.trait<string[]>(model, "_score_names");
  const values = scope.trait<Packed | null>(model, "_score_values");
  const scores = scope.computed(() => {
    const found = new Map<string, Float32Array>();
    const packed = values();
    if (!packed) return found;
    const flat = new Float32Array(bytes(packed.data).slice().buffer);
    const size = meta().layers * meta().heads;
    names().forEach((name, i) => found.set(name, flat.subarray(i * size, (i + 1) * size)));
    return found;
  });
  const order = scope.computed(() => {
    const { layers, heads } = meta();
    const ids: HeadId[] = [];
    for (let l = 0; l < layers; l++) for (let x = 0; x < heads; x++) ids.push({ layer: l, head: x });
    const by = scores().get(sort());
    if (by) ids.sort((a, b) => by[b.layer * heads + b.head!]! - by[a.layer * heads + a.head!]!);
    return ids;
  });
  const set = (changes: Record<string, unknown>) => assign(model, changes);
  const zoom = scope.trait<Zoom | null>(model, "zoom");
  const shown = zoomed(scope, model, meta, pattern, chosen, zoom);
  const finest = scope.computed(() => (holds(shown(), cursor()) ? shown() : pattern()));
  const kernel = watchKernel(scope, model);
  const choose = (id: HeadId) => {
    set({ layer: id.layer, head: id.head });
    kernel.ask();
  };
  return {
    scope,
    model,
    tokens,
    keys: () => (other()?.length ? other()! : tokens()),
    cross: () => Boolean(other()?.length),
    meta,
    thumbs: all,
    table,
    chosen,
    pattern,
    shown,
    finest,
    zoom,
    cursor,
    hover,
    chosenQuery: () => clamp(query(), meta().tokens),
    locked,
    row: exactRow(scope, model, side, pattern, chosen, cursorQuery),
    scale: scope.trait<Scale>(model, "scale"),
    sort,
    bar: scope.trait<string>(model, "bar"),
    scores,
    order,
    kernel: kernel.state,
    status,
    notice: scope.trait<Notice | null>(model, "_notice"),
    failure: scope.trait<Failure | null>(model, "_error"),
    prompt: scope.trait<string>(model, "prompt"),
    hasModel: model.get<boolean>("_has_model"),
    theme,
    ramp: scope.computed(() => ramp(meta().signed ? "diverging" : "sequential", theme())),
    width,
    narrow: scope.computed(() => width() < 640),
    choose,
    step: (by) => {
      const ids = order();
      const now = chosen();
      const at = ids.findIndex((id) => id.layer === now.layer && id.head === (now.head ?? 0));
      choose(ids[(at + by + ids.length) % ids.length]!);
    },
    select: (spot, lock) => {
      hover.set(null);
      set({ query: spot.query, key: spot.key, locked: lock });
    },
    run: (prompt) => {
      model.send({ type: "run", prompt });
      kernel.ask();
    },
  };
}
