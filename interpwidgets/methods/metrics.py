"""One number for each run: what a patched, ablated or steered model is judged by.

    from functools import partial
    from interpwidgets.methods.metrics import kl_to, log_probability, logit_difference, probability

    logits = model(tokens).logits[:, -1]                # [batch, vocabulary]
    logit_difference(logits, right=mary, wrong=john)    # [batch], logits
    probability(logits, mary)                           # [batch], 0 to 1
    log_probability(logits, mary)                       # [batch], nats, at most 0; the loss is its negative
    kl_to(logits, reference)                            # [batch], nats

    metric = partial(logit_difference, right=mary, wrong=john)      # what `patch_sweep` asks for

Everything in front of the vocabulary is kept: logits of shape [batch, position, vocabulary] give [batch, position]. The
logit difference is linear in the final residual stream but for the last norm, so it shows what pushes either way even
where the probability of both is near 0 or 1; a probability hides what a token loses as long as it has next to none
left, its logarithm does not; the KL divergence sees every token at once and no direction.

Source: Zhang & Nanda 2024, "Towards Best Practices of Activation Patching in Language Models": which of them
hides what.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Token = int | Int[Tensor, "*#batch"]


def logit_difference(logits: Float[Tensor, "*batch vocabulary"], right: Token, wrong: Token) -> Float[Tensor, "*batch"]:
    """How much higher the logit of ``right`` is than that of ``wrong``: above 0 where the model prefers ``right``.

    ``right`` and ``wrong`` are token ids: one for all, or a tensor for what stands before the vocabulary, say [batch].
    The result has the dtype of ``logits``. Raises `ValueError` for an id outside the vocabulary.

    Source: Wang et al. 2022, "Interpretability in the Wild": the logit difference.
    """
    return _pick(logits, right) - _pick(logits, wrong)


def probability(logits: Float[Tensor, "*batch vocabulary"], token: Token) -> Float[Tensor, "*batch"]:
    """The probability that the model gives to ``token``, between 0 and 1.

    ``token`` and the errors are as for `logit_difference`; the result has the dtype of ``logits``.
    """
    return log_probability(logits, token).exp()


def log_probability(logits: Float[Tensor, "*batch vocabulary"], token: Token) -> Float[Tensor, "*batch"]:
    """The logarithm of the probability that the model gives to ``token``, in nats: 0 where it is certain, else below.

    With the token that follows it is the cross-entropy with its sign turned, so higher is better. ``token`` and the
    errors are as for `logit_difference`; the result has the dtype of ``logits``.
    """
    return _pick(logits.log_softmax(-1), token)


def kl_to(
    logits: Float[Tensor, "*batch vocabulary"], reference: Float[Tensor, "*#batch vocabulary"]
) -> Float[Tensor, "*batch"]:
    """KL(reference || model) in nats: what is lost by predicting with ``logits`` where ``reference`` is the truth.

    ``reference`` are logits too, say of the unpatched run: [vocabulary] or a shape that is spread over that of
    ``logits``. The result is 0 where both predict the same and has the dtype of ``logits``. Tokens that the reference
    rules out (logit -inf) count nothing. Raises `ValueError` if the two vocabularies differ in size.
    """
    if reference.shape[-1] != logits.shape[-1]:
        raise ValueError(
            f"the reference has to have {logits.shape[-1]} logits, as the model, but it has {reference.shape[-1]}."
        )
    ours, truth = logits.log_softmax(-1), reference.log_softmax(-1)
    p = truth.exp()
    return torch.where(p > 0, p * (truth - ours), 0.0).sum(-1)


def _pick(values: Float[Tensor, "*batch vocabulary"], token: Token) -> Float[Tensor, "*batch"]:
    """The entry of ``token`` in each row."""
    ids = torch.as_tensor(token, device=values.device)
    outside = ids[(ids < 0) | (ids >= values.shape[-1])]
    if outside.numel():
        raise ValueError(f"token ids are 0 to {values.shape[-1] - 1}; there is no token {int(outside.flatten()[0])}.")
    return values.gather(-1, ids.expand(values.shape[:-1])[..., None]).squeeze(-1)
