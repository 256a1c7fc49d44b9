"""Exercises that build the model: 01.1 to 01.9, and 01.16."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interpwidgets.course.exercise import Answer, Arguments, Case, Exercise, Found, Mistake, Property
from interpwidgets.exercises.ch01.inputs import (
    Make,
    block_weights,
    model_weights,
    on,
    placed,
    randn,
    some_tokens,
    story,
)
from interpwidgets.methods.transformer import (
    attention,
    attention_pattern,
    block,
    count_parameters,
    embed,
    fold_norm,
    gpt,
    layer_norm,
    mlp,
    opened,
    split_heads,
)

Weights = Mapping[str, Tensor]

# -- 01.1 embed ------------------------------------------------------------------------------------------------------


def _embed_with_loops(tokens: Tensor, W_E: Tensor, W_pos: Tensor) -> Tensor:
    rows = [[W_E[token] + W_pos[place] for place, token in enumerate(text)] for text in tokens.tolist()]
    return torch.stack([torch.stack(row) for row in rows])


def _embed_with_one_hot(tokens: Tensor, W_E: Tensor, W_pos: Tensor) -> Tensor:
    words = torch.einsum("bpv,vm->bpm", F.one_hot(tokens, len(W_E)).to(W_E.dtype), W_E)
    return words + W_pos.narrow(0, 0, tokens.size(1)).unsqueeze(0)


def _embed_case(batch: int, n: int, vocab: int, context: int, d_model: int, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(
        device,
        some_tokens(seed, batch, n, vocab),
        randn(seed + 1, vocab, d_model, dtype=dtype),
        randn(seed + 2, context, d_model, dtype=dtype),
    )


EMBED = Exercise(
    id="01.1",
    title="Vectors for words",
    points=1,
    minutes=5,
    lines=(1, 3),
    reference=embed,
    axes=("batch", "position", "d_model"),
    cases=[
        Case(
            "tokens 2, 0, 2",
            placed(
                torch.tensor([[2, 0, 2]]),
                torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
                torch.tensor([[0.125, 0.0], [0.25, 0.5], [0.5, 0.25], [1.0, 1.0]]),
            ),
        ),
        Case("2 texts of 5 tokens", _embed_case(2, 5, 9, 7, 4)),
        Case("7 texts of 3 tokens", _embed_case(7, 3, 10, 8, 6)),
        Case("a text as long as the context", _embed_case(2, 6, 9, 6, 5)),
        Case("one token", _embed_case(3, 1, 9, 4, 5)),
        Case("float64", _embed_case(2, 4, 6, 8, 3, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the places are missing",
            lambda tokens, W_E, W_pos: W_E[tokens],
            "You give each token its row of W_E and stop there. The same word then looks the same at every place.",
            "Next: in the first case, token 2 stands at positions 0 and 2. Should both rows be equal?",
        ),
        Mistake(
            "places are looked up by token",
            lambda tokens, W_E, W_pos: W_E[tokens] + W_pos[tokens],
            "You look into W_pos with the token's number. Its rows belong to places: row 0 to position 0.",
            "Next: which row of W_pos does the second token of a text get?",
        ),
        Mistake(
            "counted from the end",
            lambda tokens, W_E, W_pos: W_E[tokens] + W_pos[-tokens.shape[1] :],
            "You take the last rows of W_pos. A text begins at position 0.",
            "Next: which row of W_pos does the first token get?",
        ),
        Mistake(
            "every place is the first",
            lambda tokens, W_E, W_pos: W_E[tokens] + W_pos[0],
            "You add row 0 of W_pos everywhere. Each position has a row of its own.",
            "Next: how many rows of W_pos does a text of three tokens need?",
        ),
        Mistake(
            "multiplied, not added",
            lambda tokens, W_E, W_pos: W_E[tokens] * W_pos[: tokens.shape[1]],
            "You multiply the two rows. They are added.",
            "Next: which sign stands between the two look-ups?",
        ),
    ],
    hints=[
        "Two tables: one has a row for each token, the other a row for each place. Look up both and add.",
        "Indexing with a tensor of whole numbers, `W_E[tokens]`, looks up all rows at once: [batch, position, "
        "d_model]. "
        "For the places the first rows of W_pos are enough; they are the same for every text.",
        "words = rows of W_E, one for each token\nplaces = the first rows of W_pos, as many as a text is long\n"
        "result = words + places",
    ],
    first_step="Write W_E[tokens] and print its shape.",
    accepted=[
        lambda tokens, W_E, W_pos: (
            F.embedding(tokens, W_E) + W_pos[torch.arange(tokens.shape[1], device=tokens.device)]
        ),
        _embed_with_loops,
        _embed_with_one_hot,
    ],
)

# -- 01.2 layer_norm -------------------------------------------------------------------------------------------------


def _norm_with_loops(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    rows = []
    for vector in x.reshape(-1, x.shape[-1]):
        mean = sum(vector) / len(vector)
        variance = sum((value - mean) ** 2 for value in vector) / len(vector)
        rows.append((vector - mean) / (variance + eps) ** 0.5 * weight + bias)
    return torch.stack(rows).reshape(x.shape)


def _norm_with_var(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    variance = x.var(-1, unbiased=False, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(variance + eps) * weight + bias


def _norm_in_double(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x.double(), x.shape[-1:], weight.double(), bias.double(), eps).to(x.dtype)


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


def _norm_case(*shape: int, scale: float = 3.0, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(
        device,
        scale * (randn(seed, *shape, dtype=dtype) + 0.5),
        1 + 0.5 * randn(seed + 1, shape[-1], dtype=dtype),
        randn(seed + 2, shape[-1], dtype=dtype),
        1e-5,
    )


LAYER_NORM = Exercise(
    id="01.2",
    title="The same length for all",
    points=1,
    minutes=8,
    lines=(3, 5),
    reference=layer_norm,
    axes=("batch", "position", "d_model"),
    cases=[
        Case(
            "the vector 1, 2, 3, 6",
            placed(
                torch.tensor([[[1.0, 2.0, 3.0, 6.0]]]),
                torch.tensor([1.0, 1.0, 2.0, 1.0]),
                torch.tensor([0.0, 0.0, 0.0, 5.0]),
                1e-5,
            ),
        ),
        Case("2 texts of 3 positions", _norm_case(2, 3, 5)),
        Case("5 positions of width 4", _norm_case(1, 5, 4)),
        Case("a very short vector, where eps counts", _norm_case(2, 3, 6, scale=0.003)),
        Case("another eps", lambda seed, device: (*_norm_case(2, 4, 3)(seed, device)[:3], 0.5)),
        Case(
            "a vector of equal numbers",
            lambda seed, device: on(device, torch.full((1, 2, 4), 2.5), randn(seed, 4), randn(seed + 1, 4), 1e-5),
        ),
        Case("float64", _norm_case(3, 2, 7, dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the variance over n - 1",
            lambda x, weight, bias, eps=1e-5: _centred(x) / (x.var(-1, keepdim=True) + eps).sqrt() * weight + bias,
            "Your variance divides by n - 1, as `var` and `std` do unless told otherwise. Here it is the plain mean "
            "of squares.",
            "Next: work out the mean square of -2, -1, 0, 3 by hand and compare.",
        ),
        Mistake(
            "eps outside the root",
            lambda x, weight, bias, eps=1e-5: (
                _centred(x) / (_centred(x).square().mean(-1, keepdim=True).sqrt() + eps) * weight + bias
            ),
            "You add eps to the standard deviation. It belongs to the variance, under the root.",
            "Next: take a vector of length 0.003. How large is its variance beside eps?",
        ),
        Mistake(
            "eps is missing",
            lambda x, weight, bias, eps=1e-5: (
                torch.nan_to_num(_centred(x) / _centred(x).square().mean(-1, keepdim=True).sqrt()) * weight + bias
            ),
            "Your eps does nothing. It matters as soon as a vector is short.",
            "Next: where does `eps` appear in your code?",
        ),
        Mistake(
            "the mean is left in",
            lambda x, weight, bias, eps=1e-5: x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias,
            "You divide by the length and leave the mean in. That is RMSNorm, which Llama uses; GPT-2 takes the mean "
            "away first.",
            "Next: which mean should your result have before weight and bias?",
        ),
        Mistake(
            "over the positions",
            lambda x, weight, bias, eps=1e-5: (
                (x - x.mean(-2, keepdim=True))
                / ((x - x.mean(-2, keepdim=True)).square().mean(-2, keepdim=True) + eps).sqrt()
                * weight
                + bias
            ),
            "Your mean runs along the text. Each position is normed on its own, over its d_model numbers.",
            "Next: which axis of x is d_model?",
        ),
        Mistake(
            "the root is missing",
            lambda x, weight, bias, eps=1e-5: (
                _centred(x) / (_centred(x).square().mean(-1, keepdim=True) + eps) * weight + bias
            ),
            "You divide by the variance. The standard deviation is its root.",
            "Next: double x. Should the result change?",
        ),
        Mistake(
            "weight and bias are left out",
            lambda x, weight, bias, eps=1e-5: _centred(x) / (_centred(x).square().mean(-1, keepdim=True) + eps).sqrt(),
            "Your vectors are normed and nothing more. The learned weight and bias come after.",
            "Next: where do `weight` and `bias` appear in your code?",
        ),
    ],
    hints=[
        "Four steps for each vector: take its mean away, measure how long it is, divide, then scale and shift.",
        "`mean(-1, keepdim=True)` keeps the axis, so that what comes out can be subtracted and divided. The variance "
        "is the "
        "mean of the squares of what is left after the subtraction.",
        "centred = x - its mean\nvariance = mean of centred squared\n"
        "result = centred / root of (variance + eps), times weight, plus bias",
    ],
    first_step="Subtract the mean of the last axis from x, with keepdim=True.",
    accepted=[_norm_with_var, _norm_with_loops, _norm_in_double],
)

# -- 01.3 attention_pattern ------------------------------------------------------------------------------------------


def _pattern_with_loops(q: Tensor, k: Tensor) -> Tensor:
    batch, n, heads, d_head = q.shape
    pattern = torch.zeros(batch, heads, n, n, dtype=q.dtype, device=q.device)
    for text in range(batch):
        for head in range(heads):
            for query in range(n):
                scores = k[text, : query + 1, head] @ q[text, query, head] / d_head**0.5
                weights = (scores - scores.max()).exp()
                pattern[text, head, query, : query + 1] = weights / weights.sum()
    return pattern


def _pattern_with_matmul(q: Tensor, k: Tensor) -> Tensor:
    scores = (q.transpose(1, 2) @ k.permute(0, 2, 3, 1)) * q.shape[3] ** -0.5
    n = q.shape[1]
    places = torch.arange(n, device=q.device)
    seen: Tensor = torch.where(places[:, None] >= places, scores, -torch.inf)
    return seen.softmax(3)


def _pattern_in_double(q: Tensor, k: Tensor) -> Tensor:
    scores = torch.einsum("bihd,bjhd->bhij", q.double(), k.double()) / q.shape[-1] ** 0.5
    mask = torch.full(scores.shape[-2:], -1e9, device=q.device).double().triu(1)
    double: Tensor = (scores + mask).softmax(-1)
    return double.to(q.dtype)


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return torch.einsum("bqhd,bkhd->bhqk", q, k)


def _masked(scores: Tensor, value: float = -torch.inf) -> Tensor:
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, value)


def _qk_case(batch: int, n: int, heads: int, d_head: int, scale: float = 2, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(
        device,
        scale * randn(seed, batch, n, heads, d_head, dtype=dtype),
        randn(seed + 1, batch, n, heads, d_head, dtype=dtype),
    )


def _sums_to_one(arguments: Arguments, result: Any) -> str | None:
    sums = result.sum(-1)
    worst = sums.flatten()[(sums - 1).abs().argmax()]
    if abs(worst - 1) <= 0.02:
        return None
    return f"The attention of each query adds up to 1; for one of yours it is {worst.item():.3g}."


def _is_causal(arguments: Arguments, result: Any) -> str | None:
    if not bool((result.triu(1).abs() > 1e-6).any()):
        return None
    return "Some query of yours looks at a key behind it in the text, which has not been written yet."


def _found_pattern(answer: Answer) -> Found:
    model, tokens = story()
    around, blocks = opened(model)
    x = layer_norm(embed(tokens, around["W_E"], around["W_pos"]), blocks[0]["norm_1_weight"], blocks[0]["norm_1_bias"])
    q, k = (torch.einsum("bpm,hmd->bphd", x, blocks[0][f"W_{n}"]) + blocks[0][f"b_{n}"] for n in "QK")
    pattern = answer(q, k)[0].detach()
    back = pattern.diagonal(-1, -2, -1).mean(-1)
    head = int(back.argmax())
    sentence = f"In storylm, L0 H{head} looks one step back with {back[head].item():.0%} of its attention."
    return Found(f"L0 H{head} of storylm on a sentence", pattern[head], "query", "key", sentence)


ATTENTION_PATTERN = Exercise(
    id="01.3",
    title="Who looks where",
    points=2,
    minutes=12,
    lines=(3, 6),
    reference=attention_pattern,
    axes=("batch", "head", "query", "key"),
    cases=[
        Case(
            "one head of width 1, three positions",
            placed(
                torch.tensor([1.0, 2.0, 0.0]).reshape(1, 3, 1, 1), torch.tensor([1.0, -1.0, 2.0]).reshape(1, 3, 1, 1)
            ),
        ),
        Case("2 texts, 5 positions, 3 heads of width 4", _qk_case(2, 5, 3, 4)),
        Case("3 texts, 4 positions, 2 heads of width 7", _qk_case(3, 4, 2, 7)),
        Case("one position", _qk_case(2, 1, 3, 4)),
        Case("large scores", _qk_case(1, 6, 2, 5, scale=60)),
        Case("float64", _qk_case(2, 3, 4, 5, dtype=torch.float64)),
        Case("bfloat16", _qk_case(2, 4, 3, 8, dtype=torch.bfloat16)),
    ],
    mistakes=[
        Mistake(
            "no mask",
            lambda q, k: (_scores(q, k) / math.sqrt(q.shape[-1])).softmax(-1),
            "Your queries see what comes after them. While a model writes, that does not exist yet.",
            "Next: what can the first position look at?",
        ),
        Mistake(
            "the mask is the wrong way round",
            lambda q, k: (
                (_scores(q, k) / math.sqrt(q.shape[-1]))
                .masked_fill(torch.ones(q.shape[1], q.shape[1], dtype=torch.bool, device=q.device).tril(-1), -torch.inf)
                .softmax(-1)
            ),
            "You hide what came before and show what comes after.",
            "Next: rows are queries, columns are keys. Is a later key right or left of the diagonal?",
        ),
        Mistake(
            "a query does not see itself",
            lambda q, k: torch.nan_to_num(
                (_scores(q, k) / math.sqrt(q.shape[-1]))
                .masked_fill(torch.ones(q.shape[1], q.shape[1], dtype=torch.bool, device=q.device).triu(0), -torch.inf)
                .softmax(-1)
            ),
            "You hide the diagonal too. Every position may look at itself; the first one has nothing else.",
            "Next: what is left for query 0 to look at?",
        ),
        Mistake(
            "the scale is missing",
            lambda q, k: _masked(_scores(q, k)).softmax(-1),
            "Your scores are not divided by the root of d_head. The wider a head, the sharper its softmax would get.",
            "Next: what does the formula divide by?",
        ),
        Mistake(
            "divided by d_head, not by its root",
            lambda q, k: _masked(_scores(q, k) / q.shape[-1]).softmax(-1),
            "You divide by d_head. The formula divides by its root.",
            "Next: d_head is 4. By what do you divide?",
        ),
        Mistake(
            "the root of something else",
            lambda q, k: _masked(_scores(q, k) / math.sqrt(q.shape[1])).softmax(-1),
            "You divide by the root of the length of the text. The width of a head is the last axis of q.",
            "Next: print q.shape and find d_head.",
        ),
        Mistake(
            "the softmax runs over queries",
            lambda q, k: torch.nan_to_num(_masked(_scores(q, k) / math.sqrt(q.shape[-1])).softmax(-2)),
            "Your columns add up to 1. Each query divides its attention among keys: rows add up to 1.",
            "Next: which axis of [batch, head, query, key] is the key?",
        ),
        Mistake(
            "masked after the softmax",
            lambda q, k: (_scores(q, k) / math.sqrt(q.shape[-1])).softmax(-1).tril(),
            "You take the softmax first and then delete what lies ahead. What is left of a row is less than 1.",
            "Next: add up row 0 of your result.",
        ),
        Mistake(
            "0 instead of minus infinity",
            lambda q, k: _masked(_scores(q, k) / math.sqrt(q.shape[-1]), 0).softmax(-1),
            "You set hidden scores to 0. e to the 0 is 1, so hidden keys still get attention.",
            "Next: which number has an exponential of 0?",
        ),
        Mistake(
            "query and key are swapped",
            lambda q, k: _masked(_scores(k, q) / math.sqrt(q.shape[-1])).softmax(-1),
            "Your rows are keys. Row i should hold what query i thinks of each key.",
            "Next: which of q and k gives the rows of your product?",
        ),
    ],
    hints=[
        "A score for each pair of a query and a key: their dot product. Hide the pairs that look ahead, then turn "
        "each row "
        "into shares of 1.",
        'torch.einsum("bqhd,bkhd->bhqk", q, k) makes all dot products. A square of ones cut with `.triu(1)` marks '
        "the pairs "
        "that look ahead; `masked_fill` sets them to -torch.inf.",
        "scores = dot products of every query with every key, over the root of d_head\n"
        "later = True above the diagonal\nscores at later = minus infinity\nresult = softmax of scores over keys",
    ],
    first_step="Make the scores with einsum and look at their shape.",
    properties=[Property("each row sums to one", _sums_to_one), Property("nobody looks ahead", _is_causal)],
    accepted=[_pattern_with_loops, _pattern_with_matmul, _pattern_in_double],
    tolerance={"bfloat16": (5e-2, 5e-2)},
    found=_found_pattern,
)

# -- 01.4 attention --------------------------------------------------------------------------------------------------


def _qkv(x: Tensor, weights: Weights, bias: float = 1) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (torch.einsum("bpm,hmd->bphd", x, weights[f"W_{name}"]) + bias * weights[f"b_{name}"] for name in "QKV")
    return q, k, v


def _mixed(pattern: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("bhqk,bkhd->bqhd", pattern, v)


def _written(z: Tensor, weights: Weights) -> Tensor:
    return torch.einsum("bqhd,hdm->bqm", z, weights["W_O"])


def _attention_with_loops(x: Tensor, weights: Weights) -> Tensor:
    out = torch.zeros_like(x) + weights["b_O"]
    n = x.shape[1]
    for head in range(len(weights["W_Q"])):
        q = x @ weights["W_Q"][head] + weights["b_Q"][head]
        k = x @ weights["W_K"][head] + weights["b_K"][head]
        v = x @ weights["W_V"][head] + weights["b_V"][head]
        scores = q @ k.mT / q.shape[-1] ** 0.5
        hidden = torch.ones(n, n, device=x.device).triu(1).bool()
        pattern = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        out = out + pattern @ v @ weights["W_O"][head]
    return out


def _attention_with_sdpa(x: Tensor, weights: Weights) -> Tensor:
    q, k, v = (each.transpose(1, 2) for each in _qkv(x, weights))
    z = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    return z.flatten(2) @ weights["W_O"].flatten(0, 1) + weights["b_O"]


def _attention_in_double(x: Tensor, weights: Weights) -> Tensor:
    double = {name: weight.double() for name, weight in weights.items()}
    return attention(x.double(), double).to(x.dtype)


def _layer_case(
    batch: int, n: int, d_model: int, heads: int, d_head: int, d_mlp: int, dtype: torch.dtype = torch.float32
) -> Make:
    return lambda seed, device: on(
        device,
        randn(seed, batch, n, d_model, dtype=dtype),
        block_weights(seed + 1, d_model, heads, d_head, d_mlp, dtype),
    )


_LAYERS = [
    Case("2 positions, one head of width 3", _layer_case(1, 2, 4, 1, 3, 5)),
    Case("2 texts, 4 positions, 3 heads of width 5", _layer_case(2, 4, 6, 3, 5, 7)),
    Case("3 texts, 5 positions, 2 heads of width 4", _layer_case(3, 5, 8, 2, 4, 6)),
    Case("one position", _layer_case(2, 1, 6, 3, 2, 4)),
    Case("float64", _layer_case(2, 3, 5, 2, 4, 6, torch.float64)),
]

ATTENTION = Exercise(
    id="01.4",
    title="All heads of a layer",
    points=2,
    minutes=15,
    lines=(5, 10),
    reference=attention,
    axes=("batch", "position", "d_model"),
    cases=_LAYERS,
    mistakes=[
        Mistake(
            "the output bias once for each head",
            lambda x, weights: (
                _written(_mixed(attention_pattern(*_qkv(x, weights)[:2]), _qkv(x, weights)[2]), weights)
                + len(weights["W_O"]) * weights["b_O"]
            ),
            "You add b_O more than once. All heads share one output bias.",
            "Next: how many axes does b_O have, and is there one for heads?",
        ),
        Mistake(
            "the output bias is missing",
            lambda x, weights: _written(_mixed(attention_pattern(*_qkv(x, weights)[:2]), _qkv(x, weights)[2]), weights),
            "b_O is not in your result. Every matrix here comes with a bias.",
            "Next: what is added after the last product?",
        ),
        Mistake(
            "no bias for queries, keys and values",
            lambda x, weights: (
                _written(_mixed(attention_pattern(*_qkv(x, weights, 0)[:2]), _qkv(x, weights, 0)[2]), weights)
                + weights["b_O"]
            ),
            "b_Q, b_K and b_V are not in your result.",
            "Next: which shape does b_Q have, and to what can it be added as it is?",
        ),
        Mistake(
            "everybody looks at everything alike",
            lambda x, weights: (
                _written(
                    _qkv(x, weights)[2].cumsum(1)
                    / torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)[:, None, None],
                    weights,
                )
                + weights["b_O"]
            ),
            "Your heads take the plain mean of all values so far. The pattern says how much of each to take.",
            "Next: where does `attention_pattern` come in?",
        ),
        Mistake(
            "queries and keys are swapped",
            lambda x, weights: (
                _written(
                    _mixed(attention_pattern(_qkv(x, weights)[1], _qkv(x, weights)[0]), _qkv(x, weights)[2]), weights
                )
                + weights["b_O"]
            ),
            "Your queries are made with W_K and your keys with W_Q.",
            "Next: in which order does `attention_pattern` take them?",
        ),
        Mistake(
            "the stream is added already",
            lambda x, weights: x + attention(x, weights),
            "You add x. That is the work of the block; a layer of attention returns what it writes and no more.",
            "Next: what should come back if all weights are 0?",
        ),
        Mistake(
            "values from the place itself",
            lambda x, weights: _written(_qkv(x, weights)[2], weights) + weights["b_O"],
            "Each position keeps its own values. They have to be mixed, with the pattern as weights.",
            "Next: which tensor has the axes query and key?",
        ),
        Mistake(
            "the mean over heads",
            lambda x, weights: (
                torch.einsum(
                    "bqhd,hdm->bqm",
                    _mixed(attention_pattern(*_qkv(x, weights)[:2]), _qkv(x, weights)[2]),
                    weights["W_O"],
                )
                / len(weights["W_O"])
                + weights["b_O"]
            ),
            "You average over the heads. What they write is added up.",
            "Next: with two equal heads instead of one, how much is written?",
        ),
    ],
    hints=[
        "Four steps: make queries, keys and values; let the pattern mix the values; send the mixture back to the "
        "width of the "
        "stream; add up over heads.",
        'torch.einsum("bpm,hmd->bphd", x, W) multiplies every position with the matrix of every head. The mixture z '
        "is a sum "
        "over keys, the output a sum over heads and d_head.",
        "q, k, v = x times W_Q, W_K, W_V, each with its bias: [batch, position, head, d_head]\n"
        "pattern = attention_pattern(q, k)\nz = sum over keys of pattern times v\n"
        "result = sum over heads and d_head of z times W_O, plus b_O",
    ],
    first_step="Make q with einsum: [batch, position, head, d_head]. Add b_Q.",
    accepted=[_attention_with_loops, _attention_with_sdpa, _attention_in_double],
)

# -- 01.5 mlp --------------------------------------------------------------------------------------------------------


def _mlp_with_loops(x: Tensor, weights: Weights) -> Tensor:
    out = torch.zeros_like(x)
    for text in range(x.shape[0]):
        for place in range(x.shape[1]):
            a = weights["b_in"].clone()
            for at, value in enumerate(x[text, place]):
                a = a + value * weights["W_in"][at]
            gelu = 0.5 * a * (1 + torch.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a.pow(3))))
            out[text, place] = gelu @ weights["W_out"] + weights["b_out"]
    return out


def _mlp_with_torch(x: Tensor, weights: Weights) -> Tensor:
    a = F.gelu(F.linear(x, weights["W_in"].T, weights["b_in"]), approximate="tanh")
    return F.linear(a, weights["W_out"].T, weights["b_out"])


def _mlp_in_double(x: Tensor, weights: Weights) -> Tensor:
    a = torch.einsum("bpm,mn->bpn", x.double(), weights["W_in"].double()) + weights["b_in"].double()
    b = F.gelu(a, approximate="tanh")
    return (torch.einsum("bpn,nm->bpm", b, weights["W_out"].double()) + weights["b_out"].double()).to(x.dtype)


def _hidden(x: Tensor, weights: Weights) -> Tensor:
    return x @ weights["W_in"] + weights["b_in"]


def _out(a: Tensor, weights: Weights) -> Tensor:
    return a @ weights["W_out"] + weights["b_out"]


MLP = Exercise(
    id="01.5",
    title="Every position for itself",
    points=1,
    minutes=8,
    lines=(3, 5),
    reference=mlp,
    axes=("batch", "position", "d_model"),
    cases=[
        *_LAYERS,
        Case(
            "large numbers",
            lambda seed, device: (
                6 * _layer_case(2, 3, 4, 1, 2, 9)(seed, device)[0],
                _layer_case(2, 3, 4, 1, 2, 9)(seed, device)[1],
            ),
        ),
    ],
    mistakes=[
        Mistake(
            "ReLU",
            lambda x, weights: _out(_hidden(x, weights).relu(), weights),
            "Your activation is ReLU. GPT-2 has GELU, which goes a little below 0 before it rises.",
            "Next: what does the formula give for a = -1?",
        ),
        Mistake(
            "no activation",
            lambda x, weights: _out(_hidden(x, weights), weights),
            "Nothing stands between your two matrices. Without an activation they are one matrix.",
            "Next: where in your code is the tanh?",
        ),
        Mistake(
            "the first bias is missing",
            lambda x, weights: _out(F.gelu(x @ weights["W_in"], approximate="tanh"), weights),
            "b_in is not in your result. It comes before the activation.",
            "Next: where does b_in appear in your code?",
        ),
        Mistake(
            "the second bias is missing",
            lambda x, weights: F.gelu(_hidden(x, weights), approximate="tanh") @ weights["W_out"],
            "b_out is not in your result.",
            "Next: what should come back if W_out is all zeros?",
        ),
        Mistake(
            "GELU after the second matrix too",
            lambda x, weights: F.gelu(
                _out(F.gelu(_hidden(x, weights), approximate="tanh"), weights), approximate="tanh"
            ),
            "You use the activation twice. What the MLP writes to the stream may be any number.",
            "Next: how many activations stand between x and the result?",
        ),
        Mistake(
            "the half is missing",
            lambda x, weights: _out(2 * F.gelu(_hidden(x, weights), approximate="tanh"), weights),
            "Your activation is twice GELU: for large a it should be a.",
            "Next: for a = 10 the tanh is 1. What does your formula give?",
        ),
        Mistake(
            "the square, not the cube",
            lambda x, weights: _out(
                0.5
                * _hidden(x, weights)
                * (1 + (math.sqrt(2 / math.pi) * (_hidden(x, weights) + 0.044715 * _hidden(x, weights) ** 2)).tanh()),
                weights,
            ),
            "You square a inside the tanh. The formula has its third power.",
            "Next: for a = -3, is your correction above or below 0?",
        ),
        Mistake(
            "the sigmoid version",
            lambda x, weights: _out(_hidden(x, weights) * (1.702 * _hidden(x, weights)).sigmoid(), weights),
            "That is another approximation of GELU, with a sigmoid. GPT-2 was trained with the one with tanh.",
            "Next: which function stands in the formula above?",
        ),
        Mistake(
            "the exact GELU",
            lambda x, weights: _out(F.gelu(_hidden(x, weights)), weights),
            "That is the exact GELU; GPT-2 was trained with the approximation with tanh. The difference is small, "
            "but it is there.",
            "Next: `torch.nn.functional.gelu` has an argument `approximate`. What are its values?",
        ),
    ],
    hints=[
        "A matrix that widens, a function on every number, a matrix that narrows. No position looks at another.",
        "`x @ W_in` works on [batch, position, d_model] as it is. `math.sqrt(2 / math.pi)` and `.tanh()` are what "
        "the formula "
        "needs.",
        "a = x times W_in, plus b_in\ng = 0.5 times a times (1 + tanh of ...)\nresult = g times W_out, plus b_out",
    ],
    first_step="Work out a: x times W_in plus b_in. Its last axis is d_mlp.",
    accepted=[_mlp_with_torch, _mlp_with_loops, _mlp_in_double],
)

# -- 01.6 block ------------------------------------------------------------------------------------------------------


def _norm(x: Tensor, weights: Weights, at: int) -> Tensor:
    return layer_norm(x, weights[f"norm_{at}_weight"], weights[f"norm_{at}_bias"])


def _block_with_names(x: Tensor, weights: Weights) -> Tensor:
    resid_pre = x
    attn_out = attention(_norm(resid_pre, weights, 1), weights)
    resid_mid = resid_pre + attn_out
    mlp_out = mlp(_norm(resid_mid, weights, 2), weights)
    return resid_pre + attn_out + mlp_out


def _block_with_torch(x: Tensor, weights: Weights) -> Tensor:
    n = F.layer_norm(x, x.shape[-1:], weights["norm_1_weight"], weights["norm_1_bias"])
    x = x + _attention_with_sdpa(n, weights)
    n = F.layer_norm(x, x.shape[-1:], weights["norm_2_weight"], weights["norm_2_bias"])
    return x + _mlp_with_torch(n, weights)


def _block_in_double(x: Tensor, weights: Weights) -> Tensor:
    double = {name: weight.double() for name, weight in weights.items()}
    return block(x.double(), double).to(x.dtype)


BLOCK = Exercise(
    id="01.6",
    title="One layer",
    points=1,
    minutes=6,
    lines=(2, 5),
    reference=block,
    axes=("batch", "position", "d_model"),
    cases=_LAYERS,
    mistakes=[
        Mistake(
            "no stream",
            lambda x, weights: mlp(_norm(attention(_norm(x, weights, 1), weights), weights, 2), weights),
            "Each half replaces the stream. It should add to it.",
            "Next: what should come back if every matrix is 0?",
        ),
        Mistake(
            "the first half replaces the stream",
            lambda x, weights: (
                attention(_norm(x, weights, 1), weights)
                + mlp(_norm(attention(_norm(x, weights, 1), weights), weights, 2), weights)
            ),
            "What attention writes stands in place of the stream. Only the MLP is added.",
            "Next: follow the arrow that runs past attention in the drawing.",
        ),
        Mistake(
            "the second half replaces the stream",
            lambda x, weights: mlp(_norm(x + attention(_norm(x, weights, 1), weights), weights, 2), weights),
            "What the MLP writes stands in place of the stream. Only attention is added.",
            "Next: follow the arrow that runs past the MLP in the drawing.",
        ),
        Mistake(
            "both halves read the same",
            lambda x, weights: x + attention(_norm(x, weights, 1), weights) + mlp(_norm(x, weights, 2), weights),
            "Your MLP reads what attention read. In GPT-2 it reads the stream after attention has written.",
            "Next: which stream goes into the second norm?",
        ),
        Mistake(
            "the norm of the stream itself",
            lambda x, weights: _norm(
                _norm(x + attention(x, weights), weights, 1)
                + mlp(_norm(x + attention(x, weights), weights, 1), weights),
                weights,
                2,
            ),
            "You norm the sum, after each half. The first transformers did; GPT-2 norms what a half *reads*, and "
            "leaves the stream alone.",
            "Next: in the drawing, does the norm stand on the stream or on the branch?",
        ),
        Mistake(
            "one norm for both",
            lambda x, weights: (
                x
                + attention(_norm(x, weights, 1), weights)
                + mlp(_norm(x + attention(_norm(x, weights, 1), weights), weights, 1), weights)
            ),
            "Your two halves share the first norm. The second has weights of its own.",
            "Next: where does norm_2_weight appear in your code?",
        ),
        Mistake(
            "the norms are missing",
            lambda x, weights: x + attention(x, weights) + mlp(x + attention(x, weights), weights),
            "Your halves read the stream as it is. Each reads it through a norm.",
            "Next: what does attention read in the drawing?",
        ),
        Mistake(
            "the normed stream goes on",
            lambda x, weights: (
                _norm(x, weights, 1)
                + attention(_norm(x, weights, 1), weights)
                + mlp(_norm(_norm(x, weights, 1) + attention(_norm(x, weights, 1), weights), weights, 2), weights)
            ),
            "You add to the normed stream. The norm belongs to what attention reads, not to the stream.",
            "Next: does your code overwrite x with its norm?",
        ),
        Mistake(
            "the MLP first",
            lambda x, weights: (
                x
                + mlp(_norm(x, weights, 2), weights)
                + attention(_norm(x + mlp(_norm(x, weights, 2), weights), weights, 1), weights)
            ),
            "Your MLP comes before attention. In GPT-2 a layer begins with attention.",
            "Next: which half comes first in the drawing?",
        ),
    ],
    hints=[
        "Two sums. Each is the stream plus what one half writes, and the half reads the stream through its own norm.",
        'weights["norm_1_weight"] and weights["norm_1_bias"] go into `layer_norm`, its result and weights into '
        "`attention`.",
        "x = x + attention of the first norm of x\nx = x + mlp of the second norm of x\nresult = x",
    ],
    first_step="Write the first line: x plus attention of the normed x.",
    accepted=[_block_with_names, _block_with_torch, _block_in_double],
)

# -- 01.7 gpt --------------------------------------------------------------------------------------------------------


def _model_case(batch: int, n: int, layers: int, d_model: int, dtype: torch.dtype = torch.float32) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        blocks = [block_weights(10 * seed + at, d_model, 2, 3, 7, dtype) for at in range(layers)]
        return on(device, some_tokens(seed, batch, n, 9), model_weights(10 * seed, 9, 8, d_model, dtype), blocks)

    return make


def _read_out(x: Tensor, weights: Weights) -> Tensor:
    return layer_norm(x, weights["norm_weight"], weights["norm_bias"]) @ weights["W_U"]


def _stream(tokens: Tensor, weights: Weights, blocks: Any) -> Tensor:
    x = embed(tokens, weights["W_E"], weights["W_pos"])
    for each in blocks:
        x = block(x, each)
    return x


def _gpt_with_reduce(tokens: Tensor, weights: Weights, blocks: Any) -> Tensor:
    from functools import reduce

    x = reduce(block, blocks, embed(tokens, weights["W_E"], weights["W_pos"]))
    return torch.einsum("bpm,mv->bpv", layer_norm(x, weights["norm_weight"], weights["norm_bias"]), weights["W_U"])


def _gpt_with_torch(tokens: Tensor, weights: Weights, blocks: Any) -> Tensor:
    x = _embed_with_one_hot(tokens, weights["W_E"], weights["W_pos"])
    for each in blocks:
        x = _block_with_torch(x, each)
    return F.linear(_norm_with_var(x, weights["norm_weight"], weights["norm_bias"]), weights["W_U"].T)


def _gpt_in_double(tokens: Tensor, weights: Weights, blocks: Any) -> Tensor:
    double = {name: weight.double() for name, weight in weights.items()}
    layers = [{name: weight.double() for name, weight in each.items()} for each in blocks]
    return gpt(tokens, double, layers).to(weights["W_U"].dtype)


def _found_gpt(answer: Answer) -> Found:
    model, tokens = story()
    logits = answer(tokens, *opened(model))
    with torch.no_grad():
        theirs = model(tokens).logits
    ids = [int(i) for i in logits[0, -1].topk(8).indices]
    values = torch.stack([each[0, -1, ids].detach() for each in (logits, theirs)])
    words = ", ".join(repr(model.tokenizer.decode([i])) for i in ids[:3])
    gap = (logits - theirs).abs().max().item()
    sentence = f"With the weights of storylm, your logits are the library's to {gap:.0e}. The first three are {words}."
    return Found("the eight highest logits, yours above the library's", values, "", "token", sentence)


GPT = Exercise(
    id="01.7",
    title="Tokens in, logits out",
    points=2,
    minutes=10,
    lines=(3, 6),
    reference=gpt,
    axes=("batch", "position", "vocab"),
    cases=[
        Case("no layer at all", _model_case(1, 2, 0, 4)),
        Case("one layer, 2 texts of 4 tokens", _model_case(2, 4, 1, 5)),
        Case("three layers, 3 texts of 5 tokens", _model_case(3, 5, 3, 6)),
        Case("one token", _model_case(2, 1, 2, 5)),
        Case("float64", _model_case(2, 3, 2, 4, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the last norm is missing",
            lambda tokens, weights, blocks: _stream(tokens, weights, blocks) @ weights["W_U"],
            "Your logits are read off the bare stream. One more norm stands before W_U.",
            "Next: where do norm_weight and norm_bias appear in your code?",
        ),
        Mistake(
            "one layer alone",
            lambda tokens, weights, blocks: _read_out(_stream(tokens, weights, blocks[:1]), weights),
            "Only your first layer runs. Does a return stand inside the loop?",
            "Next: how many times should `block` run for three layers?",
        ),
        Mistake(
            "every layer reads the embedding",
            lambda tokens, weights, blocks: _read_out(_stream(tokens, weights, blocks[-1:]), weights),
            "Each of your layers begins with the embedding again, so only the last one counts.",
            "Next: what goes into `block` the second time?",
        ),
        Mistake(
            "the layers from the last to the first",
            lambda tokens, weights, blocks: _read_out(_stream(tokens, weights, blocks[::-1]), weights),
            "Your layers run from the last to the first.",
            "Next: in which order does your loop go through `blocks`?",
        ),
        Mistake(
            "the embedding turned round",
            lambda tokens, weights, blocks: (
                layer_norm(_stream(tokens, weights, blocks), weights["norm_weight"], weights["norm_bias"])
                @ weights["W_E"].T
            ),
            "You read out with W_E. In GPT-2 the two are the same numbers; here W_U is a matrix of its own.",
            "Next: which name does the last matrix have in `weights`?",
        ),
        Mistake(
            "probabilities, not logits",
            lambda tokens, weights, blocks: _read_out(_stream(tokens, weights, blocks), weights).softmax(-1),
            "You return probabilities. A model returns logits; the softmax comes when they are used.",
            "Next: which is the last operation in the drawing?",
        ),
        Mistake(
            "the last position alone",
            lambda tokens, weights, blocks: _read_out(_stream(tokens, weights, blocks), weights)[:, -1],
            "You return the logits of the last position. A model predicts at every position.",
            "Next: how many positions does the result have?",
        ),
        Mistake(
            "a norm after every layer",
            lambda tokens, weights, blocks: _normed_each(tokens, weights, blocks),
            "You use the last norm inside the loop. It comes once, after all layers.",
            "Next: which lines of your code are indented?",
        ),
    ],
    hints=[
        "You have all the parts: `embed`, `block` and `layer_norm`. A loop over the layers, then one matrix.",
        "Keep one variable x, the stream. `for each in blocks: x = block(x, each)` sends it through all layers.",
        "x = embed with W_E and W_pos\nfor each layer: x = block of x\nx = norm of x with norm_weight and norm_bias\n"
        "result = x times W_U",
    ],
    first_step="Make the stream: x = embed(tokens, ...).",
    accepted=[_gpt_with_reduce, _gpt_with_torch, _gpt_in_double],
    tolerance={"float32": (1e-4, 1e-4)},
    found=_found_gpt,
)


def _normed_each(tokens: Tensor, weights: Weights, blocks: Any) -> Tensor:
    x = embed(tokens, weights["W_E"], weights["W_pos"])
    for each in blocks:
        x = layer_norm(block(x, each), weights["norm_weight"], weights["norm_bias"])
    return (x if blocks else layer_norm(x, weights["norm_weight"], weights["norm_bias"])) @ weights["W_U"]


# -- 01.8 split_heads ------------------------------------------------------------------------------------------------


def _split_with_loops(weight: Tensor, bias: Tensor, n_heads: int) -> tuple[Tensor, Tensor]:
    d_head = weight.shape[1] // (3 * n_heads)
    W, b = [], []
    for kind in range(3):
        starts = [(kind * n_heads + head) * d_head for head in range(n_heads)]
        W.append(torch.stack([weight[:, at : at + d_head] for at in starts]))
        b.append(torch.stack([bias[at : at + d_head] for at in starts]))
    return torch.stack(W), torch.stack(b)


def _split_with_chunk(weight: Tensor, bias: Tensor, n_heads: int) -> tuple[Tensor, Tensor]:
    W = [torch.stack(each.chunk(n_heads, 1)) for each in weight.chunk(3, 1)]
    return torch.stack(W), torch.stack([torch.stack(each.chunk(n_heads)) for each in bias.chunk(3)])


def _split_in_double(weight: Tensor, bias: Tensor, n_heads: int) -> tuple[Tensor, Tensor]:
    columns = torch.arange(weight.shape[1], device=weight.device).view(3, n_heads, -1)
    return weight.double()[:, columns].movedim(0, 2).to(weight.dtype), bias[columns]


def _split_case(d_model: int, n_heads: int, d_head: int, dtype: torch.dtype = torch.float32) -> Make:
    wide = 3 * n_heads * d_head
    return lambda seed, device: on(
        device, randn(seed, d_model, wide, dtype=dtype), randn(seed + 1, wide, dtype=dtype), n_heads
    )


SPLIT_HEADS = Exercise(
    id="01.8",
    title="Open the safe",
    points=2,
    minutes=10,
    lines=(2, 5),
    reference=split_heads,
    cases=[
        Case(
            "d_model 2, two heads of width 1: columns 0 to 5",
            placed(torch.arange(6.0) + torch.tensor([[0.0], [10.0]]), torch.arange(6.0) / 10, 2),
        ),
        Case("d_model 4, 3 heads of width 2", _split_case(4, 3, 2)),
        Case("d_model 6, 2 heads of width 5", _split_case(6, 2, 5)),
        Case("one head", _split_case(5, 1, 4)),
        Case("float64", _split_case(3, 4, 2, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "head by head, not kind by kind",
            lambda weight, bias, n_heads: (
                weight.unflatten(1, (n_heads, 3, -1)).permute(2, 1, 0, 3),
                bias.unflatten(0, (n_heads, 3, -1)).transpose(0, 1),
            ),
            "You read the columns as head by head, each with its query, key and value. GPT-2 has all queries first.",
            "Next: in the first case, which columns are queries?",
        ),
        Mistake(
            "the heads are interleaved",
            lambda weight, bias, n_heads: (
                weight.unflatten(1, (3, -1, n_heads)).permute(1, 3, 0, 2),
                bias.unflatten(0, (3, -1, n_heads)).transpose(1, 2),
            ),
            "Neighbouring columns go to different heads in your answer. The columns of a head stand side by side.",
            "Next: which columns belong to head 0 of the queries if d_head is 2?",
        ),
        Mistake(
            "reshaped in one go",
            lambda weight, bias, n_heads: (
                weight.reshape(3, n_heads, weight.shape[0], -1),
                bias.reshape(3, n_heads, -1),
            ),
            "Your reshape cuts through the rows. d_model is the first axis of the weight and stays whole; split the "
            "second, then move axes.",
            "Next: which numbers stand in row 0 of the weight, and where are they in your result?",
        ),
        Mistake(
            "the bias belongs to other heads",
            lambda weight, bias, n_heads: (
                weight.unflatten(1, (3, n_heads, -1)).permute(1, 2, 0, 3),
                bias.unflatten(0, (n_heads, 3, -1)).transpose(0, 1),
            ),
            "Your matrices are right, but the bias is split in another order.",
            "Next: split the bias as you split the columns.",
        ),
        Mistake(
            "keys and queries changed places",
            lambda weight, bias, n_heads: tuple(each[[1, 0, 2]] for each in split_heads(weight, bias, n_heads)),
            "Your keys stand before the queries. The order is query, key, value.",
            "Next: which columns come first in `weight`?",
        ),
    ],
    hints=[
        "The second axis of the weight is three axes in one: kind, head, d_head, in this order.",
        "`weight.unflatten(1, (3, n_heads, -1))` has the axes d_model, kind, head, d_head; `permute` puts them in "
        "the order asked. "
        "The bias needs the first of the two steps.",
        "W = weight with its second axis split into 3, n_heads and the rest\nmove d_model to the third place\n"
        "b = bias split in the same way\nreturn W and b",
    ],
    first_step="Split the second axis of weight with unflatten and print the shape.",
    accepted=[_split_with_loops, _split_with_chunk, _split_in_double],
)

# -- 01.9 count_parameters -------------------------------------------------------------------------------------------


def _count_with_shapes(vocab: int, context: int, d_model: int, d_mlp: int, n_layers: int) -> int:
    layer: list[tuple[int, ...]] = [(d_model, 3 * d_model), (3 * d_model,), (d_model, d_model), (d_model,)]
    layer += [(d_model, d_mlp), (d_mlp,), (d_mlp, d_model), (d_model,)]
    layer += 4 * [(d_model,)]
    shapes = [(vocab, d_model), (context, d_model), *(n_layers * layer), (d_model,), (d_model,)]
    return sum(math.prod(shape) for shape in shapes)


def _count_with_library(vocab: int, context: int, d_model: int, d_mlp: int, n_layers: int) -> int:
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        config = GPT2Config(
            vocab_size=vocab,
            n_positions=context,
            n_embd=d_model,
            n_inner=d_mlp,
            n_layer=n_layers,
            n_head=1,
            bos_token_id=None,
            eos_token_id=None,
        )
        model: Any = GPT2LMHeadModel(config)
    return int(sum(each.numel() for each in model.transformer.parameters()))


def _count_in_one_line(vocab: int, context: int, d_model: int, d_mlp: int, n_layers: int) -> int:
    m = d_model
    return m * (vocab + context + 2 + n_layers * (4 * m + 9 + 2 * d_mlp)) + n_layers * d_mlp


def _sizes(vocab: int, context: int, d_model: int, d_mlp: int, n_layers: int) -> Make:
    return placed(vocab, context, d_model, d_mlp, n_layers)


def _off(change: Any) -> Answer:
    def count(vocab: int, context: int, d_model: int, d_mlp: int, n_layers: int) -> int:
        right = count_parameters(vocab, context, d_model, d_mlp, n_layers)
        return int(right + change(vocab, context, d_model, d_mlp, n_layers))

    return count


def _random_sizes(most: int, layers: int) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        generator = torch.Generator().manual_seed(seed)
        sizes = torch.randint(2, most, (4,), generator=generator).tolist()
        return (*sizes, int(torch.randint(1, layers, (), generator=generator)))

    return make


COUNT_PARAMETERS = Exercise(
    id="01.9",
    title="How many numbers?",
    points=1,
    minutes=8,
    lines=(2, 6),
    reference=count_parameters,
    cases=[
        Case("vocabulary 5, context 3, d_model 2, d_mlp 4, one layer", _sizes(5, 3, 2, 4, 1)),
        Case("no layer", _sizes(7, 4, 3, 5, 0)),
        Case("two layers", _sizes(10, 6, 4, 9, 2)),
        Case("storylm", _sizes(1041, 64, 128, 512, 4)),
        Case("GPT-2 small", _sizes(50257, 1024, 768, 3072, 12)),
        Case("any sizes", _random_sizes(50, 20)),
        Case("small sizes", _random_sizes(12, 5)),
        Case("sizes of hundreds", _random_sizes(900, 12)),
        Case("sizes of thousands, many layers", _random_sizes(9_000, 40)),
    ],
    mistakes=[
        Mistake(
            "the unembedding is counted again",
            _off(lambda v, c, m, h, n: v * m),
            "You count W_U. It is the embedding, used a second time: tied weights are stored once.",
            "Next: how many matrices are as long as the vocabulary?",
        ),
        Mistake(
            "no biases",
            _off(lambda v, c, m, h, n: -n * (4 * m + h + m + 2 * m) - m),
            "Your layers and norms have no biases. Each matrix and each norm has one.",
            "Next: W_in is [d_model, d_mlp]. How long is its bias?",
        ),
        Mistake(
            "matrices without biases",
            _off(lambda v, c, m, h, n: -n * (5 * m + h)),
            "The biases of the matrices are missing; those of the norms are there.",
            "Next: W_in is [d_model, d_mlp]. How long is its bias?",
        ),
        Mistake(
            "the norms are missing",
            _off(lambda v, c, m, h, n: -n * 4 * m - 2 * m),
            "Your count leaves out the norms: two in each layer, one at the end.",
            "Next: how many numbers does one norm have?",
        ),
        Mistake(
            "the last norm is missing",
            _off(lambda v, c, m, h, n: -2 * m),
            "One norm is missing: the last, after all layers.",
            "Next: with no layer at all, which norms are left?",
        ),
        Mistake(
            "one norm in each layer",
            _off(lambda v, c, m, h, n: -2 * m * n),
            "You count one norm in each layer. Attention has one and the MLP has one.",
            "Next: count the norms in the drawing.",
        ),
        Mistake(
            "the output matrix of attention is missing",
            _off(lambda v, c, m, h, n: -n * (m * m + m)),
            "You count W_Q, W_K and W_V. W_O is a fourth matrix of the same size.",
            "Next: which matrix sends what heads have read back to the stream?",
        ),
        Mistake(
            "the places are missing",
            _off(lambda v, c, m, h, n: -c * m),
            "The table of positions is not in your count. It is learned too.",
            "Next: how many rows does W_pos have?",
        ),
    ],
    hints=[
        "Go along the drawing and write down the shape of every tensor. Then multiply and add.",
        "All heads together, each of W_Q, W_K, W_V and W_O has d_model times d_model numbers. A norm has a weight "
        "and a bias, each of "
        "length d_model.",
        "around = (vocab + context) * d_model + one norm\nattention = 4 matrices with biases\nmlp = 2 matrices with "
        "biases\n"
        "result = around + n_layers * (attention + mlp + two norms)",
    ],
    first_step="Count the two tables, W_E and W_pos.",
    accepted=[_count_with_shapes, _count_with_library, _count_in_one_line],
)

# -- 01.16 fold_norm -------------------------------------------------------------------------------------------------


def _fold_with_loops(weight: Tensor, bias: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    rows = [weight[at] * W[at] for at in range(len(weight))]
    moved = b
    for at in range(len(bias)):
        moved = moved + bias[at] * W[at]
    return torch.stack(rows), moved


def _fold_with_einsum(weight: Tensor, bias: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.einsum("m,mo->mo", weight, W), torch.einsum("m,mo->o", bias, W) + b


def _fold_with_diag(weight: Tensor, bias: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return weight.diag() @ W, F.linear(bias, W.T, b)


def _fold_case(d_model: int, d_out: int, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(
        device,
        *(
            randn(10 * seed + at, *shape, dtype=dtype)
            for at, shape in enumerate([(d_model,), (d_model,), (d_model, d_out), (d_out,)])
        ),
    )


FOLD_NORM = Exercise(
    id="01.16",
    title="Fold the norm away",
    points=2,
    minutes=10,
    lines=(2, 3),
    reference=fold_norm,
    cases=[
        Case(
            "two numbers in, two out",
            placed(
                torch.tensor([2.0, 3.0]),
                torch.tensor([1.0, -1.0]),
                torch.tensor([[1.0, 2.0], [0.0, 4.0]]),
                torch.tensor([0.5, 0.25]),
            ),
        ),
        Case("4 in, 7 out", _fold_case(4, 7)),
        Case("7 in, 3 out", _fold_case(7, 3)),
        Case("5 in, 5 out", _fold_case(5, 5)),
        Case("one in, one out", _fold_case(1, 1)),
        Case("float64", _fold_case(6, 4, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the bias goes through the new matrix",
            lambda weight, bias, W, b: (weight[:, None] * W, bias @ (weight[:, None] * W) + b),
            "Your bias is multiplied by the weight of the norm too. The norm scales first and shifts after: its bias "
            "meets the old W.",
            "Next: in n * weight + bias, which parts does weight touch?",
        ),
        Mistake(
            "the old bias is lost",
            lambda weight, bias, W, b: (weight[:, None] * W, bias @ W),
            "Your new bias leaves out b, which was there before.",
            "Next: what should the new bias be if the norm's bias is 0?",
        ),
        Mistake(
            "the norm's bias is added as it is",
            lambda weight, bias, W, b: (
                weight[:, None] * W,
                b
                + torch.zeros_like(b).index_add(
                    0, torch.arange(min(len(b), len(bias)), device=b.device), bias[: len(b)]
                ),
            ),
            "You add the norm's bias to b. It stands before the matrix, so it has to pass through W.",
            "Next: how long is the norm's bias, and how long is b?",
        ),
        Mistake(
            "columns are scaled, not rows",
            lambda weight, bias, W, b: (weight * W, bias @ W + b),
            "You scale the columns of W. Each *input* is scaled, and inputs are rows.",
            "Next: which row of W does the first entry of n meet?",
        ),
        Mistake(
            "the bias stays as it was",
            lambda weight, bias, W, b: (weight[:, None] * W, b.clone()),
            "Your new bias is the old one. What the norm adds has to go somewhere.",
            "Next: let n be 0. What comes out of the norm, and then out of W?",
        ),
    ],
    hints=[
        "Write out (n * weight + bias) @ W + b and sort it: what is multiplied by n, and what is not?",
        "n * weight scales the inputs, so it scales the rows of W: `weight[:, None] * W`. What the bias adds does "
        "not depend on n.",
        "new W = W, each row times the weight of that input\nnew b = the norm's bias through the old W, plus b",
    ],
    first_step="Let n be all zeros, and write down what comes out.",
    accepted=[_fold_with_loops, _fold_with_einsum, _fold_with_diag],
)
