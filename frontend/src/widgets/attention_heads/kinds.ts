/** Encoder, decoder, cross: one of several kinds of attention, as if it were the only one. All of them are in the page. */
import { choice } from "../../core/controls";
import { h } from "../../core/dom";
import { assign, type Scope } from "../../core/signal";
import { capital, count } from "../../core/words";
import type { Model } from "../../types";
import type { HeadId, Meta, Spot, Tile } from "./data";
import { through } from "./other";

interface Kind extends Record<string, unknown> {
  name: string;
  _meta: Meta;
  _tile: Tile;
  /** What is chosen in it first. */
  choice: HeadId & Spot;
}

const WITHIN = ["tokens", "key_tokens", "_meta", "_thumbs", "_score_names", "_score_values"];
const COMES = ["_tile", "_window"];

const kindsOf = (model: Model): Kind[] => model.get<Kind[] | undefined>("_kinds") ?? [];
const kindOf = (model: Model): Kind => kindsOf(model).find(({ name }) => name === model.get("attention")) ?? kindsOf(model)[0]!;

/** The model whose text and heads are those of the kind on show; a tile of another kind is none. */
export function kindModel(model: Model): Model {
  if (!kindsOf(model).length) return model;
  const get = (name: string): unknown => {
    const kind = kindOf(model);
    const own = model.get<Tile | null>(name);
    if (COMES.includes(name)) return own?.attention === kind.name ? own : (kind[name] ?? null);
    return WITHIN.includes(name) ? kind[name] : own;
  };
  return through(model, get, (name) => name, (name) => ([...WITHIN, ...COMES].includes(name) ? ["attention", "_kinds", name] : [name]));
}

/** The control; each kind keeps what was chosen in it. Nothing where there is one kind only. */
export function kindChoice(scope: Scope, model: Model, say: (text: string) => void): HTMLElement | null {
  if (!kindsOf(model).length) return null;
  const left = new Map<string, unknown>();
  const kinds = scope.trait<Kind[]>(model, "_kinds");
  const chosen = scope.trait<string>(model, "attention");
  scope.effect(() => {
    kinds();
    left.clear(); // another text
  });
  const control = choice(scope, "attention", () => kinds().map(({ name }) => [name, capital(name)]), chosen, (name) => {
    if (name === chosen()) return;
    const [layer, head, query, key] = ["layer", "head", "query", "key"].map((trait) => model.get(trait));
    left.set(chosen(), { layer, head, query, key });
    const { _meta, _notice, choice } = kinds().find((kind) => kind.name === name)!;
    assign(model, { attention: name, zoom: null, locked: false, _notice, ...((left.get(name) ?? choice) as object) });
    say(`${name} attention, ${count(_meta.layers, "layer")} of ${count(_meta.heads, "head")}`);
  });
  control.dataset.part = "attention";
  return h("div", { class: "iw-row iw-controls" }, h("span", { class: "iw-quiet", "aria-hidden": "true" }, "Attention"), control);
}
