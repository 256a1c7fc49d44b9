"""Two results side by side: the first promise that one breaks against the other, in a sentence.

    failure = first_difference(target, yours, Rules(axes=("layer", "head")))
    failure is None                     # they agree: kind, shape, dtype, device, and every value within tolerance
    failure.headline                    # "One axis too many."

In order: type, shape, dtype, device, finite; then `differing_values`. Nothing broadcasts, NaN agrees only with NaN, and
for targets smaller than one the absolute tolerance shrinks with the largest of them, so that zeros never pass for
small numbers.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from interpwidgets.course.kinds import kind
from interpwidgets.course.verdict import Chip, Comparison, Failure

TOLERANCE: dict[str, tuple[float, float]] = {
    "float64": (1e-9, 1e-9),
    "float32": (1e-5, 1e-5),
    "float16": (1e-2, 1e-2),
    "bfloat16": (1e-2, 1e-2),
    "number": (1e-5, 1e-5),  # a float of Python's says nothing of the precision it was computed in
    "complex128": (1e-9, 1e-9),
    "complex64": (1e-5, 1e-5),
}
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch compares them with nothing else
_MOST = 1 << 63  # the first whole number that torch cannot hold


@dataclass(frozen=True)
class Rules:
    """How to compare the results of one exercise: names of the axes, dtype name -> (relative, absolute).

    ``given`` are the arguments by name; lengths of axes are looked for among them.
    """

    axes: Sequence[str] = ()
    tolerance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    def within(self, value: Any) -> tuple[float, float]:
        """Relative and absolute tolerance for this target; exact for integers and truth values."""
        target, name = plain(value), self.precision(value)
        if name in self.tolerance:
            return self.tolerance[name]
        relative, absolute = TOLERANCE.get(name, (0.0, 0.0))
        finite = target[torch.isfinite(target)].abs() if absolute and target.numel() else target.new_zeros(0)
        largest = float(finite.max()) if finite.numel() else 0.0
        return relative, absolute * min(1.0, largest) if largest else absolute

    @staticmethod
    def precision(value: Any) -> str:
        """The row of the table of tolerances for a target."""
        return "number" if isinstance(value, float) else dtype_name(plain(value).dtype)


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


# -- kinds of results ---------------------------------------------------------------------------------------------


def wrong_type(target: Any, yours: Any, where: str = "") -> str | None:
    """A sentence if ``yours`` is not the kind of thing that ``target`` is, else None."""
    it = f"{where} is" if where else "Your function returns"
    asked = f"{kind(target)} is asked."
    if yours is None:
        if target is None:
            return None
        return f"{it} None; {asked} Does its last line say return?" if not where else f"{it} None; {asked}"
    if isinstance(target, torch.Tensor):
        return _not_a_tensor(target, yours, it, asked)
    if isinstance(target, dict):
        return _not_that_dict(target, yours, it, where)
    if isinstance(target, (list, tuple)):
        return _not_that_sequence(target, yours, it, where)
    if isinstance(target, bool) or not isinstance(target, (int, float)):
        return None if type(yours) is type(target) else f"{it} {kind(yours)}; {asked}"
    if not _a_number(target, yours):
        return f"{it} {_kind_of_number(yours)}; {asked}"
    large = yours.item() if getattr(yours, "dtype", None) == torch.uint64 else yours
    if isinstance(large, int | np.integer) and not -_MOST <= int(large) < _MOST:
        return f"{it} a number of more than 63 bits; numbers as large as that are not compared."
    return None


def _kind_of_number(yours: Any) -> str:
    """As `kind`, and of a single tensor also what it holds: that is what makes it another type than is asked."""
    if isinstance(yours, torch.Tensor) and yours.dim() == 0 and (yours.is_complex() or yours.is_floating_point()):
        return f"{kind(yours)} of {dtype_name(yours.dtype)}"
    return kind(yours)


def _a_number(target: float, yours: Any) -> bool:
    if isinstance(yours, torch.Tensor):
        plain = type(yours) in (torch.Tensor, torch.nn.Parameter) and yours.dim() == 0 and yours.dtype != torch.bool
        exact = not yours.is_floating_point() and not yours.is_complex()
        return plain and not yours.is_complex() and (isinstance(target, float) or exact)
    kinds = (int, np.integer) if isinstance(target, int) else (int, float, np.integer, np.floating)
    return isinstance(yours, kinds) and not isinstance(yours, bool)


def _not_a_tensor(target: torch.Tensor, yours: Any, it: str, asked: str) -> str | None:
    if type(yours) in (torch.Tensor, torch.nn.Parameter):
        return None if yours.layout == torch.strided else f"{it} a sparse tensor; a dense one is asked."
    advice = ""
    if isinstance(yours, np.ndarray | np.generic):
        advice = " Stay with torch, or turn it back with torch.from_numpy."
    elif isinstance(yours, (bool, int, float)):
        advice = " Leave out .item() or float()." if target.dim() == 0 else " Is one number left of many?"
    elif isinstance(yours, (list, tuple)):
        advice = " Does torch.stack make one of its parts?"
    elif callable(yours):
        advice = " Is a pair of parentheses missing where you call it?"
    return f"{it} {kind(yours)}; {asked}{advice}"


def _not_that_dict(target: dict[Any, Any], yours: Any, it: str, where: str) -> str | None:
    if type(yours) is not dict:
        return f"{it} {kind(yours)}; a dict with the keys {_keys(target)} is asked."
    if missing := [key for key in target if key not in yours]:
        return f"{where or 'Your dict'} has no key {missing[0]!r}; asked are {_keys(target)}."
    if extra := [key for key in yours if key not in target]:
        return f"{where or 'Your dict'} has one more key, {extra[0]!r}; asked are {_keys(target)}."
    return _first(wrong_type(target[key], yours[key], f"{where or 'Your result'}[{key!r}]") for key in target)


def _not_that_sequence(target: Sequence[Any], yours: Any, it: str, where: str) -> str | None:
    if not isinstance(yours, (list, tuple)):
        return f"{it} {kind(yours)}; {len(target)} things are asked, in {kind(target)}."
    if len(yours) != len(target):
        return f"{it} {len(yours)} things; {len(target)} are asked."
    pairs = enumerate(zip(target, yours, strict=True))
    return _first(wrong_type(one, other, f"{where or 'Your result'}[{at}]") for at, (one, other) in pairs)


def _keys(target: Mapping[Any, Any]) -> str:
    return ", ".join(map(repr, target))


def _first(sentences: Iterator[str | None]) -> str | None:
    return next((sentence for sentence in sentences if sentence), None)


def leaves(value: Any, where: str = "") -> list[tuple[str, Any]]:
    """The tensors, numbers and texts of a result, each with its place: ``[1]``, ``['loss']``."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, f"{where}[{key!r}]")]
    if isinstance(value, (list, tuple)):
        return [leaf for at, item in enumerate(value) for leaf in leaves(item, f"{where}[{at}]")]
    return [(where, value)]


def pairs(target: Any, yours: Any) -> list[tuple[str, Any, Any]]:
    """The leaves of two results of the same kind, side by side (a dict by its keys)."""
    if isinstance(target, dict):
        yours = {key: yours[key] for key in target}
    both = zip(leaves(target), leaves(yours), strict=True)
    return [(where, one, other) for (where, one), (_, other) in both]


# -- one property after the other ---------------------------------------------------------------------------------


def first_difference(target: Any, yours: Any, rules: Rules, held: list[str] | None = None) -> Failure | None:
    """The first of type, shape, dtype, device and finite that does not hold; what holds is added to ``held``."""
    held = [] if held is None else held
    if sentence := wrong_type(target, yours):
        headline = "It returns None." if yours is None else "The result has another type."
        return Failure("type", headline, [sentence])
    held.append("type")
    tensors = [(at, a, b) for at, a, b in pairs(target, yours) if isinstance(a, torch.Tensor)]
    if not tensors:
        return _finite([(at, a, b) for at, a, b in pairs(target, yours) if isinstance(a, float)], held)
    for where, one, other in tensors:
        if one.shape != other.shape:
            return shapes(one, other, rules, where)
    held.append(_shape_name(tensors))
    for where, one, other in tensors:
        if one.dtype != other.dtype:
            return _dtypes(one, other, where)
    held.append(dtype_name(tensors[0][1].dtype) if len(tensors) == 1 else "dtype")
    for where, one, other in tensors:
        if one.device != other.device:
            return _devices(one, other, where)
    held.append("device")
    return _finite(tensors, held)


def _shape_name(tensors: Sequence[tuple[str, Any, Any]]) -> str:
    return f"shape {list(tensors[0][1].shape)}" if len(tensors) == 1 else "shapes"


def _dtypes(target: torch.Tensor, yours: torch.Tensor, where: str) -> Failure:
    asked, came = dtype_name(target.dtype), dtype_name(yours.dtype)
    sentence = f"{_it(where)} holds {came}; {asked} is asked."
    if yours.is_complex() and not target.is_complex():
        sentence += " Complex numbers, such as eigenvalues, stay complex also where their sum is real: .real takes it."
    elif target.is_floating_point() and not yours.is_floating_point():
        sentence += " Whole numbers or truth values came out where floating-point numbers are asked."
    elif came == "float64":
        sentence += " Somewhere a number of Python's or numpy's precision came in."
    elif came == "float32":
        sentence += " A tensor made on the way, by torch.zeros for instance, is float32 unless told otherwise."
    return Failure("dtype", f"It is {came} instead of {asked}.", [sentence], "print the dtype after every step.")


def _devices(target: torch.Tensor, yours: torch.Tensor, where: str) -> Failure:
    sentence = f"{_it(where)} is on {yours.device}; the input is on {target.device}, and so should be the result."
    advice = "look for .cpu(), .to() and for tensors that you make without device=."
    return Failure("device", f"It is on {yours.device} instead of {target.device}.", [sentence], advice)


def _it(where: str) -> str:
    return f"Your result{where}" if where else "Your result"


def _finite(found: Sequence[tuple[str, Any, Any]], held: list[str]) -> Failure | None:
    for where, target, yours in found:
        one, other = plain(target), plain(yours)
        if not (one.is_floating_point() or one.is_complex()) or not bool(torch.isfinite(one).all()):
            continue
        if not bool((good := torch.isfinite(other)).all()):
            return _not_finite(other, good, where)
    held.append("finite")
    return None


def _not_finite(yours: torch.Tensor, good: torch.Tensor, where: str) -> Failure:
    count, total = int((~good).sum()), good.numel()
    nan = bool(torch.isnan(yours).any())
    what = "NaN" if nan else "infinite"
    first = [int(at) for at in (~good).nonzero()[0]] if yours.dim() else []
    place = f", first at {first}" if first else ""
    cause = (
        "NaN comes from 0 / 0, from the logarithm of a negative number, or from the mean of nothing."
        if nan
        else "Infinity comes from a division by zero, from log(0), or from an exponential that grows too large."
    )
    amount = f"{count} of {total} values are" if total > 1 else "The value is"
    told = f"{_it(where)}: {amount.lower()} {what}{place}. {cause}"
    return Failure("finite", f"{amount} {what}.", [told], f"print after every step. After which one is it {what}?")


def plain(value: Any) -> torch.Tensor:
    """A result as an ordinary tensor on the CPU, without its history."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().resolve_conj().resolve_neg().cpu()
        return tensor.long() if tensor.dtype in _UNSIGNED else tensor
    if isinstance(value, np.generic):
        value = float(value) if isinstance(value, np.floating) else value.item()  # torch knows not all of their dtypes
    return torch.as_tensor(value, dtype=torch.float64 if isinstance(value, float) else None)


# -- shapes -------------------------------------------------------------------------------------------------------


def shapes(target: torch.Tensor, yours: torch.Tensor, rules: Rules, where: str = "") -> Failure:
    """What became of the axes: one too many, one missing, swapped, or of another length."""
    asked, came = tuple(target.shape), tuple(yours.shape)
    names = [*rules.axes] if len(rules.axes) == len(asked) else [f"axis {at}" for at in range(len(asked))]
    wanted = [Chip(name, length) for name, length in zip(names, asked, strict=True)]
    headline, mine, sentence = _reading(asked, came, names, rules.given)
    told = f"{_it(where)} has the shape {list(came)}; {list(asked)} is asked." if asked else ""
    told = told or f"{_it(where)} has the shape {list(came)}; one number, a tensor without axes, is asked."
    following = "print the shape after every step." if not sentence.endswith("?") else ""
    return Failure("shape", headline, [told, sentence] if sentence else [told], following, chips=(wanted, mine))


def _reading(
    asked: tuple[int, ...], came: tuple[int, ...], names: list[str], given: Mapping[str, Any]
) -> tuple[str, list[Chip], str]:
    if len(came) == len(asked) + 1:
        for at in reversed(range(len(came))):
            if came[:at] + came[at + 1 :] == asked:
                return _one_too_many(came, names, at, given)
    if len(came) + 1 == len(asked):
        for at in range(len(asked)):
            if asked[:at] + asked[at + 1 :] == came:
                kept = [*names[:at], *names[at + 1 :]]
                mine = [Chip(name, length) for name, length in zip(kept, came, strict=True)]
                mine.insert(at, Chip(names[at], None, odd=True))
                return "One axis is missing.", mine, f"The axis {names[at]}, of length {asked[at]}, is gone."
    if sorted(came) == sorted(asked):
        return _swapped(asked, came, names)
    if len(came) == len(asked):
        odd = [one != other for one, other in zip(asked, came, strict=True)]
        mine = [Chip(name, length, wrong) for name, length, wrong in zip(names, came, odd, strict=True)]
        headline = "One axis has another length." if sum(odd) == 1 else f"{sum(odd)} axes have another length."
        return headline, mine, ""
    more = "Too many axes." if len(came) > len(asked) else "Too few axes."
    return more, [Chip("?", length, odd=True) for length in came], ""


def _one_too_many(
    came: tuple[int, ...], names: list[str], at: int, given: Mapping[str, Any]
) -> tuple[str, list[Chip], str]:
    named = [*names[:at], "?", *names[at:]]
    mine = [Chip(name, length, name == "?") for name, length in zip(named, came, strict=True)]
    sentence = f"The extra axis has length {came[at]}{_as_long_as(came[at], given)}."
    if came[at] == 1:
        sentence = "The extra axis has length 1. Did keepdim or a slice keep it?"
    return "One axis too many.", mine, sentence


def _as_long_as(length: int, given: Mapping[str, Any]) -> str:
    """Where in the input the same length stands, if it is in one place only."""
    places = [f", the value of `{name}`" for name, value in given.items() if type(value) is int and value == length]
    for name, value in given.items():
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
        places += [f", that of axis {at} of `{name}`" for at, size in enumerate(shape) if size == length]
    return places[0] if len(places) == 1 else ""


def _swapped(asked: tuple[int, ...], came: tuple[int, ...], names: list[str]) -> tuple[str, list[Chip], str]:
    order = next(p for p in itertools.permutations(range(len(asked))) if tuple(asked[i] for i in p) == came)
    mine = [Chip(names[i], came[at], odd=i != at) for at, i in enumerate(order)]
    moved = [names[i] for at, i in enumerate(order) if i != at]
    headline = "Two axes are swapped." if len(moved) == 2 else "The axes come in another order."
    return headline, mine, "The lengths are those asked, in another order."


# -- values -------------------------------------------------------------------------------------------------------


def differing_values(target: Any, yours: Any, rules: Rules) -> Failure | None:
    """The part of two results of the same kind and shape in which most of the values differ, or None."""
    worst: tuple[int, Failure] | None = None
    for where, one, other in pairs(target, yours):
        if not isinstance(one, torch.Tensor | int | float):
            if one != other:
                sentence = f"{_it(where)} is {other!r}; {one!r} is asked."
                return Failure("values", "The value differs.", [sentence])
            continue
        a, b = plain(one), plain(other)
        wrong = ~close(a, b, rules.within(one))
        if (count := int(wrong.sum())) and (worst is None or count > worst[0]):
            worst = count, _values(a, b, wrong, rules, where, rules.precision(one))
    return worst[1] if worst else None


def close(target: torch.Tensor, yours: torch.Tensor, within: tuple[float, float]) -> torch.Tensor:
    """True where two tensors of one shape agree: exactly, both NaN, or within (relative, absolute)."""
    relative, absolute = within
    if target.is_complex():
        one, other = target.to(torch.complex128), yours.to(torch.complex128)
    elif target.is_floating_point() or yours.is_floating_point():
        one, other = target.double(), yours.double()
    else:
        return target == yours
    near = (one - other).abs() <= absolute + relative * one.abs()
    if not bool(torch.isfinite(one.abs()).all()):
        near &= torch.isfinite(one.abs())  # next to an infinite target everything would be near
    return near | (one == other) | (torch.isnan(one) & torch.isnan(other))


def _values(
    target: torch.Tensor, yours: torch.Tensor, wrong: torch.Tensor, rules: Rules, where: str, precision: str
) -> Failure:
    count, total = int(wrong.sum()), wrong.numel()
    part = f" of result{where}" if where else ""
    if total == 1:
        headline = f"The value{part} differs."
    elif count == total:
        headline = f"All {total} values{part} differ."
    else:
        headline = f"{count} of {total} values{part} {'differ' if count > 1 else 'differs'}."
    axes = rules.axes if len(rules.axes) == target.dim() else [f"axis {at}" for at in range(target.dim())]
    compared = Comparison(_array(target), _array(yours), wrong.numpy(), tuple(axes), where)
    seen = observed(target, yours, rules)
    return Failure(values_name(rules, precision), headline, [seen] if seen else [], comparison=compared)


def values_name(rules: Rules, precision: str) -> str:
    """The last property, as the learner reads it: "values, within 10⁻⁵"."""
    tolerance = max(rules.tolerance.get(precision) or TOLERANCE.get(precision, (0.0, 0.0)))
    if not tolerance:
        return "values"
    mantissa, exponent = f"{tolerance:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"values, within {power if mantissa == '1' else f'{mantissa} · {power}'}"


def _array(values: torch.Tensor) -> Any:
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def observed(target: torch.Tensor, yours: torch.Tensor, rules: Rules) -> str:
    """A regularity in how two tensors differ, as a fact in one sentence; "" if there is none."""
    if target.numel() < 2 or not target.is_floating_point() or not yours.is_floating_point():
        return ""
    if not bool(torch.isfinite(target).all() and torch.isfinite(yours).all()):
        return ""
    one, other, within = target.double(), yours.double(), rules.within(target)
    for order in itertools.islice(itertools.permutations(range(one.dim())), 1, 24):
        if one.permute(order).shape == other.shape and bool(close(one.permute(order), other, within).all()):
            return "Your values are those asked, with the axes in another order."
    factor = float((other.flatten() @ one.flatten()) / (one.flatten() @ one.flatten()).clamp_min(1e-300))
    enough = int((~close(one, other, within) & (one != 0) & (other != 0)).sum()) > 2  # fewer agree by chance
    if factor and enough and bool(close(factor * one, other, within).all()):
        return f"Every one of your values is {_number(factor)} times the target."
    offset = float((other - one).mean())
    if bool(close(one + offset, other, within).all()):
        return f"Every one of your values is {_number(abs(offset))} too {'high' if offset > 0 else 'low'}."
    return ""


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
