/** What every widget lets people take away: a picture, a drawing, a table, and what it adds of its own. */
import { type Item, menu } from "./controls";
import { download, rasterise } from "./save";
import type { Scope } from "./signal";
import { snapshot } from "./snapshot";

export interface Exports {
  /** What the picture shows. */
  root(): HTMLElement;
  /** The name of the file, without its ending. */
  file(): string;
  /** The rows of the table, as `csv` writes them; `table` is what the menu calls it. */
  csv(): string;
  table: string;
  /** After a line: "Copy cell" and the like. */
  more?: Item[];
}

export function exportMenu(scope: Scope, { root, file, csv, table, more = [] }: Exports): HTMLElement {
  const picture = async () => {
    const { svg, width, height } = snapshot(root());
    download(await rasterise(svg, width, height), `${file()}.png`);
  };
  return menu(scope, "Export", [
    { name: "Picture", detail: "PNG", act: () => void picture() },
    { name: "Drawing", detail: "SVG", act: () => download(new Blob([snapshot(root()).svg], { type: "image/svg+xml" }), `${file()}.svg`) },
    { name: table, detail: "CSV", act: () => download(new Blob(["\ufeff", csv()], { type: "text/csv" }), `${file()}.csv`) },
    ...(more.length ? [null, ...more] : []),
  ]);
}
