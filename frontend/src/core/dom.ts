/** Elements from tag, attributes and children. Strings become text nodes, never markup. */
export type Child = Node | string | number | null | undefined | false | Child[];
export type Handlers = { [name: string]: (event: never) => void };
export interface Attributes {
  on?: Handlers;
  [name: string]: string | number | boolean | null | undefined | Handlers;
}

const SVG = "http://www.w3.org/2000/svg";

function put<E extends Element>(element: E, attributes: Attributes | null, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (typeof value === "object") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element: Element, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child != null && child !== false) element.append(document.createTextNode(String(child)));
  }
}

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes?: Attributes | null, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = put(document.createElement(tag), attributes ?? null, children);
  if (element instanceof HTMLButtonElement) element.type = "button"; // none of ours submits a form
  return element;
}

export function s<K extends keyof SVGElementTagNameMap>(tag: K, attributes?: Attributes | null, ...children: Child[]): SVGElementTagNameMap[K] {
  return put(document.createElementNS(SVG, tag) as SVGElementTagNameMap[K], attributes ?? null, children);
}

/** Replaces what an element holds. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  append(element, children);
}

/** Sets or removes one attribute. */
export function attribute(element: Element, name: string, value: string | number | boolean | null): void {
  if (value == null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}
