"""The trained models that come with the package: where they are, and the series of steps that some were kept at.

    from interpwidgets.models.shipped import SHIPPED, WEIGHTS, steps_in

    SHIPPED                     # {"attn2l": "two layers of attention ...", ...}, from weights/index.json
    steps_in(WEIGHTS / "attn2l")    # [0, 100, ..., 1500]; the last one is the finished model

``weights/<name>/`` is a directory as `save_pretrained` writes one, with a ``card.json`` that says how the model was
made, what was measured, and the checksum of each file. ``series.safetensors`` holds the earlier steps: each weight
once, the steps stacked in front.
"""

import json
from hashlib import sha256
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

CARD, SERIES = "card.json", "series.safetensors"
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED: dict[str, str] = json.loads((WEIGHTS / "index.json").read_text(encoding="utf-8"))  # name: what it is


def steps_in(folder: Path) -> list[int]:
    """The steps of training that were kept in ``folder``; [] if it holds the end only."""
    if not (folder / SERIES).is_file():
        return []
    with safe_open(folder / SERIES, "pt") as file:
        metadata = file.metadata()
    return [*json.loads(metadata["steps"]), int(metadata["last"])]


def weights_at(folder: Path, step: int) -> dict[str, Tensor] | None:
    """The weights at ``step``, one of `steps_in`; None for the last, which is the model itself."""
    steps = steps_in(folder)
    if step == steps[-1]:
        return None
    with safe_open(folder / SERIES, "pt") as file:
        return {key: file.get_slice(key)[steps.index(step)] for key in file.keys()}  # noqa: SIM118


def damage(name: str, series: bool = False) -> str | None:
    """What is wrong with the files of the shipped model ``name``, in words; None if all are as its card says.

    The file of the ``series`` is read only on request: a checksum takes about a millisecond for each megabyte.
    """
    folder = WEIGHTS / name
    try:
        files = json.loads((folder / CARD).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{folder / CARD} is missing or damaged"
    for file, checksum in files.items():
        if file == SERIES and not series:
            continue
        try:
            found = sha256((folder / file).read_bytes()).hexdigest()
        except OSError as error:
            return f"{folder / file} cannot be read ({error.strerror})"
        if found != checksum:
            return f"{folder / file} is damaged: it is not what its checksum in {CARD} says"
    return None
