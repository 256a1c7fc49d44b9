"""What goes into the sandbox arrives as it was; what comes out of it is plain values, or nothing."""

import itertools
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interpwidgets.exercises.ch01.stage import Machine, Shifted
from interpwidgets.exercises.ch02.asking import small_model
from interpwidgets.exercises.ch02.stage import Unembedding
from interpwidgets.grading.wire import Foreign, Garbled, TooLarge, heard, packed, told, unpacked

LIMIT = 1 << 20


class Pair(NamedTuple):
    first: int
    second: float


PLAIN = [
    None,
    True,
    -7,
    2.5,
    "text, ünïcode \N{SNOWMAN}",
    [1, [2.0, None]],
    (1, "two"),
    {"loss": 1.0, "weights": [False]},
    torch.arange(6).reshape(2, 3),
    torch.randn(2, 3, dtype=torch.bfloat16),
    torch.randn(3, dtype=torch.complex64).conj(),
    torch.tensor(True),
    torch.empty(0, 3),
    torch.randn(4, 3).T[::2],
    np.arange(3, dtype=">i4"),
    np.float32(2.5),
]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.resolve_conj(), other)
    if isinstance(one, np.ndarray | np.generic):
        return bool(one.dtype.newbyteorder("=") == other.dtype and np.array_equal(one, other))
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(itertools.starmap(same, zip(one, other, strict=True)))
    return bool(type(one) is type(other) and one == other)


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: f"{type(value).__name__} {getattr(value, 'dtype', '')}")
def test_plain_values_come_out_as_they_are(value: Any) -> None:
    assert same(value, heard(told(value, LIMIT)))


def test_a_named_tuple_comes_out_as_a_tuple() -> None:
    assert heard(told(Pair(1, 2.0), LIMIT)) == (1, 2.0)
    values, places = heard(told(torch.tensor([1.0, 3.0]).max(0), LIMIT))
    assert (values.item(), places.item()) == (3.0, 1)


class Strange(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (torch.ones(2).as_subclass(Strange), "Strange"),
        (torch.ones(2).to_sparse(), "sparse_coo tensor"),
        (torch.ones(2, device="meta"), "meta tensor"),
        (torch.ones(2).to(torch.float8_e4m3fn), "torch.float8_e4m3fn tensor"),
        (np.array([None]), "ndarray"),
        (10**30, "int of so many digits"),
        ({1: 2}, "dict"),
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        (1j, "complex"),
    ],
)
def test_everything_else_comes_out_as_the_name_of_its_class(value: Any, name: str) -> None:
    came = heard(told(value, LIMIT))
    assert isinstance(came, Foreign)
    assert type(came).__name__ == name


def test_a_list_that_holds_itself_ends_somewhere() -> None:
    ring: list[Any] = []
    ring.append(ring)
    value = heard(told(ring, LIMIT))
    while isinstance(value, list):
        (value,) = value
    assert isinstance(value, Foreign)


@pytest.mark.parametrize(
    "value",
    [torch.zeros(1).expand(1 << 30, 1 << 10), np.zeros(LIMIT), [0] * 1_000_000, ["x" * 20_000] * 100],
    ids=["a view of a terabyte", "an array", "a long list", "many texts"],
)
def test_what_is_too_large_is_refused_before_it_is_copied(value: Any) -> None:
    with pytest.raises(TooLarge):
        told(value, LIMIT)


@given(st.binary(max_size=300))
def test_whatever_bytes_come_they_are_a_plain_value_or_garbled(data: bytes) -> None:
    with suppress(Garbled):
        heard(data)


@given(st.data())
def test_one_changed_byte_never_does_more_than_garble(data: st.DataObject) -> None:
    whole = bytearray(told({"value": [PLAIN[8], PLAIN[15], ("text", 2.5)], "error": None}, LIMIT))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Garbled):
        heard(bytes(whole))


def test_every_part_of_a_message_is_garbled_and_so_is_more_than_one() -> None:
    whole = told({"value": torch.ones(2, 3), "list": [1, "two"]}, LIMIT)
    for end in range(len(whole)):
        with pytest.raises(Garbled):
            heard(whole[:end])
    with pytest.raises(Garbled):
        heard(whole + b"N")


def test_a_stranger_cannot_name_a_class() -> None:
    for data in (packed((Shifted(),)), packed((Machine(),)), packed((torch.ones(2),))):
        with pytest.raises(Garbled):
            heard(data)


def test_arguments_keep_strides_and_gradients() -> None:
    given = (torch.randn(4, 3).T, torch.randn(2, 9)[..., ::2], torch.randn(2, requires_grad=True), torch.ones(1, 3))
    for one, other in zip(given, unpacked(packed(given)), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
        assert one.requires_grad == other.requires_grad


def test_models_and_functions_arrive_doing_the_same() -> None:
    machine, edit, readout = Machine(7, 4), Shifted(), Unembedding(torch.randn(4, 5), norm=True)
    tokens, x = torch.tensor([[1, 2, 3]]), torch.randn(2, 4)
    model = small_model(0)
    theirs = unpacked(packed((machine, edit, readout, model)))
    assert torch.equal(theirs[0](tokens).logits, machine(tokens).logits)
    assert torch.equal(theirs[1](x), edit(x))
    assert torch.equal(theirs[2](x), readout(x))
    assert torch.equal(theirs[3](tokens).logits, model(tokens).logits)
    assert not theirs[3].training


def test_what_has_no_way_into_the_sandbox_is_named() -> None:
    with pytest.raises(TypeError, match="Linear of torch"):
        packed((torch.nn.Linear(2, 2),))
    with pytest.raises(TypeError, match="function"):
        packed((lambda x: x,))
