"""Values as bytes, between the grader and the child that runs learner code. Nothing in them can run.

    unpacked(packed((pattern, 4)))      # grader -> child: arguments, exactly as they are: strides, gradients, models
    heard(told(result, limit=1 << 20))  # child -> grader: plain values; anything else becomes a `Foreign` of its kind

What a child says is taken for what a stranger says. `heard` makes only tensors, arrays of plain dtypes, numbers, text,
None, lists, tuples and dicts of these; every length is checked against what is there before anything is made; and
whatever does not fit exactly is `Garbled`. bfloat16 travels as its bits. This module is also there in the sandbox.
"""

import dataclasses
import importlib
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NOTES = ("trouble", "twice")  # texts that a drive pins to the tensor it returns

_DTYPES: tuple[torch.dtype, ...] = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
)
_ARRAYS = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_DEPTH, _ITEMS, _TEXT, _AXES, _NAME = 16, 20_000, 20_000, 32, 60
_STAGES = "interpwidgets.exercises."
_LIBRARY = {  # models of the course that exercises hand over: where their classes live
    "GPT2LMHeadModel": "transformers.models.gpt2.modeling_gpt2",
    "AttentionOnlyForCausalLM": "interpwidgets.models.attention_only",
}


class Garbled(ValueError):
    """Bytes that are no value; the message says what is wrong with them."""


class TooLarge(ValueError):
    """A result of more bytes than are taken; the message says what it is."""


class Foreign:
    """What stands for a value that is none of the plain ones; its class has the name of the value's class."""


# -- writing ------------------------------------------------------------------------------------------------------


class _Writer:
    """Collects bytes; ``writes`` knows the plain types, ``other`` decides what becomes of all the rest."""

    def __init__(self, writes: "_Writes", other: Callable[["_Writer", Any], None], limit: float = math.inf) -> None:
        self.parts: list[bytes] = []
        self._writes, self._other, self._left, self._items = writes, other, limit, _ITEMS

    def put(self, *parts: bytes) -> None:
        self._left -= sum(map(len, parts))
        if self._left < 0:
            raise TooLarge("its parts together")
        self.parts += parts

    def text(self, text: str) -> None:
        data = text[:_TEXT].encode(errors="replace")
        self.put(struct.pack("<I", len(data)), data)

    def value(self, value: Any, depth: int = 0) -> None:
        self._items -= 1
        if self._items < 0:
            raise TooLarge(f"more than {_ITEMS} things")
        plain = self._writes.get(type(value)) if depth < _DEPTH else None
        if isinstance(value, tuple) and depth < _DEPTH:
            plain = _items  # also a named one, such as `max` over an axis returns
        if plain is None or plain(self, value, depth) is False:
            self._other(self, value)

    def numbers(self, tag: bytes, kind: int, shape: tuple[int, ...], size: int, raw: Callable[[], bytes]) -> None:
        """The head of an array, and its bytes, which are made only if there is room for them."""
        if math.prod(shape) * size > self._left:
            raise TooLarge(f"an array of shape {list(shape)}")
        self.put(tag, struct.pack(f"<BB{len(shape)}q", kind, len(shape), *shape), raw())


def _number(out: _Writer, value: int, depth: int) -> bool | None:
    size = value.bit_length() // 8 + 1
    if size > 8:
        return False
    out.put(b"i", struct.pack("<q", value))
    return None


def _text(out: _Writer, value: str, depth: int) -> None:
    out.put(b"s")
    out.text(value)


def _items(out: _Writer, value: Any, depth: int) -> None:
    out.put(b"l" if isinstance(value, list) else b"t", struct.pack("<I", len(value)))
    for item in tuple(value):
        out.value(item, depth + 1)


def _dict(out: _Writer, value: dict[Any, Any], depth: int) -> bool | None:
    if not all(type(key) is str for key in value):
        return False
    out.put(b"d", struct.pack("<I", len(value)))
    for key, item in list(value.items()):
        out.text(key)
        out.value(item, depth + 1)
    return None


def _tensor(out: _Writer, value: Tensor, depth: int) -> bool | None:
    if value.layout != torch.strided or value.device.type != "cpu" or value.dtype not in _DTYPES:
        return False
    out.numbers(
        b"a", _DTYPES.index(value.dtype), tuple(value.shape), value.element_size(), lambda: _raw(value.detach())
    )
    notes = {name: text for name in NOTES if type(text := getattr(value, name, None)) is str}
    out.put(struct.pack("<B", len(notes)))
    for name, text in notes.items():
        out.text(name)
        out.text(text)
    return None


def _raw(value: Tensor) -> bytes:
    flat = value.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def _array(out: _Writer, value: Any, depth: int) -> bool | None:
    if value.dtype.name not in _ARRAYS:
        return False
    kind = value.dtype.newbyteorder("=")
    out.numbers(
        b"n" if isinstance(value, np.ndarray) else b"g",
        _ARRAYS.index(value.dtype.name),
        tuple(value.shape),
        value.dtype.itemsize,
        lambda: np.ascontiguousarray(value, dtype=kind).tobytes(),
    )
    return None


_Writes = dict[type, Callable[[_Writer, Any, int], bool | None]]

_RESULTS: _Writes = {
    type(None): lambda out, value, depth: out.put(b"N"),
    bool: lambda out, value, depth: out.put(b"T" if value else b"F"),
    int: _number,
    float: lambda out, value, depth: out.put(b"f", struct.pack("<d", value)),
    str: _text,
    list: _items,
    dict: _dict,
    Tensor: _tensor,
    nn.Parameter: _tensor,
    np.ndarray: _array,
    **{np.dtype(name).type: _array for name in _ARRAYS},
}


def told(value: Any, limit: int) -> bytes:
    """A result, in at most ``limit`` bytes. Raises `TooLarge`, before it makes them."""
    out = _Writer(_RESULTS, _foreign, limit)
    out.value(value)
    return b"".join(out.parts)


def _foreign(out: _Writer, value: Any) -> None:
    name = type(value).__name__
    if type(value) in (Tensor, nn.Parameter):
        kind = value.device.type if value.device.type != "cpu" else str(value.layout).removeprefix("torch.")
        name = f"{kind if kind != 'strided' else value.dtype} tensor"
    elif type(value) is int:
        name = "int of so many digits"
    out.put(b"x")
    out.text(name[:_NAME])
    out.put(b"T" if callable(value) else b"F")


# -- reading ------------------------------------------------------------------------------------------------------


class _Reader:
    """Takes bytes from the front; ``tags`` are the kinds of value that it knows."""

    def __init__(self, data: bytes, tags: dict[bytes, Callable[["_Reader", int], Any]]) -> None:
        self._data, self._at, self._tags, self._items = memoryview(data), 0, tags, _ITEMS

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self._data) - self._at:
            raise Garbled("it ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def text(self) -> str:
        (size,) = self.numbers("I")
        if size > 4 * _TEXT:
            raise Garbled("a text is too long")
        return str(self.take(size), "utf-8")

    def value(self, depth: int = 0) -> Any:
        self._items -= 1
        reads = self._tags.get(bytes(self.take(1)))
        if reads is None or depth > _DEPTH or self._items < 0:
            raise Garbled("there is a value of no kind, too deep, or one too many")
        return reads(self, depth)

    def shape(self) -> tuple[int, tuple[int, ...]]:
        """Number of the dtype, and the lengths of the axes."""
        kind, axes = self.numbers("BB")
        shape = self.numbers(f"{axes}q") if axes <= _AXES else (-1,)
        if not all(0 <= length < 1 << 40 for length in shape) or math.prod(n for n in shape if n) >= 1 << 48:
            raise Garbled("an array of impossible lengths")
        return kind, shape

    def done(self) -> bool:
        return self._at == len(self._data)


def _read_items(data: _Reader, depth: int) -> list[Any]:
    (count,) = data.numbers("I")
    return [data.value(depth + 1) for _ in range(count)]


def _read_dict(data: _Reader, depth: int) -> dict[str, Any]:
    (count,) = data.numbers("I")
    return {data.text(): data.value(depth + 1) for _ in range(count)}


def _numbers_of(data: _Reader) -> Tensor:
    kind, shape = data.shape()
    if kind >= len(_DTYPES):
        raise Garbled("a tensor of no dtype")
    dtype = _DTYPES[kind]
    raw = bytearray(data.take(math.prod(shape) * dtype.itemsize))
    if not raw:
        return torch.empty(shape, dtype=dtype)
    if dtype == torch.bool:
        return torch.frombuffer(raw, dtype=torch.uint8).ne(0).reshape(shape)
    return torch.frombuffer(raw, dtype=dtype).reshape(shape)


def _read_tensor(data: _Reader, depth: int) -> Tensor:
    tensor = _numbers_of(data)
    (notes,) = data.numbers("B")
    for _ in range(notes):
        name, text = data.text(), data.text()
        if name not in NOTES:
            raise Garbled("a note of no kind")
        setattr(tensor, name, text)
    return tensor


def _read_array(data: _Reader, depth: int) -> Any:
    kind, shape = data.shape()
    if kind >= len(_ARRAYS):
        raise Garbled("an array of no dtype")
    dtype = np.dtype(_ARRAYS[kind])
    return np.frombuffer(bytearray(data.take(math.prod(shape) * dtype.itemsize)), dtype=dtype).reshape(shape)


def _read_scalar(data: _Reader, depth: int) -> Any:
    array = _read_array(data, depth)
    if array.shape:
        raise Garbled("a number with axes")
    return array[()]


def _read_foreign(data: _Reader, depth: int) -> Foreign:
    name, called = data.text(), bytes(data.take(1)) == b"T"
    shown = "".join(letter for letter in name[:_NAME] if letter.isprintable()) or "thing"
    content: dict[str, Any] = {"__call__": lambda self: None} if called else {}
    made: Foreign = type(shown, (Foreign,), content)()
    return made


_PLAIN: dict[bytes, Callable[[_Reader, int], Any]] = {
    b"N": lambda data, depth: None,
    b"T": lambda data, depth: True,
    b"F": lambda data, depth: False,
    b"i": lambda data, depth: data.numbers("q")[0],
    b"f": lambda data, depth: data.numbers("d")[0],
    b"s": lambda data, depth: data.text(),
    b"l": _read_items,
    b"t": lambda data, depth: tuple(_read_items(data, depth)),
    b"d": _read_dict,
    b"a": _read_tensor,
    b"n": _read_array,
    b"g": _read_scalar,
    b"x": _read_foreign,
}


def heard(data: bytes) -> Any:
    """The value that a stranger's bytes say. Raises `Garbled`, whatever they are."""
    reader = _Reader(data, _PLAIN)
    try:
        value = reader.value()
    except Garbled:
        raise
    except (ValueError, TypeError, RuntimeError, OverflowError, RecursionError, struct.error) as error:
        raise Garbled(f"it cannot be read: {type(error).__name__}") from None
    if not reader.done():
        raise Garbled("more follows than one value")
    return value


# -- arguments ----------------------------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    """Arguments of a case, as they are. Raises `TypeError` for a value that has no way into the sandbox."""
    out = _Writer({**_RESULTS, Tensor: _exact, nn.Parameter: _exact}, _argument)
    out.value(value)
    return b"".join(out.parts)


def _exact(out: _Writer, value: Tensor, depth: int) -> None:
    shape, strides = tuple(value.shape), value.stride()
    if 0 in strides:
        strides = torch.empty(shape, device="meta").stride()  # what a copy of it has
    head = struct.pack(f"<B{len(strides)}q", value.requires_grad, *strides)
    out.numbers(b"A", _DTYPES.index(value.dtype), shape, 0, lambda: head + _raw(value.detach().cpu()))


def _argument(out: _Writer, value: Any) -> None:
    kind = type(value)
    if isinstance(value, nn.Module):
        held = {name: tensor for each in (value.named_parameters(), value.named_buffers()) for name, tensor in each}
        out.put(b"m")
        out.value([_home(kind), _sizes(value), held, value.training])
    elif dataclasses.is_dataclass(value) and kind.__module__.startswith(_STAGES):
        out.put(b"o")
        out.value([_home(kind), {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}])
    else:
        raise TypeError(f"{kind.__qualname__} of {kind.__module__} has no way into the sandbox")


def _home(kind: type) -> str:
    home = _LIBRARY.get(kind.__name__, kind.__module__)
    if home != kind.__module__ or not (kind.__name__ in _LIBRARY or home.endswith(".stage")):
        raise TypeError(f"{kind.__qualname__} of {kind.__module__} has no way into the sandbox")
    return f"{home}:{kind.__qualname__}"


def _sizes(module: Any) -> Any:
    """What makes another model of the same shape: the configuration of the library's, the ``sizes`` of ours."""
    return module.config.to_json_string() if hasattr(module, "config") else module.sizes


def unpacked(data: bytes) -> Any:
    """The arguments that `packed` has packed; only for bytes that come from the grader."""
    return _Reader(data, {**_PLAIN, b"A": _read_exact, b"m": _read_module, b"o": _read_object}).value()


def _read_exact(data: _Reader, depth: int) -> Tensor:
    kind, shape = data.shape()
    wanted, *strides = data.numbers(f"B{len(shape)}q")
    dtype = _DTYPES[kind]
    raw = bytearray(data.take(math.prod(shape) * dtype.itemsize))
    tensor = torch.empty_strided(shape, strides, dtype=dtype)
    if raw:
        tensor.copy_(torch.frombuffer(raw, dtype=dtype).reshape(shape))
    return tensor.requires_grad_(bool(wanted))


def _class(home: str) -> Any:
    module, name = home.split(":")
    return getattr(importlib.import_module(module), name)


def _read_module(data: _Reader, depth: int) -> Any:
    home, sizes, held, training = data.value(depth)
    kind = _class(home)
    module = kind(kind.config_class.from_dict(json.loads(sizes))) if isinstance(sizes, str) else kind(**sizes)
    there = dict([*module.named_parameters(), *module.named_buffers()])
    with torch.no_grad():
        for name, tensor in held.items():
            there[name].data = tensor.detach()
            there[name].requires_grad_(tensor.requires_grad)
    return module.train(training)


def _read_object(data: _Reader, depth: int) -> Any:
    home, fields = data.value(depth)
    return _class(home)(**fields)
