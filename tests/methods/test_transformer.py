"""GPT-2 from its parts has the parts of the library."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from interpwidgets.methods.transformer import (
    attention_pattern,
    block,
    count_parameters,
    fold_norm,
    gpt,
    layer_norm,
    opened,
)
from interpwidgets.models.load import load
from interpwidgets.models.taps import Tap


@pytest.fixture(scope="module")
def model() -> Any:
    return load("storylm-small")


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(0, 1000, (3, 12), generator=torch.Generator().manual_seed(0))


def test_its_logits_are_those_of_the_library(model: Any, tokens: torch.Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(gpt(tokens, *opened(model)), model(tokens).logits, atol=1e-4, rtol=0)


def test_each_block_takes_the_stream_where_the_library_takes_it(model: Any, tokens: torch.Tensor) -> None:
    with torch.no_grad(), Tap(model, ["resid_pre", "resid_post"]) as tap:
        model(tokens)
    for layer, weights in enumerate(opened(model)[1]):
        torch.testing.assert_close(
            block(tap["resid_pre", layer], weights), tap["resid_post", layer], atol=1e-4, rtol=1e-4
        )


def test_the_norm_is_that_of_torch() -> None:
    x, weight, bias = (torch.randn(*shape, dtype=torch.float64) for shape in [(2, 3, 7), (7,), (7,)])
    torch.testing.assert_close(layer_norm(x, weight, bias), F.layer_norm(x, (7,), weight, bias))


def test_queries_without_a_preference_look_at_everything_so_far_alike() -> None:
    pattern = attention_pattern(torch.zeros(1, 4, 2, 3), torch.randn(1, 4, 2, 3))
    torch.testing.assert_close(pattern[0, 0], torch.ones(4, 4).tril() / torch.arange(1, 5)[:, None])


def test_a_block_of_zeros_leaves_the_stream_as_it_is(model: Any) -> None:
    x = torch.randn(2, 5, model.config.n_embd)
    weights = {name: torch.zeros_like(weight) for name, weight in opened(model)[1][0].items()}
    torch.testing.assert_close(block(x, weights), x)


def test_folding_a_norm_of_weight_one_and_bias_zero_changes_nothing() -> None:
    W, b = torch.randn(4, 6), torch.randn(6)
    for one, other in zip(fold_norm(torch.ones(4), torch.zeros(4), W, b), (W, b), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["storylm", "storylm-small", "demo"])
def test_the_count_is_that_of_the_library(name: str) -> None:
    other: Any = load(name)
    sizes, wide = other.config, other.transformer.h[0].mlp.c_fc.weight.shape[1]
    counted = sum(weight.numel() for weight in other.transformer.parameters())
    assert count_parameters(sizes.vocab_size, sizes.n_positions, sizes.n_embd, wide, sizes.n_layer) == counted


def test_a_model_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="opened\\(\\) takes a GPT2LMHeadModel"):
        opened(torch.nn.Linear(2, 2))
