"""No wrong version of a reference passes its check: small changes to its code, one at a time, are all rejected.

    python tests/exercises/test_mutants.py      # the table: how many, rejected, equivalent, survivors, and which

A mutant is the reference with one change from a fixed list (`OPERATORS`). One that passes the check is compared with
the reference on 1,000 random float64 inputs that the check has never seen. If it agrees on all of them, in value, shape
and in what it does to its inputs, it is *equivalent*: the same function, written differently. If not, it is a
*survivor*, and has to be listed in `SURVIVORS` with the reason why no reasonable case would tell it apart.
"""

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course.check import judge
from interpwidgets.course.exercise import Exercise
from interpwidgets.exercises.ch05 import EXERCISES
from interpwidgets.exercises.ch05.habits import _small_model

N_INPUTS = 1_000

SURVIVORS: dict[str, str] = {}  # what the mutant looks like -> why it may live

# -- the operators: each yields versions of one node ------------------------------------------------------------------

BINARY: dict[type, list[type]] = {
    ast.Add: [ast.Sub, ast.Mult], ast.Sub: [ast.Add], ast.Mult: [ast.Div, ast.Add], ast.Div: [ast.Mult],
    ast.MatMult: [ast.Mult], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
}  # fmt: skip
COMPARE: dict[type, list[type]] = {
    ast.Eq: [ast.NotEq],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.LtE: [ast.Lt],
    ast.Lt: [ast.LtE],
}
METHODS = {
    "sum": ["mean"], "mean": ["sum"], "max": ["min", "mean"], "any": ["all"], "tril": ["triu"], "argmax": ["argmin"],
    "log_softmax": ["softmax"], "abs": ["square"], "real": ["imag"], "clone": ["detach"], "prefix_matching_score": [],
}  # fmt: skip
WITH_AXES = {"sum", "mean", "any", "roll", "log_softmax", "gather", "squeeze", "cat", "argmax"}


def changed_operator(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp):
        for op in BINARY.get(type(node.op), []):
            yield ast.BinOp(node.left, op(), node.right)
    if isinstance(node, ast.Compare):
        for op in COMPARE.get(type(node.ops[0]), []):
            yield ast.Compare(node.left, [op()], node.comparators)
    if isinstance(node, ast.Attribute):
        for name in METHODS.get(node.attr, []):
            yield ast.Attribute(node.value, name, node.ctx)


def _axis(node: ast.AST) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -node.operand.value if isinstance(node.operand.value, int) else None
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def other_axis(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Attribute | ast.Call):
        name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        if isinstance(node, ast.Call) and name in WITH_AXES and node.args:
            axes = node.args[-1 if name in ("roll", "cat") else 0]
            at = len(node.args) - 1 if name in ("roll", "cat") else 0
            for new in _other_axes(axes):
                yield ast.Call(node.func, [*node.args[:at], new, *node.args[at + 1 :]], node.keywords)
    if isinstance(node, ast.Attribute) and node.attr == "shape":
        return
    if isinstance(node, ast.Subscript) and _is_shape(node.value) and (axis := _axis(node.slice)) is not None:
        for other in range(-4, 5):
            if other != axis:
                yield ast.Subscript(node.value, _number(other), node.ctx)


def _is_shape(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "shape"


def _other_axes(axes: ast.AST) -> Iterator[ast.expr]:
    if (axis := _axis(axes)) is not None:
        yield from (_number(other) for other in range(-3, 4) if other != axis)
    if isinstance(axes, ast.Tuple):
        for at, element in enumerate(axes.elts):
            yield ast.Tuple([*axes.elts[:at], *axes.elts[at + 1 :]], ast.Load())
            for new in _other_axes(element):
                yield ast.Tuple([*axes.elts[:at], new, *axes.elts[at + 1 :]], ast.Load())


def _number(value: int) -> ast.expr:
    return ast.Constant(value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-value))


def off_by_one(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from (ast.Constant(node.value + step) for step in (1, -1))
    if (
        isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and node.id in ("period", "early", "late", "copies", "head", "bos")
    ):
        yield from (ast.BinOp(node, op(), ast.Constant(1)) for op in (ast.Add, ast.Sub))
    if isinstance(node, ast.Slice):
        for bound in (1, -1, 2):
            if node.lower is None:
                yield ast.Slice(_number(bound), node.upper, node.step)
            if node.upper is None:
                yield ast.Slice(node.lower, _number(bound), node.step)


def dropped_term(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield node.func.value
    if isinstance(node, ast.Call):
        for at in range(len(node.args)):
            yield ast.Call(node.func, [*node.args[:at], *node.args[at + 1 :]], node.keywords)
        for at in range(len(node.keywords)):
            yield ast.Call(node.func, node.args, [*node.keywords[:at], *node.keywords[at + 1 :]])
    if isinstance(node, ast.List) and len(node.elts) > 1:
        for at in range(len(node.elts)):
            yield ast.List([*node.elts[:at], *node.elts[at + 1 :]], node.ctx)


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "torch"


def swapped_arguments(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.Add):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.Compare):
        yield ast.Compare(node.comparators[0], node.ops, [node.left])
    if isinstance(node, ast.Call):
        yield from (ast.Call(node.func, args, node.keywords) for args in _swaps(node.args))
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
        yield from (ast.Tuple(elements, node.ctx) for elements in _swaps(node.elts))
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "->" in node.value:
        letters = sorted(set(node.value) - set(",->"))
        for term in range(node.value.count(",") + 2):
            for one, other in combinations(letters, 2):
                new = _exchanged(node.value, term, one, other)
                if new != node.value:
                    yield ast.Constant(new)


def _swaps(items: list[Any]) -> Iterator[list[Any]]:
    for one, other in combinations(range(len(items)), 2):
        new = list(items)
        new[one], new[other] = new[other], new[one]
        yield new


def _exchanged(equation: str, term: int, one: str, other: str) -> str:
    terms = equation.replace("->", ",").split(",")
    terms[term] = terms[term].translate(str.maketrans(one + other, other + one))
    return ",".join(terms[:-1]) + "->" + terms[-1]


OPERATORS: dict[str, Callable[[ast.AST], Iterator[ast.AST]]] = {
    "changed operator": changed_operator,
    "other axis": other_axis,
    "off by one": off_by_one,
    "dropped term": dropped_term,
    "swapped arguments": swapped_arguments,
}

# -- mutants ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    exercise: Exercise
    operator: str
    line: str  # the changed statement
    function: Callable[..., Any]

    def __str__(self) -> str:
        return f"{self.exercise.id} {self.line}"


def mutants(exercise: Exercise) -> list[Mutant]:
    """Every version of the reference with one change, each once."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(exercise.reference)))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = function.body[1:]  # without its docstring
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    found: dict[str, Mutant] = {}
    original = ast.unparse(function)
    for operator, change in OPERATORS.items():
        for path in _paths(function.body, ()):
            for new in change(_at(function.body, path)):
                copy = deepcopy(function)
                _put(copy.body, path, deepcopy(new))
                source = ast.unparse(ast.fix_missing_locations(copy))
                if source != original and source not in found:
                    line = next(iter(set(source.splitlines()) - set(original.splitlines())), source).strip()
                    found[source] = Mutant(exercise, operator, line, _compiled(source, exercise.reference))
    return list(found.values())


def _compiled(source: str, reference: Any) -> Callable[..., Any]:
    names = dict(reference.__globals__)
    exec(compile(source, "<mutant>", "exec"), names)
    function: Callable[..., Any] = names[reference.__name__]
    return function


def _paths(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Where every node of the tree is: names of fields and places in lists."""
    if isinstance(node, ast.AST):
        yield path
        for name, value in ast.iter_fields(node):
            yield from _paths(value, (*path, name))
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from _paths(value, (*path, at))


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        node = node[step] if isinstance(step, int) else getattr(node, step)
    return node


def _put(node: Any, path: tuple[Any, ...], new: ast.AST) -> None:
    parent, last = _at(node, path[:-1]), path[-1]
    if isinstance(last, int):
        parent[last] = new
    else:
        setattr(parent, last, new)


# -- inputs that the check has never seen ------------------------------------------------------------------------------


def _pattern(g: torch.Generator, layers: int, batch: int, heads: int, n: int) -> Tensor:
    scores = 2 * torch.randn(layers, batch, heads, n, n, generator=g, dtype=torch.float64)
    return scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


def _ints(g: torch.Generator, low: int, high: int, n: int) -> list[int]:
    return torch.randint(low, high + 1, (n,), generator=g).tolist()


def _normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def _text(g: torch.Generator) -> tuple[Tensor, Tensor]:
    layers, batch, heads, n, n_words = *_ints(g, 1, 4, 3), *_ints(g, 1, 10, 2)
    return _pattern(g, layers, batch, heads, n), torch.randint(0, n_words, (batch, n), generator=g)


def _two_tokens(g: torch.Generator) -> tuple[Tensor]:
    """At least two tokens: one has none before it."""
    layers, batch, heads, n = *_ints(g, 1, 4, 3), *_ints(g, 2, 10, 1)
    return (_pattern(g, layers, batch, heads, n),)


def _stripe(g: torch.Generator) -> tuple[Tensor, int]:
    layers, batch, heads, copies, period = *_ints(g, 1, 3, 3), *_ints(g, 2, 3, 1), *_ints(g, 1, 6, 1)
    return _pattern(g, layers, batch, heads, 1 + copies * period), period


def _predictions(g: torch.Generator) -> tuple[Tensor, Tensor]:
    batch, n, vocab = *_ints(g, 1, 4, 1), *_ints(g, 2, 7, 2)
    return 3 * _normal(g, batch, n, vocab), torch.randint(0, vocab, (batch, n), generator=g)


def _curve(g: torch.Generator) -> tuple[Tensor, int, int]:
    n = _ints(g, 2, 30, 1)[0]
    early, late = _ints(g, 1, n, 2)
    return _normal(g, n).abs(), early, late


def _z(g: torch.Generator) -> tuple[Tensor, int]:
    batch, n, heads, d_head = _ints(g, 1, 5, 4)
    return _normal(g, batch, n, heads, d_head), _ints(g, 0, heads - 1, 1)[0]


def _written(g: torch.Generator) -> tuple[Tensor, ...]:
    batch, n, heads, d_head, d_model = _ints(g, 1, 5, 5)
    z, W_O = _normal(g, batch, n, heads, d_head), _normal(g, heads, d_head, d_model)
    return z, W_O, _normal(g, batch, n, d_model), _normal(g, batch, n).abs() + 0.1


def _head(g: torch.Generator) -> tuple[Tensor, ...]:
    vocab, d_model, d_head = *_ints(g, 2, 12, 2), *_ints(g, 1, 5, 1)
    shapes = ((vocab, d_model), (d_model, d_head), (d_head, d_model), (d_model, vocab))
    return tuple(_normal(g, *shape) for shape in shapes)


def _weights(g: torch.Generator) -> tuple[Tensor, Tensor]:
    a, b, d_model = *_ints(g, 1, 4, 2), *_ints(g, 2, 6, 1)
    return _normal(g, a, d_model, d_model), _normal(g, b, d_model, d_model)


def _training(g: torch.Generator) -> tuple[Tensor, Tensor]:
    n = _ints(g, 1, 15, 1)[0]
    return torch.randint(1, 200, (n,), generator=g).cumsum(0), _normal(g, n)


def _words(g: torch.Generator) -> tuple[Tensor, int, int]:
    batch, period, bos, copies = *_ints(g, 1, 6, 2), *_ints(g, 0, 9, 1), *_ints(g, 1, 4, 1)
    return torch.randint(0, 50, (batch, period), generator=g), bos, copies


def _model(g: torch.Generator) -> tuple[Any, Tensor, float]:
    seed, n = *_ints(g, 100, 104, 1), *_ints(g, 4, 10, 1)
    tokens = torch.randint(1, 5, (2, n), generator=g)
    return _small_model(seed).double(), tokens, torch.rand(1, generator=g).item() * 0.6


INPUTS: dict[str, Callable[[torch.Generator], tuple[Any, ...]]] = {
    "05.1": _words, "05.2": _predictions, "05.3": _two_tokens, "05.4": _text, "05.5": _stripe,
    "05.6": _text, "05.7": _curve, "05.8": _z, "05.9": _written, "05.10": _head, "05.11": _weights,
    "05.12": _training, "05.13": _model,
}  # fmt: skip


@cache
def _unseen(name: str) -> list[tuple[tuple[Any, ...], Any]]:
    """1,000 inputs of an exercise, each with what the reference makes of it."""
    exercise = next(exercise for exercise in EXERCISES if exercise.id == name)
    generator = torch.Generator().manual_seed(20_000)
    inputs = [INPUTS[name](generator) for _ in range(N_INPUTS)]
    return [(arguments, _driven(exercise, exercise.reference, arguments)) for arguments in inputs]


def _driven(exercise: Exercise, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return exercise.drive(function, *arguments) if exercise.drive else function(*arguments)


def equivalent(mutant: Mutant) -> bool:
    """Whether the mutant does what the reference does, on all unseen inputs."""
    for arguments, target in _unseen(mutant.exercise.id):
        given = tuple(each.clone() if isinstance(each, Tensor) else each for each in arguments)
        try:
            result = _driven(mutant.exercise, mutant.function, given)
        except Exception:
            return False
        if not isinstance(result, Tensor) or result.shape != target.shape or result.dtype != target.dtype:
            return False
        if not torch.allclose(result, target, rtol=1e-9, atol=1e-12, equal_nan=True):
            return False
        for one, other in zip(given, arguments, strict=True):
            if isinstance(one, Tensor) and not torch.equal(one, other):
                return False
    return True


def passes(mutant: Mutant) -> bool:
    return judge(replace(mutant.exercise, mistakes=[], found=None), mutant.function, extras=False).passed


# -- the tests, and the table ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_mutant_is_rejected_or_equivalent_or_listed(exercise: Exercise) -> None:
    survivors = {str(each) for each in mutants(exercise) if passes(each) and not equivalent(each)}
    assert survivors == {line for line in SURVIVORS if line.split()[0] == exercise.id}


def test_the_unseen_inputs_tell_a_wrong_function_apart() -> None:
    """Else every mutant would count as equivalent."""
    for exercise in EXERCISES:
        assert not all(equivalent(each) for each in mutants(exercise)[:5]), exercise.id


def table() -> None:
    """Print, per exercise and operator: mutants, rejected, equivalent, survivors."""
    torch.set_num_threads(1)
    total: Counter[str] = Counter()
    print("| exercise | mutants | rejected | equivalent | survivors |\n|:--|--:|--:|--:|--:|")
    names, by_operator, details = ("mutants", "rejected", "equivalent", "survivors"), {}, []
    for exercise in EXERCISES:
        count: Counter[str] = Counter()
        for each in mutants(exercise):
            fate = "rejected" if not passes(each) else "equivalent" if equivalent(each) else "survivors"
            count.update(["mutants", fate])
            by_operator.setdefault(each.operator, Counter()).update(["mutants", fate])
            if fate != "rejected":
                details.append(f"{fate[:-1] if fate == 'survivors' else fate}: {each}   ({each.operator})")
        total += count
        print(f"| {exercise.id} {exercise.name} | " + " | ".join(str(count[name]) for name in names) + " |")
    print("| all | " + " | ".join(str(total[name]) for name in names) + " |\n")
    for operator, count in by_operator.items():
        print(f"| {operator} | " + " | ".join(str(count[name]) for name in names) + " |")
    print("\n" + "\n".join(details))


if __name__ == "__main__":
    table()
