/** A picture of a widget as one SVG file: canvases become images, drawings and text stay what they are. */

const LEFT_OUT = "button:not(.iw-bar-row), select, textarea, .iw-select, .iw-choice, .iw-prompt, .iw-foot, .iw-hidden, .iw-tip, .iw-hint, [data-place=over], .iw-menu-anchor, .iw-notice, [hidden]";
const clear = (colour: string) => colour === "transparent" || /,\s*0\)$/.test(colour) || colour === "rgba(0, 0, 0, 0)";
const escape = (text: string) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

export interface Snapshot {
  svg: string;
  width: number;
  height: number;
}

export function snapshot(root: HTMLElement): Snapshot {
  const edge = root.getBoundingClientRect();
  const style = getComputedStyle(root);
  const variable = (text: string) => text.replace(/var\((--[\w-]+)\)/g, (_, name: string) => style.getPropertyValue(name).trim());
  const margin = 16;
  const at = (box: DOMRect) => [box.left - edge.left + margin, box.top - edge.top + margin] as const;
  const parts: string[] = [];
  let bottom = 0;
  const skip = (node: Element | null) => !node || node.closest(LEFT_OUT) !== null || getComputedStyle(node).display === "none";

  const clips: string[] = [];
  /** What is drawn of an element: where it lies in something that scrolls, the part in sight. */
  const seen = (element: Element, drawn: string): string => {
    const scroller = element.parentElement?.closest(".iw-scroll, [data-part=heads]");
    if (!scroller) return drawn;
    const box = scroller.getBoundingClientRect();
    const [x, y] = at(box);
    clips.push(`<clipPath id="c${clips.length}"><rect x="${x}" y="${y}" width="${box.width}" height="${box.height}"/></clipPath>`);
    return `<g clip-path="url(#c${clips.length - 1})">${drawn}</g>`;
  };

  for (const element of root.querySelectorAll<HTMLElement>(".iw-chip, .iw-pin, .iw-bar, .iw-on-top")) {
    if (skip(element)) continue;
    const { backgroundColor } = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const [x, y] = at(box);
    const ringed = element.hasAttribute("data-query") ? ` stroke="${variable("var(--accent)")}" stroke-width="2"` : "";
    if (!clear(backgroundColor)) parts.push(`<rect x="${x}" y="${y}" width="${box.width}" height="${box.height}" rx="${element.matches(".iw-chip, .iw-pin") ? 2 : 0}" fill="${backgroundColor}"${ringed}/>`);
  }
  for (const canvas of root.querySelectorAll("canvas")) {
    if (skip(canvas) || !canvas.width) continue;
    const box = canvas.getBoundingClientRect();
    const [x, y] = at(box);
    bottom = Math.max(bottom, y + box.height);
    parts.push(seen(canvas, `<image x="${x}" y="${y}" width="${box.width}" height="${box.height}" style="image-rendering:pixelated" href="${canvas.toDataURL()}"/>`));
  }
  for (const drawing of root.querySelectorAll<SVGSVGElement>("svg")) {
    if (skip(drawing) || drawing.hasAttribute("viewBox")) continue;
    const box = drawing.getBoundingClientRect();
    const [x, y] = at(box);
    bottom = Math.max(bottom, y + Number(drawing.getAttribute("height") ?? 0));
    const inner = [...drawing.childNodes].map((node) => new XMLSerializer().serializeToString(node)).join("");
    parts.push(seen(drawing, `<g transform="translate(${x} ${y})">${variable(inner).replaceAll(' xmlns="http://www.w3.org/2000/svg"', "")}</g>`));
  }
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!parent || parent.namespaceURI?.endsWith("svg") || skip(parent) || !node.textContent?.trim()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const font = getComputedStyle(parent);
    const [x, y] = at(box);
    bottom = Math.max(bottom, y + box.height);
    parts.push(`<text xml:space="preserve" x="${x}" y="${y + box.height * 0.79}" style="font-size:${font.fontSize};font-weight:${font.fontWeight};fill:${font.color}">${escape(node.textContent)}</text>`);
  }
  const width = Math.ceil(edge.width + 2 * margin);
  const height = Math.ceil(bottom + margin);
  const css = variable(
    "text{font-family:'Helvetica Neue',Arial,'Liberation Sans',sans-serif;font-size:11px;fill:var(--ink2)}.iw-chosen{fill:var(--accent);font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px}.iw-space{font-size:9px;fill:var(--ink3);font-weight:400}.iw-chosen .iw-space{fill:var(--accent)}.iw-line-name{font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px}.iw-cell .iw-space,.iw-line-name .iw-space{fill:inherit}",
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"><style>${css}</style>${clips.length ? `<defs>${clips.join("")}</defs>` : ""}<rect width="100%" height="100%" fill="${variable("var(--paper)")}"/>${parts.join("")}</svg>`;
  return { svg, width, height };
}
