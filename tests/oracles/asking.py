"""What the scripts that ask a library have in common. They run in its environment, without interpwidgets.

    python ask_captum.py FOLDER

FOLDER holds a model for each family, in a folder of its own, and inputs.safetensors; ask_captum.py adds
captum.safetensors, whose tensors are named "family/question". `conftest.py` makes the one and reads the other.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging

Answers = dict[str, Tensor]


def hf_model(folder: Path) -> Any:
    """The Hugging Face model in ``folder`` with plain attention, whose patterns every library can see."""
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def answer(library: str, families: tuple[str, ...], ask: Callable[[Path, Answers], Answers]) -> None:
    """Put the questions of ``ask(model folder, inputs)`` to every family and write down what comes back."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    folder = Path(sys.argv[1])
    inputs = load_file(folder / "inputs.safetensors")
    answers = {
        f"{family}/{name}": value.detach().clone(memory_format=torch.contiguous_format)
        for family in families
        for name, value in ask(folder / family, inputs).items()
    }
    save_file(answers, folder / f"{library}.safetensors")


def difference(logits: Tensor, inputs: Answers) -> Tensor:
    """How much higher the logit of the right token is than that of the wrong one at the last position: one number."""
    last = logits[0, -1]
    return last[inputs["right"].item()] - last[inputs["wrong"].item()]
