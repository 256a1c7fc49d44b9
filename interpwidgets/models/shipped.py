"""The trained models that come with the package: where they are, and the series of steps that some were kept at.

    from interpwidgets.models.shipped import SHIPPED, steps_of

    SHIPPED                     # {"attn2l": "two layers of attention ...", ...}, from weights/index.json
    steps_of("attn2l")          # [0, 100, ..., 1500]; the last one is the finished model

``weights/<name>/`` is a directory as `save_pretrained` writes one, with a ``card.json`` that says how the model was
made and what was measured. ``series.safetensors`` holds the earlier steps: each weight once, the steps stacked in
front.
"""

import json
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED: dict[str, str] = json.loads((WEIGHTS / "index.json").read_text(encoding="utf-8"))  # name: what it is


def steps_of(name: str) -> list[int]:
    """The steps of training at which ``name`` was kept; [] for a model of which only the end was kept."""
    series = WEIGHTS / name / "series.safetensors"
    if not series.is_file():
        return []
    with safe_open(series, "pt") as file:
        metadata = file.metadata()
    return [*json.loads(metadata["steps"]), int(metadata["last"])]


def weights_at(name: str, step: int) -> dict[str, Tensor] | None:
    """The weights of ``name`` at ``step``, one of `steps_of`; None for the last, which is the model itself."""
    steps = steps_of(name)
    if step == steps[-1]:
        return None
    with safe_open(WEIGHTS / name / "series.safetensors", "pt") as file:
        return {key: file.get_slice(key)[steps.index(step)] for key in file.keys()}  # noqa: SIM118
