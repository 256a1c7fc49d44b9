"""Several sets of attention patterns made into one: how two differ, what many have in common.

    tokens, _, patterns = difference((a_tokens, None, a_patterns), (b_tokens, None, b_patterns))      # a minus b
    tokens, patterns = mean(tokens_of_each, patterns_of_each)

The arrays of short texts are combined at once. Patterns that are computed when they are looked at stay so: their sum is
computed then, too.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets._patterns import Layer, Mixed, Patterns, _rows

Side = tuple[list[str], list[str] | None, Patterns]
"""The tokens of the queries, those of the keys where they are another text, and the patterns."""


def difference(first: Side, second: Side) -> Side:
    """The patterns of ``first`` less those of ``second``, and a token, or two, for each position.

    The scores are differences too. Raises `InputError` unless both have as many layers, heads and tokens.
    """
    a, b = first[-1], second[-1]
    if (first[1] is None) != (second[1] is None):
        raise InputError(
            "One side looks from a text at another, the other side at itself.",
            [("expected", "the same kind of attention on both sides for a difference")],
            'compare(first, second, mode="beside") shows both as they are.',
        )
    sizes = [(side.n_layers, side.n_heads, side.n_tokens, side.n_keys) for side in (a, b)]
    for name, one, other in zip(("layers", "heads in a layer", "tokens", "key tokens"), *sizes, strict=True):
        if one != other:
            raise InputError(
                f"One side has {one} {name}, the other {other}.",
                [("expected", f"as many {name} on both sides for a difference")],
                'compare(first, second, mode="beside") shows both as they are.',
            )
    tokens = _both(first[0], second[0])
    keys = None if first[1] is None or second[1] is None else _both(first[1], second[1])
    patterns = _combined([a, b], [1.0, -1.0], tokens if keys is None else None)
    patterns.scores = {name: score - b.scores[name] for name, score in a.scores.items() if name in b.scores}
    return tokens, keys, patterns


def _both(tokens: list[str], others: list[str]) -> list[str]:
    return [name if name == other else f"{name}/{other}" for name, other in zip(tokens, others, strict=True)]


def distance(patterns: Patterns) -> NDArray[np.float32]:
    """[layer, head]: how far apart two patterns are, given their difference: 0 if equal, 1 if they share no key.

    It is the total variation distance of two rows, half the sum of their absolute differences, averaged over queries.
    """
    found = np.zeros((patterns.n_layers, patterns.n_heads), np.float32)
    for i, layer in enumerate(patterns.layers):
        for rows in patterns._bands(slice(0, patterns.n_tokens)):
            found[i] += np.abs(_rows(layer, rows)).sum((1, 2))
    return found / np.float32(2 * patterns.n_tokens)


def mean(tokens: Sequence[list[str]], patterns: Sequence[Patterns]) -> tuple[list[str], Patterns]:
    """The mean over texts of as many tokens, scores included; a position is named by all tokens that stand there."""
    names = [_name(list(dict.fromkeys(column))) for column in zip(*tokens, strict=True)]
    found = _combined(patterns, [1 / len(patterns)] * len(patterns), names)
    found.scores = {name: np.mean([one.scores[name] for one in patterns], axis=0) for name in patterns[0].scores}
    return names, found


def _combined(patterns: Sequence[Patterns], weights: list[float], tokens: list[str] | None) -> Patterns:
    layers: list[Layer] = []
    for same in zip(*(one.layers for one in patterns), strict=True):
        mixed = Mixed(same, weights)
        arrays = all(isinstance(layer, np.ndarray) for layer in same)
        layers.append(mixed.rows(slice(0, patterns[0].n_tokens)) if arrays else mixed)
    half = any(one.half for one in patterns)
    return Patterns(tokens, layers, half, causal=all(one.causal for one in patterns), signed=min(weights) < 0).finish()


def _name(different: list[str]) -> str:
    return "/".join(different[:2]) + ("/…" if len(different) > 2 else "")
