/** Holds the models of a page and draws their views: all that a page without Jupyter needs to show widgets. */
import type { Model } from "../types";
import type { State } from "./codec";
import { CONTROLS, isLink, link, type Draw } from "./controls";
import { HostModel, modelId, type Kernel } from "./model";

interface Definition {
  initialize?(context: object): unknown;
  render?(context: object): unknown;
}
interface Live {
  definition: Definition;
  exports: unknown;
}

export class Host {
  readonly models = new Map<string, HostModel>();
  private readonly modules = new Map<string, Promise<Definition>>();
  private readonly live = new Map<string, Promise<Live>>();
  private readonly untie = new Map<string, () => void>();
  private readonly manager: Model["widget_manager"];

  constructor(private readonly kernel: Kernel) {
    this.manager = { get_model: async (id) => this.model(id) };
  }

  /** A model as the kernel or a saved page describes it, its buffers already in place. */
  open(id: string, state: State): HostModel {
    const model = new HostModel(id, state, this.kernel, this.manager);
    this.models.set(id, model);
    return model;
  }

  close(id: string): void {
    this.untie.get(id)?.();
    this.untie.delete(id);
    this.models.get(id)?.off();
    this.models.delete(id);
    this.live.delete(id);
  }

  model(id: string): HostModel {
    const model = this.models.get(id);
    if (!model) throw new Error(`this page has no widget model ${id}`);
    return model;
  }

  /** Makes a link model effective; the two that it joins must be here. */
  join(model: HostModel): void {
    if (!isLink(model.get("_model_name"))) return;
    const [from, trait] = model.get<[unknown, string]>("source");
    const [to, target] = model.get<[unknown, string]>("target");
    const ends = [from, to].map((end) => this.models.get(modelId(end) ?? ""));
    if (ends[0] && ends[1]) this.untie.set(model.id, link(ends[0], trait, ends[1], target, model.get("_model_name") === "LinkModel"));
  }

  /** Draws one view of a model into `el`; aborting the signal removes what it did. */
  async view(id: string, el: HTMLElement, signal: AbortSignal): Promise<void> {
    const model = this.model(id);
    if (model.get("_model_module") === "anywidget") return this.anywidget(model, el, signal);
    const control = CONTROLS[model.get<string>("_model_name")];
    if (control) return control(model, el, signal, this.draw);
    el.textContent = `${model.get<string>("_model_name").replace(/Model$/, "")}: this page cannot show this widget; open the notebook to use it.`;
  }

  /** What stands in a box: a widget of ours is a figure there, too, named as it names itself. */
  private readonly draw: Draw = (reference, el, signal) => {
    const id = modelId(reference) ?? "";
    const named = ["title", "caption"].map((name) => this.models.get(id)?.get<unknown>(name)).filter((text) => typeof text === "string" && text);
    if (named.length > 0) {
      el.setAttribute("role", "figure");
      el.setAttribute("aria-label", named.join(": "));
    }
    return this.view(id, el, signal);
  };

  private async anywidget(model: HostModel, el: HTMLElement, signal: AbortSignal): Promise<void> {
    const { definition } = await this.start(model);
    if (signal.aborted) return;
    style(model.get<string | undefined>("_css"));
    const context = { model: model.during(signal), el, signal, host: this.afm(signal), experimental: {} };
    const cleanup = await definition.render?.(context);
    if (typeof cleanup !== "function") return;
    if (signal.aborted) cleanup();
    else signal.addEventListener("abort", () => cleanup());
  }

  /** Imports a widget's module and initializes the model, once however many views there are. */
  private start(model: HostModel): Promise<Live> {
    const known = this.live.get(model.id);
    if (known) return known;
    const start = async (): Promise<Live> => {
      const definition = await this.module(model.get("_esm"));
      const signal = new AbortController().signal;
      const exports = await definition.initialize?.({ model: model.during(signal), signal, experimental: {} });
      return { definition, exports: typeof exports === "object" ? exports : undefined };
    };
    const started = start();
    this.live.set(model.id, started);
    return started;
  }

  private module(esm: string): Promise<Definition> {
    let found = this.modules.get(esm);
    if (!found) {
      const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
      found = import(url)
        .then(async ({ default: made }) => (typeof made === "function" ? ((await made()) as Definition) : (made as Definition)))
        .finally(() => URL.revokeObjectURL(url));
      this.modules.set(esm, found);
    }
    return found;
  }

  /** anywidget's own way from one widget to another (`host` in its module interface). */
  private afm(signal: AbortSignal): object {
    const find = (reference: string): HostModel => this.model(modelId(reference) ?? "");
    return {
      getModel: async (reference: string) => find(reference).during(signal),
      getWidget: async (reference: string) => ({
        exports: (await this.start(find(reference))).exports,
        render: (inner: { el: HTMLElement; signal?: AbortSignal }) =>
          this.view(find(reference).id, inner.el, inner.signal ?? signal),
      }),
    };
  }
}

const styled = new Set<string>();

function style(css: string | undefined): void {
  if (!css || styled.has(css)) return;
  styled.add(css);
  const sheet = document.createElement("style");
  sheet.textContent = css;
  document.head.append(sheet);
}
