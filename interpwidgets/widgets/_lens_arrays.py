"""What people hand to a logit lens, read into numpy: top tokens of any library, named by any tokenizer.

    words = Words(tokenizer)                                # or a list of strings, or id -> string
    plane = read_plane(words, tokens, top_tokens, top_probs, entropy, kl)
    words.strings[plane.codes[0, -1, 0]]                    # the top token of the first row at the last position

Tokens cross to the page as codes: places in one list of the strings that are used anywhere, whatever the size of the
vocabulary. What cannot be read raises `InputError`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError, shape_text, spelled, to_numpy
from interpwidgets.widgets._base import to_wire
from interpwidgets.widgets._choice import count

Floats = NDArray[np.float32]
Track = tuple[Floats, Floats]  # probability and rank of one token, [row, position]

CELLS, TOP = "[row, position]", "[row, position, k]"
_ABOVE_ONE = 0.01  # what half precision may add to a probability


@dataclass(frozen=True, eq=False)
class Plane:
    """One lens on one source. Where it has nothing to say, numbers are NaN."""

    codes: NDArray[np.int64]  # [row, position, k], the most likely first: places in `Words.strings`
    probs: Floats  # [row, position, k]
    entropy: Floats | None  # [row, position], nats
    kl: Floats | None  # [row, position], nats

    def wire(self, lens: str, source: str) -> dict[str, Any]:
        """As the page reads it."""
        small = self.codes.max(initial=0) < 2**16
        return {
            "lens": lens,
            "source": source,
            "ids": to_wire(self.codes.astype(np.uint16 if small else np.float32)),
            "probs": to_wire(self.probs.astype(np.float16)),
            "entropy": None if self.entropy is None else to_wire(self.entropy.astype(np.float16)),
            "kl": None if self.kl is None else to_wire(self.kl.astype(np.float16)),
            "ready": True,
        }


def track_wire(track: Track, lens: str, source: str) -> dict[str, Any]:
    prob, rank = track
    return {"lens": lens, "source": source, "prob": to_wire(prob), "rank": to_wire(rank)}


# -- what tokens are called ---------------------------------------------------------------------------------------


class Words:
    """The strings of the tokens that are used, in the order in which they came."""

    def __init__(self, vocab: Any = None) -> None:
        self.strings: list[str] = []
        self._codes: dict[Any, int] = {}
        self._spell = None if vocab is None else speller(vocab)

    def codes(self, names: NDArray[Any]) -> NDArray[np.int64]:
        """A code for each id or string, in an array of the same shape."""
        distinct, places = np.unique(names, return_inverse=True)
        new = [name for name in distinct.tolist() if name not in self._codes]
        spelling = self._spell(new) if self._spell and names.dtype.kind in "iu" else new
        for name, text in zip(new, spelling, strict=True):
            self._codes[name] = len(self.strings)
            self.strings.append(spelled(text))
        known = np.array([self._codes[name] for name in distinct.tolist()], np.int64)
        return known[places].reshape(names.shape)

    def id_of(self, text: str) -> int | None:
        """The id that was first called so, if ids were."""
        return next((i for i, code in self._codes.items() if self.strings[code] == text and isinstance(i, int)), None)


def speller(vocab: Any) -> Callable[[list[int]], list[str]]:
    """From ids to strings, for a tokenizer, a list, a dictionary in either direction, or a function."""
    if hasattr(vocab, "added_tokens_decoder"):  # of the transformers library
        from interpwidgets.models.tokens import token_strings

        size = len(vocab)

        def spell(ids: list[int]) -> list[str]:
            names = dict(zip(ids, token_strings(vocab, [min(i, size - 1) for i in ids]), strict=True))
            return [names[i] if i < size else f"[{i}]" for i in ids]  # a model's vocabulary may be padded beyond it

        return spell
    if isinstance(vocab, Mapping):
        names = {i: name for name, i in vocab.items()} if all(isinstance(key, str) for key in vocab) else dict(vocab)
        return lambda ids: [_named(names, i, len(names)) for i in ids]
    if hasattr(vocab, "decode"):
        return lambda ids: [vocab.decode([i]) for i in ids]
    if callable(vocab):
        return lambda ids: [vocab(i) for i in ids]
    if isinstance(vocab, Sequence) and not isinstance(vocab, str | bytes):
        return lambda ids: [_named(dict(enumerate(vocab)) if i < len(vocab) else {}, i, len(vocab)) for i in ids]
    raise InputError(
        "vocab cannot name tokens.",
        [("expected", "a tokenizer, a list of strings, a dictionary or a function from id to string"),
         ("got", type(vocab).__name__)],
    )  # fmt: skip


def _named(names: Mapping[int, Any], i: int, size: int) -> str:
    if i not in names:
        raise InputError(
            f"vocab has no token {i}.",
            [("expected", f"a name for every id in top_tokens, as in 0 to {size - 1}"), ("got", str(i))],
            "Pass the vocabulary of the very model that the ids come from.",
        )
    return str(names[i])


# -- planes -------------------------------------------------------------------------------------------------------


def read_plane(
    words: Words, tokens: Sequence[str], top_tokens: Any, top_probs: Any, entropy: Any = None, kl: Any = None
) -> Plane:
    """Top tokens and probabilities [row, position, k], ids or strings; the other two are [row, position] or None."""
    probs = _probabilities(top_probs, tokens)
    names = _names(top_tokens, probs.shape)
    if names.dtype.kind in "iu" and words._spell is None:
        raise InputError(
            "top_tokens holds ids, and nobody says what they are called.",
            [("expected", "strings, or ids and vocab=tokenizer"), ("got", "ids alone")],
        )
    order = np.argsort(-probs, axis=-1, kind="stable")
    codes = np.take_along_axis(words.codes(names), order, -1)
    rows = probs.shape[:2]
    return Plane(
        codes,
        np.take_along_axis(probs, order, -1),
        None if entropy is None else read_cells(entropy, "entropy", rows),
        None if kl is None else read_cells(kl, "kl", rows),
    )


def read_follow(follow: Any, rows: Sequence[int]) -> dict[str, Track]:
    """``{token: probability or (probability, rank)}``, arrays [row, position]; the rank may be missing."""
    if not isinstance(follow, Mapping):
        raise InputError(
            "follow is no dictionary.",
            [("expected", '{" Rome": (probabilities, ranks), ...}'), ("got", type(follow).__name__)],
        )
    found = {}
    for token, given in follow.items():
        pair = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        prob = read_cells(pair[0], f"follow[{token!r}]", rows)
        unknown = np.full_like(prob, np.nan)
        found[spelled(token)] = (
            prob,
            unknown if pair[1] is None else read_cells(pair[1], f"the ranks of follow[{token!r}]", rows),
        )
    return found


def read_cells(values: Any, name: str, rows: Sequence[int]) -> Floats:
    """A finite number for each cell; an axis for a batch of one is dropped."""
    found = _without_batch(to_numpy(values, name, CELLS)[0], 3).astype(np.float32)
    if found.shape != tuple(rows):
        raise InputError(
            f"{name} does not fit the top tokens.",
            [("expected", f"{shape_text(rows)}, {CELLS}"), ("got", shape_text(found.shape))],
        )
    _finite(found, name)
    return found


def _probabilities(top_probs: Any, tokens: Sequence[str]) -> Floats:
    found = _without_batch(to_numpy(top_probs, "top_probs", TOP)[0], 4).astype(np.float32)
    if found.ndim != 3 or 0 in found.shape:
        advice = (
            "For the top token alone pass top_probs[..., None] and top_tokens[..., None]." if found.ndim == 2 else ""
        )
        raise InputError(
            "The probabilities have no place for each layer, position and top token.",
            [("expected", TOP), ("got", shape_text(found.shape))],
            advice,
        )
    if found.shape[1] != len(tokens):
        special = (
            "Did one of the two count a special token such as <s>?" if abs(found.shape[1] - len(tokens)) == 1 else ""
        )
        raise InputError(
            f"{count(len(tokens), 'token')}, but top_probs has {count(found.shape[1], 'position')}.",
            [("expected", f"[row, {len(tokens)}, k]"), ("got", shape_text(found.shape))],
            special,
        )
    _finite(found, "top_probs")
    outside = np.argwhere((found < 0) | (found > 1 + _ABOVE_ONE))
    if len(outside):
        place = tuple(int(i) for i in outside[0])
        raise InputError(
            "top_probs are no probabilities.",
            [("expected", "numbers from 0 to 1"), ("got", f"{found[place]:.4g} at {shape_text(place)}")],
            "Of logits take the softmax over the whole vocabulary first: logits.softmax(-1).topk(5).",
        )
    return found


def _names(top_tokens: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Ids, or an array of strings."""
    first: Any = top_tokens
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if isinstance(first, str | bytes) or getattr(first, "dtype", np.dtype(int)) in (np.dtype(object),):
        found = np.array(_listed(top_tokens), dtype=object)
    elif getattr(getattr(first, "dtype", None), "kind", "") in ("U", "S"):
        found = np.asarray(top_tokens).astype(object)
    else:
        found, _ = to_numpy(top_tokens, "top_tokens", TOP)
        if found.dtype.kind not in "iu":
            raise InputError(
                "top_tokens holds neither ids nor strings.",
                [("expected", f"whole numbers or strings, {TOP}"), ("got", str(found.dtype))],
            )
        found = found.astype(np.int64)
    found = _without_batch(found, 4)
    if found.shape != shape:
        raise InputError(
            "top_tokens does not fit top_probs.",
            [("expected", f"{shape_text(shape)}, {TOP}"), ("got", shape_text(found.shape))],
        )
    if found.dtype == object:
        text = np.frompyfunc(lambda x: x.decode("utf-8", "replace") if isinstance(x, bytes) else spelled(x), 1, 1)
        return np.asarray(text(found), dtype=object)
    return found


def _listed(values: Any) -> Any:
    return values.tolist() if hasattr(values, "tolist") else values


def _without_batch(array: NDArray[Any], batched: int) -> NDArray[Any]:
    """[row, 1, position, ...], as `interpwidgets.methods.lens` has it, without its second axis."""
    return array[:, 0] if array.ndim == batched and array.shape[1] == 1 else array


def _finite(values: Floats, name: str) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise InputError(
            f"{name} holds numbers that are not finite.",
            [("expected", "finite numbers"), ("got", f"{values[place]} at {shape_text(place)}")],
        )
