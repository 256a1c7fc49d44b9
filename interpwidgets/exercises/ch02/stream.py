"""Exercises about the stream as a sum, and about who is in it: 02.1 to 02.5."""

import torch
from torch import Tensor

from interpwidgets.course.exercise import Answer, Arguments, Case, Exercise, Found, Mistake, Property
from interpwidgets.exercises.ch02.inputs import Make, drawn, ids, laid_out, on, placed, randn, story
from interpwidgets.methods.lens_steps import (
    cut_edges,
    direct_attribution,
    frozen_norm,
    residual_parts,
    residual_stages,
)

# -- 02.1 residual_parts ---------------------------------------------------------------------------------------------


def _parts_with_loop(start: Tensor, attn_out: Tensor, mlp_out: Tensor) -> Tensor:
    parts = [start]
    for layer in range(len(attn_out)):
        parts += [attn_out[layer], mlp_out[layer]]
    return torch.stack(parts)


def _parts_filled_in(start: Tensor, attn_out: Tensor, mlp_out: Tensor) -> Tensor:
    parts = start.new_empty(1 + 2 * len(attn_out), *start.shape)
    parts[0], parts[1::2], parts[2::2] = start, attn_out, mlp_out
    return parts


RESIDUAL_PARTS = Exercise(
    id="02.1",
    title="A list of all parts",
    points=1,
    minutes=8,
    lines=(1, 4),
    reference=residual_parts,
    axes=("part", "text", "position", "d_model"),
    cases=[
        Case(
            "two layers, one text of one token, d_model 1",
            placed(torch.tensor([[[1.0]]]), torch.tensor([[[[2.0]]], [[[4.0]]]]), torch.tensor([[[[3.0]]], [[[5.0]]]])),
        ),
        Case("3 layers, 2 texts, 4 tokens, d_model 5", drawn((2, 4, 5), (3, 2, 4, 5), (3, 2, 4, 5))),
        Case("one layer", drawn((2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4))),
        Case("a single text of two tokens", drawn((1, 2, 3), (4, 1, 2, 3), (4, 1, 2, 3))),
        Case("float64", drawn((3, 2, 4), (2, 3, 2, 4), (2, 3, 2, 4), dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "all attention first, then all MLPs",
            lambda start, attn_out, mlp_out: torch.cat([start[None], attn_out, mlp_out]),
            "You put all attention first and all MLPs after it. The sum would be the same, the order is not that of "
            "the computation.",
            "Next: in the first case, which part comes after attention of layer 0?",
        ),
        Mistake(
            "the MLP before the attention",
            lambda start, attn_out, mlp_out: torch.cat(
                [start[None], torch.stack([mlp_out, attn_out], 1).flatten(0, 1)]
            ),
            "In each layer you put the MLP first. It reads what attention has written, so it comes second.",
            "Next: in the first case, which of 2 and 3 was written first?",
        ),
        Mistake(
            "the start is missing",
            lambda start, attn_out, mlp_out: torch.stack([attn_out, mlp_out], 1).flatten(0, 1),
            "The stream does not begin with nothing: the embedding is a part too.",
            "Next: how many parts do two layers have?",
        ),
        Mistake(
            "one part for each layer",
            lambda start, attn_out, mlp_out: torch.cat([start[None], attn_out + mlp_out]),
            "You add attention and MLP of a layer up. Each is a part of its own.",
            "Next: how many parts do two layers have?",
        ),
        Mistake(
            "added up on the way",
            lambda start, attn_out, mlp_out: torch.cat(
                [start[None], torch.stack([attn_out, mlp_out], 1).flatten(0, 1)]
            ).cumsum(0),
            "You give the stream as it grows. Here the single parts are asked; adding them up is the next exercise.",
            "Next: what did attention of layer 0 write in the first case?",
        ),
    ],
    hints=[
        "The start, then attention and MLP in turn: 1 + 2 x layers parts.",
        "`torch.stack([attn_out, mlp_out], 1)` puts the two of each layer side by side: [layer, 2, ...]. `.flatten(0, "
        "1)` "
        "makes one axis of the first two.",
        "pairs = attention and MLP of each layer, side by side, as one axis\nparts = start, with an axis in front, and "
        "then the pairs",
    ],
    first_step="Say out loud in which order the numbers 1 to 5 of the first case were written.",
    accepted=[
        _parts_with_loop,
        _parts_filled_in,
        lambda start, attn_out, mlp_out: torch.cat(
            [start.unsqueeze(0), *(each[None] for pair in zip(attn_out, mlp_out, strict=True) for each in pair)]
        ),
    ],
)

# -- 02.2 residual_stages --------------------------------------------------------------------------------------------


def _stages_with_loop(parts: Tensor) -> Tensor:
    stages = [parts[0]]
    for at in range(1, len(parts), 2):
        stages.append(stages[-1] + parts[at] + parts[at + 1])
    return torch.stack(stages)


def _stages_with_einsum(parts: Tensor) -> Tensor:
    n = len(parts)
    upto = torch.arange(n, device=parts.device)[None] <= 2 * torch.arange((n + 1) // 2, device=parts.device)[:, None]
    return torch.einsum("sp,p...->s...", upto.to(parts.dtype), parts)


RESIDUAL_STAGES = Exercise(
    id="02.2",
    title="The stream as it grows",
    points=1,
    minutes=6,
    lines=(1, 5),
    reference=residual_stages,
    axes=("stage", "text", "position", "d_model"),
    cases=[
        Case("parts 1, 2, 3, 4, 5", placed(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).reshape(5, 1, 1, 1))),
        Case("3 layers, 2 texts, 4 tokens, d_model 6", drawn((7, 2, 4, 6))),
        Case("one layer", drawn((3, 2, 3, 4))),
        Case("no layer: the start alone", drawn((1, 2, 3, 4))),
        Case("laid out the other way round", laid_out((5, 2, 3, 4))),
        Case("float64", drawn((9, 2, 3, 4), dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "after every part",
            lambda parts: parts.cumsum(0),
            "You also stop between attention and MLP. Before the first layer and after each *layer* is asked.",
            "Next: how many stages do two layers have?",
        ),
        Mistake(
            "in the middle of each layer",
            lambda parts: parts.cumsum(0)[1::2],
            "You stop after attention, before the MLP has written.",
            "Next: which parts are in the stream when layer 0 is done?",
        ),
        Mistake(
            "what each layer adds",
            lambda parts: torch.cat([parts[:1], parts[1::2] + parts[2::2]]),
            "You give what each layer adds. The stream keeps all that came before.",
            "Next: what is in the stream of the first case after layer 1?",
        ),
        Mistake(
            "the start is missing",
            lambda parts: parts.cumsum(0)[2::2],
            "You begin after layer 0. The stage before the first layer is asked too.",
            "Next: how many stages do two layers have?",
        ),
        Mistake(
            "the start is left out of the sum",
            lambda parts: torch.cat([parts[:1], parts.cumsum(0)[2::2] - parts[:1]]),
            "After the first stage the embedding is gone from your sums. Nothing is ever taken out of the stream.",
            "Next: what is 1 + 2 + 3?",
        ),
    ],
    hints=[
        "A running sum over the parts; then keep the places where a layer is complete.",
        "`cumsum(0)` is the running sum. Two parts belong to each layer, so every second entry is wanted.",
        "sums = running sum of parts over axis 0\nstages = entries 0, 2, 4, ... of sums",
    ],
    first_step="Write the running sum of 1, 2, 3, 4, 5 and mark where a layer ends.",
    accepted=[
        _stages_with_loop,
        _stages_with_einsum,
        lambda parts: torch.stack([parts[: at + 1].sum(0) for at in range(0, len(parts), 2)]),
    ],
)

# -- 02.3 frozen_norm ------------------------------------------------------------------------------------------------


def _scale(stream: Tensor, epsilon: float) -> Tensor:
    return (stream.var(-1, correction=0, keepdim=True) + epsilon).sqrt()


def _frozen_with_loop(parts: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    stream = parts.sum(0)
    scale = ((stream - stream.mean(-1, keepdim=True)).square().mean(-1, keepdim=True) + epsilon).sqrt()
    return torch.stack([(part - part.mean(-1, keepdim=True)) / scale * weight for part in parts])


def _frozen_as_matrix(parts: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    d = parts.shape[-1]
    eye = torch.eye(d, dtype=parts.dtype, device=parts.device)
    matrix = (eye - 1 / d) * weight
    return torch.einsum("p...d,de->p...e", parts, matrix) / _scale(parts.sum(0), epsilon)


def _frozen_in_double(parts: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return frozen_norm(parts.double(), weight.double(), epsilon).to(parts.dtype)


def _adds_up(arguments: Arguments, result: Tensor) -> str | None:
    parts, weight, epsilon = arguments
    stream = parts.sum(0)
    whole = (stream - stream.mean(-1, keepdim=True)) / _scale(stream, epsilon) * weight
    if torch.allclose(result.sum(0), whole, rtol=1e-3, atol=1e-3):
        return None
    return "Your parts do not add up to what the norm makes of the whole stream."


def _norm_case(*shape: int, epsilon: float = 1e-5, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(
        device, randn(seed, *shape, dtype=dtype) + 0.7, randn(seed + 50, shape[-1], dtype=dtype), epsilon
    )


FROZEN_NORM = Exercise(
    id="02.3",
    title="Freeze the norm",
    points=2,
    minutes=15,
    lines=(3, 5),
    reference=frozen_norm,
    axes=("part", "text", "position", "d_model"),
    cases=[
        Case(
            "two parts of two numbers",
            placed(torch.tensor([[[[1.0, 5.0]]], [[[2.0, 6.0]]]]), torch.tensor([1.0, 2.0]), 9.0),
        ),
        Case("5 parts, 2 texts, 3 tokens, d_model 4", _norm_case(5, 2, 3, 4)),
        Case("a large epsilon", _norm_case(3, 2, 4, 6, epsilon=0.5)),
        Case("at one position: [part, text, d_model]", _norm_case(5, 3, 4)),
        Case("one part, which is the whole stream", _norm_case(1, 2, 3, 5)),
        Case("a single text of one token", _norm_case(7, 1, 1, 4)),
        Case("float64", _norm_case(3, 2, 3, 4, dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "a scale for each part",
            lambda parts, weight, epsilon: (parts - parts.mean(-1, keepdim=True)) / _scale(parts, epsilon) * weight,
            "You give every part a norm of its own. The model divides once, by a number that depends on the whole "
            "stream.",
            "Next: add your parts up. Is that what the norm makes of the stream?",
        ),
        Mistake(
            "the mean is left in",
            lambda parts, weight, epsilon: parts / _scale(parts.sum(0), epsilon) * weight,
            "You do not take the mean away. A LayerNorm does; each part has to lose its own.",
            "Next: what does the norm make of a part whose numbers are all the same?",
        ),
        Mistake(
            "the weight is left out",
            lambda parts, weight, epsilon: (parts - parts.mean(-1, keepdim=True)) / _scale(parts.sum(0), epsilon),
            "You do not multiply by weight.",
            "Next: where does `weight` appear in your code?",
        ),
        Mistake(
            "epsilon is left out",
            lambda parts, weight, epsilon: (parts - parts.mean(-1, keepdim=True)) / _scale(parts.sum(0), 0.0) * weight,
            "Your scale lacks epsilon, which the norm adds to the variance.",
            "Next: in the first case epsilon is 9. Where does it go?",
        ),
        Mistake(
            "epsilon after the root",
            lambda parts, weight, epsilon: (
                (parts - parts.mean(-1, keepdim=True)) / (_scale(parts.sum(0), 0.0) + epsilon) * weight
            ),
            "You add epsilon to the standard deviation. It belongs to the variance, under the root.",
            "Next: variance 4, epsilon 9. What is the scale?",
        ),
        Mistake(
            "the variance of a sample",
            lambda parts, weight, epsilon: (
                (parts - parts.mean(-1, keepdim=True)) / (parts.sum(0).var(-1, keepdim=True) + epsilon).sqrt() * weight
            ),
            "`var` divides by one less than the number of values unless told otherwise. A norm divides by the number.",
            "Next: what is the keyword of `var` for that?",
        ),
        Mistake(
            "the deviation of a sample, and epsilon after the root",
            lambda parts, weight, epsilon: (
                (parts - parts.mean(-1, keepdim=True)) / (parts.sum(0).std(-1, keepdim=True) + epsilon) * weight
            ),
            "Two slips: `std` divides by one less than the number of values unless told otherwise, and epsilon belongs "
            "to the variance, under the root.",
            "Next: write the root of (variance + epsilon), with the keyword of `var` that divides by the number.",
        ),
        Mistake(
            "divided by the variance",
            lambda parts, weight, epsilon: (
                (parts - parts.mean(-1, keepdim=True)) / _scale(parts.sum(0), epsilon) ** 2 * weight
            ),
            "You divide by the variance. The norm divides by its root.",
            "Next: variance 4, epsilon 0. What does the norm divide by?",
        ),
        Mistake(
            "the mean of the stream",
            lambda parts, weight, epsilon: (
                (parts - parts.sum(0).mean(-1, keepdim=True)) / _scale(parts.sum(0), epsilon) * weight
            ),
            "You take the mean of the whole stream away from every part: too much, as often as there are parts.",
            "Next: which mean has each part to lose so that the parts together lose the stream's once?",
        ),
    ],
    hints=[
        "Only the scale ties the parts together. Take it from their sum; all else is done to each part alone.",
        "stream = parts.sum(0). Its scale is the root of (variance + epsilon); `var(-1, correction=0)` is the "
        "variance that a "
        "norm means. Keep an axis for d_model when you divide.",
        "scale = root of (variance of the sum of all parts + epsilon)\ncentred = each part less its own mean over "
        "d_model\n"
        "result = centred / scale * weight",
    ],
    first_step="Add the parts up: that is the stream whose scale you need.",
    properties=[Property("the parts add up", _adds_up)],
    accepted=[_frozen_with_loop, _frozen_as_matrix, _frozen_in_double],
)

# -- 02.4 direct_attribution -----------------------------------------------------------------------------------------


def _attribution_with_loops(normed: Tensor, W_U: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    result = torch.empty_like(normed[..., 0])
    for part in range(normed.shape[0]):
        for text in range(normed.shape[1]):
            logits = normed[part, text] @ W_U
            result[part, text] = logits[right[text]] - logits[wrong[text]]
    return result


def _attribution_with_gather(normed: Tensor, W_U: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    logits = normed @ W_U
    texts = torch.arange(len(right), device=right.device)
    return logits[:, texts, right] - logits[:, texts, wrong]


def _attribution_with_sum(normed: Tensor, W_U: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    return (normed * (W_U.T[right] - W_U.T[wrong])).sum(-1)


def _probabilities(normed: Tensor, W_U: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    said = (normed @ W_U).softmax(-1)
    texts = torch.arange(len(right), device=right.device)
    return said[:, texts, right] - said[:, texts, wrong]


def _lead_case(parts: int, batch: int, d_model: int, vocab: int, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(
        device,
        randn(seed, parts, batch, d_model, dtype=dtype),
        randn(seed + 50, d_model, vocab, dtype=dtype),
        ids(seed, vocab, batch),
        (ids(seed, vocab, batch) + 1 + ids(seed + 9, vocab - 1, batch)) % vocab,
    )


def _found_attribution(answer: Answer) -> Found:
    told = story()
    normed = frozen_norm(told["parts"][:, :, -1], told["norm"].weight, told["norm"].epsilon)
    shares = answer(normed, told["W_U"], told["luke"], told["eva"])[:, 0]
    values = torch.stack([shares[1::2], shares[2::2]])
    sentence = f"In storylm, the last MLP writes {shares[-1]:.1f} of the {shares.sum():.1f} by which Luke leads."
    return Found("what attention (row 0) and MLP (row 1) of each layer add", values, "", "layer", sentence)


DIRECT_ATTRIBUTION = Exercise(
    id="02.4",
    title="Who speaks for Luke?",
    points=2,
    minutes=12,
    lines=(2, 4),
    reference=direct_attribution,
    axes=("part", "text"),
    cases=[
        Case(
            "two parts, one text, three tokens in the vocabulary",
            placed(
                torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]),
                torch.tensor([[4.0, 1.0, 0.0], [0.0, 5.0, 2.0]]),
                torch.tensor([1]),
                torch.tensor([2]),
            ),
        ),
        Case("5 parts, 3 texts, d_model 4, vocabulary 7", _lead_case(5, 3, 4, 7)),
        Case("as many texts as numbers", _lead_case(3, 4, 4, 6)),
        Case("a single text", _lead_case(4, 1, 3, 5)),
        Case("one part", _lead_case(1, 3, 5, 4)),
        Case("float64", _lead_case(3, 2, 4, 6, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "wrong less right",
            lambda normed, W_U, right, wrong: -_attribution_with_sum(normed, W_U, right, wrong),
            "Yours is the lead of wrong over right.",
            "Next: in the first case, does part 0 speak for token 1 or for token 2?",
        ),
        Mistake(
            "the right token alone",
            lambda normed, W_U, right, wrong: (normed * W_U.T[right]).sum(-1),
            "You give the share in one logit. The lead of right over wrong is asked.",
            "Next: where does `wrong` appear in your code?",
        ),
        Mistake(
            "added up over the parts",
            lambda normed, W_U, right, wrong: _attribution_with_sum(normed, W_U, right, wrong).sum(0),
            "You add the parts up, which is the lead itself. Keep them apart.",
            "Next: which axes does the result have?",
        ),
        Mistake(
            "all texts with all tokens",
            lambda normed, W_U, right, wrong: normed @ (W_U[:, right] - W_U[:, wrong]),
            "Every text of yours meets the tokens of every other text: [part, text, text].",
            "Next: say in an einsum that normed and the direction share the text.",
        ),
        Mistake(
            "the tokens of the first text",
            lambda normed, W_U, right, wrong: normed @ (W_U[:, right[0]] - W_U[:, wrong[0]]),
            "You use the tokens of text 0 for all texts. Each text has a pair of its own.",
            "Next: look for a [0] in your code.",
        ),
        Mistake(
            "a difference of probabilities",
            _probabilities,
            "There is a softmax on your way. Logits add up, probabilities do not.",
            "Next: why would you not want one here?",
        ),
    ],
    hints=[
        "A logit is a dot product with a column of W_U. A lead is a dot product with the difference of two columns.",
        "W_U[:, right] has a column for each text: [d_model, batch]. In an einsum, the text is shared by both sides "
        "and "
        'stays, d_model goes: "pbd,db->pb".',
        "direction = columns of right less columns of wrong: one for each text\n"
        "result = dot product of every part with the direction of its text",
    ],
    first_step="Work out the logits of all three tokens that part 0 of the first case adds.",
    accepted=[_attribution_with_loops, _attribution_with_gather, _attribution_with_sum],
    found=_found_attribution,
)

# -- 02.5 cut_edges --------------------------------------------------------------------------------------------------


def _cut_with_loops(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    result = pattern.clone()
    for text in range(pattern.shape[0]):
        for head in range(pattern.shape[1]):
            row = result[text, head, query[text]]
            row[key[text]] = 0
            if row.sum() > 0:
                row /= row.sum()
    return result


def _cut_with_where(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    n = torch.arange(pattern.shape[-1], device=pattern.device)
    gone = (n[None, :, None] == query[:, None, None]) & (n[None, None, :] == key[:, None, None])
    left = torch.where(gone[:, None], 0.0, pattern)
    total = left.sum(-1, keepdim=True)
    return torch.where(total > 0, left / total, left)


def _cut_by_share(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    result = pattern.clone()
    for text, (q, k) in enumerate(zip(query.tolist(), key.tolist(), strict=True)):
        result[text, :, q, k] = 0
        result[text, :, q] = torch.nn.functional.normalize(result[text, :, q], p=1, dim=-1)
    return result


def _zeroed(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    result = pattern.clone()
    result[torch.arange(len(pattern), device=pattern.device), :, query, key] = 0
    return result


def _again(pattern: Tensor) -> Tensor:
    return pattern / pattern.sum(-1, keepdim=True).clamp(min=1e-12)


def _keys_everywhere(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    result = pattern.clone()
    result[torch.arange(len(pattern), device=pattern.device), :, :, key] = 0
    return _again(result)


def _all_pairs(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    result = pattern.clone()
    result[:, :, query, key] = 0
    return _again(result)


def _one_head(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    result = pattern.clone()
    result[torch.arange(len(pattern), device=pattern.device), 0, query, key] = 0
    return _again(result)


def _pattern(seed: int, batch: int, heads: int, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    scores = randn(seed, batch, heads, n, n, dtype=torch.float64)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1).to(dtype)


def _edge_case(batch: int, heads: int, n: int, dtype: torch.dtype = torch.float32) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        query = 2 + ids(seed, n - 2, batch)
        key = torch.stack([ids(seed + 10 + text, int(q), 1)[0] for text, q in enumerate(query)])
        return on(device, _pattern(seed, batch, heads, n, dtype), query, key)

    return make


def _rows(arguments: Arguments, result: Tensor) -> str | None:
    pattern, query, _ = arguments
    others = torch.arange(pattern.shape[2], device=pattern.device) != query[:, None]
    if torch.allclose(result.transpose(1, 2)[others], pattern.transpose(1, 2)[others], atol=1e-4):
        return None
    return "Only one query of each text is to change; another one did."


CUT_EDGES = Exercise(
    id="02.5",
    title="Cut an edge",
    points=2,
    minutes=15,
    lines=(3, 6),
    reference=cut_edges,
    axes=("text", "head", "query", "key"),
    cases=[
        Case(
            "one text, one head, three tokens: query 2 without key 0",
            placed(
                torch.tensor([[[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.25, 0.25]]]]),
                torch.tensor([2]),
                torch.tensor([0]),
            ),
        ),
        Case("3 texts, 2 heads, 5 tokens", _edge_case(3, 2, 5)),
        Case("one text, 4 heads", _edge_case(1, 4, 6)),
        Case(
            "nothing is left: query 0 without key 0",
            lambda seed, device: on(device, _pattern(seed, 2, 3, 4), torch.tensor([0, 3]), torch.tensor([0, 1])),
        ),
        Case(
            "the key comes later: nothing to cut",
            lambda seed, device: on(device, _pattern(seed, 2, 3, 4), torch.tensor([1, 2]), torch.tensor([3, 0])),
        ),
        Case("float64", _edge_case(2, 3, 7, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the rest is not scaled",
            lambda pattern, query, key: _zeroed(pattern, query, key),
            "You set the edge to 0 and leave the rest. The row no longer sums to one, so the head also writes less.",
            "Next: what should the other two keys of query 2 get in the first case?",
        ),
        Mistake(
            "query and key are swapped",
            lambda pattern, query, key: _again(_zeroed(pattern, key, query)),
            "You cut what the key sees of the query. Rows are queries, columns are keys.",
            "Next: in pattern[0, 0], where is the attention from 2 to 0?",
        ),
        Mistake(
            "nobody sees the key any more",
            _keys_everywhere,
            "You hide the key from all queries. One edge is to go: from one query to one key.",
            "Next: what is left of the row of query 1 in the first case?",
        ),
        Mistake(
            "every text with everybody's edges",
            _all_pairs,
            "Each text loses the edges of all texts. `pattern[:, :, query, key]` does not tie them to their own.",
            "Next: which index says that edge 0 belongs to text 0?",
        ),
        Mistake(
            "one head alone",
            _one_head,
            "You cut the edge in head 0. It is to go in all heads.",
            "Next: which index of yours stands for the head?",
        ),
        Mistake(
            "0 divided by 0",
            lambda pattern, query, key: (
                _zeroed(pattern, query, key) / _zeroed(pattern, query, key).sum(-1, keepdim=True)
            ),
            "Where nothing is left you divide 0 by 0. Such a row stays 0.",
            "Next: query 0 sees key 0 alone. What is the sum of its row after the cut?",
        ),
        Mistake(
            "a new softmax",
            lambda pattern, query, key: _zeroed(pattern, query, key).softmax(-1),
            "You run a softmax over weights that are already one. Scaling them is enough.",
            "Next: divide the row by its sum.",
        ),
    ],
    hints=[
        "Copy the pattern, put a 0 into one cell of each text, for all heads; then make every row sum to one again.",
        "texts = torch.arange(batch). `pattern[texts, :, query, key]` are the cells: query[0] and key[0] in text 0, "
        "and so "
        "on. `.clamp(min=1e-12)` keeps a sum from being 0.",
        "copy pattern\nthe cells of each text's query and key, in all heads = 0\n"
        "return the copy / its sums over the keys, where a sum of 0 does no harm",
    ],
    first_step="Make a copy of pattern, so that the one you were given stays as it is.",
    properties=[Property("other queries unchanged", _rows)],
    accepted=[_cut_with_loops, _cut_with_where, _cut_by_share],
)
