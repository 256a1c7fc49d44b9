/** The plotly figures of an exported page: one copy of plotly.js, unpacked once the widgets stand, follows the reader's theme. */

export interface Spec {
  data: unknown[];
  layout: { height?: number } & Record<string, unknown>;
  config?: Record<string, unknown>;
}
/** What each colour of a figure is in a light and in a dark page. */
export type Colours = Record<string, readonly [string, string]>;

interface Plotly {
  react(el: HTMLElement, data: unknown[], layout: object, config: object): Promise<unknown>;
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

/** Draws every `[data-interpwidgets-figure]` of the page, and again when the reader's theme changes. */
export async function showFigures(specs: readonly Spec[], colours: Colours): Promise<void> {
  const places = [...document.querySelectorAll<HTMLElement>("[data-interpwidgets-figure]")];
  const theme = matchMedia("(prefers-color-scheme: dark)");
  try {
    const plotly = await unpack(document.getElementById("interpwidgets-plotly")?.textContent ?? "");
    const draw = async (): Promise<void> => {
      for (const place of places) {
        const { data, layout, config } = recolour(specs[Number(place.dataset.interpwidgetsFigure)]!, colours, theme.matches);
        const { height = 360, ...rest } = layout; // the height is the element's, so that plotly follows its width
        place.style.height = `${height}px`;
        await plotly.react(place, data, rest, { ...config, responsive: true });
      }
    };
    await draw();
    theme.addEventListener("change", () => void draw());
  } catch (error) {
    console.error(error);
    for (const place of places) if (!place.childNodes.length) place.textContent = place.getAttribute("aria-label");
  }
}
