"""Every attention head of a model on one text: all of them small, the chosen one large.

    AttentionHeads(tokens, patterns)                        # arrays of any library, [layer, head, query, key]
    heads = AttentionHeads.from_model(model, "Once upon a time")    # the prompt can be edited in the picture

    heads.layer, heads.head = 5, 1      # what is chosen, here and in the page
    heads.selected                      # its pattern, [query, key]
    heads.heads_above("induction", 0.4)
    heads.zoom = 100, 60, 32            # 32 queries from 100 on, 32 keys from 60 on; None for the whole map

    AttentionHeads.from_model(t5, "The house is small.", target="Das Haus ist klein.")    # encoder, decoder and cross
    AttentionHeads(target, patterns, key_tokens=source)             # cross attention: keys are another text
    AttentionHeads.from_image(vit, image)                           # what a patch attends to, on the picture

    AttentionHeads.compare(heads, others, mode="beside")            # or "difference": two prompts, or two models
    AttentionHeads.average(model, ["The cat sat", "A dog ran"])     # the mean over prompts of as many tokens

A long text (from some 700 tokens on for 144 heads) is not kept as patterns but as the queries and keys that make them:
the head on show is computed when it is chosen, and thumbnails come layer by layer while the notebook goes on.

What crosses to the page (frontend/src/widgets/attention_heads is the other side): the tokens, a log-coded thumbnail of
every head, the numbers of the chosen head, the scores. What people choose there are the traits ``layer``, ``head``,
``query``, ``key`` and ``locked``, and ``attention`` where there are several kinds; each can be set and observed here.
"""

import asyncio
import csv
import io
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from operator import index
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import traitlets as t
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError, read_tokens, shape_text, spelled
from interpwidgets.widgets._atlas import atlas_png
from interpwidgets.widgets._base import Array
from interpwidgets.widgets._choice import THEMES, Index, SelectionError, count, csv_cell, one_of
from interpwidgets.widgets._comparison import difference, distance, mean
from interpwidgets.widgets._heads import (
    Choice,
    crossing,
    first_choice,
    kv_heads,
    of_kind,
    own_scores,
    position,
    row_notice,
    square,
    there,
    tile_for,
    window_for,
)
from interpwidgets.widgets._patterns import Map, Patterns
from interpwidgets.widgets._picture import AXES, png, read_image, small
from interpwidgets.widgets._prompt import READY, PromptWidget, checked_prompt, error_state

KEPT_ABOVE = 64_000_000  # numbers of all patterns (256 MB) above which they are computed when they are looked at
STEP = 0.1  # seconds for which thumbnails are computed before the page is heard again

SCALES = ("linear", "row", "log")


_Wanted = tuple[int | None, int | None, int | None, int | None]  # layer, head, query, key, as far as they are named


class _Reading(NamedTuple):
    """What one kind of attention does on its text, or between two."""

    tokens: list[str]
    key_tokens: list[str] | None
    """None where queries and keys are the same text."""
    patterns: Patterns
    n_kv_heads: int
    own_scores: dict[str, NDArray[np.float32]]

    @property
    def scores(self) -> dict[str, NDArray[np.float32]]:
        return {**self.patterns.scores, **self.own_scores}


class _Other(NamedTuple):
    """The second of two that stand side by side."""

    patterns: Patterns
    heads_shared: bool
    """Whether it has as many layers and heads, so that one choice is for both."""
    cells_shared: bool
    """The same for its tokens."""


class _Run(NamedTuple):
    """What a model gave for a prompt, checked and measured: from here on nothing can fail."""

    model: str
    readings: dict[str, _Reading]


class AttentionHeads(PromptWidget):
    """Every head of every layer as a thumbnail, the chosen one large; the choice can be set and observed from Python.

    ``tokens``: one string per position. ``patterns``: numpy, torch (any device and precision), jax, anything with
    ``__array__`` or DLPack, or nested lists; [layer, head, query, key], [head, query, key] for one layer, a list of one
    array per layer (``outputs.attentions``), or [layer, 1, head, query, key]. They are not copied: do not write into
    them later. ``key_tokens``: the tokens of the keys where these are another text, as in cross attention; then the
    patterns need not be square. ``image``: the picture of which the last tokens are the patches, row by row, as
    `from_image` takes it; ``grid``: rows and columns of patches, unless they are a square of nearly as many as there
    are tokens.

    ``layer``, ``head``, ``query``, ``key``: what is chosen first; counted from 0, negative numbers from the end. By
    default the strongest induction head if its score is at least 0.2, else layer 0 head 0 (a layer alone shows the mean
    over its heads, which is head None); the last token; the key it attends to most.
    ``n_kv_heads``: how many key-value heads the heads of a layer share.
    ``scores``: your own numbers per head, ``{"name": [layer, head]}``, to sort by and to draw as bars.
    ``normalized=False`` silences the notice about rows that do not sum to one (within 0.001; half precision: 0.02).
    ``sort``: "layer" or the name of a score; ``bar``: the name of a score or "none"; ``scale``: "linear", "row" or
    "log"; ``theme``: "auto", "light" or "dark".

    Raises `InputError` (a `ValueError`) that says what was expected, what came and what to do.
    """

    _kind = t.Unicode("attention_heads").tag(sync=True)
    _work = "Computing attention"
    _as_one = frozenset(f"{side}{name}" for side in ("", "_other_") for name in ("layer", "head", "zoom")) | {
        "attention"
    }

    attention = t.Unicode("").tag(sync=True)
    tokens = t.List(t.Unicode()).tag(sync=True)
    key_tokens = t.List(t.Unicode()).tag(sync=True)
    layer = Index(0).tag(sync=True)
    head = Index(0, allow_none=True).tag(sync=True)
    query = Index(0).tag(sync=True)
    key = Index(0).tag(sync=True)
    locked = t.Bool(False).tag(sync=True)
    scale = t.Unicode("linear").tag(sync=True)
    sort = t.Unicode("layer").tag(sync=True)
    bar = t.Unicode("induction").tag(sync=True)
    theme = t.Unicode("auto").tag(sync=True)
    title = t.Unicode("Attention heads").tag(sync=True)
    caption = t.Unicode("").tag(sync=True)
    zoom = t.Any(None, allow_none=True).tag(sync=True)

    _meta = t.Dict().tag(sync=True)
    _thumbs = Array()
    _tile = t.Instance(dict, allow_none=True).tag(sync=True)
    _window = t.Instance(dict, allow_none=True).tag(sync=True)
    _score_names = t.List(t.Unicode()).tag(sync=True)
    _score_values = Array()
    _notice = t.Instance(dict, allow_none=True).tag(sync=True)

    _kinds = t.List(t.Dict()).tag(sync=True)  # where there are several kinds of attention: the state of each
    _image = t.Instance(dict, allow_none=True).tag(sync=True)  # where tokens are patches: what they are patches of

    # the second of two side by side: what it is, and what is chosen in it where that is not shared
    _other = t.Instance(dict, allow_none=True).tag(sync=True)
    _other_tile = t.Instance(dict, allow_none=True).tag(sync=True)
    _other_window = t.Instance(dict, allow_none=True).tag(sync=True)
    _other_layer = Index(0).tag(sync=True)
    _other_head = Index(0, allow_none=True).tag(sync=True)
    _other_query = Index(0).tag(sync=True)
    _other_key = Index(0).tag(sync=True)
    _other_zoom = t.Any(None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        tokens: Sequence[str],
        patterns: Any,
        *,
        key_tokens: Sequence[str] | None = None,
        image: Any = None,
        grid: tuple[int, int] | None = None,
        layer: int | None = None,
        head: int | None = None,
        query: int | None = None,
        key: int | None = None,
        n_kv_heads: int | None = None,
        scores: Mapping[str, Any] | None = None,
        normalized: bool = True,
        title: str = "Attention heads",
        caption: str = "",
        sort: str = "layer",
        bar: str = "induction",
        scale: Literal["linear", "row", "log"] = "linear",
        theme: Literal["auto", "light", "dark"] = "auto",
    ) -> None:
        tokens = read_tokens(tokens)
        keys = None if key_tokens is None else read_tokens(key_tokens)
        read = patterns if isinstance(patterns, Patterns) else Patterns.of(tokens, patterns, keys)
        groups = kv_heads(n_kv_heads, read.n_heads)
        reading = _Reading(tokens, keys, read, groups, own_scores(scores or {}, read))
        options = {"title": title, "caption": caption, "sort": sort, "bar": bar, "scale": scale, "theme": theme}
        picture = None if image is None else _picture(image, grid, reading)
        self._begin({"": reading}, "", (layer, head, query, key), normalized, _image=picture, **options)

    _png: tuple[Any, bytes | None] = (None, None)
    _beside: _Other | None = None
    _note = _name = ""
    _target: str | None = None
    _readings: dict[str, _Reading]
    _left: dict[str, Choice]  # what was chosen in a kind of attention that is not on show
    _normalized: bool

    def _begin(
        self, readings: dict[str, _Reading], kind: str, wanted: _Wanted, normalized: bool, **traits: Any
    ) -> None:
        self._readings, self._left, self._normalized = readings, {}, normalized
        choice = first_choice(readings[kind].patterns, *wanted)
        if traits["bar"] == "induction" and "induction" not in self._names():
            traits["bar"] = "none"
        self._showing = True  # there is nothing to compute for what is chosen first
        super().__init__(**{"attention": kind, **self._state(kind, choice, traits.pop("model", "")), **traits})
        self._showing = False

    @classmethod
    def from_model(
        cls, model: Any, text: str, tokenizer: Any = None, *, target: str | None = None, **options: Any
    ) -> Self:
        """The heads of ``model`` on ``text``. The prompt can be edited in the page, or here: ``heads.prompt = "..."``.

        ``model``: what `interpwidgets.load` returns, or any Hugging Face model; ``tokenizer``: by default
        ``model.tokenizer``. The options are those of `AttentionHeads`.

        An encoder-decoder shows three kinds of attention: ``heads.attention`` is "encoder", "decoder" or "cross", which
        is first; an option ``attention`` names another. ``target``: what the decoder says; by default what the model
        itself answers, at most 32 tokens.

        Raises `ValueError` for an empty text or one that is longer than the model's context, `TypeError` for a model
        without attention.
        """
        text = checked_prompt(text)
        run = _run(model, text, tokenizer, target, None)
        if len(run.readings) > 1:
            widget = cls._of_kinds(run.readings, options.pop("attention", "cross"), **options)
        else:
            [reading] = run.readings.values()
            widget = cls(reading.tokens, reading.patterns, **{"n_kv_heads": reading.n_kv_heads, **options})
        widget._model, widget._tokenizer, widget._target = model, tokenizer, target
        with widget._shown_at_once():
            widget._say(run.model)
            widget._has_model = True
            widget.prompt = text
        widget._fill()
        return widget

    @classmethod
    def encoder_decoder(
        cls, source: Sequence[str], target: Sequence[str], encoder: Any, decoder: Any, cross: Any, **options: Any
    ) -> Self:
        """The three kinds of attention of an encoder-decoder, from arrays.

        ``source``, ``target``: the tokens that encoder and decoder read. ``encoder``, ``decoder``, ``cross``: their
        patterns as `AttentionHeads` takes them, such as ``outputs.encoder_attentions``, ``outputs.decoder_attentions``
        and ``outputs.cross_attentions``; queries of ``cross`` are the target's tokens, keys the source's. The options
        are those of `AttentionHeads`, and ``attention``, which is shown first, by default "cross".
        """
        ours, theirs = read_tokens(source), read_tokens(target)
        given = {"encoder": (ours, None, encoder), "decoder": (theirs, None, decoder), "cross": (theirs, ours, cross)}
        return cls._of_kinds(_read_kinds(given), options.pop("attention", "cross"), **options)

    @classmethod
    def _of_kinds(cls, readings: dict[str, _Reading], kind: str, *, normalized: bool = True, **options: Any) -> Self:
        one_of("attention", kind, list(readings))
        wanted = tuple(options.pop(name, None) for name in ("layer", "head", "query", "key"))
        defaults = {"title": "Attention heads", "bar": "induction"}
        known = {"title", "caption", "sort", "bar", "scale", "theme"}
        for name in options:
            if name not in known:
                raise TypeError(f"{cls.__name__} of an encoder-decoder takes no option {name!r}")
        widget = cls.__new__(cls)
        widget._begin(readings, kind, wanted, normalized, **{**defaults, **options})
        return widget

    @classmethod
    def from_image(cls, model: Any, image: Any, processor: Any = None, **options: Any) -> Self:
        """The heads of a vision transformer on ``image``: what a patch attends to, on the picture itself.

        ``image``: [height, width] or [height, width, channel], whole numbers from 0 to 255 or real ones from 0 to 1 (a
        picture of Pillow is one); or what the model itself takes, ``pixel_values`` [1, channel, height, width].
        ``processor``: how the image becomes that, an image processor of the transformers library; by default it is
        resized to the model's size and normalised to -1 .. 1, as ViT wants it. The options are those of
        `AttentionHeads`; unless given, the first token is on show, which is [CLS] in most models, bars say how much
        goes to it, and colours go to the largest number of each row. Raises `ValueError`.
        """
        found = _image_attention(model, image, processor)
        fixed = {"image": found.picture, "grid": found.grid}
        widget = cls(
            found.tokens, found.patterns, **{"query": 0, "scale": "row", "bar": "first token", **options, **fixed}
        )
        widget._say(_short_name(found.name))
        return widget

    @classmethod
    def compare(
        cls,
        first: "AttentionHeads",
        second: "AttentionHeads",
        mode: Literal["beside", "difference"] = "difference",
        *,
        names: tuple[str, str] | None = None,
        **options: Any,
    ) -> Self:
        """Two widgets as one picture, such as two prompts or two models: side by side, or the first less the second.

        "beside": one choice of a head serves both if they have as many layers and heads, and one of a pair of tokens if
        they have as many tokens. "difference" needs both. Where tokens differ a position has both names, "cat/dog";
        scores are differences, and one more, "distance", says how far apart the two patterns of a head are (0 equal, 1
        no key in common). It opens on the head that differs most.

        ``names``: what the two are called; by default their models, else their prompts. The options are those of
        `AttentionHeads`. The picture stays as it is when the two change later. Raises `InputError`.
        """
        for side in (first, second):
            if not isinstance(side, AttentionHeads):
                raise InputError(
                    "Two AttentionHeads can be compared.",
                    [("expected", "AttentionHeads.compare(heads, others)"), ("got", type(side).__name__)],
                )
        one_of("mode", mode, ("beside", "difference"))
        a, b = (spelled(name) for name in names or _told_apart(first, second))
        sides = [(list(side.tokens), side._reading.key_tokens, side._finished()) for side in (first, second)]
        groups = first._reading.n_kv_heads
        if mode == "beside":
            tokens, keys, patterns = sides[0]
            widget = cls(tokens, patterns, **{"key_tokens": keys, "n_kv_heads": groups, **options})
            widget._name, widget._image = a, first._image
            widget._put_beside(second, b)
        else:
            tokens, keys, patterns = difference(*sides)
            apart = distance(patterns)
            most = np.unravel_index(int(apart.argmax()), apart.shape)
            chosen = {} if {"layer", "head"} & set(options) else {"layer": int(most[0]), "head": int(most[1])}
            if chosen and "query" not in options:
                strongest = np.abs(patterns.head(chosen["layer"], chosen["head"])).max(-1)
                chosen["query"] = int(strongest.argmax())
            fixed = {"key_tokens": keys, "n_kv_heads": groups, "normalized": False, "bar": "distance"}
            scores = {"distance": apart, **options.pop("scores", {})}
            widget = cls(tokens, patterns, **{**fixed, **chosen, **options, "scores": scores})
            widget._note = f"{a} − {b}"
            widget._image = first._image if first._image == second._image else None
        widget._say(_common_model(first, second))
        return widget

    @classmethod
    def average(cls, model: Any, prompts: Sequence[str], tokenizer: Any = None, **options: Any) -> Self:
        """The mean over ``prompts`` of every head's pattern, and of its scores; the state line says over how many.

        The prompts need as many tokens each. A position where they differ is named after all of them, "cat/dog/…".
        ``model``, ``tokenizer`` and the options are those of `from_model`. Raises `InputError`, and what that raises.
        """
        if isinstance(prompts, str) or not list(prompts):
            got = "one text" if isinstance(prompts, str) else "none"
            raise InputError("An average needs prompts.", [("expected", "a list of texts"), ("got", got)])
        if _is_encoder_decoder(model):
            raise InputError("An encoder-decoder has three kinds of attention, which from_model shows of one prompt.")
        tokens: list[list[str]] = []
        each: list[Patterns] = []
        for i, prompt in enumerate(prompts):
            found = _attention(model, checked_prompt(prompt), tokenizer, None)
            tokens.append(read_tokens(found.tokens))
            if len(tokens[i]) != len(tokens[0]):
                raise InputError(
                    f"Prompt 0 has {count(len(tokens[0]), 'token')}, prompt {i} has {len(tokens[i])}.",
                    [("expected", "as many tokens in each prompt of an average")],
                )
            each.append(_patterns(found, tokens[i]).finish())
        names, patterns = mean(tokens, each)
        widget = cls(names, patterns, **{"n_kv_heads": found.n_kv_heads, **options})
        widget._note = f"mean over {count(len(each), 'prompt')}"
        widget._say(_short_name(found.name))
        return widget

    def _say(self, model: str) -> None:
        """Say whose attention this is, and what else the state line says first."""
        said = {"model": model, **self._said()}
        self._meta = {**self._meta, **said}
        self._kinds = [{**kind, "_meta": {**kind["_meta"], **said}} for kind in self._kinds]

    def _put_beside(self, second: "AttentionHeads", name: str) -> None:
        patterns, own = second._patterns, self._patterns
        same_heads = (patterns.n_layers, patterns.n_heads) == (own.n_layers, own.n_heads)
        same_cells = (patterns.n_tokens, patterns.n_keys) == (own.n_tokens, own.n_keys)
        self._beside = _Other(patterns, same_heads, same_cells)
        layer, head = (self.layer, self.head) if same_heads else (None, None)
        choice = first_choice(patterns, layer, head, None, None)
        with self.hold_sync():
            self._other_layer, self._other_head, self._other_query, self._other_key = choice
            self._other = {
                **second._wire(second._reading),
                "_meta": {**second._meta, "name": name, "note": ""},
                "_image": second._image,
                "heads_shared": same_heads,
                "cells_shared": same_cells,
            }
            self._show_head()

    def _said(self) -> dict[str, str]:
        """Words of the page about what this is: said in the state line, and over one of two maps."""
        return {"note": self._note, "name": self._name}

    @property
    def _reading(self) -> _Reading:
        return self._readings[self.attention]

    @property
    def _patterns(self) -> Patterns:
        return self._reading.patterns

    def _names(self) -> list[str]:
        """The scores of any kind of attention."""
        return list(dict.fromkeys(name for reading in self._readings.values() for name in reading.scores))

    def _state(self, kind: str, choice: Choice, model: str) -> dict[str, Any]:
        """Every trait that depends on the patterns."""
        reading = self._readings[kind]
        patterns, several = reading.patterns, len(self._readings) > 1
        own = {
            **choice._asdict(),
            "tokens": reading.tokens,
            "key_tokens": reading.key_tokens or [],
            "_meta": self._described(reading, model),
            "_thumbs": None if several else patterns.thumbs,
            "_tile": of_kind(kind, patterns.tile(choice.layer, choice.head)),
            "_window": None,
            "zoom": None,
            "_score_names": list(reading.scores),
            "_score_values": None if several else _stacked(reading),
            "_notice": row_notice(patterns) if self._normalized else None,
            "_status": _filling(patterns),
        }
        return {**own, "_kinds": [self._kind_state(name, model) for name in self._readings]} if several else own

    def _kind_state(self, kind: str, model: str) -> dict[str, Any]:
        """What the page needs to show a kind of attention that it may turn to later, with or without a kernel."""
        reading = self._readings[kind]
        first = first_choice(reading.patterns, None, None, None, None)
        return {
            "name": kind,
            **self._wire(reading),
            "_meta": self._described(reading, model),
            "_notice": row_notice(reading.patterns) if self._normalized else None,
            "_tile": of_kind(kind, reading.patterns.tile(first.layer, first.head)),
            "choice": first._asdict(),
        }

    def _wire(self, reading: _Reading) -> dict[str, Any]:
        return {
            "tokens": reading.tokens,
            "key_tokens": reading.key_tokens or [],
            "_thumbs": crossing(reading.patterns.thumbs),
            "_score_names": list(reading.scores),
            "_score_values": crossing(_stacked(reading)),
        }

    def _described(self, reading: _Reading, model: str) -> dict[str, Any]:
        patterns = reading.patterns
        return {
            "model": model,
            "layers": patterns.n_layers,
            "heads": patterns.n_heads,
            "kv_heads": reading.n_kv_heads,
            "tokens": patterns.n_tokens,
            **({} if reading.key_tokens is None else {"keys": patterns.n_keys}),
            "causal": patterns.causal,
            "signed": patterns.signed,
            "vmax": patterns.vmax,
            "block": patterns.block,
            "tile": patterns.tile_block,
            "exact": patterns.tile_dtype,
            **self._said(),
        }

    # -- thumbnails that come one after the other -------------------------------------------------------------

    def _fill(self) -> None:
        """Compute the thumbnails that are missing: between other messages where a page waits, else at once."""
        loop = None if self._patterns.complete else _loop_of_a_page()
        if loop is None:
            self._finished()
        else:
            loop.call_soon(self._step, loop, self._patterns)

    def _step(self, loop: asyncio.AbstractEventLoop, patterns: Patterns) -> None:
        if patterns is not self._patterns or patterns.complete or self.comm is None:
            return  # another prompt, somebody who could not wait, a closed widget
        measured, end = patterns.measured, time.monotonic() + STEP
        try:
            for _ in patterns.measuring:
                if time.monotonic() >= end:
                    break
        except Exception as error:
            self._error, self._status = error_state(error), READY
            return
        if patterns.measured > measured:
            self._show_measured()
        if not patterns.complete:
            loop.call_later(0.005, self._step, loop, patterns)

    def _finished(self) -> Patterns:
        """The patterns, measured to the end."""
        if not self._patterns.complete:
            self._patterns.finish()
            self._show_measured()
        return self._patterns

    def _show_measured(self) -> None:
        patterns = self._patterns
        with self.hold_sync():
            self._meta = {**self._meta, "vmax": patterns.vmax}
            self._thumbs = patterns.thumbs
            self._score_values = _stacked(self._reading)
            self._notice = row_notice(patterns) if self._normalized and patterns.complete else None
            self._status = _filling(patterns)

    # -- what is on the screen --------------------------------------------------------------------------------

    @property
    def selected(self) -> Map:
        """The pattern on the screen, [query, key]; the mean over the heads of the layer where ``head`` is None."""
        return self._patterns.head(self.layer, self.head).copy()

    @property
    def selected_other(self) -> Map | None:
        """The second pattern where two stand side by side, [query, key]; else None."""
        return self._beside and self._beside.patterns.head(*self._other_place())

    @property
    def selected_value(self) -> float:
        """The attention from the chosen query to the chosen key."""
        return float(self._patterns.row(self.layer, self.head, self.query)[self.key])

    @property
    def scores(self) -> dict[str, NDArray[np.float32]]:
        """Name -> [layer, head]: the mean attention from a query to the keys that the name says, then your own scores.

        induction: from a repeated token to all positions right after its earlier occurrences; previous token; duplicate
        token: to all earlier occurrences; first token: from all later ones; same token: to itself. Queries that have no
        such keys do not count; where there are none at all, the score is 0 (`interpwidgets.widgets._scores`).
        """
        self._finished()
        return {name: values.copy() for name, values in self._reading.scores.items()}

    def heads_above(self, score: str, threshold: float) -> list[tuple[int, int]]:
        """The heads (layer, head) whose score is above ``threshold``, the highest first."""
        values = self.scores[one_of("score", score, self._score_names)]
        found = [(int(layer), int(head)) for layer, head in np.argwhere(values > threshold)]
        return sorted(found, key=lambda place: -values[place])

    def __repr__(self) -> str:
        patterns = self._patterns
        layers, heads = count(patterns.n_layers, "layer"), count(patterns.n_heads, "head")
        tokens = count(patterns.n_tokens, "token")
        if self._reading.key_tokens is not None:
            tokens = f"{patterns.n_tokens} × {count(patterns.n_keys, 'token')}"
        kind = f"{self.attention}: " if self.attention else ""
        chosen = f"L{self.layer} mean" if self.head is None else f"L{self.layer} H{self.head}"
        return f"{type(self).__name__}({kind}{layers} × {heads}, {tokens}, {chosen})"

    def _fallback_png(self) -> bytes | None:
        patterns = self._patterns
        if self._png[0] != (patterns, patterns.measured):
            self._png = (
                (patterns, patterns.measured),
                atlas_png(patterns.thumbs[:, :-1], patterns.causal, patterns.signed),
            )
        return self._png[1]

    # -- choosing, from here and from the page ----------------------------------------------------------------

    @t.validate("layer", "head", "query", "key")
    def _exists(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        return None if value is None else position(name, value, self._patterns)

    @t.validate("_other_layer", "_other_head", "_other_query", "_other_key")
    def _exists_beside(self, proposal: Any) -> Any:
        name, value = proposal.trait.name.removeprefix("_other_"), proposal.value
        return None if value is None or self._beside is None else position(name, value, self._beside.patterns)

    @t.validate("zoom", "_other_zoom")
    def _inside(self, proposal: Any) -> Any:
        beside = self._beside if proposal.trait.name == "_other_zoom" else None
        return square(proposal.value, beside.patterns if beside else self._patterns)

    @t.validate("attention")
    def _has_kind(self, proposal: Any) -> Any:
        if proposal.value not in self._readings and len(self._readings) == 1:
            raise SelectionError("Here is one kind of attention, without a name.", [("got", f'"{proposal.value}"')])
        return one_of("attention", proposal.value, list(self._readings))

    @t.observe("attention")
    def _kind_changed(self, change: Any) -> None:
        """Show another kind: what was chosen in it before, unless the page has chosen."""
        if self._showing:
            return
        chosen = Choice(self.layer, self.head, self.query, self.key)
        if "query" not in self._from_page:
            self._left[change["old"]] = chosen
        if "query" not in self._from_page or not there(self._patterns, chosen):
            chosen = self._left.get(self.attention) or first_choice(self._patterns, None, None, None, None)
        state = self._state(self.attention, chosen, self._meta["model"])
        with self._shown_at_once():
            for name in state.keys() - {"_kinds"}:
                setattr(self, name, state[name])

    @t.validate("sort", "bar", "scale", "theme")
    def _known(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        scores = self._names()
        known = {"sort": ["layer", *scores], "bar": [*scores, "none"], "scale": SCALES, "theme": THEMES}[name]
        return one_of(name, value, known)

    @t.validate("title", "caption")
    def _encodable(self, proposal: Any) -> Any:
        return spelled(proposal.value)

    @t.validate("tokens", "key_tokens")
    def _one_per_position(self, proposal: Any) -> Any:
        keys = proposal.trait.name == "key_tokens"
        if keys and self._reading.key_tokens is None and not proposal.value:
            return []
        tokens, n = read_tokens(proposal.value), self._patterns.n_keys if keys else self._patterns.n_tokens
        if len(tokens) != n:
            raise SelectionError(
                "One token is needed per position.", [("expected", count(n, "string")), ("got", str(len(tokens)))]
            )
        return tokens

    @t.observe("layer", "head", "zoom", "_other_layer", "_other_head", "_other_zoom")
    def _head_changed(self, _change: Any) -> None:
        if self._tile is not None and not self._showing:
            self._show_head()

    def _show_head(self) -> None:
        """Send the numbers of what is chosen, as far as they are not on the page yet."""
        place = self.layer, self.head
        self._tile = tile_for(self._patterns, place, self._tile, self.attention)
        self._window = window_for(self._patterns, place, self.zoom, self._window, self.attention)
        if self._beside:
            place, zoom = self._other_place(), self.zoom if self._beside.cells_shared else self._other_zoom
            self._other_tile = tile_for(self._beside.patterns, place, self._other_tile)
            self._other_window = window_for(self._beside.patterns, place, zoom, self._other_window)

    def _other_place(self) -> tuple[int, int | None]:
        shared = self._beside is not None and self._beside.heads_shared
        return (self.layer, self.head) if shared else (self._other_layer, self._other_head)

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        match content:
            case {"type": "row", "id": request, "layer": int(layer), "head": int() | None as head, "query": int(query)}:
                side = "other" if content.get("side") == "other" and self._beside else ""
                answer = {"type": "row", "id": request, "side": side}
                patterns = self._beside.patterns if side and self._beside else self._patterns
                try:
                    row = patterns.row(layer, head, query)
                except IndexError:  # the prompt has changed since
                    self.send({**answer, "error": "There is no such row any more."})
                else:
                    self.send(answer, buffers=[row.astype("<f4").tobytes()])
            case _:
                super()._on_message(content, buffers)

    # -- running the model ------------------------------------------------------------------------------------

    def _computed(self, prompt: str) -> _Run:
        return _run(self._model, prompt, self._tokenizer, self._target, self._on_layer)

    def _on_layer(self, done: int, n_layers: int) -> None:
        self._progress(f"{self._work} · layer {done} of {n_layers}", done / n_layers)

    def _shown(self, computed: _Run) -> dict[str, Any]:
        """Another prompt at the same head."""
        before = self._patterns
        self._readings, self._left = computed.readings, {}
        return self._state(self.attention, self._kept_choice(before), computed.model)

    def _show(self, prompt: str, computed: _Run) -> None:
        try:
            super()._show(prompt, computed)
        finally:
            self._fill()

    def _kept_choice(self, before: Patterns) -> Choice:
        """The same head; the same query and key, unless it was the last token or there is no such token any more."""
        now = self._patterns
        layer = min(self.layer, now.n_layers - 1)
        head = None if self.head is None else min(self.head, now.n_heads - 1)
        if self.query == before.n_tokens - 1 or self.query >= now.n_tokens or self.key >= now.n_keys:
            return first_choice(now, layer, head, None, None)
        return Choice(layer, head, self.query, self.key)

    @property
    def target(self) -> str | None:
        """What the decoder was asked to say, None where it answers itself; set it to run the model again."""
        return self._target

    @target.setter
    def target(self, text: str | None) -> None:
        if len(self._readings) == 1:
            raise InputError("There is no decoder that would say a target.")
        with self._at_work(self._work, shown=True):
            run = _run(self._model, self.prompt, self._tokenizer, text, None)
        self._target = text
        self._show(self.prompt, run)

    # -- to other tools ---------------------------------------------------------------------------------------

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """The chosen head as CSV, a row per query; written to ``path``, or returned where there is none.

        Tokens that a spreadsheet would take for a formula get an apostrophe in front.
        """
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        tokens = [csv_cell(token) for token in self.tokens]
        writer.writerow(["query \\ key", *map(csv_cell, self.key_tokens or self.tokens)])
        for token, row in zip(tokens, self.selected, strict=True):
            writer.writerow([token, *(f"{value:.7g}" for value in row)])
        if path is None:
            return out.getvalue()
        Path(path).write_text(out.getvalue(), encoding="utf-8", newline="")
        return None

    def to_circuitsvis(self, layer: int | None = None) -> Any:
        """The heads of one layer (by default the chosen one) as CircuitsVis shows them: `attention_patterns`.

        The result displays without network: CircuitsVis' own copy of its page code is in it. Tokens are escaped, since
        CircuitsVis takes them for HTML, and their white space is made visible. Needs the package circuitsvis.
        """
        if self._reading.key_tokens is not None:
            raise InputError(
                "CircuitsVis shows attention of a text to itself only.",
                [("expected", "as many keys as queries, of the same text"), ("got", "tokens and key_tokens")],
                "to_csv() takes the numbers elsewhere.",
            )
        from interpwidgets.widgets._circuitsvis import circuitsvis_html

        chosen = self.layer if layer is None else position("layer", layer, self._patterns)
        heads = [self._patterns.head(chosen, head) for head in range(self._patterns.n_heads)]
        return circuitsvis_html(self.tokens, np.stack(heads))


# -- the model ------------------------------------------------------------------------------------------------


def _attention(model: Any, text: str, tokenizer: Any, on_layer: Callable[[int, int], None] | None) -> Any:
    """Tokens and patterns of a model; where a model is asked, and only there, a widget needs torch."""
    from interpwidgets.models.attention import attention_patterns, cells_of, kept_attention

    long = cells_of(model, text, tokenizer) > KEPT_ABOVE
    return (kept_attention if long else attention_patterns)(model, text, tokenizer, on_layer=on_layer)


def _is_encoder_decoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def _run(
    model: Any, text: str, tokenizer: Any, target: str | None, on_layer: Callable[[int, int], None] | None
) -> _Run:
    """Everything that a prompt shows: one kind of attention, or the three of an encoder-decoder."""
    if _is_encoder_decoder(model):
        from interpwidgets.models.reported import encoder_decoder_attention

        kinds = encoder_decoder_attention(model, text, target, tokenizer)
        given = {name: (kind.tokens, kind.key_tokens, kind.patterns) for name, kind in kinds.items()}
        return _Run(_short_name(kinds["cross"].name), _read_kinds(given))
    if target is not None:
        raise InputError("This model has no decoder that would say a target.", advice="Leave target out.")
    found = _attention(model, text, tokenizer, on_layer)
    tokens = read_tokens(found.tokens)
    return _Run(_short_name(found.name), {"": _Reading(tokens, None, _patterns(found, tokens), found.n_kv_heads, {})})


def _read_kinds(given: Mapping[str, tuple[list[str], list[str] | None, Any]]) -> dict[str, _Reading]:
    found = {}
    for name, (tokens, keys, arrays) in given.items():
        tokens, keys = read_tokens(tokens), None if keys is None else read_tokens(keys)
        try:
            patterns = Patterns.of(tokens, arrays, keys)
        except InputError as error:
            raise InputError(f"{name}: {error.title}", error.rows, error.advice) from None
        found[name] = _Reading(tokens, keys, patterns, patterns.n_heads, {})
    return found


def _picture(image: Any, grid: tuple[int, int] | None, reading: _Reading) -> dict[str, Any]:
    """The image as the page reads it, checked against the number of tokens."""
    n = reading.patterns.n_tokens
    try:
        rows, columns = (index(side) for side in grid or (isqrt(n), isqrt(n)))
    except (TypeError, ValueError):
        raise InputError(
            "grid is no pair.", [("expected", "rows and columns of patches"), ("got", repr(grid))]
        ) from None
    if min(rows, columns) < 1 or rows * columns > n or reading.key_tokens is not None:
        got = f"{count(n, 'token')}" if reading.key_tokens is None else "tokens and key_tokens"
        raise InputError(
            f"{rows} × {columns} patches do not fit the tokens.",
            [("expected", "a token for each patch, the patches last"), ("got", got)],
            "Say how many rows and columns of patches there are: grid=(14, 14).",
        )
    pixels = read_image(image)
    if pixels.ndim == 4:
        raise InputError("This is no picture.", [("expected", AXES), ("got", shape_text(pixels.shape))])
    return {"png": png(small(pixels)), "rows": rows, "columns": columns}


def _image_attention(model: Any, image: Any, processor: Any) -> Any:
    from interpwidgets.models.reported import image_attention

    return image_attention(model, read_image(image), processor)


def _patterns(found: Any, tokens: list[str]) -> Patterns:
    """What a model gave: measured, or where it is to be computed later, about to be."""
    computed = isinstance(found.patterns, list) and all(hasattr(layer, "rows") for layer in found.patterns)
    return Patterns(tokens, found.patterns, causal=found.causal) if computed else Patterns.of(tokens, found.patterns)


def _filling(patterns: Patterns) -> dict[str, Any]:
    """The state of the page while thumbnails come: busy, but prompts may be run."""
    if patterns.complete:
        return READY
    done, n_layers = patterns.measured, patterns.n_layers
    text = f"Computing thumbnails · layer {done} of {n_layers}" if done else "Computing thumbnails"
    return {"state": "busy", "text": text, "progress": done / n_layers, "filling": True}


def _loop_of_a_page() -> asyncio.AbstractEventLoop | None:
    """The event loop of a Jupyter kernel that somebody watches; None in scripts and in notebooks run without a page.

    Who runs a notebook without a page (nbclient, papermill) tells the kernel that nobody can answer a question.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not getattr(getattr(shell, "kernel", None), "_allow_stdin", False):
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _short_name(name: str | None) -> str:
    """What a model is called, without the folder or the account that it came from."""
    return spelled(re.split(r"[/\\]", (name or "").rstrip("/\\"))[-1])


def _told_apart(first: AttentionHeads, second: AttentionHeads) -> tuple[str, str]:
    """What to call two: by their models, prompts or titles, whichever differ."""
    for one, other in [(first._meta["model"], second._meta["model"]), (first.prompt, second.prompt),
                       (first.title, second.title)]:  # fmt: skip
        if one and other and one != other:
            same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
            return _cut(one, same), _cut(other, same)
    return "first", "second"


def _common_model(first: AttentionHeads, second: AttentionHeads) -> str:
    model: str = first._meta["model"]
    return model if model == second._meta["model"] else ""


def _cut(text: str, at: int, most: int = 40) -> str:
    """A long text cut to the words round the place where it differs."""
    start = 0 if at < most // 2 or len(text) <= most else text.rfind(" ", 0, at - most // 4) + 1
    end = start + most
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


# -- words and wires ------------------------------------------------------------------------------------------


def _stacked(reading: _Reading) -> NDArray[np.float32]:
    """[score, layer, head]"""
    scores, patterns = reading.scores, reading.patterns
    return np.stack(list(scores.values())) if scores else np.zeros((0, patterns.n_layers, patterns.n_heads), np.float32)
