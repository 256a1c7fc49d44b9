/** Where tokens are patches of an image: what the chosen one attends to, on the picture itself. */
import { bytes, type Bytes } from "../../core/buffers";
import { fill, h, s } from "../../core/dom";
import { ring } from "../../core/heat_map";
import { act, bold, onKeys, pane, panelTitle, pointing, quiet, resize } from "../../core/parts";
import { signal } from "../../core/signal";
import { tokenNode } from "../../core/tokens";
import { number } from "../../core/words";
import { position } from "./data";
import { sentence as pairSentence } from "./map";
import { headName } from "./names";
import { rowOf } from "./strip";
import type { View } from "./view";

export interface Picture {
  png: Bytes;
  /** Patches, row by row; tokens that are none of them come first. */
  rows: number;
  columns: number;
}

const SIDE = 300; // pixels of the picture at most

/** Patches of whole pixels, as many as there are. */
export function pictureSize(room: number, { rows, columns }: Picture): { cell: number; width: number; height: number } {
  const cell = Math.max(2, Math.floor(Math.min(SIDE, room - 4) / Math.max(rows, columns)));
  return { cell, width: columns * cell, height: rows * cell };
}

/** What a token is called aloud. */
export const patchName = (view: View, { columns, rows }: Picture, token: number): string => {
  const patch = token - (view.tokens().length - rows * columns);
  return patch < 0 ? view.tokens()[token]! : `row ${Math.floor(patch / columns)}, column ${patch % columns}`;
};

export function picturePanel(view: View, picture: Picture, say: (text: string) => void): HTMLElement {
  const { scope } = view;
  const { rows, columns } = picture;
  const before = () => view.tokens().length - rows * columns;
  const image = signal<ImageBitmap | null>(null);
  createImageBitmap(new Blob([bytes(picture.png).slice()], { type: "image/png" })).then(image.set, () => undefined); // without it the colours stand alone
  const canvas = h("canvas", { style: "position:absolute" });
  const marks = pane();
  const box = h("div", { "data-part": "picture", tabindex: 0, role: "application", "aria-roledescription": "image of patches", style: "position:relative" }, canvas, marks);
  const title = panelTitle();
  const others = h("div");
  const about = h("div", { class: "iw-small" });
  const panel = h("div", { style: "flex:none" }, title, box, h("div", { class: "iw-row", style: "margin-top:8px;flex-wrap:wrap" }, others, about));
  const size = scope.computed(() => pictureSize(view.width(), picture));
  const cell = () => size().cell;
  const values = scope.computed(() => rowOf(view).values);
  const strongest = scope.computed(() => values().reduce((best, value, i) => (i >= before() && Math.abs(value) > Math.abs(values()[best]!) ? i : best), before()));
  const ask = (token: number) => position(values()[token]!, Math.abs(values()[strongest()]!), view.scale(), view.meta()); // "row": of the patches
  const place = (token: number) => [((token - before()) % columns) * cell(), Math.floor((token - before()) / columns) * cell(), cell(), cell()] as const;
  const choose = (query: number) => {
    view.select({ query, key: view.cursor().key }, view.locked());
    queueMicrotask(() => say(sentence()));
  };
  const most = () => `${patchName(view, picture, strongest())}: ${number(values()[strongest()]!, 3)}`;
  const sentence = () => `From ${patchName(view, picture, view.cursor().query)}, most to ${most()}`;

  scope.effect(() => {
    const { width, height } = size();
    const ratio = devicePixelRatio;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    for (const one of [canvas, box]) Object.assign(one.style, { width: `${width}px`, height: `${height}px` });
    resize(marks, width, height);
    const context = canvas.getContext("2d")!;
    context.scale(ratio, ratio);
    context.filter = "grayscale(1)";
    if (image()) context.drawImage(image()!, 0, 0, width, height);
    context.filter = "none";
    for (let i = 0; i < rows * columns; i++) {
      const at = ask(before() + i);
      context.fillStyle = view.ramp().css(at);
      context.globalAlpha = image() ? 0.55 + 0.3 * (view.meta().signed ? Math.abs(at - 128) / 128 : at / 255) : 1; // what is strong hides more of the picture
      context.fillRect(...place(before() + i));
    }
  });
  scope.effect(() => {
    const { query, key } = view.cursor();
    fill(marks, view.hover() && key >= before() && s("rect", { x: place(key)[0], y: place(key)[1], width: cell(), height: cell(), fill: "none", stroke: "var(--ink1)" }), query >= before() && ring(...place(query)));
    box.setAttribute("aria-label", `attention from ${patchName(view, picture, query)} over the image; arrow keys choose a patch`);
    fill(title, bold(headName(view.chosen())), quiet("from"), h("span", { class: "iw-bold iw-accent" }, patchName(view, picture, query)));
    fill(about, `most to ${most()}`);
    others.hidden = !before();
    fill(others, view.tokens().slice(0, before()).map((token, i) => {
      const style = `background:${view.ramp().css(ask(i))};color:${view.ramp().ink(ask(i))};cursor:pointer`;
      const chip = h("span", { class: "iw-chip", role: "button", tabindex: 0, "aria-pressed": i === query ? "true" : "false", "data-query": i === query, style, on: { click: () => choose(i) } }, tokenNode(token), ` ${number(values()[i]!, 3)}`);
      onKeys(chip, (event) => act({ Enter: () => choose(i), " ": () => choose(i) }, event));
      return chip;
    }));
  });
  const under = (event: MouseEvent): number | null => {
    const edge = canvas.getBoundingClientRect();
    const [row, column] = [Math.floor((event.clientY - edge.top) / cell()), Math.floor((event.clientX - edge.left) / cell())];
    return row < 0 || column < 0 || row >= rows || column >= columns ? null : before() + row * columns + column;
  };
  pointing(canvas, under, (key) => {
    if (view.locked()) return;
    view.hover.set(key === null ? null : { query: view.chosenQuery(), key });
    if (key !== null) queueMicrotask(() => say(pairSentence(view)));
  }, (query) => {
    choose(query);
    box.focus({ preventScroll: true });
  });
  onKeys(box, (event) => {
    const at = view.cursor().query - before();
    const to = (row: number, column: number) => choose(before() + (at < 0 ? 0 : Math.max(0, Math.min(rows - 1, row)) * columns + Math.max(0, Math.min(columns - 1, column))));
    const [row, column] = [Math.floor(at / columns), at % columns];
    return act({ ArrowUp: () => to(row - 1, column), ArrowDown: () => to(row + 1, column), ArrowLeft: () => to(row, column - 1), ArrowRight: () => to(row, column + 1), Home: () => to(row, 0), End: () => to(row, columns - 1) }, event);
  });
  return panel;
}
