"""What people hand to a widget, read into numpy: arrays of any library, tokens of any tokenizer.

    layers, half = read_layers(outputs.attentions)      # a tuple of [1, head, query, key] torch tensors
    tokens = read_tokens(["Once", " upon", b" a", "\\n"])

Nothing here imports torch or jax: an array is whatever has ``detach`` (torch), ``__array__`` or ``__dlpack__``. What
cannot be read raises `InputError`, whose text says what was expected, what came and what to do.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpwidgets._errors import Told

Layers = list[NDArray[Any]]
"""One array [head, query, key] per layer, in the precision that they came in: nothing is copied without need."""

EXPECTED = "[layer, head, query, key]"


class InputError(Told, ValueError):
    """What was handed in cannot be shown.

    Its text is one readable message. The parts are there for a page that sets them apart: ``title`` (one sentence),
    ``rows`` (pairs such as ``("expected", "[layer, head, 21, 21]")``) and ``advice`` (what to do).
    """

    def __init__(self, title: str, rows: Sequence[tuple[str, str]] = (), advice: str = "") -> None:
        self.title, self.rows, self.advice = title, list(rows), advice
        facts = ", ".join(f"{label} {value}" for label, value in self.rows)
        super().__init__(
            " ".join(part for part in (title, facts and facts[0].upper() + facts[1:] + ".", advice) if part)
        )


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it: ``[12, 12, 21, 21]``."""
    return f"[{', '.join(str(n) for n in shape)}]"


# -- tokens ---------------------------------------------------------------------------------------------------


def spelled(text: str) -> str:
    """The text with lone surrogates spelled out (``\\ud83d``): they cannot be encoded, and would break the wire."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def read_tokens(tokens: Any) -> list[str]:
    """One string per position.

    Takes any sequence of strings, numpy strings or bytes (read as UTF-8, what is not UTF-8 replaced). Raises
    `InputError` for a single string, for ids, for a batch and for no tokens at all.
    """
    if isinstance(tokens, str | bytes):
        raise InputError(
            "The tokens are one text.",
            [("expected", "a list with one string per position"), ("got", f"{type(tokens).__name__} {tokens[:40]!r}")],
            "Split it with the model's tokenizer, for example tokenizer.tokenize(text).",
        )
    try:
        items = list(tokens)
    except TypeError:
        raise InputError(
            "The tokens are not a list.",
            [("expected", "a list with one string per position"), ("got", type(tokens).__name__)],
        ) from None
    if not items:
        raise InputError("There are no tokens.", [("expected", "at least one string"), ("got", "an empty list")])
    return [_token(i, item) for i, item in enumerate(items)]


def _token(i: int, item: Any) -> str:
    if isinstance(item, str):
        return spelled(item)
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace")
    advice = "Convert ids to strings first: tokenizer.convert_ids_to_tokens(ids)."
    if isinstance(item, list | tuple) and item and isinstance(item[0], str | bytes):
        advice = "For the first text of a batch pass tokens[0]."
    kind = type(item).__name__
    got = f"{kind} {item!r}" if isinstance(item, int | float | np.number) else kind
    raise InputError(f"tokens[{i}] is not a string.", [("expected", "one string per position"), ("got", got)], advice)


# -- arrays ---------------------------------------------------------------------------------------------------


def to_numpy(array: Any, name: str, axes: str = EXPECTED) -> tuple[NDArray[Any], bool]:
    """An array of any library as numpy, without a copy where its memory and precision allow.

    Returns the array (real numbers, at least 16 bits when floating) and whether its numbers have half precision.
    Raises `InputError`, naming it ``name`` and the ``axes`` it should have, for what is no array of real numbers.
    """
    sample = array[0] if isinstance(array, list | tuple) and len(array) else array
    source = str(getattr(sample, "dtype", ""))
    half = any(word in source for word in ("float16", "half", "float8"))
    try:
        found = _to_numpy(array, source)
    except (TypeError, ValueError, RuntimeError, BufferError, AttributeError, NotImplementedError) as error:
        raise _unreadable(array, name, axes, str(error)) from error
    kind = found.dtype.kind
    if kind == "V" and "float" in found.dtype.name:  # bfloat16 and float8 of jax, which numpy has no arithmetic for
        return found.astype(np.float32), True
    if kind == "c":
        raise InputError(f"{name} holds complex numbers.", [("expected", "real numbers"), ("got", found.dtype.name)])
    if kind not in "fiub":
        raise _unreadable(array, name, axes, f"its items are of type {found.dtype.name}")
    return found, half


def _to_numpy(array: Any, source: str) -> NDArray[Any]:
    if isinstance(array, list | tuple):
        if any(hasattr(item, "detach") or hasattr(item, "__dlpack__") for item in array):
            return np.stack([to_numpy(item, "an item")[0] for item in array])
        return np.asarray(array)
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return np.asarray((array if _in_numpy(source) else array.float()).numpy())
    if hasattr(array, "__array__"):
        return np.asarray(array)
    if hasattr(array, "__dlpack__"):
        return np.from_dlpack(array)
    raise TypeError


def _in_numpy(torch_dtype: str) -> bool:
    return torch_dtype.removeprefix("torch.") in np.sctypeDict


def _unreadable(array: Any, name: str, axes: str, why: str) -> InputError:
    advice = ""
    if "inhomogeneous" in why:
        why, advice = "its rows have different lengths", "Nested lists must all have the same length at each level."
    elif isinstance(array, Mapping):
        advice = 'Pass the arrays themselves: outputs.attentions, or [cache["pattern", layer] for layer in ...].'
    got = f"{type(array).__name__} ({why})" if why else type(array).__name__
    title = f"{name} cannot be read as an array of numbers."
    return InputError(title, [("expected", f"an array {axes}"), ("got", got)], advice)


# -- layers ---------------------------------------------------------------------------------------------------


def read_layers(patterns: Any, square: bool = True) -> tuple[Layers, bool]:
    """Attention patterns as one array [head, query, key] per layer, and whether they have half precision.

    Takes [layer, head, query, key]; [head, query, key] (one layer); a list of one [head, query, key] or
    [1, head, query, key] per layer (``outputs.attentions`` of Hugging Face); and [layer, 1, head, query, key] (a stack
    of TransformerLens patterns). Every layer is of one shape, with at least one head, and ``square`` unless keys and
    queries are different texts; else `InputError`.
    """
    if isinstance(patterns, list | tuple) and (len(patterns) == 0 or patterns[0] is None):
        raise InputError(
            "There are no patterns.",
            [
                ("expected", f"an array {EXPECTED}"),
                ("got", f"an empty {type(patterns).__name__}" if not patterns else "None"),
            ],
            'Models of Hugging Face return them with attn_implementation="eager" and output_attentions=True.',
        )
    if isinstance(patterns, list | tuple) and all(len(getattr(item, "shape", ())) >= 3 for item in patterns):
        read = [to_numpy(item, f"patterns[{i}]") for i, item in enumerate(patterns)]
        layers, half = [_without_batch(array, "[p[0] for p in patterns]", len(read)) for array, _ in read], read[0][1]
    else:
        array, half = to_numpy(patterns, "patterns")
        layers = list(_stacked(array))
    _check_layers(layers, square)
    return layers, half


def _without_batch(array: NDArray[Any], fix: str, n_layers: int) -> NDArray[Any]:
    """[1, head, query, key] without its first axis."""
    if array.ndim == 4 and array.shape[0] == 1:
        unbatched: NDArray[Any] = array[0]
        return unbatched
    if array.ndim == 4:
        raise _batch(array.shape[0], (n_layers, *array.shape), fix)
    if array.ndim != 3:
        raise _rank(array.shape)
    return array


def _stacked(array: NDArray[Any]) -> NDArray[Any]:
    """Any accepted array as [layer, head, query, key]."""
    if 0 in array.shape:
        raise _empty(array.shape)
    if array.ndim == 3:
        return array[None]
    if array.ndim == 5 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim == 5 and array.shape[0] == 1:
        fix = "patterns[0] if the first axis is the batch, patterns[:, 0] if the second one is"
        raise _batch(array.shape[1], array.shape, fix)
    if array.ndim == 5:
        raise _batch(array.shape[1], array.shape, "patterns[:, 0]")
    if array.ndim != 4:
        raise _rank(array.shape)
    return array


def _batch(size: int, shape: Sequence[int], fix: str) -> InputError:
    return InputError(
        f"The patterns hold a batch of {size}.",
        [("expected", EXPECTED), ("got", shape_text(shape))],
        f"Choose one text: {fix}.",
    )


def _empty(shape: Sequence[int]) -> InputError:
    return InputError("The patterns are empty.", [("expected", EXPECTED), ("got", shape_text(shape))])


def _rank(shape: Sequence[int]) -> InputError:
    axes = f"{len(shape)} axis" if len(shape) == 1 else f"{len(shape)} axes"
    advice = "For a single head pass patterns[None]." if len(shape) == 2 else ""
    return InputError(f"The patterns have {axes}.", [("expected", EXPECTED), ("got", shape_text(shape))], advice)


def _check_layers(layers: Layers, square: bool) -> None:
    _, n_queries, n_keys = shape = layers[0].shape
    got = ("got", shape_text((len(layers), *shape)))
    if 0 in shape:
        raise _empty((len(layers), *shape))
    if square and n_queries != n_keys:
        raise InputError(
            f"The patterns are not square: {n_queries} queries, {n_keys} keys.",
            [("expected", EXPECTED + " with as many queries as keys"), got],
            "Run the whole text at once (use_cache=False); cross attention needs the keys as key_tokens.",
        )
    for i, layer in enumerate(layers):
        if layer.shape != shape:
            raise InputError(
                "The layers have different shapes.",
                [
                    ("expected", f"{shape_text(shape)} in every layer"),
                    ("got", f"{shape_text(layer.shape)} in layer {i}"),
                ],
                "Pass the layers that belong together.",
            )


def check_width(tokens: Sequence[str], layers: Layers, key_tokens: Sequence[str] | None = None) -> None:
    """Raise `InputError` unless there is one token for each position of the patterns, on both sides."""
    if key_tokens is not None:
        shape, needed = layers[0].shape[1:], (len(tokens), len(key_tokens))
        if shape != needed:
            raise InputError(
                f"{needed[0]} tokens and {needed[1]} key_tokens, but the patterns are {shape[0]} by {shape[1]}.",
                [
                    ("expected", f"[layer, head, {needed[0]}, {needed[1]}]"),
                    ("got", shape_text((len(layers), *layers[0].shape))),
                ],
                "Queries are the tokens, keys the key_tokens."
                + (" Here they seem to be swapped." if shape == needed[::-1] else ""),
            )
        return
    n_tokens, shape = len(tokens), layers[0].shape
    width = shape[-1]
    if n_tokens == width:
        return
    advice = "Pass the tokens of the very text that the patterns come from."
    if n_tokens == width + 1:
        special = tokens[0] if re.fullmatch(r"<.{1,20}>|\[.{1,20}\]", tokens[0]) else "a special token"
        advice = (
            f"Did the tokenizer add {special} that the patterns do not have? "
            "Drop that token, or pass the patterns with it."
        )
    elif n_tokens == width - 1:
        advice = "Did the model add a special token such as <s> that the tokens do not have? Put it in front of them."
    noun = "token" if n_tokens == 1 else "tokens"
    raise InputError(
        f"{n_tokens} {noun}, but the patterns are {width} wide.",
        [("expected", f"[layer, head, {n_tokens}, {n_tokens}]"), ("got", shape_text((len(layers), *shape)))],
        advice,
    )
