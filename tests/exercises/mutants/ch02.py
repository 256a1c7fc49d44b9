"""Chapter 02: inputs that no check has seen, for every exercise; ``draw`` is the `Draw` of the mutation engine."""

from collections.abc import Callable
from typing import Any

from interpwidgets.exercises.ch02.asking import D_MODEL, VOCAB, small_model

SURVIVORS: dict[str, str] = {}  # what the mutant looks like -> why it may live


def _written(draw: Any) -> tuple[Any, ...]:
    layers, *shape = draw.ints(1, 4, 4)
    return draw.normal(*shape), draw.normal(layers, *shape), draw.normal(layers, *shape)


def _parts(draw: Any) -> tuple[Any, ...]:
    layers, *shape = draw.ints(0, 3, 1) + draw.ints(1, 4, 3)
    return (draw.normal(1 + 2 * layers, *shape),)


def _norm(draw: Any) -> tuple[Any, ...]:
    *shape, d = *draw.ints(1, 4, draw.int(1, 3)), *draw.ints(2, 6, 1)
    return draw.normal(*shape, d) + 1, draw.normal(d), draw.uniform()


def _lead(draw: Any) -> tuple[Any, ...]:
    parts, batch, d, vocab = *draw.ints(1, 5, 3), *draw.ints(2, 7, 1)
    right, wrong = (draw.tokens(vocab, batch) for _ in range(2))
    return draw.normal(parts, batch, d), draw.normal(d, vocab), right, wrong


def _edges(draw: Any) -> tuple[Any, ...]:
    batch, heads, n = *draw.ints(1, 3, 2), *draw.ints(1, 5, 1)
    query, key = (draw.tokens(n, batch) for _ in range(2))
    return draw.pattern(batch, heads, n=n), query, key


def _stages(draw: Any) -> tuple[Any, ...]:
    stages, epsilon = _norm(draw), draw.uniform()
    d, vocab = stages[1].numel(), draw.int(2, 7)
    return stages[0], stages[1], draw.normal(d), draw.normal(d, vocab), epsilon


def _said(draw: Any) -> tuple[Any, ...]:
    batch, n, vocab = *draw.ints(1, 4, 2), *draw.ints(2, 8, 1)
    return (3 * draw.normal(batch, n, vocab)).round(), draw.tokens(vocab, batch, n)


def _logits(draw: Any) -> tuple[Any, ...]:
    return (2 * draw.normal(*draw.ints(1, 4, draw.int(2, 3)), *draw.ints(2, 7, 1)),)


def _rows(draw: Any) -> tuple[Any, ...]:
    rows, d = draw.ints(1, 6, 2)
    return draw.normal(rows, d), draw.normal(d, d), draw.normal(d)


def _training(draw: Any) -> tuple[Any, ...]:
    rows, d, vocab, steps = *draw.ints(1, 5, 2), *draw.ints(2, 6, 1), *draw.ints(0, 3, 1)
    W_U = draw.normal(d, vocab)
    return draw.normal(rows, d), draw.normal(rows, d), lambda x: x @ W_U, steps, draw.uniform()


def _pairs(draw: Any) -> tuple[Any, ...]:
    rows, vocab = draw.int(1, 6), draw.int(2, 6)
    return draw.normal(rows, vocab), draw.normal(rows, vocab)


def _direction(draw: Any) -> tuple[Any, ...]:
    rows, d = draw.ints(1, 6, 2)
    return draw.normal(rows, d) + 1, draw.normal(d)


def _question(draw: Any) -> tuple[Any, ...]:
    rows, n, layer, seed = *draw.ints(1, 4, 2), *draw.ints(0, 2, 1), *draw.ints(5, 7, 1)
    prompt, at = draw.tokens(VOCAB, n), draw.int(-n, n - 1)
    return small_model(seed), draw.normal(rows, D_MODEL).float(), prompt, at, layer


def _slopes(draw: Any) -> tuple[Any, ...]:
    batch, n, inputs, outputs = draw.ints(1, 5, 4)
    return draw.normal(batch, n, inputs), draw.normal(batch, n, outputs)


INPUTS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "02.1": _written, "02.2": _parts, "02.3": _norm, "02.4": _lead, "02.5": _edges, "02.6": _stages, "02.7": _said,
    "02.8": _logits, "02.9": _rows, "02.10": _training, "02.11": _pairs, "02.12": _direction, "02.13": _question,
    "02.14": _slopes,
}  # fmt: skip
