"""Hooks see and change what taps see and change, and leave nothing behind."""

from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.methods.hooks import record, run_edited
from interpwidgets.models.load import load
from interpwidgets.models.taps import Tap

TOKENS = torch.randint(0, 1000, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> Any:
    return load("storylm-small")


def hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_what_is_recorded_is_what_a_tap_keeps(model: Any) -> None:
    with torch.no_grad(), Tap(model, ["attn_out", "mlp_out"]) as tap:
        model(TOKENS)
    with torch.no_grad():
        kept = record(model, TOKENS, ["transformer.h.0.attn", "transformer.h.1.mlp"])
    torch.testing.assert_close(kept["transformer.h.0.attn"], tap["attn_out", 0])
    torch.testing.assert_close(kept["transformer.h.1.mlp"], tap["mlp_out", 1])


def test_an_edit_does_what_a_tap_does(model: Any) -> None:
    with torch.no_grad():
        mine = run_edited(model, TOKENS, "transformer.h.0.attn", torch.zeros_like).logits
        with Tap(model, edits={("attn_out", 0): torch.zeros_like}):
            theirs = model(TOKENS).logits
        torch.testing.assert_close(mine, theirs)
        assert not torch.allclose(mine, model(TOKENS).logits, atol=0.1)


def test_an_edit_that_changes_nothing_changes_nothing(model: Any) -> None:
    with torch.no_grad():
        same = run_edited(model, TOKENS, "transformer.h.1.mlp", lambda x: x).logits
        torch.testing.assert_close(same, model(TOKENS).logits)


def test_nothing_is_left_behind_whatever_happens(model: Any) -> None:
    def refuse(x: Tensor) -> Tensor:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        run_edited(model, TOKENS, "transformer.h.0.mlp", refuse)
    with pytest.raises(KeyError):
        record(model, TOKENS, ["transformer.h.0.mlp", "transformer.h.9"])
    with pytest.raises(IndexError):
        record(model, TOKENS + 2000, ["transformer.ln_f"])
    assert hooks(model) == 0
