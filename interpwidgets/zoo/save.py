"""Write a model of the zoo into a directory that `load` opens: weights, tokenizer, series of steps, card.

from interpwidgets.zoo.save import save

made = spec.train()
measured = save(spec, made, Path("attn2l"))

What is measured is what was written, in the precision in which it was written. The directory is there when all of it
is written, and not before.
"""

import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers.utils import logging

from interpwidgets._errors import Told
from interpwidgets._version import __version__
from interpwidgets.models.shipped import CARD, SERIES
from interpwidgets.zoo.spec import Made, Measured, ZooModel, measure


class SaveError(Told, OSError):
    """A model that cannot be written; the message says why, and nothing half-written is left."""


def save(spec: ZooModel, made: Made, folder: Path) -> dict[str, Measured]:
    """Write ``made`` into ``folder``, which is new or empty, and which `load` opens then. Returns what was measured.

    Raises `SaveError`, in one sentence, if ``folder`` holds something or cannot be written.
    """
    model: Any = made.model
    with _all_or_nothing(folder) as half:
        with _no_progress_bar():
            model.save_pretrained(half, state_dict=_in_precision(spec, model.state_dict()))
        if getattr(model, "tokenizer", None) is not None:
            model.tokenizer.save_pretrained(half)
        if made.series:
            _save_series(made, half)
        files = {file.name: _checksum(file) for file in sorted(half.iterdir())}
        measured = measure(spec, half)
        more = {} if spec.more is None else spec.more(model)
        written = card(spec, made, measured) | dict(more) | {"files": files}
        (half / CARD).write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return measured


def card(spec: ZooModel, made: Made, measured: dict[str, Measured]) -> dict[str, Any]:
    """What is to be known about a model: what it is, how it was made, what was measured."""
    return {
        "name": spec.name,
        "purpose": spec.purpose,
        "architecture": spec.architecture,
        "parameters": sum(weight.numel() for weight in made.model.parameters()),
        "data": spec.data,
        "recipe": dict(spec.recipe),
        "minutes of processor time": round(made.minutes, 2),
        "measured": {
            what: {
                "value": round(found.value, 4),
                **{k: v for k, v in (("at least", found.at_least), ("at most", found.at_most)) if v is not None},
            }
            for what, found in measured.items()
        },
        "limits": spec.limits,
        "trained": datetime.now(UTC).date().isoformat(),
        "versions": {
            "interpwidgets": __version__,
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "license": "MIT",
    }


def _in_precision(spec: ZooModel, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """In the precision of ``spec``; a weight under two names stays one tensor."""
    kind = getattr(torch, spec.precision)
    converted = {weight.data_ptr(): weight.to(kind) for weight in weights.values()}
    return {name: converted[weight.data_ptr()] for name, weight in weights.items()}


def _save_series(made: Made, folder: Path) -> None:
    """Each weight once, the steps stacked in front, in half precision."""
    steps = sorted(made.series)
    names = next(iter(made.series.values()))
    stacked = {name: torch.stack([made.series[step][name] for step in steps]).half() for name in names}
    save_file(stacked, folder / SERIES, {"steps": json.dumps(steps), "last": str(made.steps)})


def _checksum(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Path]:
    """A directory beside ``folder`` that takes its place at the end, or goes away with what is in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SaveError(f"{folder} is not empty; name another folder, or remove it.")
    half = folder.with_name(f".{folder.name}.half-written")
    shutil.rmtree(half, ignore_errors=True)  # of a run that was killed
    try:
        half.mkdir(parents=True)
        yield half
        if folder.exists():
            folder.rmdir()
        half.rename(folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SaveError(f"{folder} could not be written, and nothing of it was left behind: {reason}") from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """The library draws one for every file it writes."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
