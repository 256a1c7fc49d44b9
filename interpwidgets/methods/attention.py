"""What a pattern looks like in numbers: how spread out, how far back, how much on the first token, and what it moves.

    from interpwidgets import Tap, load
    from interpwidgets.methods.attention import entropy, rollout, sink_share, value_weighted_norm

    with torch.no_grad(), Tap(model, ["pattern", "v"]) as tap:
        model(tokens)
    entropy(tap["pattern"]).mean(-1)            # [layer, batch, head]: nats, 0 for a head that looks at one key
    sink_share(tap["pattern"])                  # [layer, batch, head]
    rollout(tap["pattern"])                     # [layer, batch, query, key]: back to the tokens, through all layers
    value_weighted_norm(tap["pattern", 0], tap["v", 0], anatomy(model).W_O(0))      # [batch, head, query, key]

For three heads over T tokens::

                       every query looks at    entropy    distance              sink share
    identity           itself                  0          0                     0
    uniform, causal    all tokens so far       ln(q+1)    q/2   at query q      the mean of 1/(q+1), q > 0
    sink               the first token         0          q                     1

One token leaves no choice: entropy, distance and sink share are 0, and rollout is 1. `interpwidgets.methods.induction`
has the scores that need to know which tokens are equal.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import entr


def entropy(pattern: Float[Tensor, "*lead query key"]) -> Float[Tensor, "*lead query"]:
    """How spread out the attention of each query is, in nats: 0 on one key, ln(n) evenly over n.

    ``pattern`` is attention, rows over keys summing to one; a row of zeros, such as padding leaves, has entropy 0. The
    result has its dtype.

    Source: Clark et al. 2019, "What Does BERT Look At?": focused and broad attention.
    """
    terms: Tensor = entr(pattern)  # -p ln(p), and 0 where p is 0
    return terms.sum(-1)


def distance(pattern: Float[Tensor, "*lead query key"]) -> Float[Tensor, "*lead query"]:
    """How far away each query looks, in tokens: the distance to each key, weighted by the attention to it.

    ``pattern`` is attention from the tokens of a text to the same tokens, rows summing to one; a row of zeros has
    distance 0. Keys after the query count as far as those before it. The result has the dtype of ``pattern``.

    Source: Vig and Belinkov 2019, "Analyzing the Structure of Attention in a Transformer Language Model", attention
    distance; there for causal attention, and averaged over all queries.
    """
    n_queries, n_keys = pattern.shape[-2:]
    queries, keys = (torch.arange(n, device=pattern.device) for n in (n_queries, n_keys))
    apart = (queries[:, None] - keys).abs()  # [query, key]
    return (pattern * apart.to(pattern.dtype)).sum(-1)


def sink_share(pattern: Float[Tensor, "*lead query key"]) -> Float[Tensor, "*lead"]:
    """How much of its attention a head leaves on the first token: the mean over all queries but the first.

    The first query of a causal model has nothing else to look at and does not count; with one token there is no other,
    and the share is 0. Between 0 and 1, in the dtype of ``pattern``.

    Source: Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks".
    """
    to_first = pattern[..., 1:, 0]  # [*lead, query - 1]
    return to_first.sum(-1) / max(to_first.shape[-1], 1)


def rollout(pattern: Float[Tensor, "layer *lead head query key"]) -> Float[Tensor, "layer *lead query key"]:
    """How much of each input token is in each position after every layer, if attention were all that mixes them.

    A layer is taken to keep half of what a position holds (the residual stream) and to fill the other half by the mean
    of its heads; the layers are multiplied from the first on. ``pattern`` needs all layers from the first, in order.
    Rows sum to one where those of ``pattern`` do. Identity attention stays the identity; evenly attending to all n
    tokens gives, after l layers, 0.5^l of the identity and the rest evenly.

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", attention rollout, with
    A = 0.5 W_att + 0.5 I.
    """
    itself = torch.eye(pattern.shape[-1], dtype=pattern.dtype, device=pattern.device)
    mixing = 0.5 * pattern.mean(-3) + 0.5 * itself  # [layer, *lead, query, key]
    so_far = [mixing[0]]
    for layer in mixing[1:]:
        so_far.append(layer @ so_far[-1])
    return torch.stack(so_far)


def value_weighted_norm(
    pattern: Float[Tensor, "*lead head query key"],
    v: Float[Tensor, "*lead key kv_head d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
) -> Float[Tensor, "*lead head query key"]:
    """How long the vector is that each head carries from each key to each query: ||alpha f(x)||, for one layer.

    A head that looks at a token whose value is near zero moves nothing, whatever its pattern says. f(x) is the value of
    a key, with its bias, after the W_O of the head; the bias of W_O belongs to no head and is left out.

    Arguments:
        pattern: the attention of one layer, ``tap["pattern", layer]``.
        v: the values of that layer as a tap gives them, ``tap["v", layer]``; with grouped queries there are fewer of
            them than heads, and neighbouring heads share one.
        W_O: how the heads write, `interpwidgets.models.anatomy.Anatomy.W_O`.

    The result is in the units of the residual stream. Identity attention leaves the norms of f(x) on the diagonal, even
    attention shows the norm of f(x) of each key over the number of keys. In Gemma 2 a norm follows the heads; these are
    the vectors before it.

    Source: Kobayashi et al. 2020, "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms",
    section 3.
    """
    per_head = v.repeat_interleave(W_O.shape[0] // v.shape[-2], dim=-2)  # [*lead, key, head, d_head]
    f = torch.einsum("...khe,hed->...hkd", per_head, W_O)
    norms: Tensor = torch.linalg.vector_norm(f, dim=-1)  # [*lead, head, key]
    return pattern * norms[..., None, :]
