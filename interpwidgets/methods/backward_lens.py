"""What a model would learn from one text, in tokens: the backward lens.

    from interpwidgets.methods.backward_lens import backward_lens, gradient_factors

    lens = backward_lens(model, tokens, target)         # what if `target` had been the next token?
    lens.shift.top_tokens[layer, 0, position]           # what the MLP would say more loudly from now on ...
    lens.imprint.top_tokens[layer, 0, position]         # ... when it reads what stands here
    lens.shift_strength[:, 0]                           # [layer, position]: where most of the change would happen

The gradient of a matrix, for a text of T tokens, is a sum of T matrices of rank one: what came in at a position, going
forward, and the gradient of what went out there, going backward::

    y_i = x_i @ W          gradient of W  =  sum over i of  x_i ⊗ d_i          d_i: gradient of the loss for y_i

So it has rank T at most, and each d_i and x_i that is as long as the residual stream can be read in tokens. One step of
gradient descent takes some of it away from W:

    W_out gets  - x_i ⊗ d_i     the neurons that fired at i write more of -d_i into the stream: the *shift*
    W_in  gets  - x_i ⊗ d_i     neurons react more, or less, to what reads like x_i: the *imprint*

Source: Katz et al. 2024, "Backward Lens: Projecting Language Model Gradients into the Vocabulary Space", sections 4
(gradients as sums over tokens) and 5 (imprint and shift).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpwidgets.methods.lens import last_norm
from interpwidgets.methods.projections import Said, say
from interpwidgets.methods.runs import expect_runnable
from interpwidgets.models.anatomy import Anatomy, anatomy

Matrix = Literal["W_in", "W_gate", "W_out"]
Loss = Callable[[Float[Tensor, "batch position vocab"]], Float[Tensor, ""]]


@dataclass(frozen=True, eq=False)
class GradientFactors:
    """The gradient of one matrix, position by position: what came in, and the gradient of what went out."""

    x: Float[Tensor, "batch position inputs"]
    d: Float[Tensor, "batch position outputs"]

    @property
    def gradient(self) -> Float[Tensor, "inputs outputs"]:
        """The gradient of the matrix, laid out as in ``x @ W``; its rank is that of the number of positions at most."""
        return torch.einsum("bpi,bpo->io", self.x, self.d)

    @property
    def strength(self) -> Float[Tensor, "batch position"]:
        """The Frobenius norm of each position's share of the gradient."""
        strength: Tensor = self.x.norm(dim=-1) * self.d.norm(dim=-1)
        return strength


@dataclass(frozen=True, eq=False)
class BackwardLens:
    """What one step of gradient descent would teach the MLPs: tokens are [layer, batch, position, k].

    ``shift``: what W_out would write more of (top) and less of (bottom), where the neurons fire as they did at this
    position. ``imprint``: what stood at this position when W_in learned to react to it. The strengths are the sizes of
    the two changes, for a step of length 1. All numbers are for one text each, whatever else is in the batch.
    """

    shift: Said
    shift_strength: Float[Tensor, "layer batch position"]
    imprint: Said
    imprint_strength: Float[Tensor, "layer batch position"]


def backward_lens(
    model: Any, tokens: Int[Tensor, "batch position"], target: Int[Tensor, " batch"], k: int = 5
) -> BackwardLens:
    """Read the gradients that the MLPs of ``model`` get if ``target`` is what comes after ``tokens``.

    Arguments:
        model: a Hugging Face language model with MLPs and a norm before its unembedding (GPT-2, Llama, Gemma 2), in
            evaluation mode. Its weights and their gradients stay as they are.
        tokens: ids of texts of one length, without padding.
        target: the token after each text; the loss is its cross-entropy at the last position.
        k: how many tokens to keep at each end.

    The gradient has no length in units of logits, so the numbers of the tokens mean something only beside each other.
    In a gated MLP W_in is the branch without activation; its gate reads the same. In Gemma 2 the weight of the norm
    after the MLP is taken in. Raises `ValueError` for a model without MLPs or last norm, or in training mode, and for
    tokens, targets and a k that cannot be.

    Source: Katz et al. 2024.
    """
    last_norm(model)
    parts = anatomy(model)
    n_tokens = parts.W_U().shape[1]
    if (
        target.shape != tokens.shape[:1]
        or target.is_floating_point()
        or not (target >= 0).logical_and(target < n_tokens).all()
    ):
        raise ValueError(
            f"target has to be one token id for each text, {list(tokens.shape[:1])} whole numbers from 0 to "
            f"{n_tokens - 1}; it is {target.dtype} of shape {list(target.shape)}, with values from "
            f"{target.min().item() if target.numel() else '-'} to {target.max().item() if target.numel() else '-'}."
        )
    factors = gradient_factors(model, tokens, lambda logits: cross_entropy(logits[:, -1], target, reduction="sum"))
    shifts, imprints = ([factors[name, layer] for layer in range(parts.n_layers)] for name in ("W_out", "W_in"))
    afters = [parts.norm_after(layer, "mlp_out") for layer in range(parts.n_layers)]
    written = [-of.d if after is None else -of.d * after.weight for of, after in zip(shifts, afters, strict=True)]
    return BackwardLens(
        say(model, torch.stack(written), k),
        torch.stack([of.strength for of in shifts]),
        say(model, torch.stack([of.x for of in imprints]), k),
        torch.stack([of.strength for of in imprints]),
    )


def gradient_factors(
    model: Any, tokens: Int[Tensor, "batch position"], loss: Loss, matrices: tuple[Matrix, ...] = ("W_in", "W_out")
) -> dict[tuple[str, int], GradientFactors]:
    """The gradients of the MLPs' matrices in all layers as factors, from one run forward and one backward.

    ``loss`` turns the logits [batch, position, vocab] into one number. ``matrices``: which of W_in, W_gate and W_out.
    Returns ``{(matrix, layer): factors}``; keeps no gradient in the model. Raises as `backward_lens` does, and for a
    loss that is not one number. Source: Katz et al. 2024.
    """
    parts = anatomy(model)
    modules: dict[tuple[str, int], nn.Module] = {
        (name, layer): _module(parts, name, layer) for layer in range(parts.n_layers) for name in matrices
    }
    expect_runnable(parts, tokens)
    with torch.enable_grad(), _kept(modules) as kept:
        value: Any = loss(model(tokens).logits)
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
            raise ValueError(f"the loss has to be one number; it is something of {came}.")
        found = torch.autograd.grad(value.reshape(()), [out for _, out in kept.values()], allow_unused=True)
    factors = {}
    for ((name, layer), (x, out)), d in zip(kept.items(), found, strict=True):
        d = parts.half(name, torch.zeros_like(out) if d is None else d)
        x, d = (each.reshape(*tokens.shape, -1) for each in (x.detach(), d))  # OPT has texts and positions in one axis
        factors[name, layer] = GradientFactors(x, d)
    return factors


def _module(parts: Anatomy, name: Matrix, layer: int) -> nn.Module:
    getattr(parts, name)(layer)  # says what is missing where it is
    return parts.blocks[layer].get_submodule(parts.family.mlp[name])


@contextmanager
def _kept(modules: dict[tuple[str, int], nn.Module]) -> Iterator[dict[tuple[str, int], tuple[Tensor, Tensor]]]:
    """What enters and what leaves each module while the context is open; what leaves has a gradient in any case."""
    kept: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def keep(spot: tuple[str, int]) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            kept[spot] = args[0], out if out.requires_grad else out.requires_grad_()

        return hook

    hooks = [module.register_forward_hook(keep(spot)) for spot, module in modules.items()]
    try:
        yield kept
    finally:
        for each in hooks:
            each.remove()
