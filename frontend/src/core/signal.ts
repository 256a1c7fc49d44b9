/** Values that know who reads them. An effect runs again after what it read has changed, once per batch of changes. */
import type { Model } from "../types";

export type Read<T> = () => T;
/** Sets traits of the model and tells Python, in one message. */
export function assign(model: Model, changes: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(changes)) model.set(name, value);
  model.save_changes();
}

export interface Signal<T> extends Read<T> {
  set(value: T): void;
}

interface Effect {
  id: number;
  run: () => void;
  sources: Set<Set<Effect>>;
}

let running: Effect | null = null;
let born = 0;
const waiting = new Set<Effect>();
let scheduled = false;

export function signal<T>(value: T): Signal<T> {
  const readers = new Set<Effect>();
  const read = () => {
    if (running) {
      readers.add(running);
      running.sources.add(readers);
    }
    return value;
  };
  read.set = (next: T) => {
    if (Object.is(next, value)) return;
    value = next;
    for (const reader of readers) waiting.add(reader);
    if (!scheduled && waiting.size) {
      scheduled = true;
      queueMicrotask(flush);
    }
  };
  return read;
}

/** Runs what is waiting, oldest first, so that an effect sees every value it depends on already renewed. */
export function flush(): void {
  scheduled = true; // what effects set is seen below, in this same pass
  try {
    for (let left = 10_000; waiting.size; left--) {
      if (!left) throw new Error("interpwidgets: effects keep waking each other");
      let next: Effect | null = null;
      for (const effect of waiting) if (!next || effect.id < next.id) next = effect;
      waiting.delete(next!);
      next!.run();
    }
  } finally {
    waiting.clear();
    scheduled = false;
  }
}

/** Everything a view keeps alive; `dispose` ends it. */
export class Scope {
  private readonly cleanups: (() => void)[] = [];
  readonly ended = new AbortController();

  effect(action: () => void): void {
    const effect: Effect = { id: born++, sources: new Set(), run: () => undefined };
    const forget = () => {
      for (const readers of effect.sources) readers.delete(effect);
      effect.sources.clear();
    };
    effect.run = () => {
      forget();
      const outer = running;
      running = effect;
      try {
        action();
      } finally {
        running = outer;
      }
    };
    this.onEnd(() => {
      forget();
      waiting.delete(effect);
    });
    effect.run();
  }

  computed<T>(derive: () => T): Read<T> {
    const value = signal<T>(undefined as T);
    this.effect(() => value.set(derive()));
    return value;
  }

  /** A trait of the model as a signal; setting it tells Python. */
  trait<T>(model: Model, name: string): Signal<T> {
    const value = signal(model.get<T>(name));
    const renew = () => value.set(model.get<T>(name));
    model.on(`change:${name}`, renew);
    this.onEnd(() => model.off(`change:${name}`, renew));
    const read = () => value();
    read.set = (next: T) => {
      assign(model, { [name]: next });
      renew();
    };
    return read;
  }

  onEnd(cleanup: () => void): void {
    this.cleanups.push(cleanup);
  }

  dispose(): void {
    this.ended.abort();
    for (const cleanup of this.cleanups.splice(0).reverse()) cleanup();
  }
}
