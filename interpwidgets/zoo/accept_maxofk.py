"""What the model of Max-of-4 has to be able to do: every one of the 16,777,216 inputs is tried.

That takes seconds because of what the model is. Its logits at the last position, times the sum of the exponentials of
the scores, are a sum of four rows of tables, one for each position; which logit is the largest does not depend on that
sum. So a row of the input costs three additions, and no softmax.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interpwidgets.data.maxofk import N_NUMBERS, K
from interpwidgets.models.taps import Tap
from interpwidgets.zoo.spec import Measured


def accept_maxofk(model: Any) -> dict[str, Measured]:
    """Right on all inputs but one in a thousand, by attention that looks at the largest number."""
    wrong = sum(int((~right_for(model, last)).sum()) for last in range(N_NUMBERS))
    rows = torch.randint(0, N_NUMBERS, (20_000, K), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(rows)
    seen = rows.gather(1, tap["pattern"][0, :, 0, -1].argmax(1, keepdim=True))[:, 0]
    first, second = torch.linalg.svdvals(_scores_of_pairs(model))[:2].tolist()
    return {
        "accuracy on all inputs": Measured(1 - wrong / N_NUMBERS**K, at_least=0.999),
        "inputs answered wrongly": Measured(float(wrong)),
        "most attention on the largest number": Measured((seen == rows.amax(1)).float().mean().item(), at_least=0.95),
        "first singular value of the scores over the second": Measured(first / second, at_least=10),
    }


def right_for(model: Any, last: int) -> Bool[Tensor, "first second third"]:
    """Whether the model is right on each input that ends with the number ``last``."""
    first, second, third, fourth = (table.T.contiguous() for table in _tables(model, last))  # [logit, number]
    numbers = torch.arange(N_NUMBERS)
    pairs = (first[:, :, None] + second[:, None, :]).flatten(1)  # [logit, first * second]
    larger = torch.maximum(numbers[:, None], numbers[None, :]).flatten()
    right = torch.empty(N_NUMBERS, N_NUMBERS**2, dtype=torch.bool)
    for number in range(N_NUMBERS):
        logits = pairs + (third[:, number] + fourth[:, last])[:, None]
        best = logits.amax(0)
        right[number] = logits.gather(0, larger.clamp(min=max(number, last))[None])[0] >= best
    return right.view(N_NUMBERS, N_NUMBERS, N_NUMBERS).permute(1, 2, 0)


@torch.no_grad()
def _tables(model: Any, last: int) -> list[Float[Tensor, "number logit"]]:
    """For each position, what a number there adds to the logits times the sum of the exponentials of the scores."""
    attention, unembed = model.model.layers[0].attention, model.unembed
    query = _seen(model, K - 1)[last]
    direct = unembed(query)
    scores = [_scores(attention, query, _seen(model, position)) for position in range(K)]
    top = max(float(each.max()) for each in scores)
    tables = []
    for position, each in enumerate(scores):
        copied = unembed(attention.o(attention.v(_seen(model, position))))
        tables.append((each - top).exp()[:, None] * (copied + direct))
    return tables


@torch.no_grad()
def _scores_of_pairs(model: Any) -> Float[Tensor, "query key"]:
    """The scores at the last position of each number there for each number elsewhere, without what softmax removes."""
    attention = model.model.layers[0].attention
    keys = torch.stack([_seen(model, position) for position in range(K)]).mean(0)
    scores = torch.stack([_scores(attention, query, keys) for query in _seen(model, K - 1)])
    return scores - scores.mean(1, keepdim=True)


def _scores(attention: Any, query: Tensor, seen: Tensor) -> Float[Tensor, " number"]:
    scores: Tensor = attention.k(seen) @ attention.q(query) * attention.config.d_head**-0.5
    return scores


def _seen(model: Any, position: int) -> Float[Tensor, "number d_model"]:
    """The residual stream before the layer, for each number at ``position``."""
    stream: Tensor = model.model.embed.weight + model.model.positions.weight[position]
    return stream
