/** The second of two that stand side by side, as if it were a model of its own: the same traits under other names. */
import type { Signal } from "../../core/signal";
import type { Model } from "../../types";
import type { Spot } from "./data";

interface Other extends Record<string, unknown> {
  heads_shared: boolean;
  cells_shared: boolean;
}

const WITHIN = ["tokens", "_meta", "_thumbs", "_score_names", "_score_values"];
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

export function otherModel(model: Model, other: Other): Model {
  const event = (name: string) => (name.startsWith("change:") ? `change:${home(name.slice(7), other)}` : name);
  return {
    get: <T>(name: string) => (NONE.includes(name) ? null : WITHIN.includes(name) ? other[name] : model.get(home(name, other))) as T,
    set: (name, value) => model.set(home(name, other), value),
    save_changes: () => model.save_changes(),
    send: (content, callbacks, buffers) => model.send(content, callbacks, buffers),
    on: (name, handler) => model.on(event(name), handler),
    off: (name, handler) => model.off(name && event(name), handler),
    widget_manager: model.widget_manager,
  };
}

/** What is under the pointer of one is under that of the other where they have as many tokens. */
export const sharedHover = (other: Other, hover: Signal<Spot | null>): Signal<Spot | null> | undefined => (other.cells_shared ? hover : undefined);
