"""What the answers of chapter 05 meet where they run: a list of heads, read as a table.

    ranked(answer, model, tokens, 0.4)      # [layer, head]: 1 for the first of the list, 2 for the second, else 0

This module goes with the answer, also where nothing else of the exercises is: it knows no reference.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interpwidgets.course.kinds import kind
from interpwidgets.models.anatomy import anatomy

Answer = Callable[..., Any]


def ranked(answer: Answer, model: Any, tokens: Tensor, threshold: float) -> Tensor:
    """A list of heads as a table [layer, head]: 1 for the first of the list, 2 for the second, 0 for all others.

    What is no such list becomes one negative number everywhere, by the kind of trouble. ``table.trouble`` and
    ``table.twice`` say in a sentence what is wrong with it.
    """
    found = answer(model, tokens, threshold)
    parts = anatomy(model)
    table = torch.zeros(parts.n_layers, parts.n_heads, dtype=torch.long, device=tokens.device)
    code, trouble = _no_list_of_heads(found, parts.n_layers, parts.n_heads)
    twice = ""
    if trouble:
        table.fill_(code)
        found = []
    for rank, place in enumerate(found, start=1):
        layer, head = map(int, place)
        if table[layer, head]:
            twice = twice or f"L{layer} H{head} stands in your list more than once."
        table[layer, head] = rank
    table.trouble, table.twice = trouble, twice  # type: ignore[attr-defined]
    return table


def _no_list_of_heads(found: Any, n_layers: int, n_heads: int) -> tuple[int, str]:
    """What is wrong with a result as a list of pairs (layer, head): a negative number and a sentence, or 0 and ""."""
    asked = "a list of pairs (layer, head) is asked."
    if found is None:
        return -1, f"Your function returns None; {asked}"
    if isinstance(found, Tensor):
        return -2, f"Your function returns a tensor of shape {list(found.shape)}; {asked}"
    if isinstance(found, tuple) and len(found) == 2 and all(map(_whole, found)):
        return -3, f"Your function returns a single pair; {asked} One pair goes into a list too."
    if not isinstance(found, list | tuple):
        return -3, f"Your function returns {kind(found)}; {asked}"
    for at, place in enumerate(found):
        if not isinstance(place, tuple | list):
            advice = " `.tolist()` makes lists of a tensor." if isinstance(place, Tensor) else ""
            return -4, f"Item {at} of your list is {kind(place)}; {asked}{advice}"
        if len(place) != 2:
            return -5, f"Item {at} of your list has {len(place)} parts; a pair (layer, head) has two."
        if not all(map(_whole, place)):
            return (
                -6,
                f"Item {at} of your list holds {kind(place[0])} and {kind(place[1])}; two whole numbers are asked.",
            )
        layer, head = map(int, place)
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            return -7, (
                f"There is no L{layer} H{head} in a model of {n_layers} layers of {n_heads} heads. "
                "Is each pair (layer, head), in this order?"
            )
    return 0, ""


def _whole(number: Any) -> bool:
    if isinstance(number, Tensor):
        return number.dim() == 0 and not number.is_floating_point()
    return isinstance(number, int) and not isinstance(number, bool)
