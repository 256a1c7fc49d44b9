/** What each widget instance carries: finds the shared bundle through the hidden model, else asks the kernel. */
import type { Model, RenderContext } from "./types";

type Widgets = { render(context: RenderContext): void | (() => void) };
const cache: Map<string, Promise<Widgets>> = ((globalThis as Record<string, unknown>).__interpwidgets ??= new Map()) as never;

const load = (hash: string, code: string): Promise<Widgets> => {
  if (!cache.has(hash)) {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    cache.set(hash, import(url).then((module) => module.default).finally(() => URL.revokeObjectURL(url)));
  }
  return cache.get(hash)!;
};

const fromModel = async (model: Model): Promise<Widgets> => {
  const ref = model.get<string | Model>("_bundle");
  const held = typeof ref === "string" ? await model.widget_manager.get_model(ref.replace(/^(IPY_MODEL_|anywidget:)/, "")) : ref;
  return load(held.get("hash"), held.get("code"));
};

const fromKernel = (model: Model): Promise<Widgets> =>
  new Promise((resolve, reject) => {
    const hear = (content: { type: string; hash: string }, buffers: DataView[]) => {
      if (content.type !== "bundle") return;
      model.off("msg:custom", hear);
      resolve(load(content.hash, new TextDecoder().decode(buffers[0])));
    };
    model.on("msg:custom", hear);
    model.send({ type: "bundle" });
    setTimeout(reject, 5000);
  });

async function widgets(model: Model): Promise<Widgets> {
  for (const wait of [0, 100, 300, 900, 1500]) {
    await new Promise((go) => setTimeout(go, wait));
    try {
      return await fromModel(model);
    } catch {}
  }
  return fromKernel(model);
}

export default {
  async render(context: RenderContext) {
    try {
      return (await widgets(context.model)).render(context);
    } catch {
      context.el.textContent = "interpwidgets: the page lost this widget's code. Run the cell again.";
    }
  },
};
