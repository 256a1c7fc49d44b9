"""Take one head out and see what the model can no longer do.

    from interpwidgets import Tap
    from interpwidgets.methods.ablation import mean_ablate

    with Tap(model, edits={("z", 0): lambda z: mean_ablate(z, head=1)}):
        model(tokens)

``z`` is what a head has gathered, before its W_O: replacing it removes the head and leaves the rest of the model alone.
"""

from jaxtyping import Float
from torch import Tensor


def zero_ablate(z: Float[Tensor, "batch query head d_head"], head: int) -> Float[Tensor, "batch query head d_head"]:
    """A copy of ``z`` in which ``head`` is 0 everywhere.

    Later layers may never have met a zero there; `mean_ablate` stays closer to what they know.
    """
    z = z.clone()
    z[:, :, head] = 0
    return z


def mean_ablate(z: Float[Tensor, "batch query head d_head"], head: int) -> Float[Tensor, "batch query head d_head"]:
    """A copy of ``z`` in which ``head`` is its own mean over the batch and the queries: the same vector everywhere.

    What the head writes on average stays; what depends on the input or on the position is gone.

    Source: Wang et al. 2022, "Interpretability in the Wild", section 2: mean ablation, here over positions as well.
    """
    z = z.clone()
    z[:, :, head] = z[:, :, head].mean((0, 1))
    return z
