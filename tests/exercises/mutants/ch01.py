"""Chapter 01: inputs that no check has seen, for every exercise; ``draw`` is the `Draw` of the mutation engine."""

from collections.abc import Callable
from typing import Any

import torch

from interpwidgets.exercises.ch01.inputs import block_weights, machine, model_weights
from interpwidgets.exercises.ch01.inside import Bigram, _only_the_last_place, _shifted

SURVIVORS: dict[str, str] = {}  # what the mutant looks like -> why it may live


def _tables(draw: Any) -> tuple[Any, ...]:
    batch, n, vocab, d_model = (draw.int(1, 6) for _ in range(4))
    tokens = draw.tokens(vocab, batch, n)
    return tokens, draw.normal(vocab, d_model), draw.normal(n + draw.int(0, 3), d_model)


def _vectors(draw: Any) -> tuple[Any, ...]:
    d_model = draw.int(1, 6)
    x = 10.0 ** draw.int(-4, 1) * draw.normal(draw.int(1, 4), draw.int(1, 4), d_model)
    return x, draw.normal(d_model), draw.normal(d_model), 1e-5


def _qk(draw: Any) -> tuple[Any, ...]:
    shape = [draw.int(1, 5) for _ in range(4)]
    return draw.normal(*shape), draw.normal(*shape)


def _layer(draw: Any) -> tuple[Any, ...]:
    d_model, heads, d_head, d_mlp = (draw.int(1, 5) for _ in range(4))
    weights = block_weights(draw.int(0, 10**6), d_model, heads, d_head, d_mlp, torch.float64)
    return draw.normal(draw.int(1, 4), draw.int(1, 4), d_model), weights


def _model(draw: Any) -> tuple[Any, ...]:
    seed, layers, d_model = draw.int(0, 10**6), draw.int(0, 2), draw.int(2, 5)
    blocks = [block_weights(seed + at, d_model, 2, 3, 4, torch.float64) for at in range(layers)]
    tokens = draw.tokens(7, draw.int(1, 3), draw.int(1, 5))
    return tokens, model_weights(seed, 7, 6, d_model, torch.float64), blocks


def _wide(draw: Any) -> tuple[Any, ...]:
    d_model, heads, d_head = (draw.int(1, 5) for _ in range(3))
    return draw.normal(d_model, 3 * heads * d_head), draw.normal(3 * heads * d_head), heads


def _sizes(draw: Any) -> tuple[Any, ...]:
    return tuple(draw.int(0, 40) for _ in range(5))


def _warm(draw: Any) -> tuple[Any, ...]:
    return 3 * draw.normal(draw.int(1, 5), draw.int(1, 8)), 0.2 + 2 * draw.uniform()


def _best(draw: Any) -> tuple[Any, ...]:
    vocab = draw.int(1, 9)
    return draw.normal(draw.int(1, 5), vocab), draw.int(1, vocab)


def _nucleus(draw: Any) -> tuple[Any, ...]:
    return 2 * draw.normal(draw.int(1, 5), draw.int(1, 9)), draw.uniform()


def _cached(draw: Any) -> tuple[Any, ...]:
    batch, heads, d_head, new, past = *(draw.int(1, 4) for _ in range(4)), draw.int(0, 4)
    return tuple(draw.normal(batch, n, heads, d_head) for n in (new, new, new, past, past))


def _listening(draw: Any) -> tuple[Any, ...]:
    names = ["embed", "mixer", "mixer.out", "mlp", "mlp.2", "unembed"]
    order = torch.randperm(len(names), generator=draw.generator)[: draw.int(0, 6)].tolist()
    tokens = draw.tokens(11, draw.int(1, 3), draw.int(1, 5))
    return machine(draw.int(0, 99), torch.device("cpu"), torch.float64), tokens, [names[at] for at in order]


def _editing(draw: Any) -> tuple[Any, ...]:
    model, tokens, _ = _listening(draw)
    name = ["embed", "mixer", "mlp.0", "unembed"][draw.int(0, 3)]
    return model, tokens, name, [_shifted, _only_the_last_place][draw.int(0, 1)]


def _folding(draw: Any) -> tuple[Any, ...]:
    d_model, d_out = draw.int(1, 6), draw.int(1, 6)
    return draw.normal(d_model), draw.normal(d_model), draw.normal(d_model, d_out), draw.normal(d_out)


def _training(draw: Any) -> tuple[Any, ...]:
    vocab = draw.int(2, 6)
    model = Bigram(vocab).double()
    tokens = draw.tokens(vocab, draw.int(1, 4), draw.int(2, 5))
    return model, tokens, 0.5, draw.int(1, 3)


INPUTS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "01.1": _tables, "01.2": _vectors, "01.3": _qk, "01.4": _layer, "01.5": _layer, "01.6": _layer, "01.7": _model,
    "01.8": _wide, "01.9": _sizes, "01.10": _warm, "01.11": _best, "01.12": _nucleus, "01.13": _cached,
    "01.14": _listening, "01.15": _editing, "01.16": _folding, "01.17": _training,
}  # fmt: skip
