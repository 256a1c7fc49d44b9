/** The shared bundle: every widget by its kind. */
import type { Render, RenderContext } from "./types";
import { attentionHeads } from "./widgets/attention_heads";
import { inductionHeads } from "./widgets/induction_heads";
import { logitLens } from "./widgets/logit_lens";
import { progress } from "./widgets/progress";
import { superpositionToy } from "./widgets/superposition_toy";

const widgets: Record<string, Render> = { attention_heads: attentionHeads, induction_heads: inductionHeads, logit_lens: logitLens, progress, superposition_toy: superpositionToy };

function render(context: RenderContext): void | (() => void) {
  const kind = context.model.get<string>("_kind");
  const draw = widgets[kind];
  if (!draw) throw new Error(`interpwidgets: this page's bundle has no widget "${kind}"`);
  return draw(context);
}

export default { render };
