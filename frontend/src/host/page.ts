/** An exported page: every model comes from the page itself, and nobody answers but the page. */
import { decode, putBuffers, type Path, type State } from "./codec";
import { type Colours, showFigures, type Spec } from "./figures";
import { Host } from "./host";
import type { Kernel } from "./model";

interface Saved {
  models: Record<string, { state: State; esm?: number; css?: number; buffers?: { path: Path; data: string }[] }>;
  /** Module and style texts, each once however many widgets use it. */
  texts: string[];
  figures?: Spec[];
  colours?: Colours;
}

/** What the widgets hear on a page without a kernel: a ping is answered at once, so that nobody waits. */
function silence(host: () => Host): Kernel {
  return {
    update: () => {},
    message: (id, content) => {
      if ((content as { type?: unknown } | null)?.type !== "ping") return;
      setTimeout(() => host().model(id).receive({ type: "pong", kernel: false }, []), 0);
    },
  };
}

function open(saved: Saved): Host {
  const host: Host = new Host(silence(() => host));
  for (const [id, { state, esm, css, buffers = [] }] of Object.entries(saved.models)) {
    if (esm !== undefined) state._esm = saved.texts[esm];
    if (css !== undefined) state._css = saved.texts[css];
    host.open(id, putBuffers(state, buffers.map((buffer) => buffer.path), buffers.map((buffer) => decode(buffer.data))));
  }
  for (const model of host.models.values()) host.join(model);
  return host;
}

/** Says light or dark the way JupyterLab does, so that widgets and the notebook's own style follow the reader's choice. */
function followTheme(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = (): void => void (document.body.dataset.jpThemeLight = String(!dark.matches));
  dark.addEventListener("change", apply);
  apply();
}

/** Draws every widget of the page, then its figures. */
export async function showPage(state: HTMLElement): Promise<void> {
  followTheme();
  const saved = JSON.parse(state.textContent ?? "") as Saved;
  const host = open(saved);
  const places = document.querySelectorAll<HTMLElement>("[data-interpwidgets-model]");
  const forever = new AbortController().signal;
  await Promise.all(
    [...places].map(async (place) => {
      try {
        await host.view(place.dataset.interpwidgetsModel!, place, forever);
      } catch (error) {
        console.error(error);
        place.textContent = "This widget could not be shown. Open the notebook to use it.";
      }
    }),
  );
  if (saved.figures) await showFigures(saved.figures, saved.colours ?? {});
  document.documentElement.dataset.interpwidgets = "ready";
}
