"""Which runs are joined: those that go on with the very cache of the run before, and of these what the cache keeps."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-5}
JOINED = ("embed", "resid_pre", "q", "k", "v", "pattern", "z", "result", "attn_out", "mlp_out", "resid_post")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_a_run_with_the_cache_of_another_text_stands_alone(build: Callable[..., Any], ids: Tensor, family: str) -> None:
    model = build(family)
    with Tap(model, ["resid_post", "pattern"]) as tap:
        first = model(ids[:1, :5], use_cache=True).past_key_values
        model(ids[1:, :5], use_cache=True)
        model(ids[:1, 5:7], past_key_values=first)
    with Tap(model, ["resid_post", "pattern"]) as whole:
        model(ids[:1, :7])
    torch.testing.assert_close(tap["resid_post"], whole["resid_post"][:, :, 5:], **CLOSE)
    torch.testing.assert_close(tap["pattern"], whole["pattern"][:, :, :, 5:], **CLOSE)


def test_a_run_with_a_copy_of_the_cache_starts_anew(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("llama")
    with Tap(model, "z") as tap:
        cache = model(ids[:, :6], use_cache=True).past_key_values
        model(ids[:, 6:8], past_key_values=deepcopy(cache))
        assert tap["z"].shape[2] == 2
        model(ids[:, :6], past_key_values=None)
        cache = model(ids[:, :6], use_cache=True, return_dict=False)[1]
        model(ids[:, 6:8], past_key_values=cache)
        assert tap["z"].shape[2] == 8
        model(ids[:, 8:], past_key_values=cache)
    assert tap["z"].shape[2] == 10


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "qwen3"])
def test_guesses_that_are_not_taken_are_not_kept(build: Callable[..., Any], family: str) -> None:
    model, ids = build(family), torch.tensor([[5, 9, 7, 5, 9, 7, 5, 9, 7, 5, 9]])
    how = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    with Tap(model, JOINED) as tap:
        text = model.generate(ids, prompt_lookup_num_tokens=3, **how)
    assert torch.equal(text, model.generate(ids, **how))
    n = tap["resid_post"].shape[2]
    assert n in (text.shape[1] - 1, text.shape[1])
    with Tap(model, JOINED) as whole:
        model(text[:, :n])
    for site in JOINED:
        torch.testing.assert_close(tap[site], whole[site], **CLOSE, msg=site)


def test_what_a_cache_is_cropped_of_is_forgotten(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("llama")
    with Tap(model, JOINED) as tap:
        cache = model(ids[:, :3], use_cache=True).past_key_values
        model(ids[:, 3:6], past_key_values=cache)
        model(ids[:, :3], past_key_values=cache)
        cache.crop(-5)
        assert tap["pattern"].shape[-2:] == (4, 4)
        model(ids[:, 4:], past_key_values=cache)
    with Tap(model, JOINED) as whole:
        model(ids)
    for site in JOINED:
        torch.testing.assert_close(tap[site], whole[site], **CLOSE, msg=site)
