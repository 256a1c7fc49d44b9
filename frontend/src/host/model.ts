/** A widget's state on a page without Jupyter: what anywidget calls the model, with or without a kernel behind it. */
import type { Model } from "../types";
import type { State } from "./codec";

export type Listener = (...args: unknown[]) => void;

/** Where changes and messages of the page go. */
export interface Kernel {
  update(id: string, state: State): void;
  message(id: string, content: unknown, buffers: readonly ArrayBuffer[]): void;
}

/** "IPY_MODEL_1a2b" (ipywidgets) and "anywidget:1a2b" (anywidget) both name the model 1a2b. */
export function modelId(reference: unknown): string | undefined {
  return typeof reference === "string" ? /^(?:IPY_MODEL_|anywidget:)(.+)$/.exec(reference)?.[1] : undefined;
}

export class HostModel implements Model {
  readonly widget_manager: Model["widget_manager"];
  private readonly listeners = new Map<string, Set<Listener>>();
  private changed: State = {};

  constructor(
    readonly id: string,
    private readonly state: State,
    private readonly kernel: Kernel,
    manager: Model["widget_manager"],
  ) {
    this.widget_manager = manager;
  }

  get<T = unknown>(name: string): T {
    return this.state[name] as T;
  }

  set(name: string | State, value?: unknown): void {
    const values = typeof name === "string" ? { [name]: value } : name;
    Object.assign(this.changed, values);
    this.assign(values);
  }

  save_changes(): void {
    const state = this.changed;
    this.changed = {};
    if (Object.keys(state).length > 0) this.kernel.update(this.id, state);
  }

  send(content: unknown, _callbacks?: unknown, buffers: readonly ArrayBuffer[] = []): void {
    this.kernel.message(this.id, content, buffers);
  }

  on(names: string, handler: (...args: never[]) => void): void {
    for (const name of names.split(" ")) {
      if (!this.listeners.has(name)) this.listeners.set(name, new Set());
      this.listeners.get(name)!.add(handler as Listener);
    }
  }

  off(names?: string | null, handler?: ((...args: never[]) => void) | null): void {
    for (const name of names?.split(" ") ?? [...this.listeners.keys()]) {
      if (handler) this.listeners.get(name)?.delete(handler as Listener);
      else this.listeners.delete(name);
    }
  }

  /** Values from the kernel or from the page: all are in place before the first listener hears of one (as in Backbone). */
  assign(values: State): void {
    const names = Object.keys(values).filter((name) => this.state[name] !== values[name]);
    for (const name of names) this.state[name] = values[name];
    for (const name of names) this.emit(`change:${name}`, this, values[name]);
    if (names.length > 0) this.emit("change", this);
  }

  /** A message from the kernel. */
  receive(content: unknown, buffers: readonly DataView[]): void {
    this.emit("msg:custom", content, buffers);
  }

  /** How many listeners there are: none of a view that is gone. */
  get listening(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }

  /** The same model for one view: what the view listens to ends with it. */
  during(signal: AbortSignal): Model {
    const mine: [string, Listener][] = [];
    signal.addEventListener("abort", () => mine.forEach(([names, handler]) => this.off(names, handler as never)));
    return {
      get: (name) => this.get(name),
      set: (name, value) => this.set(name, value),
      save_changes: () => this.save_changes(),
      send: (content, callbacks, buffers) => this.send(content, callbacks, buffers),
      on: (names, handler) => {
        if (signal.aborted) return;
        mine.push([names, handler as Listener]);
        this.on(names, handler);
      },
      off: (names, handler) => {
        for (const [known, heard] of mine)
          if ((!names || known === names) && (!handler || heard === (handler as Listener))) this.off(known, heard as never);
      },
      widget_manager: this.widget_manager,
    };
  }

  private emit(name: string, ...args: unknown[]): void {
    for (const handler of [...(this.listeners.get(name) ?? [])]) handler(...args);
  }
}
