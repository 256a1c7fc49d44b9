"""Chapter 05: inputs that no check has seen, for every exercise; ``draw`` is the `Draw` of the mutation engine."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from interpwidgets.exercises.ch05.habits import _small_model

SURVIVORS: dict[str, str] = {}  # what the mutant looks like -> why it may live


def _text(draw: Any) -> tuple[Tensor, Tensor]:
    layers, batch, heads, n, n_words = *draw.ints(1, 4, 3), *draw.ints(1, 10, 2)
    return draw.pattern(layers, batch, heads, n=n), draw.tokens(n_words, batch, n)


def _two_tokens(draw: Any) -> tuple[Tensor]:
    """At least two tokens: one has none before it."""
    layers, batch, heads, n = *draw.ints(1, 4, 3), *draw.ints(2, 10, 1)
    return (draw.pattern(layers, batch, heads, n=n),)


def _stripe(draw: Any) -> tuple[Tensor, int]:
    layers, batch, heads, copies, period = *draw.ints(1, 3, 3), *draw.ints(2, 3, 1), *draw.ints(1, 6, 1)
    return draw.pattern(layers, batch, heads, n=1 + copies * period), period


def _predictions(draw: Any) -> tuple[Tensor, Tensor]:
    batch, n, vocab = *draw.ints(1, 4, 1), *draw.ints(2, 7, 2)
    return 3 * draw.normal(batch, n, vocab), draw.tokens(vocab, batch, n)


def _curve(draw: Any) -> tuple[Tensor, int, int]:
    n = draw.int(2, 30)
    early, late = draw.ints(1, n, 2)
    return draw.normal(n).abs(), early, late


def _z(draw: Any) -> tuple[Tensor, int]:
    batch, n, heads, d_head = draw.ints(1, 5, 4)
    return draw.normal(batch, n, heads, d_head), draw.int(0, heads - 1)


def _written(draw: Any) -> tuple[Tensor, ...]:
    batch, n, heads, d_head, d_model = draw.ints(1, 5, 5)
    z, W_O = draw.normal(batch, n, heads, d_head), draw.normal(heads, d_head, d_model)
    return z, W_O, draw.normal(batch, n, d_model), draw.normal(batch, n).abs() + 0.1


def _head(draw: Any) -> tuple[Tensor, ...]:
    vocab, d_model, d_head = *draw.ints(2, 12, 2), *draw.ints(1, 5, 1)
    shapes = ((vocab, d_model), (d_model, d_head), (d_head, d_model), (d_model, vocab))
    return tuple(draw.normal(*shape) for shape in shapes)


def _weights(draw: Any) -> tuple[Tensor, Tensor]:
    a, b, d_model = *draw.ints(1, 4, 2), *draw.ints(2, 6, 1)
    return draw.normal(a, d_model, d_model), draw.normal(b, d_model, d_model)


def _training(draw: Any) -> tuple[Tensor, Tensor]:
    n = draw.int(1, 15)
    return (1 + draw.tokens(199, n)).cumsum(0), draw.normal(n)


def _words(draw: Any) -> tuple[Tensor, int, int]:
    batch, period, bos, copies = *draw.ints(1, 6, 2), *draw.ints(0, 9, 1), *draw.ints(1, 4, 1)
    return draw.tokens(50, batch, period), bos, copies


def _model(draw: Any) -> tuple[Any, Tensor, float]:
    seed, n = *draw.ints(100, 104, 1), *draw.ints(4, 10, 1)
    tokens = 1 + draw.tokens(4, 2, n)
    return _small_model(seed).double(), tokens, draw.uniform() * 0.6


INPUTS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "05.1": _words, "05.2": _predictions, "05.3": _two_tokens, "05.4": _text, "05.5": _stripe,
    "05.6": _text, "05.7": _curve, "05.8": _z, "05.9": _written, "05.10": _head, "05.11": _weights,
    "05.12": _training, "05.13": _model,
}  # fmt: skip
