"""Does a row of the table describe the model? Everything that has to be equal, and how far apart it is.

    from interpwidgets.models.families import FAMILIES
    from interpwidgets.models.identities import identities

    FAMILIES["stablelm"] = FAMILIES["llama"]
    identities(model, input_ids=torch.tensor([[5, 3, 8, 1]]))
    # {"embed": 0.0, "resid_pre": 0.0, "q": 2.4e-07, ..., "logits": 0.0}: the row is right

Each site is compared with what it has to be by other sites and by the weights of `interpwidgets.models.anatomy`: the
stream with the sum of what was added, z with the pattern times the values, queries with ``x @ W_Q + b_Q`` (at the first
position, where no rotation acts), and so on. In float32 an error above 1e-5 of the size of the numbers means that the
row, or the family, is something else.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interpwidgets.models.anatomy import Anatomy, Norm, anatomy
from interpwidgets.models.taps import Tap

Pair = tuple[str, Tensor, Tensor]  # a site, what it holds, what it has to hold


@torch.no_grad()
def identities(model: Any, **inputs: Tensor) -> dict[str, float]:
    """The largest absolute error of every site of ``model`` when run on ``inputs``, such as ``input_ids=ids``.

    Give two texts or more, without padding. A model should be in float32 and in evaluation mode. What cannot be checked
    by weights is left out: the activation of an MLP (mlp_post) shows in what the MLP writes. Raises
    `interpwidgets.models.anatomy.UnknownModelError` for a model whose family has no row.
    """
    parts = anatomy(model)
    plain = model(**inputs)
    projected: dict[int, Tensor] = {}
    hooks = [
        block.get_submodule(parts.family.W_O).register_forward_hook(
            lambda _, __, out, layer=layer: projected.update({layer: out.clone()})
        )
        for layer, block in enumerate(parts.blocks)
    ]
    try:
        with Tap(model, parts.sites) as tap:
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    errors = dict.fromkeys(("embed", *parts.sites), 0.0)
    pairs = [pair for layer in range(parts.n_layers) for pair in _of_a_layer(parts, tap, layer, projected[layer])]
    for site, found, expected in [*pairs, *_of_the_ends(parts, tap, plain)]:
        errors[site] = max(errors[site], float((found.float() - expected.float()).abs().max()))
    return errors


def _of_the_ends(parts: Anatomy, tap: Tap, plain: Any) -> Iterator[Pair]:
    yield "embed", tap["embed"], tap["resid_pre", 0]
    norm = parts.final_norm()
    if "final_norm" in parts.sites and norm is not None:
        yield "final_norm", tap["final_norm"], _through(norm, tap["resid_post", -1])
    if "logits" in parts.sites:
        yield "logits", tap["logits"], plain.logits


def _of_a_layer(parts: Anatomy, tap: Tap, layer: int, projected: Tensor) -> Iterator[Pair]:
    pre, post = tap["resid_pre", layer], tap["resid_post", layer]
    if layer:
        yield "resid_pre", pre, tap["resid_post", layer - 1]
    yield from _of_attention(parts, tap, layer)
    written = tap["result", layer].sum(-2) + parts.b_O(layer)
    yield "result", written, projected.reshape(written.shape)
    yield "attn_out", tap["attn_out", layer], _through(parts.norm_after(layer, "attn_out"), written)
    mid = _through(parts.norm_in_stream(layer, "attn_out"), pre + tap["attn_out", layer])
    if "resid_mid" in parts.sites:
        yield "resid_mid", tap["resid_mid", layer], mid
        mid = tap["resid_mid", layer]
    if "mlp_out" not in parts.sites:
        yield "resid_post", post, mid
        return
    yield "resid_post", post, _through(parts.norm_in_stream(layer, "mlp_out"), mid + tap["mlp_out", layer])
    x = _through(parts.norm(layer, "mlp"), pre if parts.family.parallel else mid)
    W, b = (parts.W_gate, parts.b_gate) if parts.gated else (parts.W_in, parts.b_in)
    yield "mlp_pre", tap["mlp_pre", layer], x @ W(layer) + b(layer)
    written = tap["mlp_post", layer] @ parts.W_out(layer) + parts.b_out(layer)
    yield "mlp_out", tap["mlp_out", layer], _through(parts.norm_after(layer, "mlp_out"), written)


def _of_attention(parts: Anatomy, tap: Tap, layer: int) -> Iterator[Pair]:
    x = _through(parts.norm(layer, "attention"), tap["resid_pre", layer])[:, :1]
    for site, W, b in (("q", parts.W_Q, parts.b_Q), ("k", parts.W_K, parts.b_K), ("v", parts.W_V, parts.b_V)):
        seen = tap[site, layer][:, :1]
        made = torch.einsum("btd,hde->bthe", x, W(layer)) + b(layer)
        if site != "v" and parts.family.qk_norms:
            norm = parts.blocks[layer].get_submodule(parts.family.qk_norms["qk".index(site)])
            made = _heads_through(norm, made[:, :, :: parts.n_heads // seen.shape[2]])
        made = made * parts.d_head**-0.5 if site == "q" and parts.family.scaled_queries else made
        yield site, seen.repeat_interleave(made.shape[2] // seen.shape[2], 2), made
    pattern, v = tap["pattern", layer], tap["v", layer].transpose(1, 2)
    yield "pattern", pattern.sum(-1), torch.ones_like(pattern[..., 0])
    z = pattern.to(v.dtype) @ v.repeat_interleave(parts.n_heads // v.shape[1], 1)
    yield "z", tap["z", layer], z.transpose(1, 2)


def _through(norm: Norm | None, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
    return x if norm is None else norm.center(x) / norm.scale(x)[..., None] * norm.weight + norm.bias


def _heads_through(norm: nn.Module, x: Float[Tensor, "*lead head d_head"]) -> Float[Tensor, "*lead head d_head"]:
    """A norm of queries or keys: one for each head, or one for all of them side by side (OLMo 2)."""
    width: Any = norm.weight
    out: Tensor = norm(x) if len(width) == x.shape[-1] else norm(x.flatten(-2)).reshape(x.shape)
    return out
