/** How heads and scores are called. */
import type { HeadId, Meta } from "./data";

export const headName = ({ layer, head }: HeadId): string => (head === null ? `L${layer} mean` : `L${layer} H${head}`);

export const scoreOf = (score: Float32Array | undefined, { layer, head }: HeadId, meta: Meta): number => (head === null || !score ? 0 : (score[layer * meta.heads + head] ?? 0));

/** What the head mostly does, by the highest of its scores, if any stands out. */
export function noteOf(scores: Map<string, Float32Array>, id: HeadId, meta: Meta): string {
  if (id.head === null) return `of ${meta.heads} heads`;
  let best = "";
  let top = 0.4;
  for (const [name, score] of scores) {
    const value = scoreOf(score, id, meta);
    if (value > top) [best, top] = [name, value];
  }
  return best;
}
