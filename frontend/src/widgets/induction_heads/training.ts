/** How the scores grew: the strongest heads over the steps of training, and a slider through them. */
import { h } from "../../core/dom";
import { lineChart, type Series } from "../../core/line_chart";
import { bold, quiet } from "../../core/parts";
import { slider } from "../../core/slider";
import type { View } from "./view";

const MOST = 4;
const COLOURS = ["var(--accent)", "var(--series2)", "var(--series3)", "var(--ink2)"];
const LEFT = 32;

/** The heads that come furthest by the score on show. */
function series(view: View): Series[] {
  const name = view.score();
  const { heads } = view.meta();
  const history = view.history().map((scores) => scores.get(name)!);
  const best = (i: number) => Math.max(...history.map((values) => values[i]!));
  const order = [...history[0]!.keys()].sort((a, b) => best(b) - best(a)).slice(0, MOST);
  return order.map((i, rank) => ({
    name: `L${Math.floor(i / heads)}H${i % heads}`,
    values: history.map((values) => values[i]!),
    colour: COLOURS[rank]!,
    shape: rank,
    main: rank === 0,
    dashed: false,
    named: true,
  }));
}

export function trainingPanel(view: View): HTMLElement {
  const { scope } = view;
  const low = () => (view.score() === "copying" ? -1 : 0);
  const chart = lineChart(
    scope,
    () => `${view.score()} of the strongest heads over training`,
    () => {
      const steps = view.steps().length;
      const some = steps > 1 && view.history().length === steps;
      const place = (value: number) => (value - low()) / (1 - low());
      return {
        series: some ? series(view) : [],
        steps: Math.max(1, steps),
        pitch: (view.width() - LEFT - 16) / Math.max(1, steps),
        way: "across",
        extent: 96,
        place,
        ticks: low() ? [[0, "−1"], [0.5, "0"], [1, "1"]] : [[0, "0"], [0.5, "0.5"], [1, "1"]],
        stepNames: view.steps().map(String),
        gutter: LEFT,
        title: [],
      };
    },
    () => (view.steps().length > 1 ? view.time() : null),
    () => undefined,
    (time) => view.goTo(time),
  );
  chart.dataset.part = "training";
  const scrub = slider(scope, "Step of training", () => ({ min: 0, max: Math.max(0, view.steps().length - 1), step: 1 }), view.time, (at) => String(view.steps()[at] ?? ""), view.goTo);
  scrub.style.marginLeft = `${LEFT}px`;
  scrub.style.marginRight = "16px";
  const panel = h("div", { style: "margin-top:16px" }, h("div", { class: "iw-panel-title", style: "margin-bottom:0" }, bold("Training"), quiet("score by step")), chart, scrub);
  scope.effect(() => (panel.hidden = view.steps().length < 2));
  return panel;
}
