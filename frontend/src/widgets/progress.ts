/** Progress: every chapter with its exercises and questions, what is done, and what comes next. */
import { attribute, fill, h, s } from "../core/dom";
import { exportMenu } from "../core/export_menu";
import { noticeBox, stateLine } from "../core/frame";
import { mount } from "../core/mount";
import { bold, focusNear, ornament } from "../core/parts";
import { csvTable } from "../core/save";
import { signal } from "../core/signal";
import { count } from "../core/words";
import type { Render } from "../types";

export interface Item {
  id: string;
  name: string;
  kind: "exercise" | "question";
  state: "open" | "tried" | "hinted" | "done";
  points: number;
  minutes: number;
  tries?: number;
}
export interface Chapter {
  number: string;
  title: string;
  part: string;
  items: Item[];
  minutes: number;
}

const NARROW = 640;
const MANY = 10; // chapters that a narrow page shows at once
const STATE = { open: "open", tried: "tried", hinted: "done with a hint", done: "done" };
const passed = (item: Item) => item.state === "done" || item.state === "hinted";

/** Points won and points there are. */
export function points(items: readonly Item[]): [number, number] {
  const sum = (some: readonly Item[]) => some.reduce((total, item) => total + item.points, 0);
  return [sum(items.filter(passed)), sum(items)];
}

/** Minutes as people say them: "", "45 min", "3 h 24". */
export function time(minutes: number): string {
  if (minutes < 60) return minutes ? `${minutes} min` : "";
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")}`;
}

/** What is to be known about an item: "tried 3 times, 2 points, about 10 minutes". */
export function facts({ state, tries = 0, points, minutes }: Item): string {
  const how = state === "tried" && tries ? `tried ${tries === 1 ? "once" : `${tries} times`}` : STATE[state];
  return [how, count(points, "point"), minutes && `about ${count(minutes, "minute")}`].filter(Boolean).join(", ");
}

/** How wide the column of marks is: the longest chapter in one line if that leaves room for the titles. */
export function marksWidth(chapters: readonly Chapter[], width: number): number {
  const longest = Math.max(...chapters.map((chapter) => chapter.items.length), 1) * 16 + 8;
  const room = width < 360 ? 104 : width < NARROW ? 152 : Math.max(152, width - 636);
  return Math.min(longest, room);
}

/** Runs of chapters that belong to the same part. */
export function parts(chapters: readonly Chapter[]): Chapter[][] {
  const found: Chapter[][] = [];
  for (const chapter of chapters) {
    const last = found.at(-1);
    if (last?.[0]!.part === chapter.part) last.push(chapter);
    else found.push([chapter]);
  }
  return found;
}

/** A square or a circle; full, with a hole, half full or empty. */
function mark({ kind, state }: Pick<Item, "kind" | "state">, here = false): SVGSVGElement {
  const ink = "var(--ink1)";
  const full = state === "done" || state === "hinted";
  const edge = full ? { fill: ink } : { fill: "none", stroke: state === "tried" ? ink : "var(--edge)", "stroke-width": 1.5 };
  const inset = full ? 0 : 0.75;
  const shape = kind === "question"
    ? s("circle", { cx: 6, cy: 6, r: 6 - inset, ...edge })
    : s("rect", { x: inset, y: inset, width: 12 - 2 * inset, height: 12 - 2 * inset, rx: full ? 2 : 1.5, ...edge });
  const half = kind === "question" ? "M.8 6a5.2 5.2 0 0 0 10.4 0z" : "M1 6h10v5h-10z";
  const inner = state === "hinted" ? s("circle", { cx: 6, cy: 6, r: 2, fill: "var(--paper)" }) : state === "tried" ? s("path", { d: half, fill: ink }) : null;
  const ring = here && s("rect", { x: -3, y: -3, width: 18, height: 18, rx: 3, fill: "none", stroke: "var(--accent)", "stroke-width": 2 });
  return ornament({ width: 12, height: 12, class: here ? "iw-here" : null }, shape, inner, ring);
}

function bar([won, all]: [number, number]): SVGSVGElement {
  const length = all ? Math.max(won ? 2 : 0, Math.round((48 * won) / all)) : 0;
  return ornament({ width: 48, height: 4 }, s("rect", { width: 48, height: 4, rx: 1, fill: "var(--line)" }), s("rect", { width: length, height: 4, rx: 1, fill: "var(--ink1)" }));
}

function legend(): HTMLElement {
  const samples: [SVGSVGElement, string][] = (["done", "hinted", "tried", "open"] as const).map((state) => [mark({ kind: "exercise", state }), state === "hinted" ? "with a hint" : state]);
  samples.push([mark({ kind: "question", state: "done" }), "question"], [mark({ kind: "exercise", state: "open" }, true), "where you are"]);
  return h("span", { class: "iw-legend iw-small", "aria-hidden": "true" }, samples.map(([shape, text]) => h("span", null, shape, text)));
}

function csv(chapters: readonly Chapter[]): string {
  const rows = chapters.flatMap((chapter) => chapter.items.map((item) => [chapter.number, chapter.title, item.id, item.name, item.kind, STATE[item.state], item.points]));
  return csvTable([["chapter", "title", "id", "name", "kind", "state", "points"], ...rows]);
}

export const progress: Render = ({ model, el, signal: over }) => {
  const { scope, root, width, end } = mount(model, el, "progress", over);
  root.classList.add("iw-progress");
  const chapters = scope.trait<Chapter[]>(model, "chapters");
  const current = scope.trait<string | null>(model, "current");
  const name = scope.trait<string>(model, "title");
  const note = scope.trait<string>(model, "note");
  const narrow = scope.computed(() => width() < NARROW);
  const all = signal(false); // a narrow page shows every chapter
  const items = () => chapters().flatMap((chapter) => chapter.items);
  const here = () => items().find((item) => item.id === current());

  const readOut = h("span", { class: "iw-small", "data-part": "readout", "aria-hidden": "true" });
  const item = (one: Item) => {
    const show = () => fill(readOut, bold(`${one.id} ${one.name}`), ` ${facts(one)}`);
    const spoken = `${one.id} ${one.name}, ${one.kind}, ${facts(one)}${one.id === current() ? ", where you are" : ""}`;
    const on = { pointerenter: show, focus: show, pointerleave: () => fill(readOut) };
    return h("li", null, h("span", { role: "img", tabindex: -1, "aria-label": spoken, "data-item": one.id, on }, mark(one, one.id === current())));
  };
  const row = (chapter: Chapter, before: HTMLElement | null) => {
    const [won, there] = points(chapter.items);
    const quiet = !won && !chapter.items.some((one) => one.state !== "open" || one.id === current());
    const wide = !narrow();
    return h(
      "tr",
      { class: quiet ? "iw-quiet" : chapter.items.some((one) => one.id === current()) ? "iw-current" : null },
      before,
      h("td", null, chapter.number),
      h("th", { scope: "row" }, chapter.title),
      h("td", null, h("ul", { role: "list", "aria-label": `chapter ${chapter.number}` }, chapter.items.map(item))),
      wide && h("td", null, bar([won, there])),
      h("td", { class: "iw-number" }, `${won} / ${there}`),
      wide && h("td", { class: "iw-number iw-quiet" }, time(chapter.minutes)),
    );
  };
  const part = (group: Chapter[]) => {
    const label = h("th", { class: "iw-part", scope: "rowgroup", ...(narrow() ? { colspan: 4 } : { rowspan: group.length }) }, group[0]!.part);
    return h("tbody", null, narrow() && h("tr", null, label), group.map((chapter, i) => row(chapter, narrow() || i ? null : label)));
  };
  scope.effect(() => root.style.setProperty("--marks", `${marksWidth(chapters(), width())}px`));
  const table = h("table", { "aria-label": "chapters" });
  const more = h("button", { on: { click: () => all.set(!all()) } });
  const marks = () => [...table.querySelectorAll<HTMLElement>("[data-item]")];
  const enter = (target: HTMLElement | undefined, focus = true) => {
    if (!target) return;
    for (const other of marks()) other.tabIndex = other === target ? 0 : -1;
    if (focus) target.focus();
  };
  scope.effect(() => {
    const focused = focusNear(root);
    const kept = table.contains(focused) ? (focused as HTMLElement).dataset.item : undefined;
    const groups = parts(chapters());
    const from = Math.max(0, groups.findIndex((group) => group.some((chapter) => chapter.items.some((one) => one.id === current()))));
    const few = narrow() && chapters().length > MANY;
    const heads = ["part", "", "chapter", "exercises and questions", "points", "", "time"];
    const columns = heads.map((text, i) => (text ? h("th", { scope: "col", class: i === 6 ? "iw-number" : null, colspan: text === "points" ? 2 : null }, text) : i === 1 && h("td")));
    fill(table, !narrow() && h("thead", null, h("tr", null, columns)), (few && !all() ? groups.slice(from, from + 2) : groups).map(part));
    more.hidden = !few;
    fill(more, all() ? "Show fewer chapters" : `Show all ${chapters().length} chapters`);
    const found = marks();
    enter(found.find((one) => one.dataset.item === (kept ?? current())) ?? found[0], kept !== undefined);
  });
  table.addEventListener("keydown", (event) => {
    const rows = [...table.querySelectorAll("ul")].map((list) => [...list.querySelectorAll<HTMLElement>("[data-item]")]).filter((one) => one.length);
    const r = rows.findIndex((one) => one.includes(event.target as HTMLElement));
    if (r < 0) return;
    const c = rows[r]!.indexOf(event.target as HTMLElement);
    const beside = (to: number) => rows[to]?.[Math.min(c, rows[to]!.length - 1)];
    const targets: Record<string, HTMLElement | undefined> = { ArrowLeft: rows[r]![c - 1], ArrowRight: rows[r]![c + 1], ArrowUp: beside(r - 1), ArrowDown: beside(r + 1), Home: rows[r]![0], End: rows[r]!.at(-1) };
    if (!(event.key in targets)) return;
    event.preventDefault();
    event.stopPropagation();
    enter(targets[event.key]);
  });

  const title = h("h3");
  const meta = h("span", { class: "iw-meta" });
  const totals = h("dl", { class: "iw-totals" });
  const next = h("div", { class: "iw-next", "data-part": "next" });
  const messages = h("div");
  scope.effect(() => {
    const exercises = items().filter((one) => one.kind === "exercise");
    const [won, there] = points(items());
    const worked = chapters().reduce((sum, chapter) => sum + chapter.minutes, 0);
    const total = (value: string, label: string) => h("div", null, h("dd", null, value), h("dt", null, label));
    fill(title, name());
    fill(meta, count(chapters().length, "chapter"));
    fill(totals, total(`${won} of ${there}`, "points"), total(`${exercises.filter(passed).length} of ${exercises.length}`, narrow() ? "exercises" : "exercises passed"), total(time(worked) || "0 min", "at work"));
    const one = here();
    const ended = items().length ? items().every(passed) && "Everything is done." : "There are no exercises yet.";
    fill(next, one ? [h("div", { class: "iw-bold" }, h("span", { class: "iw-accent" }, one.id), ` ${one.name}`), h("div", { class: "iw-small" }, `${passed(one) ? "here" : "next"}: ${facts(one)}`)] : ended);
    attribute(root, "data-narrow", narrow());
    attribute(root, "aria-label", `${name()}, ${won} of ${count(there, "point")}`);
  });
  const read = signal(""); // the note that was dismissed; the state line keeps it
  scope.effect(() => fill(messages, note() !== read() && noticeBox({ title: note(), text: "", hint: "", heads: [] }, () => {}, () => read.set(note()))));
  const exporting = exportMenu(scope, { root: () => root, file: () => "progress", table: "Table", csv: () => csv(chapters()) });
  const state = () => ({ dot: note() ? "none" : "ready", text: !note() ? "Stored on this computer" : note() === read() ? note() : "See the note above", progress: null });
  fill(
    root,
    h("div", { class: "iw-head" }, title, meta, exporting),
    messages,
    h("div", { class: "iw-summary" }, totals, next),
    table,
    more,
    h("div", { class: "iw-below" }, legend(), readOut),
    stateLine(scope, state, [{ keys: "↑↓←→", name: "read the marks" }], narrow),
  );
  return end;
};
