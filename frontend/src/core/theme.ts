/** Is the page around us light or dark? Hosts say it in different ways; the background never lies. */
import type { Theme } from "./colour";
import { type Read, type Scope, type Signal, signal } from "./signal";

const DARK = ['[data-jp-theme-light="false"]', ".vscode-dark", "html[theme=dark]", ".dark", ".dark-theme", '[data-theme="dark"]'].join();
const LIGHT = ['[data-jp-theme-light="true"]', ".vscode-light", "html[theme=light]", ".light", ".light-theme", '[data-theme="light"]'].join();

const PAPER: Record<Theme, string> = { light: "#fff", dark: "#111" };

/** The nearest ancestor, through shadow roots, including the element itself. */
function* upwards(start: Element): Generator<Element> {
  for (let node: Node | null = start; node; node = node instanceof ShadowRoot ? node.host : node.parentNode) if (node instanceof Element) yield node;
}

let probe: CanvasRenderingContext2D | null = null;

/** A colour in whatever notation the page computes it (`rgb()`, marimo's `color(srgb 1 1 1)`, `oklch()`) as bytes. */
function rgba(css: string): Uint8ClampedArray {
  probe ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true })!;
  probe.clearRect(0, 0, 1, 1);
  probe.fillStyle = css;
  probe.fillRect(0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
}

/** The colour that an element paints behind what it holds, if it paints one. */
function background(node: Element): { css: string; theme: Theme } | null {
  const css = getComputedStyle(node).backgroundColor;
  const [r = 0, g = 0, b = 0, alpha = 0] = rgba(css);
  if (alpha < 128) return null;
  return { css, theme: 0.2126 * r + 0.7152 * g + 0.0722 * b < 110 ? "dark" : "light" };
}

function hostTheme(el: Element): Theme {
  for (const node of upwards(el)) {
    if (node.matches(".iw")) continue;
    if (node.matches(DARK)) return "dark";
    if (node.matches(LIGHT)) return "light";
    const painted = background(node);
    if (painted) return painted.theme;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** The page's own background where it suits the theme, so that halos vanish into it; else the look's. */
export function pageColour(el: Element, theme: Theme): string {
  for (const node of upwards(el)) {
    const painted = background(node);
    if (painted) return painted.theme === theme ? painted.css : PAPER[theme];
  }
  return PAPER[theme];
}

/** The theme to draw in: the one asked for, else the host's, followed as it changes. */
export function watchTheme(scope: Scope, el: Element, asked: Read<string>): Read<Theme> {
  const host: Signal<Theme> = signal(hostTheme(el));
  const look = () => host.set(hostTheme(el));
  const observer = new MutationObserver(look);
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  scope.onEnd(() => observer.disconnect());
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", look, { signal: scope.ended.signal });
  requestAnimationFrame(look); // by then the element stands in the page
  return scope.computed(() => {
    const theme = asked();
    return theme === "light" || theme === "dark" ? theme : host();
  });
}
