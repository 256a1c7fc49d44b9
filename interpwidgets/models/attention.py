"""Where every head of every layer looks, for one text.

from interpwidgets import load
from interpwidgets.models.attention import attention_patterns

seen = attention_patterns(load("gpt2"), "The cat sat on the mat.")
seen.tokens              # ["The", " cat", ...]
seen.patterns[5, 1]      # layer 5, head 1: [query, key]
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from interpwidgets._errors import Told
from interpwidgets.models.anatomy import Anatomy, anatomy
from interpwidgets.models.taps import Tap
from interpwidgets.models.tokens import token_strings
from interpwidgets.models.words import UnknownWordError


class PromptError(Told, ValueError):
    """A text that a model cannot be run on; the message says what was expected and what came."""


@dataclass(frozen=True)
class Attention:
    """The attention of one model on one text."""

    tokens: list[str]
    patterns: Float[Tensor, "layer head query key"]  # float32, on the processor; rows sum to one
    n_kv_heads: int  # smaller than the number of heads where several share keys and values (grouped queries)
    causal: bool  # True where a position looks only at itself and what came before
    name: str  # what the model was loaded as


def attention_patterns(
    model: Any,
    text: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    on_layer: Callable[[int, int], None] | None = None,
) -> Attention:
    """Run ``model`` on ``text`` and return the attention pattern of every head.

    Arguments:
        model: a Hugging Face transformer, such as `interpwidgets.load` returns. It is run as it is, in its own mode.
        text: one text, at least one token and at most the model's context long.
        tokenizer: the one attached as ``model.tokenizer`` unless given.
        on_layer: called as ``on_layer(done, n_layers)`` each time a layer has been computed.

    Raises `PromptError` for an empty text, several texts, a text longer than the model's context or a missing
    tokenizer, and `interpwidgets.models.anatomy.UnknownModelError` for a model without attention.
    """
    parts = anatomy(model)
    tokenizer = tokenizer if tokenizer is not None else getattr(model, "tokenizer", None)
    inputs = _inputs(parts, text, tokenizer)
    with ExitStack() as stack:
        if on_layer is not None:
            _report(parts, on_layer, stack)
        tap = stack.enter_context(Tap(model, "pattern"))
        stack.enter_context(torch.no_grad())
        model(**inputs)
    return Attention(
        tokens=token_strings(tokenizer, inputs["input_ids"][0].tolist()),
        patterns=torch.stack([tap["pattern", layer][0].float().cpu() for layer in range(parts.n_layers)]),
        n_kv_heads=parts.n_kv_heads,
        causal=parts.causal,
        name=_name(model),
    )


def _name(model: Any) -> str:
    """What people call the model: its name, the last part of its directory, or else its class."""
    name = str(model.name_or_path or type(model).__name__)
    return Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name


def _inputs(parts: Anatomy, text: Any, tokenizer: Any) -> dict[str, Tensor]:
    """The tokenized text on the model's device, or a sentence about why it cannot be run."""
    if not isinstance(text, str):
        came = f"{len(text)} of them" if isinstance(text, list | tuple) else type(text).__name__
        raise PromptError(f"expected one text (a str), but got {came}; call once for each text.")
    if tokenizer is None:
        raise PromptError(
            "this model has no tokenizer attached; pass one: tokenizer=AutoTokenizer.from_pretrained(...)."
        )
    if not text.strip():
        raise PromptError("the text is empty; type at least one word.")
    try:
        inputs = tokenizer(text, return_tensors="pt", verbose=False)
    except UnknownWordError as error:
        raise PromptError(str(error)) from None
    n_tokens = inputs["input_ids"].shape[1]
    if n_tokens == 0:
        raise PromptError(f"the tokenizer makes no tokens of {text!r}; type at least one word.")
    if parts.max_context is not None and n_tokens > parts.max_context:
        raise PromptError(f"the text is {n_tokens} tokens long, but this model's context holds {parts.max_context}.")
    device = next(parts.model.parameters()).device
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _report(parts: Anatomy, on_layer: Callable[[int, int], None], stack: ExitStack) -> None:
    for done, block in enumerate(parts.blocks, start=1):
        hook = block.register_forward_hook(lambda *_, done=done: on_layer(done, parts.n_layers))
        stack.callback(hook.remove)
