"""An ablated part says nothing, the same everywhere, or what it says about another text; all else stays."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.methods import ablation
from interpwidgets.methods.ablation import (
    ablate_sweep,
    average,
    mean_ablate,
    resample,
    resample_ablate,
    silence,
    zero_ablate,
)
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.models.anatomy import anatomy

CLOSE = {"rtol": 0, "atol": 1e-5}
METRIC = partial(logit_difference, right=5, wrong=9)
ABLATIONS = [zero_ablate, mean_ablate, resample_ablate]
WHOLE = [silence, average, resample]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_a_mean_ablated_head_is_the_same_everywhere_and_the_others_stay() -> None:
    z = torch.randn(3, 5, 4, 2)
    before = z.clone()
    new = mean_ablate(z, 2)
    assert torch.equal(z, before)
    torch.testing.assert_close(new[:, :, 2], z[:, :, 2].mean((0, 1)).expand(3, 5, 2))
    assert torch.equal(new[:, :, [0, 1, 3]], z[:, :, [0, 1, 3]])


def test_ablating_a_constant_head_changes_nothing() -> None:
    z = torch.randn(4, 2).expand(3, 5, 4, 2)
    torch.testing.assert_close(mean_ablate(z, 1), z)
    torch.testing.assert_close(resample_ablate(z, 1), z)


def test_ablating_twice_is_ablating_once() -> None:
    z = torch.randn(3, 5, 4, 2)
    torch.testing.assert_close(mean_ablate(mean_ablate(z, 1), 1), mean_ablate(z, 1))


@pytest.mark.parametrize("n_texts", [2, 3, 8])
def test_a_resampled_head_is_that_of_another_text_at_the_same_position(n_texts: int) -> None:
    z = torch.arange(n_texts * 5 * 4 * 2.0).reshape(n_texts, 5, 4, 2)
    for _ in range(10):
        new = resample_ablate(z, 2)
        giver = [int(z[:, 0, 2, 0].tolist().index(row[0, 2, 0])) for row in new]
        assert sorted(giver) == list(range(n_texts))
        assert all(text != other for text, other in enumerate(giver))
        assert torch.equal(new[:, :, 2], z[giver][:, :, 2])
        assert torch.equal(new[:, :, [0, 1, 3]], z[:, :, [0, 1, 3]])


def test_resampling_is_repeated_by_its_seed() -> None:
    z = torch.randn(50, 1, 2, 3)
    draws = [resample_ablate(z, 0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(("whole", "one"), [*zip(WHOLE, ABLATIONS, strict=True)])
def test_a_whole_site_is_ablated_as_all_heads_one_by_one(whole: Any, one: Any) -> None:
    z = torch.randn(2, 5, 4, 2)  # of two texts, so that there is but one way to resample
    before = z.clone()
    heads = torch.stack([one(z, head)[:, :, head] for head in range(4)], 2)
    torch.testing.assert_close(whole(z), heads)
    torch.testing.assert_close(whole(z.flatten(2)), heads.flatten(2))
    whole(z).add_(1)
    assert torch.equal(z, before)


@pytest.mark.parametrize("ablate", WHOLE)
@pytest.mark.parametrize("site", ["z", "attn_out", "mlp_out", "pattern"])
def test_every_ablation_is_an_edit_of_a_tap(tiny: Any, pair: Any, ablate: Callable[..., Tensor], site: str) -> None:
    model, tokens = tiny("gpt2"), pair[0]
    with torch.no_grad():
        with Tap(model, (site, 1)) as plain:
            before = model(tokens).logits
        with Tap(model, (site, 1), {(site, 1): ablate}) as tap:
            after = model(tokens).logits
    torch.testing.assert_close(tap[site, 1], ablate(plain[site, 1]))
    assert (after - before).abs().max() > 1e-4


def test_a_zero_ablated_head_writes_nothing(tiny: Any, pair: Any) -> None:
    model = tiny("llama")
    with torch.no_grad(), Tap(model, ["z"], {("z", 0): partial(zero_ablate, head=1)}) as tap:
        model(pair[0])
    written = anatomy(model).heads(tap["z", 0], 0)
    assert not written[:, :, 1].any()
    assert written[:, :, 0].any()


# -- sweeps


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert", "attention_only"])
@pytest.mark.parametrize("ablate", ABLATIONS)
def test_a_sweep_takes_out_one_head_at_a_time(
    tiny: Any, pair: Any, trace: Any, family: str, ablate: Callable[..., Tensor]
) -> None:
    model, tokens = tiny(family), pair[0]
    before = trace(model)
    sweep = ablate_sweep(model, tokens, METRIC, ablate, at=3)
    assert trace(model) == before
    assert sweep.shape == (3, 4, 2)
    assert sweep.std((0, 1)).min() > 1e-4, "all heads do the same, so this test could not fail"
    with torch.no_grad(), Tap(model, edits={("z", 2): lambda z: ablate(z, 1)}):
        expected = METRIC(model(tokens).logits[:, 3])
    torch.testing.assert_close(sweep[2, 1], expected, **CLOSE)


def test_a_head_that_writes_nothing_can_be_ablated_without_loss(tiny: Any, pair: Any) -> None:
    model, tokens = tiny("gpt2"), pair[0]
    with torch.no_grad():
        model.transformer.h[1].attn.c_proj.weight[8:16] = 0  # the rows of head 1
        plain = METRIC(model(tokens).logits[:, -1])
    sweep = ablate_sweep(model, tokens, METRIC)
    torch.testing.assert_close(sweep[1, 1], plain, **CLOSE)
    assert (sweep[1, 2] - plain).abs().min() > 1e-5


def test_a_long_sweep_shows_a_bar_and_can_be_silent(
    tiny: Any, pair: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("gpt2")
    ablate_sweep(model, pair[0], METRIC)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(ablation, "BAR_AFTER", 0)
    ablate_sweep(model, pair[0], METRIC, progress=False)
    assert capfd.readouterr().err == ""
    ablate_sweep(model, pair[0], METRIC)
    assert "12" in capfd.readouterr().err


def test_what_cannot_be_ablated_says_why(tiny: Any, pair: Any) -> None:
    z = torch.randn(2, 5, 4, 2)
    for ablate in ABLATIONS:
        with pytest.raises(ValueError, match="4 heads, 0 to 3; there is no head 4"):
            ablate(z, 4)
        with pytest.raises(ValueError, match=r"stand apart in z, .* this tensor is \[2, 5, 8\]"):
            ablate(z.flatten(2), 1)
    with pytest.raises(ValueError, match="needs at least two texts, not one"):
        resample_ablate(z[:1], 1)
    model = tiny("gpt2")
    with pytest.raises(ValueError, match=r"of shape \[2\]; it returned something of shape \[2, 61\]"):
        ablate_sweep(model, pair[0], lambda logits: logits)
    with pytest.raises(ValueError, match="7 positions, 0 to 6; the metric cannot look at 7"):
        ablate_sweep(model, pair[0], METRIC, at=7)
    with pytest.raises(ValueError, match="GPT2Model has no logits"):
        ablate_sweep(model.transformer, pair[0], METRIC)
    with pytest.raises(ValueError, match="training mode"):
        ablate_sweep(model.train(), pair[0], METRIC)


def test_an_error_in_the_middle_of_a_sweep_leaves_the_model_as_it_was(tiny: Any, pair: Any, trace: Any) -> None:
    model = tiny("gpt2")
    before, calls = trace(model), []

    def stumble(z: Tensor, head: int) -> Tensor:
        calls.append(head)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return z

    with pytest.raises(KeyboardInterrupt):
        ablate_sweep(model, pair[0], METRIC, stumble)
    assert trace(model) == before
