"""Does a row of the table describe the model? Everything that has to be equal, and how far apart it is.

    from interpwidgets.models.families import FAMILIES
    from interpwidgets.models.identities import identities

    FAMILIES["stablelm"] = FAMILIES["llama"]
    identities(model, input_ids=torch.tensor([[5, 3, 8, 1]]))
    # {"embed": 0.0, "resid_pre": 0.0, "q": 2.4e-07, ..., "logits": 0.0}: the row is right

Each site is compared with what it has to be by other sites and by the weights of `interpwidgets.models.anatomy`: the
stream with the sum of what was added, z with the pattern times the values, queries with ``x @ W_Q + b_Q`` (at the first
position, where no rotation acts), the logits with ``final_norm @ W_U + b_U``, and so on. In float32 an error above 1e-5
of the size of the numbers means that the row, or the family, is something else.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from interpwidgets.models.anatomy import Anatomy, MissingPartError, Norm, anatomy
from interpwidgets.models.taps import Tap

Pair = tuple[str, Tensor, Tensor]  # a site, what it holds, what it has to hold


@torch.no_grad()
def identities(model: Any, part: str | None = None, **inputs: Tensor) -> dict[str, float]:
    """The largest absolute error of every site of ``model`` when run on ``inputs``, such as ``input_ids=ids``.

    ``part`` is needed where a model is made of several; each is checked with the one that it stands on. Give two texts
    or more, without padding. A model should be in float32 and in evaluation mode. The activation of an MLP (mlp_post)
    is compared with what a hook sees that enters its last matrix. Raises
    `interpwidgets.models.anatomy.UnknownModelError` for a model whose family has no row.
    """
    parts = anatomy(model, part)
    plain = model(**inputs)
    projected: dict[int, Tensor] = {}
    activated: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for layer, block in enumerate(parts.blocks):
            hook = block.get_submodule(parts.family.W_O).register_forward_hook(
                lambda _, __, out, layer=layer: projected.update({layer: out.clone()})
            )
            stack.callback(hook.remove)
            if parts.has("mlp_post", layer):
                hook = block.get_submodule(parts.family.mlp["W_out"]).register_forward_pre_hook(
                    lambda _, args, layer=layer: activated.update({layer: args[0].clone()})
                )
                stack.callback(hook.remove)
        tap = stack.enter_context(Tap(model, parts.sites, part=part))
        below = stack.enter_context(_below(model, part))
        model(**inputs)
    errors = dict.fromkeys(parts.sites, 0.0)
    pairs = [
        each for layer in range(parts.n_layers) for each in _of_a_layer(parts, tap, below, layer, projected[layer])
    ]
    pairs += [("mlp_post", tap["mlp_post", layer].reshape(seen.shape), seen) for layer, seen in activated.items()]
    for site, found, expected in [*pairs, *_of_the_ends(parts, tap, plain)]:
        errors[site] = max(errors[site], float((found.float() - expected.float()).abs().max()))
    return errors


def _below(model: Any, part: str | None) -> Tap:
    """What a part of a model stands on: the MLP of a decoder on its cross attention, and that on the encoder."""
    if part == "cross":
        return Tap(
            model, ["final_norm"] if anatomy(model, "encoder").final_norm() else [("resid_post", -1)], part="encoder"
        )
    return Tap(model, "resid_post", part="cross") if part == "decoder" else Tap(model, part=part)


def _of_the_ends(parts: Anatomy, tap: Tap, plain: Any) -> Iterator[Pair]:
    if "embed" in parts.sites:
        yield "embed", tap["embed"], tap["resid_pre", 0]
    norm = parts.final_norm()
    if "final_norm" in parts.sites and norm is not None:
        normed = _through(norm, tap["resid_post", -1])
        yield "final_norm", tap["final_norm"], normed if tap["final_norm"].dim() == 3 else normed[:, 0]  # CLIP's images
    if "logits" in parts.sites:
        yield "logits", tap["logits"], plain.logits
    model: Any = parts.model
    if {"logits", "final_norm"} <= {*parts.sites} and model.get_output_embeddings() is not None:
        yield "logits", tap["logits"], _unembedded(parts, tap["final_norm"])


def _unembedded(parts: Anatomy, x: Float[Tensor, "batch position d_model"]) -> Float[Tensor, "batch position vocab"]:
    """What W_U makes of the last norm, bounded where the configuration says so; scaled logits show up as an error."""
    model: Any = parts.model
    try:
        made = x @ parts.W_U() + parts.b_U()
    except MissingPartError:
        made = x @ model.get_output_embeddings().weight.T
    cap = getattr(model.config, "final_logit_softcapping", None)
    return made if cap is None else cap * (made / cap).tanh()


def _of_a_layer(parts: Anatomy, tap: Tap, below: Tap, layer: int, projected: Tensor) -> Iterator[Pair]:
    pre, post = tap["resid_pre", layer], tap["resid_post", layer]
    if layer and not parts.family.cross:
        yield "resid_pre", pre, tap["resid_post", layer - 1]
    if parts.family.states is not None:
        yield from _of_a_state_space(parts, tap, layer, projected)
        return
    yield from _of_attention(parts, tap, below, layer)
    written = tap["result", layer].sum(-2) + parts.b_O(layer)
    yield "result", written, projected.reshape(written.shape)
    yield "attn_out", tap["attn_out", layer], _through(parts.norm_after(layer, "attn_out"), written)
    mid = _through(parts.norm_in_stream(layer, "attn_out"), pre + tap["attn_out", layer])
    if "resid_mid" in parts.sites:
        yield "resid_mid", tap["resid_mid", layer], mid
        mid = tap["resid_mid", layer]
    mid = below["resid_post", layer] if parts.part == "decoder" else mid
    if "mlp_out" not in parts.sites:
        yield "resid_post", post, mid
        return
    yield "resid_post", post, _through(parts.norm_in_stream(layer, "mlp_out"), mid + tap["mlp_out", layer])
    x = _through(parts.norm(layer, "mlp"), pre if parts.family.parallel else mid)
    if parts.has("router", layer):
        yield from _of_experts(parts, tap, layer, x)
        return
    W, b = (parts.W_gate, parts.b_gate) if parts.gated else (parts.W_in, parts.b_in)
    yield "mlp_pre", tap["mlp_pre", layer], x @ W(layer) + b(layer)
    written = tap["mlp_post", layer] @ parts.W_out(layer) + parts.b_out(layer)
    yield "mlp_out", tap["mlp_out", layer], _through(parts.norm_after(layer, "mlp_out"), written)


def _of_attention(parts: Anatomy, tap: Tap, below: Tap, layer: int) -> Iterator[Pair]:
    x = _through(parts.norm(layer, "attention"), tap["resid_pre", layer])[:, :1]
    read = x
    if parts.family.cross:
        read = below["final_norm" if below.anatomy.final_norm() else ("resid_post", -1)][:, :1]
    for site, source, W, b in (
        ("q", x, parts.W_Q, parts.b_Q),
        ("k", read, parts.W_K, parts.b_K),
        ("v", read, parts.W_V, parts.b_V),
    ):
        seen = tap[site, layer][:, :1]
        made = torch.einsum("btd,hde->bthe", source, W(layer)) + b(layer)
        if site != "v" and parts.family.qk_norms:
            norm = parts.blocks[layer].get_submodule(parts.family.qk_norms["qk".index(site)])
            made = _heads_through(norm, made[:, :, :: parts.n_heads // seen.shape[2]])
        made = made * parts.d_head**-0.5 if site == "q" and parts.family.scaled_queries else made
        made = made if site == "v" else made * _rope_scale(parts)
        yield site, seen.repeat_interleave(made.shape[2] // seen.shape[2], 2), made
    pattern, v = tap["pattern", layer], tap["v", layer].transpose(1, 2)
    yield "pattern", pattern.sum(-1), 1 - _in_the_sinks(parts, tap, layer)
    z = pattern.to(v.dtype) @ v.repeat_interleave(parts.n_heads // v.shape[1], 1)
    yield "z", tap["z", layer], z.transpose(1, 2)


def _rope_scale(parts: Anatomy) -> float:
    """What a rotation multiplies by where it does not turn: some stretched ones (YaRN) make queries and keys longer."""
    scale: float = getattr(getattr(parts.root, "rotary_emb", None), "attention_scaling", 1.0)
    return scale


def _in_the_sinks(parts: Anatomy, tap: Tap, layer: int) -> Float[Tensor, "batch head query"]:
    """What a row gives to no key, told by what it gives to its own position: their scores differ, not their softmax."""
    own = tap["pattern", layer].diagonal(dim1=-2, dim2=-1) if parts.family.sinks else tap["pattern", layer][..., 0]
    sinks = parts.sinks(layer)
    if sinks is None:
        return torch.zeros_like(own)
    q, k = tap["q", layer], tap["k", layer].repeat_interleave(parts.n_heads // parts.n_kv_heads, 2)
    scores = (q * k).sum(-1).transpose(1, 2) * parts.d_head**-0.5
    given: Tensor = own * (sinks[:, None] - scores).exp()
    return given


def _of_experts(parts: Anatomy, tap: Tap, layer: int, x: Float[Tensor, "batch position d_model"]) -> Iterator[Pair]:
    path = parts.family.router or ""
    router: Any = parts.blocks[layer].get_submodule(path)
    linear = getattr(router, "classifier", router)  # Switch has a layer for it
    yield "router", tap["router", layer], functional.linear(x, linear.weight, getattr(linear, "bias", None))
    routing, chosen = tap["routing", layer], tap["routing", layer] != 0
    logits = tap["router", layer]
    shares = logits.softmax(-1) * chosen  # among all experts, or among those that are asked: families differ
    among = logits.masked_fill(~chosen, -torch.inf).softmax(-1) * chosen
    yield "routing", routing, min(shares, among, key=lambda each: float((routing - each).abs().nan_to_num(9).max()))
    experts: Any = parts.blocks[layer].get_submodule(path.rpartition(".")[0] + ".experts")
    flat, total = x.flatten(0, 1), torch.zeros_like(x)
    for expert in range(routing.shape[-1]):
        asked = torch.full((len(flat), 1), expert, device=x.device)
        asked = asked if linear is router else functional.one_hot(asked, routing.shape[-1])
        said = experts(flat, asked, torch.ones(len(flat), 1, dtype=x.dtype, device=x.device))
        total = total + routing[..., expert, None] * said.reshape(x.shape)
    yield "mlp_out", tap["mlp_out", layer], _through(parts.norm_after(layer, "mlp_out"), total)


def _of_a_state_space(parts: Anatomy, tap: Tap, layer: int, projected: Tensor) -> Iterator[Pair]:
    mixer: Any = parts.blocks[layer].get_submodule(parts.family.states or "")
    site = {each: tap[each, layer] for each in parts.sites if parts.has(each, layer)}
    inner, gate = mixer.in_proj(_through(parts.norm(layer, "attention"), site["resid_pre"])).chunk(2, -1)
    yield "gate", site["gate"], gate
    convolved = mixer.conv1d(inner.transpose(1, 2))[..., : inner.shape[1]]
    yield "conv", site["conv"], functional.silu(convolved).transpose(1, 2)
    n = mixer.ssm_state_size
    low, B, C = mixer.x_proj(site["conv"]).tensor_split([-2 * n, -n], -1)
    yield "B", site["B"], B
    yield "C", site["C"], C
    yield "delta", site["delta"], functional.softplus(mixer.dt_proj(low))
    delta, state = site["delta"][..., None], site["state"]
    before = functional.pad(state, (0, 0, 0, 0, 1, 0))[:, :-1]
    inflow = delta * site["B"][:, :, None] * site["conv"][..., None]
    yield "state", state, (delta * -mixer.A_log.exp()).exp() * before + inflow
    read = (state @ site["C"][..., None])[..., 0] + mixer.D * site["conv"]
    yield "y", site["y"], read * functional.silu(site["gate"])
    yield "mixer_out", site["mixer_out"], mixer.out_proj(site["y"])
    yield "resid_post", site["resid_post"], site["resid_pre"] + projected


def _through(norm: Norm | None, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
    return x if norm is None else norm.center(x) / norm.scale(x)[..., None] * norm.weight + norm.bias


def _heads_through(norm: nn.Module, x: Float[Tensor, "*lead head d_head"]) -> Float[Tensor, "*lead head d_head"]:
    """A norm of queries or keys: one for each head, or one for all of them side by side (OLMo 2)."""
    width: Any = norm.weight
    out: Tensor = norm(x) if len(width) == x.shape[-1] else norm(x.flatten(-2)).reshape(x.shape)
    return out
