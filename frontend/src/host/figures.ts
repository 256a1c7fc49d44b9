/** The plotly figures of an exported page: one copy of plotly.js, unpacked once the widgets stand, follows the reader's theme. */

export interface Spec {
  data: unknown[];
  layout: { height?: number } & Record<string, unknown>;
  config?: Record<string, unknown>;
  frames?: unknown[];
}
/** What each colour of a figure is in a light and in a dark page. */
export type Colours = Record<string, readonly [string, string]>;

interface Plotly {
  react(el: HTMLElement, data: unknown[], layout: object, config: object): Promise<unknown>;
  addFrames(el: HTMLElement, frames: unknown[]): Promise<unknown>;
}

/** A copy of a description in which every colour that has a light and a dark form has the asked one. */
export function recolour<T>(value: T, colours: Colours, dark: boolean): T {
  const swap = (item: unknown): unknown => {
    if (typeof item === "string") return Object.hasOwn(colours, item) ? colours[item]![dark ? 1 : 0] : item;
    if (Array.isArray(item)) return item.map(swap);
    if (item === null || typeof item !== "object") return item;
    return Object.fromEntries(Object.entries(item).map(([name, inner]) => [name, swap(inner)]));
  };
  return swap(value) as T;
}

/** Runs the code that the page holds packed (gzip, base64). It is a script, no module: it leaves its name on the window. */
async function unpack(packed: string): Promise<Plotly> {
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const url = URL.createObjectURL(new Blob([await new Response(unpacked).blob()], { type: "text/javascript" }));
  const script = document.createElement("script");
  await new Promise((done, fail) => {
    Object.assign(script, { src: url, onload: done, onerror: fail });
    document.head.append(script);
  }).finally(() => URL.revokeObjectURL(url));
  return (globalThis as unknown as { Plotly: Plotly }).Plotly;
}

async function draw(plotly: Plotly, place: HTMLElement, spec: Spec): Promise<void> {
  const { height = 360, ...layout } = spec.layout; // the height is the element's, so that plotly follows its width
  place.style.height = `${height}px`;
  await plotly.react(place, spec.data, layout, { ...spec.config, responsive: true });
  if (spec.frames) await plotly.addFrames(place, spec.frames);
}

/** In place of a figure that this page cannot draw: what it shows, in words. */
function describe(place: HTMLElement, error: unknown): void {
  console.error(error);
  place.style.height = "auto";
  place.textContent = `${place.getAttribute("aria-label")} (This page cannot draw the figure; open the notebook to see it.)`;
}

/** Draws every `[data-interpwidgets-figure]` of the page, and again when the reader's theme changes. */
export async function showFigures(specs: readonly Spec[], colours: Colours): Promise<void> {
  const places = [...document.querySelectorAll<HTMLElement>("[data-interpwidgets-figure]")];
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const plotly = unpack(document.getElementById("interpwidgets-plotly")?.textContent ?? "");
  const drawn = new Set(places);
  const drawAll = async (): Promise<void> => {
    for (const place of drawn) {
      try {
        await draw(await plotly, place, recolour(specs[Number(place.dataset.interpwidgetsFigure)]!, colours, theme.matches));
      } catch (error) {
        drawn.delete(place);
        describe(place, error);
      }
    }
  };
  await drawAll();
  theme.addEventListener("change", () => void drawAll());
}
