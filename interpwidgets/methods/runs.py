"""One run of a model, judged by a metric: what ablations, gradients and attribution patching share.

    from functools import partial
    from interpwidgets.methods.metrics import logit_difference
    from interpwidgets.methods.runs import score

    metric = partial(logit_difference, right=mary, wrong=john)
    score(model, tokens, metric)                # [batch]: at the last position
    score(model, tokens, metric, at=[3, 4])     # the metric gets logits [batch, 2, vocabulary]

A metric turns logits into one number for each text, and looks at the texts one by one: row i of what it returns depends
on row i of the logits alone. `interpwidgets.methods.metrics` has some.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, int32, int64, tensor

from interpwidgets.models.anatomy import Anatomy

Metric = Callable[[Float[Tensor, "batch *at vocabulary"]], Float[Tensor, " batch"]]
At = int | Sequence[int]


def score(model: Any, tokens: Int[Tensor, "batch position"], metric: Metric, at: At = -1) -> Float[Tensor, " batch"]:
    """What ``metric`` says of the logits of ``model`` at the position or positions ``at``; other logits are not made
    where the family can leave them out.

    One position gives the metric logits [batch, vocabulary], several [batch, at, vocabulary]; negative ones count from
    the end. Raises `ValueError` for positions outside the text, a model without logits and a metric that does not
    return one number for each text.
    """
    return measured(metric, logits_at(model, tokens, positions(at, tokens.shape[1])))


def logits_at(
    model: Any, tokens: Int[Tensor, "batch position"], looks: int | list[int], **more: Any
) -> Float[Tensor, "batch *at vocabulary"]:
    """The logits at one position, [batch, vocabulary], or at some, [batch, at, vocabulary], counted from the start.

    No others are made where the family can leave them out. ``more`` is handed to the model if it knows it. Raises
    `ValueError` for a model without logits.
    """
    known = signature(model.forward).parameters
    each = [looks] if isinstance(looks, int) else looks
    wanted = {"use_cache": False, "logits_to_keep": tensor(each, device=tokens.device), **more}
    out = model(tokens, **{name: value for name, value in wanted.items() if name in known})
    if not isinstance(getattr(out, "logits", None), Tensor):
        raise ValueError(f"{type(model).__name__} has no logits for the metric; load it with its language model head.")
    logits: Tensor = out.logits if "logits_to_keep" in known else out.logits[:, each]
    return logits[:, 0] if isinstance(looks, int) else logits


def positions(at: At, n_positions: int) -> int | list[int]:
    """``at`` counted from the start. Raises `ValueError` for what is no position of the text."""
    each = list(at) if isinstance(at, Sequence) else [at]
    if not all(isinstance(position, int) for position in each):
        raise ValueError(f"`at` is a position of the text, or a list of these; it cannot be {at!r}.")
    if not each:
        raise ValueError("the metric has to look at one position at least, but `at` names none.")
    for position in each:
        if not -n_positions <= position < n_positions:
            raise ValueError(
                f"the texts have {n_positions} positions, 0 to {n_positions - 1}; the metric cannot look at {position}."
            )
    return at % n_positions if isinstance(at, int) else [position % n_positions for position in each]


def measured(metric: Metric, logits: Float[Tensor, "batch *at vocabulary"]) -> Float[Tensor, " batch"]:
    """What ``metric`` says of ``logits``. Raises `ValueError` unless that is one number for each run."""
    scores: Any = metric(logits)
    if not isinstance(scores, Tensor) or scores.shape != logits.shape[:1]:
        came = f"shape {list(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
        raise ValueError(
            f"the metric has to turn logits of shape {list(logits.shape)} into one number for each run, a tensor of "
            f"shape {[len(logits)]}; it returned something of {came}."
        )
    return scores


def expect_runnable(parts: Anatomy, tokens: Int[Tensor, "batch position"], name: str = "tokens") -> None:
    """Raise `ValueError` for a model in training mode, and for ``tokens`` that it cannot read."""
    if any(module.training for module in parts.model.modules()):
        raise ValueError(
            "the model is in training mode, where dropout makes every run another; call model.eval() first."
        )
    if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.numel() == 0:
        came = list(tokens.shape) if isinstance(tokens, Tensor) else f"of type {type(tokens).__name__}"
        raise ValueError(f"{name} have to be a tensor [batch, position], at least one of each; they are {came}.")
    model: Any = parts.model
    embedding, longest = model.get_input_embeddings().weight, parts.max_context
    n_tokens = len(embedding)
    if tokens.device != embedding.device:
        raise ValueError(f"{name} are on {tokens.device}, but the model is on {embedding.device}; move one of them.")
    if tokens.dtype not in (int32, int64) or not 0 <= tokens.min() <= tokens.max() < n_tokens:
        raise ValueError(f"{name} have to be whole numbers from 0 to {n_tokens - 1}, the ids of this vocabulary.")
    if longest is not None and tokens.shape[1] > longest:
        raise ValueError(f"the text is {tokens.shape[1]} tokens long, but this model's context holds {longest}.")


def expect_pair(parts: Anatomy, clean: Int[Tensor, "batch position"], corrupt: Int[Tensor, "batch position"]) -> None:
    """As `expect_runnable`, for two texts that have to be of one shape."""
    expect_runnable(parts, clean, "clean tokens")
    expect_runnable(parts, corrupt, "corrupt tokens")
    if clean.shape != corrupt.shape:
        raise ValueError(
            f"clean and corrupt have to be of one shape, but they are {list(clean.shape)} and {list(corrupt.shape)}."
        )
