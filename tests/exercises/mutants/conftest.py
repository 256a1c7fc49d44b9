"""The mutation engine: versions of a reference with one change each, and what becomes of them.

    def test_it(mutation):
        mutation.mutants(exercise)                 # each with its operator, the changed line and the function
        mutation.fates(exercise)["survivors"]      # and "rejected", "equivalent", "undecided"
        mutation.inputs                            # {"05.2": a function from random numbers to arguments}

A mutant is the reference with one change from a fixed list (`operators`). One that passes the check is compared with
the reference on 1,000 random float64 inputs that the check has never seen. If it agrees on all of them, in value, type,
shape and in what it does to its inputs, it is *equivalent*: the same function, written differently. If not, it is a
*survivor*. Where an exercise has no such inputs, it is *undecided*.

The inputs of chapter NN, and the survivors that may live, are data: ``INPUTS`` and ``SURVIVORS`` in ``chNN.py`` beside
this file. An exercise whose check no mutant passes needs neither. ``pytest -v`` ends in the table of all fates.
"""

import ast
import inspect
import runpy
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from interpwidgets.course import registry
from interpwidgets.course.attempt import copied, undisturbed
from interpwidgets.course.check import judge
from interpwidgets.course.exercise import Exercise
from interpwidgets.course.limits import TimeUp, limited

N_INPUTS = 1_000
SECONDS = 10.0  # for one call; a mutant may never end
FATES = ("rejected", "equivalent", "undecided", "survivors")

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
    ast.Gt: [ast.GtE, ast.Lt],
}
METHODS = {
    "sum": ["mean"], "mean": ["sum"], "max": ["min", "mean"], "any": ["all"], "tril": ["triu"], "argmax": ["argmin"],
    "log_softmax": ["softmax"], "abs": ["square"], "real": ["imag"], "clone": ["detach"],
    "cumsum": ["cumprod"], "exp": ["log"], "softmax": ["log_softmax"], "log": ["exp"], "sqrt": ["square"],
    "var": ["std"], "norm": ["sum"], "stack": ["cat"],
}  # fmt: skip
WITH_AXES = {
    "sum", "mean", "any", "roll", "log_softmax", "gather", "squeeze", "cat", "argmax", "cumsum", "stack", "flatten",
    "var", "softmax",
}  # fmt: skip


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


def off_by_one(node: ast.AST, whole: Collection[str]) -> Iterator[ast.AST]:
    """One more, one less: numbers, the variables named in ``whole``, and the ends of slices."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from (ast.Constant(node.value + step) for step in (1, -1))
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in whole:
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


Operator = Callable[[ast.AST], Iterator[ast.AST]]


def operators(function: ast.FunctionDef) -> dict[str, Operator]:
    """The changes, by name; whole numbers are the parameters that say so, and what loops run over."""
    arguments = [*function.args.args, *function.args.kwonlyargs]
    loops = [node.target for node in ast.walk(function) if isinstance(node, ast.For | ast.comprehension)]
    whole = {each.arg for each in arguments if isinstance(each.annotation, ast.Name) and each.annotation.id == "int"}
    whole |= {node.id for target in loops for node in ast.walk(target) if isinstance(node, ast.Name)}
    return {
        "changed operator": changed_operator,
        "other axis": other_axis,
        "off by one": partial(off_by_one, whole=whole),
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
    changes = operators(function)
    function.body = function.body[ast.get_docstring(function) is not None :]
    function.returns = None
    for argument in [*function.args.args, *function.args.kwonlyargs]:
        argument.annotation = None
    found: dict[str, Mutant] = {}
    original = ast.unparse(function)
    for operator, change in changes.items():
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


class Draw:
    """Random arguments, the same for a seed: ``draw.normal(2, 3)`` in float64, ``draw.ints(1, 4, 2)``, both ends in."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def uniform(self) -> float:
        return float(torch.rand(1, generator=self.generator))

    def ints(self, low: int, high: int, n: int) -> list[int]:
        return [int(i) for i in torch.randint(low, high + 1, (n,), generator=self.generator)]

    def int(self, low: int, high: int) -> int:
        return self.ints(low, high, 1)[0]

    def tokens(self, vocab: int, *shape: int) -> Tensor:
        return torch.randint(0, vocab, shape, generator=self.generator)

    def pattern(self, *lead: int, n: int) -> Tensor:
        """Attention: lower triangles [*lead, n, n] whose rows sum to one."""
        later = torch.ones(n, n, dtype=torch.bool).triu(1)
        return (2 * self.normal(*lead, n, n)).masked_fill(later, -torch.inf).softmax(-1)


@cache
def _of_chapter(number: str) -> dict[str, Any]:
    file = Path(__file__).with_name(f"ch{number}.py")
    return runpy.run_path(str(file)) if file.exists() else {}


@cache
def _unseen(exercise: str, at: int) -> tuple[tuple[Any, ...], Any]:
    """Input number ``at`` of an exercise, with what the reference does there."""
    torch.default_generator.manual_seed(at)  # models draw their weights from it
    arguments = _of_chapter(exercise[:2])["INPUTS"][exercise](Draw(20_000 + at))
    this = registry.exercise(exercise)
    return arguments, _done(this, this.reference, arguments)


def _done(exercise: Exercise, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a function returns, what becomes of its arguments, and whether it writes to a model."""
    given, before = copied(arguments), _versions(arguments)
    torch.default_generator.manual_seed(0)  # torch.manual_seed also keeps a record of who calls it, and that takes long
    returned = exercise.drive(function, *given) if exercise.drive else function(*given)
    return returned, given, _versions(arguments) != before


def _versions(arguments: tuple[Any, ...]) -> list[int]:
    return [weight._version for each in arguments if isinstance(each, nn.Module) for weight in each.parameters()]


# -- what becomes of a mutant ------------------------------------------------------------------------------------------


def fate(mutant: Mutant) -> str:
    exercise = mutant.exercise
    if not judge(replace(exercise, mistakes=[], found=None), mutant.function, extras=False).passed:
        return "rejected"
    if exercise.id not in _of_chapter(exercise.id[:2]).get("INPUTS", {}):
        return "undecided"
    return "equivalent" if equivalent(mutant) else "survivors"


def equivalent(mutant: Mutant) -> bool:
    """Whether the mutant does what the reference does, on all unseen inputs; one that stops or never ends does not."""
    with undisturbed():
        return all(_agrees(mutant, *_unseen(mutant.exercise.id, at)) for at in range(N_INPUTS))


def _agrees(mutant: Mutant, arguments: tuple[Any, ...], target: tuple[Any, ...]) -> bool:
    try:
        return _same(limited(SECONDS, _done, mutant.exercise, mutant.function, arguments), target)
    except (Exception, TimeUp):
        return False


def told_apart(exercise: Exercise) -> bool:
    """Whether some mutant comes to its end on some unseen input, with something else than the reference."""
    with undisturbed():
        for mutant, at in product(mutants(exercise), range(10)):
            arguments, target = _unseen(exercise.id, at)
            with suppress(Exception, TimeUp):
                if not _same(limited(SECONDS, _done, exercise, mutant.function, arguments), target):
                    return True
    return False


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(other, Tensor):
        alike = one.shape == other.shape and one.dtype == other.dtype
        return alike and torch.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True)
    if isinstance(other, dict):
        return bool(one.keys() == other.keys()) and all(_same(one[key], other[key]) for key in other)
    if isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


# -- the fixture, and the table ----------------------------------------------------------------------------------------


@pytest.fixture
def mutation(request: pytest.FixtureRequest) -> SimpleNamespace:
    def fates(exercise: Exercise) -> dict[str, list[Mutant]]:
        """What becomes of each mutant, also noted for the table."""
        found: dict[str, list[Mutant]] = {name: [] for name in FATES}
        for mutant in mutants(exercise):
            found[fate(mutant)].append(mutant)
        told = {name: [(str(each), each.operator) for each in found[name]] for name in FATES}
        request.node.user_properties.append(("fates", (exercise.id, exercise.name, told)))
        return found

    chapters = [_of_chapter(number) for number in registry.numbers()]
    return SimpleNamespace(
        mutants=mutants, equivalent=equivalent, told_apart=told_apart, fates=fates,
        inputs={name: make for chapter in chapters for name, make in chapter.get("INPUTS", {}).items()},
        listed={line: why for chapter in chapters for line, why in chapter.get("SURVIVORS", {}).items()},
    )  # fmt: skip


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """With -v: per exercise and per operator how many mutants there were, and every one that passed its check."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    noted = [value for report in reports if report.when == "call" for name, value in report.user_properties
             if name == "fates"]  # fmt: skip
    if not noted or config.get_verbosity() < 1:
        return
    exercises, by_operator = {}, {}
    for name, function, told in noted:
        exercises[f"{name} {function}"] = Counter({fate: len(told[fate]) for fate in FATES})
        for fate in FATES:
            for _, operator in told[fate]:
                by_operator.setdefault(operator, Counter()).update([fate])
    terminalreporter.section("mutants")
    terminalreporter.line(f"| | mutants | {' | '.join(FATES)} |\n|:--|{'--:|' * (1 + len(FATES))}")
    for name, count in [*exercises.items(), ("all", sum(exercises.values(), Counter())), *by_operator.items()]:
        cells = " | ".join(str(count[fate]) for fate in FATES)
        terminalreporter.line(f"| {name} | {count.total()} | {cells} |")
    for _, _, told in noted:
        for fate in FATES[1:]:
            for line, operator in told[fate]:
                terminalreporter.line(f"{fate.removesuffix('s')}: {line}   ({operator})")
