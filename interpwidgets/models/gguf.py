"""Models in one file, as llama.cpp keeps them: GGUF.

    from interpwidgets import load

    model = load("./SmolLM2-135M-Instruct.Q4_1.gguf")     # needs the package gguf: pip install "interpwidgets[gguf]"
    model.tokenizer("The cat sat")

Such a file holds everything: names and numbers of the model, its tokenizer, and its weights, mostly in a few bits each.
They are unpacked, so that what comes back is the library's own model in float32, four to eight times as large as the
file. The weights stay as coarse as they were packed: figures are those of the packed model, not of the one it was made
from. Files that would open as half of a model, or as another one, are refused.

How a file begins::

    GGUF  version  n_tensors  n_fields | fields: name, type, value | tensors: name, shape, type, offset | padding | data

Source: the GGUF specification, docs/gguf.md in the repository of ggml.
"""

import struct
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

MAGIC = b"GGUF"
VERSIONS = (2, 3)
INSTALL = 'pip install "interpwidgets[gguf]"'

# What the values of fields are, by the number of their type; strings (8) and arrays (9) tell their own length.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class GGUFError(ValueError):
    """A file that cannot be opened; the message says why, in one sentence."""


@dataclass(frozen=True)
class Header:
    """What stands before the weights. Of fields that are lists only the length is kept."""

    fields: dict[str, Any]
    tensors: tuple[str, ...]
    n_bytes: int  # how long the whole file has to be

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", "nothing"))


def read_header(file: Path) -> Header:
    """Read what stands before the weights of ``file``; raises `GGUFError` if that is not what a GGUF file has there."""
    with file.open("rb") as stream:
        if stream.read(4) != MAGIC:
            raise GGUFError(f"{file} is not a GGUF file, whatever its name: it does not begin with {MAGIC.decode()!r}.")
        try:
            return _header(stream, file)
        except (struct.error, UnicodeDecodeError, KeyError, OverflowError, MemoryError):
            raise GGUFError(f"{file} is damaged or cut off before its weights begin; fetch it again.") from None


def open_gguf(file: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model in ``file``, its weights unpacked to ``dtype``, not yet in evaluation mode.

    Raises `GGUFError`, in one sentence, for a missing package, a file that is not GGUF, is cut off or one of several
    parts, and an architecture or tensors that the installed transformers cannot put into a model.
    """
    header = read_header(file)
    _check(file, header)
    # `from_pretrained(gguf_file=...)` would want one more package and leaves a quantizer on the model, which then can
    # neither be trained nor saved. What it calls inside does not.
    opener, config = _class_for(file, header)
    try:
        with torch.device("meta"):
            empty = opener(config)
        read: Any = load_gguf_checkpoint
        tensors = read(str(file), return_tensors=True, model_to_load=empty)["tensors"]
        _check_placed(file, header, tensors, empty)
        model, report = opener.from_pretrained(
            None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True
        )
    except GGUFError:
        raise
    except (ValueError, RuntimeError, KeyError, IndexError, NotImplementedError) as error:
        raise GGUFError(f"the weights in {file} could not be read: {_first_line(error)}") from None
    if missing := sorted(report["missing_keys"]):
        raise GGUFError(
            f"{file} lacks {len(missing)} of the tensors that a {opener.__name__} has, such as {missing[0]!r}."
        )
    loaded: PreTrainedModel = model
    return loaded


def tokenizer_in(file: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer in ``file``; None if it has none. Raises whatever the library does for one that it cannot build."""
    if "tokenizer.ggml.tokens" not in read_header(file).fields:
        return None
    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(
        file.parent, gguf_file=file.name, local_files_only=True
    )
    return tokenizer


# -- what cannot be opened


def _check(file: Path, header: Header) -> None:
    parts = header.fields.get("split.count", 1)
    if parts > 1:
        raise GGUFError(
            f"{file} is one of {parts} parts of a model; join them with llama.cpp's `llama-gguf-split --merge` first."
        )
    there = file.stat().st_size
    if there < header.n_bytes:
        raise GGUFError(f"{file} is cut off: {there:,} of {header.n_bytes:,} bytes are there; fetch it again.")


def _check_placed(file: Path, header: Header, tensors: dict[str, torch.Tensor], empty: Any) -> None:
    """A tensor without a place, such as one that scales a rotation, would make it another model than the file's."""
    for name, wanted in empty.state_dict().items():
        if name in tensors and tensors[name].shape != wanted.shape:
            raise GGUFError(
                f"{file} says that {name!r} is of shape {list(wanted.shape)}, but holds {list(tensors[name].shape)}."
            )
    n_placed, experts = len(tensors), any("_exps" in name for name in header.tensors)  # of these, several become one
    if n_placed >= len(header.tensors) or experts:
        return
    rotation = [name for name in header.tensors if name.startswith("rope_")]
    such = f", {rotation[0]!r} among them" if rotation else ""
    raise GGUFError(
        f"{file} holds {len(header.tensors) - n_placed} tensors for which transformers {transformers.__version__} has "
        f"no place{such}, so it would open as another model; load the safetensors of the same model instead."
    )


def _class_for(file: Path, header: Header) -> tuple[Any, Any]:
    """The library's class for the language model in ``file``, and its configuration."""
    try:
        config = AutoConfig.from_pretrained(
            file.parent, gguf_file=file.name, trust_remote_code=False, local_files_only=True
        )
        config.max_position_embeddings = header.fields.get(  # which the library forgets for GPT-2
            f"{header.architecture}.context_length", config.max_position_embeddings
        )
        return AutoModelForCausalLM._model_mapping[type(config)], config
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, NotImplementedError):
        raise GGUFError(
            f"{file} holds a model of the architecture {header.architecture!r}, which transformers "
            f"{transformers.__version__} cannot open as a language model from GGUF."
        ) from None


# -- the header


def _header(stream: BinaryIO, file: Path) -> Header:
    version, n_tensors, n_fields = _unpack(stream, "IQQ")
    if version not in VERSIONS:
        raise GGUFError(f"{file} is written in version {version} of GGUF; versions {VERSIONS[0]} and 3 can be read.")
    if find_spec("gguf") is None:
        raise GGUFError(f"GGUF files need the package gguf: {INSTALL}")
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    fields = {}
    for _ in range(n_fields):
        name = _string(stream)
        fields[name] = _value(stream, *_unpack(stream, "I"))
    names, end = [], 0
    for _ in range(n_tensors):
        names.append(_string(stream))
        (n_dims,) = _unpack(stream, "I")
        *shape, kind, offset = _unpack(stream, f"{n_dims}QIQ")
        try:
            numbers, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except ValueError:
            raise GGUFError(
                f"{names[-1]!r} in {file} is packed in a way (type {kind}) that gguf cannot unpack."
            ) from None
        end = max(end, offset + prod(shape) // numbers * n_bytes)
    align = int(fields.get("general.alignment", 32))
    return Header(fields, tuple(names), -(-stream.tell() // align) * align + end)


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    form = f"<{form}"
    return struct.unpack(form, stream.read(struct.calcsize(form)))


def _string(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "Q")
    return _unpack(stream, f"{length}s")[0].decode()  # type: ignore[no-any-return]


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(stream)
    if kind != _ARRAY:
        return _unpack(stream, _NUMBERS[kind])[0]
    of, length = _unpack(stream, "IQ")
    if of in _NUMBERS:
        _unpack(stream, f"{length}{_NUMBERS[of]}")
    else:
        for _ in range(length):
            _value(stream, of)
    return length


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
