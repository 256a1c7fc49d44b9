"""Write a model of the zoo into a directory that `load` opens: weights, tokenizer, series of steps, card.

from interpwidgets.zoo.save import save

made = spec.train()
save(spec, made, Path("attn2l"), measured=spec.accept(made.model))
"""

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers.utils import logging

from interpwidgets._version import __version__
from interpwidgets.zoo.spec import Made, Measured, ZooModel


def save(spec: ZooModel, made: Made, folder: Path, measured: dict[str, Measured]) -> None:
    """Write ``made`` into ``folder``, which `load` opens; ``measured`` is what ``spec.accept`` found, for the card."""
    model: Any = made.model
    folder.mkdir(parents=True, exist_ok=True)
    with _no_progress_bar():
        model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    if made.series:
        steps = sorted(made.series)
        stacked = {
            name: torch.stack([made.series[step][name] for step in steps]) for name in next(iter(made.series.values()))
        }
        metadata = {"steps": json.dumps(steps), "last": str(spec.recipe["steps"])}
        save_file(stacked, folder / "series.safetensors", metadata)
    text = json.dumps(card(spec, made, measured), indent=2, ensure_ascii=False)
    (folder / "card.json").write_text(text + "\n", encoding="utf-8")


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


def card(spec: ZooModel, made: Made, measured: dict[str, Measured]) -> dict[str, Any]:
    """What is to be known about a model: what it is, how it was made, what was measured."""
    model: Any = made.model
    return {
        "name": spec.name,
        "architecture": spec.architecture,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "data": spec.data,
        "recipe": dict(spec.recipe),
        "measured": {
            what: {
                "value": round(found.value, 4),
                **{k: v for k, v in (("at least", found.at_least), ("at most", found.at_most)) if v is not None},
            }
            for what, found in measured.items()
        },
        "trained": datetime.now(UTC).date().isoformat(),
        "versions": {
            "interpwidgets": __version__,
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "license": "MIT",
    }
