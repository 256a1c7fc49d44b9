"""Whether a model gets better as it reads: the loss at every position, and when in training that begins.

from interpwidgets.methods.in_context import in_context_score, loss_by_position, repeat_tokens

tokens = repeat_tokens(words, bos=0)                     # <s>, the words, the words again
loss = loss_by_position(model(tokens).logits, tokens)    # nats; high on the first copy, low on the second
in_context_score(loss, early=2, late=24)                 # below 0: late tokens are easier
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def repeat_tokens(words: Int[Tensor, "batch period"], bos: int, copies: int = 2) -> Int[Tensor, "batch position"]:
    """The token ``bos``, then every row of ``words`` ``copies`` times: [batch, 1 + copies * period].

    Source: Olsson et al. 2022, "In-context Learning and Induction Heads": repeated sequences of random tokens.
    """
    start = torch.full_like(words[:, :1], bos)
    return torch.cat([start] + [words] * copies, 1)


def loss_by_position(
    logits: Float[Tensor, "batch position vocab"], tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, " position-1"]:
    """The mean loss, in nats, of predicting each token but the first from those before it.

    Entry i belongs to token i + 1, which is predicted at position i. The result has the dtype of ``logits``.

    Source: Olsson et al. 2022, "In-context Learning and Induction Heads": loss as a function of token index.
    """
    log_probs = logits[:, :-1].log_softmax(-1)  # what follows the last token is not known
    loss = -log_probs.gather(-1, tokens[:, 1:, None])  # [batch, position - 1, 1]
    return loss.squeeze(-1).mean(0)


def in_context_score(loss: Float[Tensor, " position-1"], early: int, late: int) -> Float[Tensor, ""]:
    """The loss at token ``late`` minus the loss at token ``early``, in nats: below 0 where reading on helps.

    ``loss`` is what `loss_by_position` gives: entry i belongs to token i + 1. Tokens are counted from 0, so ``early``
    and ``late`` are at least 1.

    Source: Olsson et al. 2022, "In-context Learning and Induction Heads": in-context learning score, there the 500th
    and the 50th token.
    """
    return loss[late - 1] - loss[early - 1]


def phase_change(steps: Int[Tensor, " time"], scores: Float[Tensor, " time"]) -> Int[Tensor, ""]:
    """The first training step at which the score is at least half way from its first value to its highest.

    ``steps`` ascend; they need not be evenly spaced. Where the score never rises, this is the first step.
    """
    halfway = (scores[0] + scores.max()) / 2
    return steps[(scores >= halfway).int().argmax()]
