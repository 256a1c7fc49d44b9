"""Which heads look one step back, at the same token, or at what came after it: three habits and their scores.

    from interpwidgets import Tap, load
    from interpwidgets.methods.induction import induction_score, previous_token_score

    with Tap(load("attn2l"), "pattern") as tap:
        tap.anatomy.model(tokens)                     # <s>, twelve words, the same twelve again
    previous_token_score(tap["pattern"])              # [layer, head]
    induction_score(tap["pattern"], period=12)

For the sequence <s> A B C A B C and the query at the second B::

    position          0   1   2   3   4   5   6
    token            <s>  A   B   C   A   B   C
    query                                 ^
    previous token                    x               the position before
    duplicate token           x                       where the token stood before
    induction                     x                   one step after that: what came next last time

Every score is the attention that the head gives to such keys, averaged over the queries that have any, over the whole
batch: between 0 and 1, and 0 where no query has any. On one text these are the scores that `AttentionHeads` shows.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.models.taps import Tap


def previous_token_score(pattern: Float[Tensor, "layer batch head query key"]) -> Float[Tensor, "layer head"]:
    """How much each head looks one step back: the mean attention from every query but the first to the key before it.

    ``pattern`` is attention, rows over keys summing to one; the result has its dtype, between 0 and 1.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", induction heads: the head of the
    first layer that an induction head is built on.
    """
    queries = torch.arange(1, pattern.shape[-2], device=pattern.device)
    attention = pattern[..., queries, queries - 1]  # [layer, batch, head, query]
    return attention.sum((1, 3)) / max(attention.shape[1] * attention.shape[3], 1)


def duplicate_token_score(
    pattern: Float[Tensor, "layer batch head query key"], tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, "layer head"]:
    """How much each head looks at earlier copies of the current token.

    A query takes part if its token stood earlier in the sequence; its score is the attention to all those places
    together. ``tokens`` are the ids that the pattern belongs to; the result has the dtype of ``pattern``.

    Source: Wang et al. 2022, "Interpretability in the Wild": duplicate token heads.
    """
    same = tokens[:, :, None] == tokens[:, None, :]  # [batch, query, key]
    earlier = same.tril(-1)
    n_queries = earlier.any(-1).sum()
    total = torch.einsum("lbhqk,bqk->lh", pattern, earlier.to(pattern.dtype))
    return total / n_queries.clamp(min=1)


def induction_score(pattern: Float[Tensor, "layer batch head query key"], period: int) -> Float[Tensor, "layer head"]:
    """How much each head looks at what came next last time, on <s> and a block of ``period`` words, repeated.

    From the second copy on, the token of a query stood ``period`` positions before; the key one step after that is
    where an induction head looks. With two copies of different words this is `prefix_matching_score`. With more copies
    it sees only the last of several good places: a perfect head that spreads over two of them gets a half.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", induction heads on repeated random
    sequences.
    """
    queries = torch.arange(period + 1, pattern.shape[-2], device=pattern.device)
    attention = pattern[..., queries, queries - period + 1]  # [layer, batch, head, query]
    return attention.sum((1, 3)) / max(attention.shape[1] * attention.shape[3], 1)


def prefix_matching_score(
    pattern: Float[Tensor, "layer batch head query key"], tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, "layer head"]:
    """How much each head looks one step after earlier copies of the current token, for any tokens.

    A query takes part if its token stood earlier in the sequence; its score is the attention to the keys right after
    *all* those places together. Where a token directly follows itself, that key is the query. ``tokens`` are the ids
    that the pattern belongs to; the result has the dtype of ``pattern``.

    Source: Olsson et al. 2022, "In-context Learning and Induction Heads", prefix matching.
    """
    same = tokens[:, :, None] == tokens[:, None, :]  # [batch, query, key]
    earlier = same.tril(-1)
    after = earlier.roll(1, -1)  # nothing wraps around: no query has the last key before it
    n_queries = earlier.any(-1).sum()
    total = torch.einsum("lbhqk,bqk->lh", pattern, after.to(pattern.dtype))
    return total / n_queries.clamp(min=1)


def find_induction_heads(
    model: Any, tokens: Int[Tensor, "batch position"], threshold: float = 0.4
) -> list[tuple[int, int]]:
    """The heads (layer, head) of ``model`` whose prefix-matching score on ``tokens`` is at least ``threshold``.

    The highest comes first. ``model`` is any Hugging Face model that `Tap` knows; ``tokens`` are ids that repeat, such
    as `interpwidgets.methods.in_context.repeat_tokens` makes.
    """
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    scores = prefix_matching_score(tap["pattern"].float(), tokens)
    found = [(layer, head) for layer, head in (scores >= threshold).nonzero().tolist()]
    return sorted(found, key=lambda place: -scores[place].item())
