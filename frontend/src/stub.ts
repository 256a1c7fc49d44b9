/**
 * What each widget instance carries: finds the shared bundle through the hidden model, else asks the kernel for it.
 *
 * Every copy of this module on a page shares one cache, so the bundle is evaluated once however many widgets there are.
 */
import type { Model, RenderContext } from "./types";

type Cleanup = void | (() => void);
type Widgets = { render(context: RenderContext): Cleanup };

const cache: Map<string, Promise<Widgets>> = ((globalThis as Record<string, unknown>).__interpwidgets ??= new Map()) as never;

const after = (ms: number, lost?: true): Promise<never> =>
  new Promise((go, fail) => setTimeout(lost ? fail : (go as () => void), ms));

const load = (hash: string, code: string): Promise<Widgets> => {
  if (!cache.has(hash)) {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const found: Promise<Widgets> = import(url).then((module) => module.default);
    cache.set(hash, found);
    found.catch(() => cache.delete(hash)).finally(() => URL.revokeObjectURL(url));
  }
  return cache.get(hash)!;
};

const fromModel = async (model: Model): Promise<Widgets> => {
  const id = model.get<string>("_bundle").replace(/^(IPY_MODEL_|anywidget:)/, "");
  const held = await Promise.race([model.widget_manager.get_model(id), after(2e3, true)]);
  return load(held.get("hash"), held.get("code"));
};

const fromKernel = (model: Model): Promise<Widgets> =>
  new Promise((found, fail) => {
    const hear = (content: { type: string; hash: string }, [code]: DataView[]): void => {
      if (content.type === "bundle") found(load(content.hash, new TextDecoder().decode(code)));
    };
    model.on("msg:custom", hear);
    model.send({ type: "bundle" });
    setTimeout(() => (model.off("msg:custom", hear), fail()), 5e3);
  });

const widgets = async (model: Model): Promise<Widgets> => {
  for (const wait of [50, 200, 600, 0]) {
    try {
      return await fromModel(model);
    } catch {
      await after(wait);
    }
  }
  return fromKernel(model);
};

export default {
  async render(context: RenderContext): Promise<Cleanup> {
    const { el, model, signal } = context;
    const found = await widgets(model).catch(() => {});
    if (signal?.aborted) return; // the view was removed meanwhile
    if (found) return found.render(context);
    el.textContent = "interpwidgets: the code of this widget is lost. Run the cell again.";
  },
};
