"""Ask LXT how the relevance of a logit is shared out among the parts that the last residual stream is the sum of.

Relevance that is handed back through a norm by the identity rule, and through sums by the epsilon rule, is direct logit
attribution with the norm frozen. The rules are those of `lxt.explicit`; `lxt.efficient` of the 2.1 release, which
patches whole models, does not import beside current versions of transformers and torchvision.
"""

from pathlib import Path
from typing import Any

import lxt.explicit.functional as lf
import torch
from asking import Answers, answer, hf_model
from torch import Tensor

EPSILON = 1e-12  # their stabiliser; at its default of 1e-6 it moves shares by 1e-4


def ask(folder: Path, inputs: Answers) -> Answers:
    model = hf_model(folder)
    parts = [part.requires_grad_() for part in components(model, inputs["tokens"])]
    right, wrong = (relevance(model, parts, inputs[name].item()) for name in ("right", "wrong"))
    return {"direct/component": (right - wrong).sum(-1)}


def relevance(model: Any, parts: list[Tensor], token: int) -> Tensor:
    """What each part has to do with the logit of ``token``: [part, batch, position, d_model]."""
    stream = parts[0]
    for part in parts[1:]:
        stream = lf.add2(stream, part, epsilon=EPSILON)
    logit = unembed(model, stream)[..., token]  # [batch, position]
    return torch.stack(torch.autograd.grad(logit, parts, logit.detach()))


def components(model: Any, tokens: Tensor) -> list[Tensor]:
    """What is added up to the last residual stream: embeddings, then attention and MLP of every layer."""
    base, kept = model.base_model, []
    blocks = base.h if hasattr(base, "h") else base.layers
    hooks = [blocks[0].register_forward_pre_hook(lambda _, args: kept.append(args[0]))]
    for block in blocks:
        for part in (block.attn if hasattr(block, "attn") else block.self_attn, block.mlp):
            hooks.append(
                part.register_forward_hook(lambda _, args, out: kept.append(out[0] if isinstance(out, tuple) else out))
            )
    with torch.no_grad():
        model(tokens)
    for hook in hooks:
        hook.remove()
    return [part.detach() for part in kept]


def unembed(model: Any, stream: Tensor) -> Tensor:
    """Logits by LXT's rules: the last norm, then the unembedding."""
    if hasattr(model.base_model, "ln_f"):
        norm = model.base_model.ln_f
        normed = lf.layer_norm_grad_fn.apply(stream, norm.weight, norm.bias, norm.eps, EPSILON)
    else:
        norm = model.base_model.norm
        normed = lf.rms_norm_identity(stream, norm.weight, norm.variance_epsilon)
    return lf.linear_epsilon(normed, model.lm_head.weight, None, EPSILON)


if __name__ == "__main__":
    answer("lxt", ("gpt2", "llama"), ask)
