"""From logits to text: temperature, top-k, top-p, and a cache that saves what was computed before.

    from interpwidgets.methods.sampling import keep_top_p, next_probabilities

    logits = model(tokens).logits[:, -1]                                 # [batch, vocab]
    chances = next_probabilities(keep_top_p(logits, 0.9), temperature=0.8)
    torch.multinomial(chances, 1)                                        # [batch, 1]: the next token

`keep_top_k` and `keep_top_p` set the logits of what is not to be drawn to minus infinity, so they combine in any order.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def next_probabilities(logits: Float[Tensor, "*batch vocab"], temperature: float) -> Float[Tensor, "*batch vocab"]:
    """The softmax of the logits over ``temperature``: sharper below 1, flatter above; it has to be above 0.

    Source: Ackley et al. 1985, "A Learning Algorithm for Boltzmann Machines".
    """
    return (logits / temperature).softmax(-1)


def keep_top_k(logits: Float[Tensor, "*batch vocab"], k: int) -> Float[Tensor, "*batch vocab"]:
    """The ``k`` highest logits as they are, all others minus infinity; equals of the lowest kept stay too.

    Source: Fan et al. 2018, "Hierarchical Neural Story Generation".
    """
    lowest = logits.topk(k).values[..., -1:]
    return logits.masked_fill(logits < lowest, -torch.inf)


def keep_top_p(logits: Float[Tensor, "*batch vocab"], p: float) -> Float[Tensor, "*batch vocab"]:
    """The fewest most probable tokens that reach ``p`` together; the logits of all others become minus infinity.

    The most probable token always stays.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration": nucleus sampling.
    """
    probs, order = logits.softmax(-1).sort(-1, descending=True)
    before = probs.cumsum(-1) - probs  # what the more probable tokens have together
    enough = (before >= p).gather(-1, order.argsort(-1))  # back in the order of the vocabulary
    return logits.masked_fill(enough, -torch.inf)


def attention_with_cache(
    q: Float[Tensor, "batch new head d_head"],
    k: Float[Tensor, "batch new head d_head"],
    v: Float[Tensor, "batch new head d_head"],
    past_k: Float[Tensor, "batch past head d_head"],
    past_v: Float[Tensor, "batch past head d_head"],
) -> tuple[
    Float[Tensor, "batch new head d_head"],
    Float[Tensor, "batch key head d_head"],
    Float[Tensor, "batch key head d_head"],
]:
    """What heads read at the ``new`` last positions of a text, and all its keys and values, the past ones first.

    Every new position sees all the past, the new positions before it and itself. ``past`` may be 0.

    Source: Vaswani et al. 2017, "Attention Is All You Need", whose decoder never changes earlier keys and values.
    """
    k, v = torch.cat([past_k, k], 1), torch.cat([past_v, v], 1)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(past_k.shape[1] + 1)
    pattern = scores.masked_fill(later, -torch.inf).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", pattern, v), k, v
