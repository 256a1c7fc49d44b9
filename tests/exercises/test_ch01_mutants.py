"""Chapter 01: no wrong version of a reference passes its check; the changes are those of `test_mutants`.

    python tests/exercises/test_ch01_mutants.py     # the table: how many, rejected, equivalent, survivors, and which

A mutant that passes is compared with the reference on unseen inputs in float64. If it agrees on all, it is equivalent,
else a survivor, and has to be listed in `SURVIVORS` with the reason why it may live.
"""

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course.attempt import attempt, copied
from interpwidgets.course.exercise import Exercise
from interpwidgets.exercises.ch01 import EXERCISES
from interpwidgets.exercises.ch01.inputs import block_weights, machine, model_weights
from interpwidgets.exercises.ch01.inside import Bigram, _only_the_last_place, _shifted

N_INPUTS = 300
CPU = torch.device("cpu")

SURVIVORS: dict[str, str] = {}  # what the mutant looks like -> why it may live

_spec = importlib.util.spec_from_file_location("mutation", Path(__file__).with_name("test_mutants.py"))
assert _spec is not None
assert _spec.loader is not None
mutation: Any = importlib.util.module_from_spec(_spec)
sys.modules["mutation"] = mutation  # its dataclasses look their module up
_spec.loader.exec_module(mutation)

# -- inputs that the check has never seen ------------------------------------------------------------------------------


def _int(g: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=g))


def _normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def _tables(g: torch.Generator) -> tuple[Any, ...]:
    batch, n, vocab, d_model = (_int(g, 1, 6) for _ in range(4))
    tokens = torch.randint(0, vocab, (batch, n), generator=g)
    return tokens, _normal(g, vocab, d_model), _normal(g, n + _int(g, 0, 3), d_model)


def _vectors(g: torch.Generator) -> tuple[Any, ...]:
    d_model = _int(g, 1, 6)
    x = 10.0 ** _int(g, -4, 1) * _normal(g, _int(g, 1, 4), _int(g, 1, 4), d_model)
    return x, _normal(g, d_model), _normal(g, d_model), 1e-5


def _qk(g: torch.Generator) -> tuple[Any, ...]:
    shape = [_int(g, 1, 5) for _ in range(4)]
    return _normal(g, *shape), _normal(g, *shape)


def _layer(g: torch.Generator) -> tuple[Any, ...]:
    d_model, heads, d_head, d_mlp = (_int(g, 1, 5) for _ in range(4))
    weights = block_weights(_int(g, 0, 10**6), d_model, heads, d_head, d_mlp, torch.float64)
    return _normal(g, _int(g, 1, 4), _int(g, 1, 4), d_model), weights


def _model(g: torch.Generator) -> tuple[Any, ...]:
    seed, layers, d_model = _int(g, 0, 10**6), _int(g, 0, 2), _int(g, 2, 5)
    blocks = [block_weights(seed + at, d_model, 2, 3, 4, torch.float64) for at in range(layers)]
    tokens = torch.randint(0, 7, (_int(g, 1, 3), _int(g, 1, 5)), generator=g)
    return tokens, model_weights(seed, 7, 6, d_model, torch.float64), blocks


def _wide(g: torch.Generator) -> tuple[Any, ...]:
    d_model, heads, d_head = (_int(g, 1, 5) for _ in range(3))
    return _normal(g, d_model, 3 * heads * d_head), _normal(g, 3 * heads * d_head), heads


def _sizes(g: torch.Generator) -> tuple[Any, ...]:
    return tuple(_int(g, 0, 40) for _ in range(5))


def _warm(g: torch.Generator) -> tuple[Any, ...]:
    return 3 * _normal(g, _int(g, 1, 5), _int(g, 1, 8)), 0.2 + 2 * torch.rand(1, generator=g).item()


def _best(g: torch.Generator) -> tuple[Any, ...]:
    vocab = _int(g, 1, 9)
    return _normal(g, _int(g, 1, 5), vocab), _int(g, 1, vocab)


def _nucleus(g: torch.Generator) -> tuple[Any, ...]:
    return 2 * _normal(g, _int(g, 1, 5), _int(g, 1, 9)), torch.rand(1, generator=g).item()


def _cached(g: torch.Generator) -> tuple[Any, ...]:
    batch, heads, d_head, new, past = *(_int(g, 1, 4) for _ in range(4)), _int(g, 0, 4)
    return tuple(_normal(g, batch, n, heads, d_head) for n in (new, new, new, past, past))


def _listening(g: torch.Generator) -> tuple[Any, ...]:
    names = ["embed", "mixer", "mixer.out", "mlp", "mlp.2", "unembed"]
    order = torch.randperm(len(names), generator=g)[: _int(g, 0, 6)].tolist()
    tokens = torch.randint(0, 11, (_int(g, 1, 3), _int(g, 1, 5)), generator=g)
    return machine(_int(g, 0, 99), CPU, torch.float64), tokens, [names[at] for at in order]


def _editing(g: torch.Generator) -> tuple[Any, ...]:
    model, tokens, _ = _listening(g)
    name = ["embed", "mixer", "mlp.0", "unembed"][_int(g, 0, 3)]
    return model, tokens, name, [_shifted, _only_the_last_place][_int(g, 0, 1)]


def _folding(g: torch.Generator) -> tuple[Any, ...]:
    d_model, d_out = _int(g, 1, 6), _int(g, 1, 6)
    return _normal(g, d_model), _normal(g, d_model), _normal(g, d_model, d_out), _normal(g, d_out)


def _training(g: torch.Generator) -> tuple[Any, ...]:
    vocab = _int(g, 2, 6)
    model = Bigram(vocab).double()
    tokens = torch.randint(0, vocab, (_int(g, 1, 4), _int(g, 2, 5)), generator=g)
    return model, tokens, 0.5, _int(g, 1, 3)


INPUTS: dict[str, Callable[[torch.Generator], tuple[Any, ...]]] = {
    "01.1": _tables, "01.2": _vectors, "01.3": _qk, "01.4": _layer, "01.5": _layer, "01.6": _layer, "01.7": _model,
    "01.8": _wide, "01.9": _sizes, "01.10": _warm, "01.11": _best, "01.12": _nucleus, "01.13": _cached,
    "01.14": _listening, "01.15": _editing, "01.16": _folding, "01.17": _training,
}  # fmt: skip


@cache
def _unseen(name: str) -> list[tuple[tuple[Any, ...], Any]]:
    exercise = next(exercise for exercise in EXERCISES if exercise.id == name)
    generator = torch.Generator().manual_seed(20_000)
    torch.manual_seed(0)
    inputs = [INPUTS[name](generator) for _ in range(N_INPUTS)]
    return [(given, attempt(exercise.reference, copied(given), exercise.drive, 10).value) for given in inputs]


def equivalent(mutant: Any) -> bool:
    """Whether the mutant does what the reference does, on all unseen inputs."""
    for given, target in _unseen(mutant.exercise.id):
        outcome = attempt(mutant.function, given, mutant.exercise.drive, 10)
        if outcome.error or outcome.changed or not _same(outcome.value, target):
            return False
    return True


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, Tensor):
        alike = isinstance(one, Tensor) and one.shape == other.shape and one.dtype == other.dtype
        return alike and torch.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True)
    if isinstance(other, dict):
        return type(one) is dict and one.keys() == other.keys() and all(_same(one[key], other[key]) for key in other)
    if isinstance(other, tuple):
        return isinstance(one, tuple) and len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_mutant_is_rejected_or_equivalent_or_listed(exercise: Exercise) -> None:
    survivors = {str(each) for each in mutation.mutants(exercise) if mutation.passes(each) and not equivalent(each)}
    assert survivors == {line for line in SURVIVORS if line.split()[0] == exercise.id}


def test_the_unseen_inputs_tell_a_wrong_function_apart() -> None:
    """Else every mutant would count as equivalent."""
    for exercise in EXERCISES:
        assert not all(equivalent(each) for each in mutation.mutants(exercise)[:5]), exercise.id


def table() -> None:
    """Print, per exercise: mutants, rejected, equivalent, survivors."""
    torch.set_num_threads(1)
    total: Counter[str] = Counter()
    names, details = ("mutants", "rejected", "equivalent", "survivors"), []
    print("| exercise | mutants | rejected | equivalent | survivors |\n|:--|--:|--:|--:|--:|")
    for exercise in EXERCISES:
        count: Counter[str] = Counter()
        for each in mutation.mutants(exercise):
            fate = "rejected" if not mutation.passes(each) else "equivalent" if equivalent(each) else "survivors"
            count.update(["mutants", fate])
            if fate != "rejected":
                details.append(f"{fate}: {each}   ({each.operator})")
        total += count
        print(f"| {exercise.id} {exercise.name} | " + " | ".join(str(count[name]) for name in names) + " |", flush=True)
    print("| all | " + " | ".join(str(total[name]) for name in names) + " |\n\n" + "\n".join(details))


if __name__ == "__main__":
    table()
