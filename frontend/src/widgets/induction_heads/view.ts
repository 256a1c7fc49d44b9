/** What the parts of the widget share: the model's traits as signals, what is derived from them, what can be done. */
import type { Packed } from "../../core/buffers";
import { ramp, type Ramp, type Theme } from "../../core/colour";
import { type Failure, type Kernel, type Notice, type Status, watchKernel } from "../../core/frame";
import { assign, type Read, type Scope, signal, type Signal } from "../../core/signal";
import { upTo } from "../../core/words";
import type { Model } from "../../types";
import { above, type Arrow, type Head, isOff, mainScore, type Meta, offKey, rowOf, scoresAt, shownArrows } from "./data";
import { type Layout, layout } from "./geometry";
import { type Pattern, readTile, type Spot, type Tile } from "./tile";

export interface View {
  scope: Scope;
  tokens: Read<string[]>;
  meta: Read<Meta>;
  names: Read<string[]>;
  /** The scores at the step of training on show. */
  scores: Read<Map<string, Float32Array>>;
  /** The scores at every step. */
  history: Read<Map<string, Float32Array>[]>;
  /** The score on show: its name, its numbers. */
  score: Signal<string>;
  values: Read<Float32Array>;
  at(name: string, head: Head): number;
  arrows: Read<Arrow[]>;
  threshold: Signal<number>;
  listed: Read<Head[]>;
  found: Signal<[number, number][]>;
  chosen: Read<Head>;
  choose(head: Head): void;
  /** The pattern of the chosen head; null where it is not here. */
  pattern: Read<Pattern | null>;
  hover: Signal<Spot | null>;
  /** The pair that the keyboard has come to. */
  cell: Signal<Spot | null>;
  steps: Read<number[]>;
  /** Which of the steps is on show. */
  time: Read<number>;
  goTo(time: number): void;
  /** Whether the finished model is on show, in which heads can be switched off. */
  finished: Read<boolean>;
  off: Signal<[number, number][]>;
  toggle(head: Head): void;
  loss: Read<Float32Array | null>;
  lossOff: Read<Float32Array | null>;
  /** Sets of heads whose loss is here. */
  computed: Read<[number, number][][]>;
  kernel: Read<Kernel>;
  status: Read<Status>;
  notice: Signal<Notice | null>;
  failure: Signal<Failure | null>;
  hasModel: boolean;
  prompt: Read<string>;
  run(prompt: string): void;
  draw(period: number): void;
  training(): void;
  ramp: Read<Ramp>;
  map: Read<Ramp>;
  size: Read<Layout>;
  width: Read<number>;
  narrow: Read<boolean>;
}

interface WireLoss {
  off: [number, number][];
  loss: Packed;
}

/** The tile that came last, those that came before it on this text, and those that were saved. */
function patterns(scope: Scope, model: Model, meta: Read<Meta>, chosen: Read<Head>, step: Read<number | null>): Read<Pattern | null> {
  const [tile, saved] = [scope.trait<Tile | null>(model, "_tile"), scope.trait<Tile[]>(model, "_kept")];
  const came = new Map<string, Tile>();
  let of: Tile[] | null = null;
  const name = (head: Head, at: number | null) => `${head.layer}.${head.head}.${at}`;
  return scope.computed(() => {
    const { causal, tokens } = meta();
    if (of !== saved()) {
      came.clear();
      for (const one of saved()) came.set(name(one, one.step), one);
    }
    of = saved();
    const now = tile();
    if (now) came.set(name(now, now.step), now);
    const found = came.get(name(chosen(), step()));
    return found && found.n === Math.ceil(tokens / found.block) ? readTile(found, tokens, causal) : null;
  });
}

export function createView(scope: Scope, model: Model, theme: Read<Theme>, width: Read<number>): View {
  const trait = <T>(name: string) => scope.trait<T>(model, name);
  const [tokens, meta, names, wire] = [trait<string[]>("tokens"), trait<Meta>("_meta"), trait<string[]>("_names"), trait<Packed>("_scores")];
  const [layer, head, score, threshold] = [trait<number>("layer"), trait<number>("head"), trait<string>("score"), trait<number>("threshold")];
  const [steps, step, off, found] = [trait<number[]>("_steps"), trait<number | null>("step"), trait<[number, number][]>("off"), trait<[number, number][]>("found")];
  const [wireLoss, wireLosses, wireArrows] = [trait<Packed | null>("_loss"), trait<WireLoss[]>("_losses"), trait<number[][][]>("_arrows")];
  const chosen = scope.computed(() => ({ layer: Math.min(layer(), meta().layers - 1), head: Math.min(head(), meta().heads - 1) }));
  const time = scope.computed(() => Math.max(0, step() === null ? (wire().shape[0] ?? 1) - 1 : steps().indexOf(step()!)));
  const history = scope.computed(() => upTo(wire().shape[0] ?? 0).map((at) => scoresAt(wire(), names(), at)));
  const scores = scope.computed(() => history()[Math.min(time(), history().length - 1)]!);
  const values = scope.computed(() => scores().get(score()) ?? scores().values().next().value!);
  const losses = scope.computed(() => new Map(wireLosses().map((one) => [offKey(one.off), rowOf(one.loss, 0)!])));
  const finished = scope.computed(() => steps().length === 0 || time() === steps().length - 1);
  const loss = scope.computed(() => rowOf(wireLoss(), Math.min(time(), (wireLoss()?.shape[0] ?? 1) - 1)));
  const kernel = watchKernel(scope, model);
  const set = (changes: Record<string, unknown>) => assign(model, changes);
  const ask = (content: unknown) => {
    model.send(content);
    kernel.ask();
  };
  const narrow = scope.computed(() => width() < 640);
  return {
    scope,
    tokens,
    meta,
    names,
    scores,
    history,
    score,
    values,
    at: (name, { layer, head }) => scores().get(name)?.[layer * meta().heads + head] ?? NaN,
    arrows: scope.computed(() => shownArrows(wireArrows()[time()] ?? [], scores().get(mainScore(names())) ?? values(), meta().heads, threshold())),
    threshold,
    listed: scope.computed(() => above(values(), meta().heads, threshold())),
    found,
    chosen,
    choose: ({ layer, head }) => {
      set({ layer, head });
      kernel.ask();
    },
    pattern: patterns(scope, model, meta, chosen, step),
    hover: signal<Spot | null>(null),
    cell: signal<Spot | null>(null),
    steps,
    time,
    goTo: (at) => {
      const all = steps();
      set({ step: all[Math.max(0, Math.min(all.length - 1, at))] });
    },
    finished,
    off,
    toggle: (one) => {
      if (!meta().can_ablate || !finished()) return;
      const others = off().filter(([l, x]) => l !== one.layer || x !== one.head);
      off.set(isOff(off(), one) ? others : [...others, [one.layer, one.head] as [number, number]].sort(([a, b], [c, d]) => a - c || b - d));
      kernel.ask();
    },
    loss,
    lossOff: scope.computed(() => (finished() && off().length ? (losses().get(offKey(off())) ?? null) : null)),
    computed: scope.computed(() => wireLosses().map((one) => one.off)),
    kernel: kernel.state,
    status: trait<Status>("_status"),
    notice: trait<Notice | null>("_notice"),
    failure: trait<Failure | null>("_error"),
    hasModel: model.get<boolean>("_has_model"),
    prompt: trait<string>("prompt"),
    run: (prompt) => ask({ type: "run", prompt }),
    draw: (period) => ask({ type: "draw", period }),
    training: () => ask({ type: "training" }),
    ramp: scope.computed(() => ramp(score() === "copying" ? "diverging" : "sequential", theme())),
    map: scope.computed(() => ramp(meta().signed ? "diverging" : "sequential", theme())),
    size: scope.computed(() => layout(width(), meta().layers, meta().heads, devicePixelRatio)),
    width,
    narrow,
  };
}
