"""What the bracket classifier has to be able to do, and that each of its two tests has a place of its own.

A part of the model is put out of action at ``[END]`` by what it writes there on balanced strings, on average. A part
that tests for something then says "nothing wrong" of every string, and strings with that fault alone pass for balanced.
Zeros in its place would be no such message: they say something that the rest of the model has never seen.

Which part does what is looked up each time: it may change with the seed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.data.brackets import (
    CLOSE,
    KINDS,
    OPEN,
    PAD,
    bracket_strings,
    end_position,
    heights,
    is_balanced,
    strings_of,
)
from interpwidgets.models.taps import Edit, Tap, Where
from interpwidgets.zoo.spec import Measured

EACH = 1000  # strings of a kind
Part = tuple[str, int]  # a site and its layer
Right = dict[str, float]  # of each kind of string, the share that is told correctly


def accept_brackets(model: Any) -> dict[str, Measured]:
    """Fresh strings are told correctly; one part at [END] finds strings that end off the ground, another those that
    go below it."""
    strings = {kind: strings_of(kind, EACH, seed=5) for kind in KINDS}
    whole = _right(model, strings, {})
    without = {part: _right(model, strings, {part: mean}) for part, mean in _means(model).items()}
    lost = {part: {kind: whole[kind] - right[kind] for kind in KINDS} for part, right in without.items()}
    measured = {"accuracy on 20,000 fresh strings": Measured(_fresh(model), at_least=0.995)}
    measured |= {f"{kind}: accuracy": Measured(right, at_least=0.99) for kind, right in whole.items()}
    for fault, other in (("elevation", "horizon"), ("horizon", "elevation")):
        part = max(lost, key=lambda part: lost[part][fault])
        name = f"without the {fault} part"
        measured[f"{name}: {fault} strings lost"] = Measured(lost[part][fault], at_least=0.3)
        measured[f"{name}: {other} strings lost"] = Measured(lost[part][other], at_most=0.05)
        measured[f"{name}: balanced strings lost"] = Measured(lost[part]["balanced"], at_most=0.05)
        measured[f"{name}: strings with both faults lost"] = Measured(lost[part]["both"])
    return measured | _looks(model, strings["horizon"])


def _fresh(model: Any) -> float:
    ids = bracket_strings(20_000, torch.Generator().manual_seed(77))
    right = [_answers(model, part) == is_balanced(part).long() for part in torch.split(ids, 2000)]
    return float(torch.cat(right).float().mean())


def _answers(model: Any, ids: Int[Tensor, "batch position"]) -> Int[Tensor, " batch"]:
    """1 where the model calls a string balanced."""
    with torch.no_grad():
        answers: Tensor = model(ids, attention_mask=(ids != PAD).long()).logits.argmax(-1)
    return answers


def _means(model: Any) -> dict[Part, Float[Tensor, " d_model"]]:
    """What each part of the model writes at [END] on balanced strings, on average."""
    ids = strings_of("balanced", EACH, seed=9)
    rows = torch.arange(len(ids))
    with Tap(model, ["attn_out", "mlp_out"]) as tap:
        _answers(model, ids)
    return {
        (site, layer): tap[site, layer][rows, end_position(ids)].mean(0)
        for site in ("attn_out", "mlp_out")
        for layer in range(tap.anatomy.n_layers)
    }


def _looks(model: Any, ids: Int[Tensor, "batch position"]) -> dict[str, Measured]:
    """Where [END] looks in strings that go below the ground: everywhere first, and then there."""
    with Tap(model, "pattern") as tap:
        _answers(model, ids)
    rows, end = torch.arange(len(ids)), end_position(ids)
    first, last = (tap["pattern", layer][rows, :, end].mean(1) for layer in (0, -1))
    bracket = (ids == OPEN) | (ids == CLOSE)
    below = bracket & (heights(ids) < 0)
    even = torch.where(bracket, first, 1).amin(1) / torch.where(bracket, first, 0).amax(1)
    return {
        "first layer: bracket looked at least over most": Measured(float(even.mean())),
        "last layer: attention to places below the ground": Measured(float((last * below).sum(1).mean())),
        "share of brackets below the ground": Measured(float((below.sum(1) / bracket.sum(1)).mean())),
    }


def _right(model: Any, strings: Mapping[str, Int[Tensor, "batch position"]], means: Mapping[Part, Tensor]) -> Right:
    """The share of each kind that is told correctly, if the parts in ``means`` write that at [END]."""
    right = {}
    for kind, ids in strings.items():
        edits: dict[Where, Edit] = {part: _writing(mean, ids) for part, mean in means.items()}
        with Tap(model, edits=edits):
            right[kind] = float((_answers(model, ids) == int(kind == "balanced")).float().mean())
    return right


def _writing(mean: Float[Tensor, " d_model"], ids: Int[Tensor, "batch position"]) -> Callable[[Tensor], Tensor]:
    def edit(out: Tensor) -> Tensor:
        out[torch.arange(len(ids)), end_position(ids)] = mean
        return out

    return edit
