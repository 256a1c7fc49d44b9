/** What the parts of the widget share: the model's traits as signals, the toy that is trained or sent, what can be done. */
import { numbers, type Packed } from "../../core/buffers";
import type { Theme } from "../../core/colour";
import { type Kernel, watchKernel } from "../../core/frame";
import { assign, type Read, type Scope, signal, type Signal } from "../../core/signal";
import { upTo } from "../../core/words";
import type { Model } from "../../types";
import { measures, overlap } from "./measure";
import type { Grid } from "./phase";
import { STEPS, type Toy, train, type Training } from "./train";

/** Weights over time: trained in this page, or sent by Python. */
export interface Series {
  n: number;
  hidden: number;
  /** The training step of each entry, and the last entry that there will be. */
  steps: number[];
  last: number;
  weights(at: number): ArrayLike<number>;
  bias(at: number): ArrayLike<number> | null;
  /** The loss at each entry; NaN where it is not known. */
  losses: ArrayLike<number>;
  /** How much of the former value the drawn line keeps at each step: batches alone are noisy. */
  smooth: number;
}

export interface View {
  scope: Scope;
  theme: Read<Theme>;
  width: Read<number>;
  narrow: Read<boolean>;
  /** The settings as the sliders have them; the picture follows once it is trained. */
  toy: Read<Toy>;
  /** Whether the weights come from Python. */
  sent: Read<boolean>;
  series: Read<Series>;
  /** Entries of the series that are there, and the one on show. */
  count: Read<number>;
  shown: Read<number>;
  /** W^T W on show, [feature, feature], and what it says of each feature. */
  gram: Read<Float64Array>;
  each: Read<{ length: number; dimensions: number }[]>;
  /** The share of a training in progress, else null. */
  progress: Read<number | null>;
  playing: Read<boolean>;
  chosen: Signal<number>;
  phase: Read<(Grid & { of: number[] }) | null>;
  kernel: Read<Kernel>;
  change(settings: Partial<Toy>): void;
  goTo(entry: number): void;
  play(): void;
  reset(): void;
}

const SLICE = 8; // milliseconds of training in a frame
const PLAY = 6000; // milliseconds from the first step to the last
const SETTINGS: (keyof Toy)[] = ["features", "hidden", "sparsity", "decay", "correlation", "seed"];
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const trainedHere = ({ toy, weights, bias, losses }: Training): Series => ({ n: toy.features, hidden: toy.hidden, steps: upTo(STEPS + 1), last: STEPS, weights, bias, losses, smooth: 0.95 });

function sentSeries(wire: Packed, biases: Packed | null, steps: number[], losses: (number | null)[]): Series {
  const [, hidden, n] = wire.shape as [number, number, number];
  const [all, lean] = [numbers(wire), biases && numbers(biases)];
  const part = (from: ReturnType<typeof numbers>, size: number) => (at: number) => from.subarray(at * size, (at + 1) * size);
  return { n, hidden, steps, last: steps.length - 1, weights: part(all, hidden * n), bias: lean ? part(lean, n) : () => null, losses: losses.map((loss) => loss ?? NaN), smooth: 0 };
}

/** Runs `frame` before each repaint, until it says that it is done or the view ends. */
function loop(scope: Scope, frame: (ms: number) => boolean): void {
  let last = performance.now();
  const next = (now: number) => {
    const ms = Math.max(0, now - last);
    last = now;
    if (!scope.ended.signal.aborted && frame(ms)) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}

/** Trains in slices. The first toy and one that starts anew are shown as they learn, any other once it has learned. */
function trainer(scope: Scope, toy: Read<Toy>, off: Read<boolean>) {
  const current = signal(train(toy()));
  const done = signal(0);
  const progress = signal<number | null>(null);
  let running: Training | null = null;
  const slice = (): boolean => {
    const end = performance.now() + SLICE;
    while (running!.done() < STEPS && performance.now() < end) running!.step();
    const now = running!.done();
    progress.set(now / STEPS);
    if (running === current() && !still()) done.set(now);
    if (now < STEPS) return true;
    current.set(running!);
    done.set(STEPS);
    running = running!.toy === toy() ? null : train(toy());
    if (!running) progress.set(null);
    return running !== null;
  };
  const begin = (next: Training) => {
    if (!running) loop(scope, slice);
    running = next;
    progress.set(0);
  };
  scope.effect(() => {
    const wanted = toy();
    if (!off() && !running) begin(current().toy === wanted ? current() : train(wanted));
  });
  const again = () => {
    current.set(train(toy()));
    done.set(0);
    begin(current());
  };
  return { current, done, progress, again };
}

export function createView(scope: Scope, model: Model, theme: Read<Theme>, width: Read<number>): View {
  const trait = <T>(name: string) => scope.trait<T>(model, name);
  const settings = SETTINGS.map((name) => [name, trait<number>(name)] as const);
  const key = scope.computed(() => JSON.stringify(Object.fromEntries(settings.map(([name, read]) => [name, read()]))));
  const toy = scope.computed(() => JSON.parse(key()) as Toy);
  const first = toy();
  const [weights, biases, steps, losses] = [trait<Packed | null>("_weights"), trait<Packed | null>("_biases"), trait<number[]>("_steps"), trait<(number | null)[]>("_losses")];
  const [step, playing, chosen] = [trait<number>("step"), trait<boolean>("playing"), trait<number>("chosen")];
  const [map, of] = [trait<Packed | null>("_phase"), trait<number[]>("_phase_of")];
  const sent = scope.computed(() => weights() !== null);
  const here = trainer(scope, toy, sent);
  const series = scope.computed(() => (sent() ? sentSeries(weights()!, biases(), steps(), losses()) : trainedHere(here.current())));
  const count = scope.computed(() => (sent() ? series().steps.length : here.done() + 1));
  const set = (changes: Record<string, unknown>) => assign(model, changes);
  /** The last entry at or before the step that was asked for. */
  const asked = () => Math.max(0, series().steps.filter((one) => one <= step()).length - 1);
  const played = signal(0); // the entry on show while it plays, with a fraction
  const shown = scope.computed(() => Math.min(count() - 1, playing() ? Math.floor(played()) : asked()));
  const goTo = (entry: number) => set({ playing: false, step: series().steps[Math.max(0, Math.min(count() - 1, entry))] });
  let turning = false;
  scope.effect(() => {
    if (!playing() || turning) return;
    turning = true;
    played.set(asked() < series().last ? asked() : 0);
    loop(scope, (ms) => {
      const { last } = series();
      played.set(Math.min(played() + (ms * last) / PLAY, count() - 1));
      turning = playing() && played() < last;
      if (playing() && !turning) goTo(last);
      return turning;
    });
  });
  const within = (feature: number) => Math.max(0, Math.min(series().n - 1, feature));
  const gram = scope.computed(() => overlap(series().weights(shown()), series().n));
  return {
    scope,
    theme,
    width,
    narrow: scope.computed(() => width() < 640),
    toy,
    sent,
    series,
    count,
    shown,
    gram,
    each: scope.computed(() => measures(gram(), series().n)),
    progress: scope.computed(() => (sent() ? null : here.progress())),
    playing,
    chosen: Object.assign(() => within(chosen()), { set: (feature: number) => chosen.set(within(feature)) }),
    phase: scope.computed(() => {
      const wire = map();
      return wire && !sent() ? { rows: wire.shape[0]!, columns: wire.shape[1]!, values: numbers(wire), of: of() } : null;
    }),
    kernel: watchKernel(scope, model).state,
    change: set,
    goTo,
    play() {
      const { last } = series();
      if (playing()) goTo(shown());
      else if (still()) goTo(shown() < last ? shown() + Math.ceil(last / 10) : 0);
      else set({ playing: true });
    },
    reset() {
      set({ ...first, step: STEPS, playing: false });
      here.again();
    },
  };
}
