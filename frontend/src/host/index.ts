/** A page without Jupyter that shows widgets: exported notebooks, and the page of the browser tests. */
import { bridge, type Bridge } from "./bridge";
import { showPage } from "./page";

declare global {
  /** Set by the browser tests before this module runs: carries what the page says to Python. */
  var interpwidgetsSend: Parameters<typeof bridge>[0] | undefined;
  var interpwidgetsHost: Bridge | undefined;
}

const saved = document.getElementById("interpwidgets-state");
if (saved) void showPage(saved);
else if (globalThis.interpwidgetsSend) globalThis.interpwidgetsHost = bridge(globalThis.interpwidgetsSend);
