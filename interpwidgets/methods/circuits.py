"""What the weights alone say: does a head copy, and does one head read what another writes?

    from interpwidgets.methods.circuits import composition_score, copying_score

    copying_score(W_E, W_V, W_O, W_U)       # near 1: seeing a token raises the logit of that token
    composition_score(W_OV, W_KQ)           # [first head, second head]: K-composition

Weights multiply from the right, ``x @ W``, so a product reads in the order in which things happen.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import eigvals, matrix_norm


def copying_score(
    W_E: Float[Tensor, "vocab d_model"],
    W_V: Float[Tensor, "d_model d_head"],
    W_O: Float[Tensor, "d_head d_model"],
    W_U: Float[Tensor, "d_model vocab"],
) -> Float[Tensor, ""]:
    """How far a head copies: the sum of the eigenvalues of its full OV circuit over the sum of their magnitudes.

    The circuit W_E W_V W_O W_U is [vocab, vocab]: how much attention to one token raises the logit of another. Positive
    eigenvalues are groups of tokens that raise their own logits: 1 is a copying head, -1 one that suppresses what it
    sees, and chance lies around 0. The circuit has rank d_head, and W_O W_U W_E W_V, a matrix of that size, has the
    same eigenvalues other than 0. A head that writes nothing scores 0. float32 or float64.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", summarizing OV/QK matrices.
    """
    eigenvalues = eigvals((W_O @ W_U) @ (W_E @ W_V))
    magnitude = eigenvalues.abs().sum()
    score: Tensor = eigenvalues.real.sum() / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny)
    return score


def composition_score(
    W_A: Float[Tensor, "a d_model d_model"], W_B: Float[Tensor, "b d_model d_model"]
) -> Float[Tensor, "a b"]:
    """How much of what A writes B reads: |W_A W_B| / (|W_A| |W_B|), in Frobenius norms, for every pair of heads.

    For K-composition W_A is the OV matrix of the first head, W_V W_O, and W_B the QK matrix of the second as seen from
    its keys, W_K W_Q^T. Between 0 and 1; heads with random weights are not at 0, so compare with such a baseline.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", two-layer models: K-composition.
    """
    product = W_A[:, None] @ W_B[None, :]  # [a, b, d_model, d_model]
    size = matrix_norm(W_A)[:, None] * matrix_norm(W_B)[None, :]
    score: Tensor = matrix_norm(product) / size
    return score
