"""Where every head of every layer looks, for one text.

from interpwidgets import load
from interpwidgets.models.attention import attention_patterns, kept_attention

seen = attention_patterns(load("gpt2"), "The cat sat on the mat.")
seen.tokens              # ["The", " cat", ...]
seen.patterns[5, 1]      # layer 5, head 1: [query, key]

kept = kept_attention(load("gpt2"), a_long_text)
kept.patterns[5].rows(slice(1000, 1010), head=1)    # ten rows of the same head: computed now, [1, query, key]

Patterns of T tokens take layers x heads x T x T numbers: 10 GB for GPT-2 and T=2048. `kept_attention` keeps what they
are made of instead, the queries and keys that each layer's attention function received and how its mask is made, and
calls the family's own function again for the rows that somebody looks at. What it keeps grows with T, not with T x T.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedTokenizerBase
from transformers.cache_utils import Cache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from interpwidgets._errors import Told
from interpwidgets.models.anatomy import Anatomy, anatomy, eager_attention_of
from interpwidgets.models.tap_attention import registered
from interpwidgets.models.taps import Tap
from interpwidgets.models.tokens import token_strings
from interpwidgets.models.words import UnknownWordError

BAND_CELLS = 4_000_000
"""Cells of patterns that are computed at a time: 16 MB in float32, and a few times that on the way."""


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


@dataclass(frozen=True)
class KeptAttention:
    """The same with patterns that are computed when they are looked at: one `KeptLayer` for each layer, or, where a
    model computes patterns inside its attention (GPT-J, Bloom), one `KeptCall`.
    """

    tokens: list[str]
    patterns: "list[KeptLayer | KeptCall]"
    n_kv_heads: int
    causal: bool
    name: str


def attention_patterns(
    model: Any,
    text: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    on_layer: Callable[[int, int], None] | None = None,
) -> Attention:
    """Run ``model`` on ``text`` and return the attention pattern of every head.

    Arguments:
        model: a Hugging Face transformer, such as `interpwidgets.load` returns.
        text: one text, at least one token and at most the model's context long.
        tokenizer: the one attached as ``model.tokenizer`` unless given.
        on_layer: called as ``on_layer(done, n_layers)`` each time a layer has been computed.

    Raises `PromptError` for an empty text, several texts, a text longer than the model's context, a missing tokenizer,
    a model of images, or one in training mode whose dropout would tear holes into the patterns, and
    `interpwidgets.models.anatomy.UnknownModelError` for a model without attention.
    """
    parts, tokenizer, inputs = _prepared(model, text, tokenizer)
    tap = Tap(model, "pattern")
    _forward(parts, inputs, on_layer, tap)
    return Attention(
        tokens=token_strings(tokenizer, inputs["input_ids"][0].tolist()),
        patterns=torch.stack([tap["pattern", layer][0].float().cpu() for layer in range(parts.n_layers)]),
        n_kv_heads=parts.n_kv_heads,
        causal=parts.causal,
        name=model_name(model),
    )


def kept_attention(
    model: Any,
    text: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    on_layer: Callable[[int, int], None] | None = None,
) -> KeptAttention:
    """Run ``model`` on ``text`` and keep what its patterns are made of; arguments and errors of `attention_patterns`.

    The run computes the family's plain ("eager") attention, a band of rows at a time, so memory grows with the length
    of the text and not with its square; a family that computes patterns inside its attention (GPT-J, Bloom) does that
    here, too, a layer at a time. Also raises `PromptError` while a `Tap` is open at the model's attention.
    """
    parts, tokenizer, inputs = _prepared(model, text, tokenizer)
    Tap(model, "pattern")  # says so where there is no attention
    layers: dict[nn.Module, Any] = {}
    keeping = _keeping if registered(parts) else _keeping_calls
    _forward(parts, inputs, on_layer, keeping(parts, layers))
    return KeptAttention(
        tokens=token_strings(tokenizer, inputs["input_ids"][0].tolist()),
        patterns=[layers[module] for module in parts.attentions],
        n_kv_heads=parts.n_kv_heads,
        causal=parts.causal,
        name=model_name(model),
    )


def cells_of(model: Any, text: str, tokenizer: PreTrainedTokenizerBase | None = None) -> int:
    """How many numbers the patterns of ``model`` on ``text`` are; raises what `attention_patterns` raises."""
    parts, _, inputs = _prepared(model, text, tokenizer)
    return int(parts.n_layers * parts.n_heads * inputs["input_ids"].shape[1] ** 2)


# -- one layer, computed again --------------------------------------------------------------------------------


class KeptLayer:
    """The patterns of one layer, made anew from what its attention function received whenever rows are asked for."""

    def __init__(
        self,
        module: nn.Module,
        query: Float[Tensor, "1 head query d_head"],
        key: Float[Tensor, "1 kv_head key d_head"],
        mask: "Tensor | _Mask | None",
        kwargs: dict[str, Any],
    ) -> None:
        attend = eager_attention_of(module)
        assert attend is not None
        self._attend, self._module = attend, module
        self._query, self._key, self._mask, self._kwargs = query, key, mask, kwargs

    @property
    def shape(self) -> tuple[int, int, int]:
        """head, query, key"""
        return self._query.shape[1], self._query.shape[2], self._key.shape[2]

    def rows(self, rows: slice, head: int | None = None) -> NDArray[np.float32]:
        """[head, query, key]: these rows of every head, or of one head alone (then the first axis is 1 long)."""
        n_heads, n_queries, n_keys = self.shape
        shared = n_heads // self._key.shape[1]
        group = None if head is None else head // shared  # heads that share a key come together
        start, stop, _ = rows.indices(n_queries)
        with torch.no_grad():
            nothing = self._key[..., :0]  # values are mixed by the pattern; they do not make it
            _, pattern, first = self._band(start, stop, nothing, group)
        pattern = pattern[0] if head is None else pattern[0, head % shared][None]
        full = np.zeros((len(pattern), stop - start, n_keys), np.float32)
        full[..., first : first + pattern.shape[-1]] = pattern.float().cpu().numpy()
        return full

    def attend(self, value: Float[Tensor, "1 kv_head key d_head"]) -> Float[Tensor, "1 query head d_head"]:
        """What the layer's attention gives, band by band."""
        n_heads, n_queries, n_keys = self.shape
        band = max(1, BAND_CELLS // (n_heads * n_keys))
        starts = reversed(range(0, n_queries, band))  # the widest band first: the others then fit into its memory
        parts = [self._band(start, min(n_queries, start + band), value)[0] for start in starts]
        return torch.cat(parts[::-1], dim=1)

    def _band(self, start: int, stop: int, value: Tensor, group: int | None = None) -> tuple[Tensor, Tensor, int]:
        """z and pattern of some rows, the pattern from the first key on that any of them may see; and that key."""
        mask = self._mask.rows(start, stop) if isinstance(self._mask, _Mask) else self._mask
        if isinstance(self._mask, Tensor):
            mask = self._mask[:, :, start:stop]
        seen = slice(0, self.shape[2])
        if mask is not None:
            open_keys = (mask > torch.finfo(mask.dtype).min / 2).flatten(0, 2).any(0).nonzero()
            if len(open_keys):
                seen = slice(int(open_keys[0]), int(open_keys[-1]) + 1)
            mask = mask[..., seen]
        groups = slice(None) if group is None else slice(group, group + 1)
        shared = self.shape[0] // self._key.shape[1]
        heads = slice(None) if group is None else slice(group * shared, (group + 1) * shared)
        query, key, value = self._query[:, heads, start:stop], self._key[:, groups, seen], value[:, groups, seen]
        z, pattern = self._attend(self._module, query, key, value, mask, **self._kwargs)
        return z, pattern, seen.start


class KeptCall:
    """The patterns of one layer that computes them itself: what it was called with, to call it again.

    All rows of the layer are computed for any of them, and ``last`` holds those of the layer that was asked last.
    """

    def __init__(
        self, parts: Anatomy, layer: int, args: tuple[Any, ...], kwargs: dict[str, Any], last: dict[int, Tensor]
    ) -> None:
        no_cache = {name: None if isinstance(value, Cache) else value for name, value in kwargs.items()}
        self._parts, self._layer, self._args, self._kwargs, self._last = parts, layer, args, no_cache, last
        n = (args[0] if args else kwargs["hidden_states"]).shape[1]
        self.shape = parts.n_heads, n, n  # head, query, key

    def rows(self, rows: slice, head: int | None = None) -> NDArray[np.float32]:
        """[head, query, key]: these rows of every head, or of one head alone (then the first axis is 1 long)."""
        heads = slice(None) if head is None else slice(head, head + 1)
        return self._pattern()[heads, rows].float().cpu().numpy()

    def _pattern(self) -> Float[Tensor, "head query key"]:
        if self._layer not in self._last:
            with torch.no_grad(), Tap(self._parts.model, ("pattern", self._layer)) as tap:
                self._parts.attentions[self._layer](*self._args, **self._kwargs)
            self._last.clear()
            self._last[self._layer] = tap["pattern", self._layer][0]
        return self._last[self._layer]


class _Mask:
    """How a mask is made, in place of the T x T numbers that it would be."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self._recipe = recipe

    def rows(self, start: int, stop: int) -> Float[Tensor, "1 1 query key"] | None:
        """The family's plain mask for the queries from ``start`` to ``stop``."""
        recipe = {**self._recipe, "q_length": stop - start, "q_offset": self._recipe.get("q_offset", 0) + start}
        made: Tensor | None = ALL_MASK_ATTENTION_FUNCTIONS["eager"](**recipe)
        return made


_NAME = "interpwidgets_kept"
_KEPT: ContextVar[dict[nn.Module, Any]] = ContextVar("kept layers")


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention as the library calls it, q, k, v: [batch, head, position, d_head]: keep q and k, go on with z."""
    layer = _KEPT.get()[module] = KeptLayer(module, query, key, attention_mask, kwargs)
    return layer.attend(value), None


def _mask(**recipe: Any) -> _Mask:
    return _Mask(recipe)


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)


@contextmanager
def _keeping(parts: Anatomy, layers: dict[nn.Module, KeptLayer]) -> Iterator[None]:
    """While this holds, attention of the model goes through `_attention`."""
    configs: list[Any] = list({id(module.config): module.config for module in parts.attentions}.values())
    own = [config._attn_implementation for config in configs]
    if any(str(name).startswith("interpwidgets_") for name in own):
        raise PromptError(
            "this text is so long that its patterns are computed row by row, past the Tap that is open on the model; "
            "close the Tap, or take a shorter text."
        )
    token = _KEPT.set(layers)
    for config in configs:
        config._attn_implementation = _NAME
    try:
        yield
    finally:
        for config, name in zip(configs, own, strict=True):
            config._attn_implementation = name
        _KEPT.reset(token)


@contextmanager
def _keeping_calls(parts: Anatomy, layers: dict[nn.Module, KeptCall]) -> Iterator[None]:
    """While this holds, what the attention of each layer is called with is kept."""
    token = _KEPT.set(layers)  # so that runs of other threads are not
    last: dict[int, Tensor] = {}
    with ExitStack() as stack:
        stack.callback(_KEPT.reset, token)
        for layer, module in enumerate(parts.attentions):

            def keep(module: nn.Module, args: Any, kwargs: Any, layer: int = layer) -> None:
                if _KEPT.get(None) is layers:
                    layers[module] = KeptCall(parts, layer, args, kwargs, last)

            stack.callback(module.register_forward_pre_hook(keep, with_kwargs=True).remove)
        yield


# -- the run --------------------------------------------------------------------------------------------------


def expect_no_dropout(model: nn.Module) -> None:
    """Raise `PromptError` for a model in training mode whose dropout leaves out some of what it computes."""
    if any(module.training and _drops(module) for module in model.modules()):
        raise PromptError(
            "the model is in training mode, where dropout makes every run another and rows of patterns do not sum to "
            "one; call model.eval() first."
        )


def _drops(module: nn.Module) -> bool:
    said = [module.p] if isinstance(module, nn.Dropout) else []
    said += [value for name, value in vars(module).items() if "drop" in name and isinstance(value, float)]
    return any(rate > 0 for rate in said)


def _prepared(model: Any, text: Any, tokenizer: Any) -> tuple[Anatomy, Any, dict[str, Tensor]]:
    parts = anatomy(model)
    expect_no_dropout(model)
    if parts.family.embed is None:
        raise PromptError(
            f"{type(model).__name__} reads images, not text; show it one: AttentionHeads.from_image(model, image)."
        )
    tokenizer = tokenizer if tokenizer is not None else getattr(model, "tokenizer", None)
    return parts, tokenizer, prompt_inputs(parts, text, tokenizer)


def _forward(parts: Anatomy, inputs: dict[str, Tensor], on_layer: Callable[[int, int], None] | None, seen: Any) -> None:
    """Run the model within the context ``seen``."""
    model: Any = parts.model
    with ExitStack() as stack:
        if on_layer is not None:
            _report(parts, on_layer, stack)
        stack.enter_context(seen)
        stack.enter_context(torch.no_grad())
        model(**inputs)


def model_name(model: Any) -> str:
    """What people call the model: its name, the last part of its directory, or else its class."""
    name = str(model.name_or_path or type(model).__name__)
    return Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name


def prompt_inputs(parts: Anatomy, text: Any, tokenizer: Any) -> dict[str, Tensor]:
    """The tokenized text on the model's device, or a sentence about why it cannot be run."""
    return text_inputs(text, tokenizer, parts.max_context, next(parts.model.parameters()).device)


def text_inputs(text: Any, tokenizer: Any, max_context: int | None, device: torch.device) -> dict[str, Tensor]:
    """The tokenized text, at most ``max_context`` tokens long, or `PromptError`."""
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
    if max_context is not None and n_tokens > max_context:
        raise PromptError(f"the text is {n_tokens} tokens long, but this model's context holds {max_context}.")
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _report(parts: Anatomy, on_layer: Callable[[int, int], None], stack: ExitStack) -> None:
    for done, block in enumerate(parts.blocks, start=1):
        hook = block.register_forward_hook(lambda *_, done=done: on_layer(done, parts.n_layers))
        stack.callback(hook.remove)
