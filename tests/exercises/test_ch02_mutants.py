"""No wrong version of a reference of chapter 02 passes its check: the engine is that of ``test_mutants.py``.

python tests/exercises/test_ch02_mutants.py      # the table: how many, rejected, equivalent, survivors, and which
"""

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course.exercise import Exercise
from interpwidgets.exercises.ch02 import EXERCISES
from interpwidgets.exercises.ch02.asking import D_MODEL, VOCAB, small_model


def _engine() -> Any:
    """``test_mutants.py`` once more, for these exercises: test files cannot import each other."""
    spec = importlib.util.spec_from_file_location("mutants_of_ch02", Path(__file__).with_name("test_mutants.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


engine = _engine()

SURVIVORS: dict[str, str] = {}  # what the mutant looks like -> why it may live

# -- 1,000 inputs that the checks have never seen --------------------------------------------------------------------


def _normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def _ints(g: torch.Generator, low: int, high: int, n: int) -> list[int]:
    return [int(i) for i in torch.randint(low, high + 1, (n,), generator=g)]


def _written(g: torch.Generator) -> tuple[Any, ...]:
    layers, *shape = _ints(g, 1, 4, 4)
    return _normal(g, *shape), _normal(g, layers, *shape), _normal(g, layers, *shape)


def _parts(g: torch.Generator) -> tuple[Any, ...]:
    layers, *shape = _ints(g, 0, 3, 1) + _ints(g, 1, 4, 3)
    return (_normal(g, 1 + 2 * layers, *shape),)


def _norm(g: torch.Generator) -> tuple[Any, ...]:
    *shape, d = *_ints(g, 1, 4, _ints(g, 1, 3, 1)[0]), *_ints(g, 2, 6, 1)
    return _normal(g, *shape, d) + 1, _normal(g, d), float(torch.rand(1, generator=g))


def _lead(g: torch.Generator) -> tuple[Any, ...]:
    parts, batch, d, vocab = *_ints(g, 1, 5, 3), *_ints(g, 2, 7, 1)
    right, wrong = (torch.randint(0, vocab, (batch,), generator=g) for _ in range(2))
    return _normal(g, parts, batch, d), _normal(g, d, vocab), right, wrong


def _edges(g: torch.Generator) -> tuple[Any, ...]:
    batch, heads, n = *_ints(g, 1, 3, 2), *_ints(g, 1, 5, 1)
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    pattern = _normal(g, batch, heads, n, n).masked_fill(hidden, -torch.inf).softmax(-1)
    query, key = (torch.randint(0, n, (batch,), generator=g) for _ in range(2))
    return pattern, query, key


def _stages(g: torch.Generator) -> tuple[Any, ...]:
    stages, epsilon = _norm(g), float(torch.rand(1, generator=g))
    d, vocab = stages[1].numel(), _ints(g, 2, 7, 1)[0]
    return stages[0], stages[1], _normal(g, d), _normal(g, d, vocab), epsilon


def _said(g: torch.Generator) -> tuple[Any, ...]:
    batch, n, vocab = *_ints(g, 1, 4, 2), *_ints(g, 2, 8, 1)
    return (3 * _normal(g, batch, n, vocab)).round(), torch.randint(0, vocab, (batch, n), generator=g)


def _logits(g: torch.Generator) -> tuple[Any, ...]:
    return (2 * _normal(g, *_ints(g, 1, 4, _ints(g, 2, 3, 1)[0]), *_ints(g, 2, 7, 1)),)


def _rows(g: torch.Generator) -> tuple[Any, ...]:
    rows, d = _ints(g, 1, 6, 2)
    return _normal(g, rows, d), _normal(g, d, d), _normal(g, d)


def _training(g: torch.Generator) -> tuple[Any, ...]:
    rows, d, vocab, steps = *_ints(g, 1, 5, 2), *_ints(g, 2, 6, 1), *_ints(g, 0, 3, 1)
    W_U = _normal(g, d, vocab)
    return _normal(g, rows, d), _normal(g, rows, d), lambda x: x @ W_U, steps, float(torch.rand(1, generator=g))


def _pairs(g: torch.Generator) -> tuple[Any, ...]:
    rows, vocab = _ints(g, 1, 6, 1)[0], _ints(g, 2, 6, 1)[0]
    return _normal(g, rows, vocab), _normal(g, rows, vocab)


def _direction(g: torch.Generator) -> tuple[Any, ...]:
    rows, d = _ints(g, 1, 6, 2)
    return _normal(g, rows, d) + 1, _normal(g, d)


def _question(g: torch.Generator) -> tuple[Any, ...]:
    rows, n, layer, seed = *_ints(g, 1, 4, 2), *_ints(g, 0, 2, 1), *_ints(g, 5, 7, 1)
    prompt, at = torch.randint(0, VOCAB, (n,), generator=g), _ints(g, -n, n - 1, 1)[0]
    return small_model(seed), _normal(g, rows, D_MODEL).float(), prompt, at, layer


def _slopes(g: torch.Generator) -> tuple[Any, ...]:
    batch, n, inputs, outputs = _ints(g, 1, 5, 4)
    return _normal(g, batch, n, inputs), _normal(g, batch, n, outputs)


INPUTS: dict[str, Callable[[torch.Generator], tuple[Any, ...]]] = {
    "02.1": _written, "02.2": _parts, "02.3": _norm, "02.4": _lead, "02.5": _edges, "02.6": _stages, "02.7": _said,
    "02.8": _logits, "02.9": _rows, "02.10": _training, "02.11": _pairs, "02.12": _direction, "02.13": _question,
    "02.14": _slopes,
}  # fmt: skip


def _as_one_tensor(exercise: Exercise, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    found = function(*arguments)
    if isinstance(found, tuple) and all(isinstance(each, Tensor) for each in found):
        return torch.cat([each.flatten() for each in found])
    return found


engine.EXERCISES, engine.INPUTS, engine.SURVIVORS = EXERCISES, INPUTS, SURVIVORS
engine._driven = _as_one_tensor
engine.COMPARE |= {ast.Gt: [ast.GtE, ast.Lt]}
engine.METHODS |= {
    "cumsum": ["cumprod"], "exp": ["log"], "softmax": ["log_softmax"], "log": ["exp"], "sqrt": ["square"],
    "var": ["std"], "norm": ["sum"], "stack": ["cat"],
}  # fmt: skip
engine.WITH_AXES |= {"cumsum", "stack", "flatten", "var", "softmax"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_mutant_is_rejected_or_equivalent_or_listed(exercise: Exercise) -> None:
    engine.test_every_mutant_is_rejected_or_equivalent_or_listed(exercise)


if __name__ == "__main__":
    engine.table()
