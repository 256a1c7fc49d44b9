"""The backward lens: factors that make up the gradients of autograd, and what they say in known cases."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from interpwidgets.methods.backward_lens import backward_lens, gradient_factors
from interpwidgets.methods.projections import vocabulary_logits
from interpwidgets.models.anatomy import anatomy

VOCAB, N_LAYERS, T = 61, 3, 6
Build = Callable[..., Any]


def texts(n_texts: int = 2) -> Tensor:
    return torch.randint(3, VOCAB, (n_texts, T), generator=torch.Generator().manual_seed(1))


def target(n_texts: int = 2) -> Tensor:
    return torch.arange(11, 11 + n_texts)


def loss_of_next(logits: Tensor) -> Tensor:
    return cross_entropy(logits[:, -1], target(len(logits)), reduction="sum")


@pytest.fixture(params=["gpt2", "llama", "gemma2"])
def model(request: pytest.FixtureRequest, tiny: Build) -> Any:
    torch.set_num_threads(1)
    return tiny(request.param)


def test_factors_make_up_the_gradients_of_autograd(model: Any) -> None:
    parts = anatomy(model)
    names: Any = ("W_in", "W_gate", "W_out") if parts.gated else ("W_in", "W_out")
    factors = gradient_factors(model, texts(), loss_of_next, names)
    assert len(factors) == len(names) * N_LAYERS
    matrices = [getattr(parts, name)(layer) for name, layer in factors]  # views, so that autograd reaches the weights
    weights = [parts.blocks[layer].get_submodule(parts.family.mlp[name]).weight for name, layer in factors]
    gradients = torch.autograd.grad(loss_of_next(model(texts()).logits), weights)
    for found, matrix, weight, gradient in zip(factors.values(), matrices, weights, gradients, strict=True):
        laid_out = gradient if matrix.shape == weight.shape and torch.equal(matrix, weight) else gradient.T
        torch.testing.assert_close(found.gradient, laid_out, rtol=1e-4, atol=1e-6)


def test_a_gradient_has_no_more_ranks_than_the_text_has_tokens(model: Any) -> None:
    for found in gradient_factors(model, texts(1), loss_of_next).values():
        assert torch.linalg.matrix_rank(found.gradient, rtol=1e-5) <= T < min(found.gradient.shape)
        share = torch.linalg.matrix_norm(found.x[0, 2, :, None] * found.d[0, 2])
        torch.testing.assert_close(found.strength[0, 2], share)


def test_the_last_layer_shifts_towards_the_target_at_the_last_position_and_nowhere_else(tiny: Build) -> None:
    model = tiny("gpt2")
    with torch.no_grad():  # tokens that look away from each other, so that raising one is not raising another
        model.lm_head.weight.copy_(torch.nn.init.orthogonal_(torch.empty(VOCAB, 32)))
    lens = backward_lens(model, texts(), target())
    assert lens.shift.top_tokens[-1, :, -1, 0].tolist() == target().tolist()
    assert not lens.shift_strength[-1, :, :-1].any()
    assert lens.shift_strength[0].all()


def test_a_step_along_the_factors_of_one_matrix_lowers_the_loss(model: Any) -> None:
    before = loss_of_next(model(texts(1)).logits)
    of_last = gradient_factors(model, texts(1), loss_of_next)["W_out", N_LAYERS - 1]
    with torch.no_grad():
        W_out = anatomy(model).W_out(-1)
        W_out -= 1e-3 / of_last.strength.sum() * of_last.gradient
        assert loss_of_next(model(texts(1)).logits) < before


def test_what_is_imprinted_is_what_the_mlp_read(model: Any) -> None:
    lens = backward_lens(model, texts(), target(), k=3)
    factors = gradient_factors(model, texts(), loss_of_next)
    for layer in range(N_LAYERS):
        read = vocabulary_logits(model, factors["W_in", layer].x)
        torch.testing.assert_close(lens.imprint.top_logits[layer], read.topk(3).values)
        torch.testing.assert_close(lens.imprint_strength[layer], factors["W_in", layer].strength)


def test_texts_of_a_batch_do_not_know_of_each_other(model: Any) -> None:
    both, one = backward_lens(model, texts(), target()), backward_lens(model, texts()[1:], target()[1:])
    torch.testing.assert_close(both.shift_strength[:, 1:], one.shift_strength, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(both.shift.top_logits[:, 1:], one.shift.top_logits, rtol=1e-3, atol=1e-6)


def test_a_real_model_names_the_target_among_what_its_last_layer_would_learn_to_say(stories: Any) -> None:
    tokens = stories.tokenizer("Once upon a time there was a little", return_tensors="pt").input_ids
    wanted = torch.tensor([300])
    lens = backward_lens(stories, tokens, wanted)
    assert (lens.shift.top_tokens[-1, 0, -1] == 300).any()
    assert not (lens.shift.top_tokens[0, 0, 0] == 300).any()  # which at the first position of all it has no use for


def test_the_model_is_left_as_it_was_even_if_its_weights_are_frozen_or_the_loss_fails(
    model: Any, trace: Callable[[Any], list[Any]]
) -> None:
    before = trace(model)
    lens = backward_lens(model, texts(), target())
    with torch.no_grad():
        again = backward_lens(model, texts(), target())
    with pytest.raises(ZeroDivisionError):
        gradient_factors(model, texts(), lambda logits: logits.sum() * (1 // 0))
    assert trace(model) == before
    frozen = backward_lens(model.requires_grad_(False), texts(), target())
    for other in (again, frozen):
        torch.testing.assert_close(other.shift_strength, lens.shift_strength)
    assert not lens.shift_strength.requires_grad


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda m: backward_lens(m, texts(), torch.tensor([1])), r"one token id for each text, \[2\].*shape \[1\]"),
        (lambda m: backward_lens(m, texts(), torch.tensor([1, VOCAB])), "values from 1 to 61"),
        (lambda m: backward_lens(m, texts() * 1.0, target()), "tokens have to be whole numbers"),
        (lambda m: backward_lens(m, texts(), target(), k=0), "k has to be between 1 and 61"),
        (lambda m: gradient_factors(m, texts(), lambda logits: logits), r"one number; .* shape \[2, 6, 61\]"),
        (lambda m: gradient_factors(m, texts(), lambda _: 3), "type int"),
        (lambda m: gradient_factors(m, texts(), loss_of_next, ("W_gate",)), "its MLP is not gated"),
        (lambda m: backward_lens(m.train(), texts(), target()), "training mode"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(ask: Callable[[Any], Any], sentence: str, tiny: Build) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        ask(tiny("gpt2"))
    assert "\n" not in str(raised.value)


def test_models_without_mlp_or_last_norm_are_refused(tiny: Build) -> None:
    with pytest.raises(ValueError, match="has no MLP"):
        backward_lens(tiny("attention_only"), texts(), target())
    with pytest.raises(ValueError, match="BertForMaskedLM has no last norm"):
        backward_lens(tiny("bert"), texts(), target())
