"""What a person would call a value: "a tensor", "a float", "a numpy array".

kind(torch.ones(2))         # "a tensor"
kind(None)                  # "None"
"""

from typing import Any

import numpy as np
import torch


def kind(value: Any) -> str:
    """The name of a value's type in a sentence, with its article."""
    if isinstance(value, torch.Tensor):
        return "a tensor" if type(value) in (torch.Tensor, torch.nn.Parameter) else f"a {type(value).__name__}"
    names = {type(None): "None", bool: "a truth value", int: "an int", float: "a float", np.ndarray: "a numpy array"}
    if type(value) in names:
        return names[type(value)]
    if isinstance(value, np.generic):
        return f"a numpy {type(value).__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
