/** The second of two that stand side by side, as if it were a model of its own: the same traits under other names. */
import type { Signal } from "../../core/signal";
import type { Model } from "../../types";
import type { Spot } from "./data";

interface Other extends Record<string, unknown> {
  heads_shared: boolean;
  cells_shared: boolean;
}

const WITHIN = ["tokens", "key_tokens", "_image", "_meta", "_thumbs", "_score_names", "_score_values"];
const HEAD = ["layer", "head"];
const CELL = ["query", "key", "zoom"];
const NONE = ["_notice", "_error"];

export const otherOf = (model: Model): Other | null => model.get<Other | null>("_other") ?? null;

/** Where the first model keeps what the second calls `name`. */
function home(name: string, { heads_shared, cells_shared }: Other): string {
  if (WITHIN.includes(name)) return "_other";
  if (name === "_tile" || name === "_window") return `_other${name}`;
  const own = (HEAD.includes(name) && !heads_shared) || (CELL.includes(name) && !cells_shared);
  return own ? `_other_${name}` : name;
}

/** A model seen through other names: what `get` answers, where `home` keeps a trait, and which events tell of it. */
export function through(model: Model, get: (name: string) => unknown, home: (name: string) => string, events: (name: string) => string[]): Model {
  const all = (name: string) => (name.startsWith("change:") ? events(name.slice(7)).map((trait) => `change:${trait}`) : [name]);
  return {
    get: <T>(name: string) => get(name) as T,
    set: (name, value) => model.set(home(name), value),
    save_changes: () => model.save_changes(),
    send: (content, callbacks, buffers) => model.send(content, callbacks, buffers),
    on: (name, handler) => all(name).forEach((event) => model.on(event, handler)),
    off: (name, handler) => (name ? all(name).forEach((event) => model.off(event, handler)) : model.off(name, handler)),
    widget_manager: model.widget_manager,
  };
}

export const otherModel = (model: Model, other: Other): Model =>
  through(
    model,
    (name) => (NONE.includes(name) ? null : WITHIN.includes(name) ? other[name] : model.get(home(name, other))),
    (name) => home(name, other),
    (name) => [home(name, other)],
  );

/** What is under the pointer of one is under that of the other where they have as many tokens. */
export const sharedHover = (other: Other, hover: Signal<Spot | null>): Signal<Spot | null> | undefined => (other.cells_shared ? hover : undefined);
