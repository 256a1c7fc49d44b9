"""The tuned lens: nothing learned is the logit lens, something learned is closer to the end, and files hold it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import save_file
from torch import Tensor

from interpwidgets import load
from interpwidgets.methods.lens import Lens, logit_lens
from interpwidgets.methods.tuned_lens import EVERY_LAYER, TunedLens, train_tuned_lens

VOCAB, D_MODEL, N_LAYERS = 61, 32, 3  # of the tiny models
Build = Callable[..., Any]


def texts(n_texts: int = 24, n: int = 12, seed: int = 1) -> Tensor:
    return torch.randint(3, VOCAB, (n_texts, n), generator=torch.Generator().manual_seed(seed))


def numbers(lens: TunedLens) -> Tensor:
    return torch.cat([value.flatten() for values in (lens.A, lens.b) for value in values.values()])


def fields(lens: Lens) -> list[Tensor]:
    return [lens.top_tokens, lens.top_probs, lens.entropy, lens.kl, lens.target_rank, lens.target_prob]


@pytest.fixture(params=["gpt2", "llama", "gemma2", "attn2l"])
def model(request: pytest.FixtureRequest, tiny: Build) -> Any:
    torch.set_num_threads(1)
    return load("attn2l") if request.param == "attn2l" else tiny(request.param)


# -- what it says ----------------------------------------------------------------------------------------------------


def test_before_training_it_is_the_logit_lens_to_the_last_bit(model: Any) -> None:
    tokens, lens = texts(2), TunedLens.identity(model)
    for plain, seen in zip(
        fields(logit_lens(model, tokens, sites=EVERY_LAYER)),
        fields(logit_lens(model, tokens, sites=EVERY_LAYER, lens=lens)),
        strict=True,
    ):
        assert torch.equal(plain, seen)


def test_after_training_it_is_closer_to_the_end_at_every_layer_but_the_last_where_it_is_the_model(model: Any) -> None:
    tokens, unseen = texts(48), texts(8, seed=2)
    lens = train_tuned_lens(model, tokens.split(8), steps=40, progress=False)
    before, after = (logit_lens(model, unseen, sites=EVERY_LAYER, lens=each) for each in (None, lens))
    kl_before, kl_after = before.kl.mean((1, 2)), after.kl.mean((1, 2))
    assert (kl_after[:-1] < kl_before[:-1]).all()
    assert not after.kl[-1].any()
    assert torch.equal(after.top_probs[-1], before.top_probs[-1])


def test_a_real_model_is_read_much_earlier(stories: Any) -> None:
    torch.manual_seed(0)
    start = torch.full((32, 1), 1)
    told = stories.generate(start, do_sample=True, max_length=48, min_length=48, pad_token_id=0)
    lens = train_tuned_lens(stories, told[:24].split(12), steps=40, progress=False)
    before, after = (
        logit_lens(stories, told[24:], sites=EVERY_LAYER, lens=each).kl.mean((1, 2)) for each in (None, lens)
    )
    assert (after[:-1] < before[:-1]).all()
    assert (after[:3] < 0.5 * before[:3]).all()


def test_if_the_last_layer_only_adds_a_constant_the_lens_learns_to_add_it(tiny: Build) -> None:
    model, spot, constant = tiny("gpt2"), ("resid_post", 1), torch.randn(D_MODEL)
    with torch.no_grad():
        last = model.transformer.h[-1]
        for weight in (last.attn.c_proj.weight, last.attn.c_proj.bias, last.mlp.c_proj.weight):
            weight.zero_()
        last.mlp.c_proj.bias.copy_(constant)
    lens = train_tuned_lens(model, texts(48).split(8), spot, steps=150, progress=False)
    before, after = (logit_lens(model, texts(8, seed=2), sites=spot, lens=each).kl.mean() for each in (None, lens))
    assert after < 0.1 * before
    learned = lens.b[spot]
    assert torch.cosine_similarity(learned - learned.mean(), constant - constant.mean(), dim=0) > 0.8


def test_what_enters_a_layer_and_what_left_the_one_before_have_one_translator(tiny: Build) -> None:
    model, tokens = tiny("llama"), texts(4)
    lens = train_tuned_lens(model, [tokens], steps=3, progress=False)
    pre = logit_lens(model, tokens, sites=[("resid_pre", 1), ("resid_pre", 2)], lens=lens)
    post = logit_lens(model, tokens, sites=[("resid_post", 0), ("resid_post", 1)], lens=lens)
    assert torch.equal(pre.top_probs, post.top_probs)


def test_translators_do_not_know_of_each_other_and_may_stand_in_the_middle_of_a_layer(tiny: Build) -> None:
    model, batches = tiny("llama"), texts(8).split(4)
    every = train_tuned_lens(model, batches, ["resid_mid", "resid_post"], steps=5, progress=False)
    one = train_tuned_lens(model, batches, ("resid_mid", 1), steps=5, progress=False)
    assert list(one.A) == [("resid_mid", 1)]
    assert torch.equal(one.A["resid_mid", 1], every.A["resid_mid", 1])
    assert len(every.A) == 2 * N_LAYERS - 1


# -- how it is trained -----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_lens_and_the_size_of_a_chunk_does_not_matter(tiny: Build) -> None:
    model, batches = tiny("gemma2"), texts(12).split(4)
    same, again, other = (train_tuned_lens(model, batches, steps=4, seed=seed, progress=False) for seed in (0, 0, 3))
    assert torch.equal(numbers(same), numbers(again))
    assert not torch.equal(numbers(same), numbers(other))
    small = train_tuned_lens(model, batches, steps=4, chunk=5, progress=False)
    torch.testing.assert_close(numbers(small), numbers(same), rtol=1e-3, atol=1e-5)


def test_no_more_than_a_chunk_of_logits_is_ever_made(tiny: Build) -> None:
    model, seen = tiny("llama"), []
    model.lm_head.register_forward_hook(lambda _, args, out: seen.append(out.numel() // VOCAB))
    train_tuned_lens(model, [texts(4)], steps=2, chunk=7, progress=False)
    assert max(seen) == 7


def test_the_model_is_left_as_it_was_and_without_gradients(model: Any) -> None:
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():  # as a notebook may have it for all its cells
        lens = train_tuned_lens(model, [texts(4)], steps=2, progress=False)
    assert not numbers(lens).requires_grad
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_model_in_half_precision_gets_a_lens_in_single_precision(tiny: Build) -> None:
    model = tiny("llama").bfloat16()
    lens = train_tuned_lens(model, texts(16).split(8), steps=20, progress=False)
    assert numbers(lens).dtype == torch.float32
    before, after = (logit_lens(model, texts(4, seed=2), lens=each).kl[:-1].mean() for each in (None, lens))
    assert after < before


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_file_gives_the_lens_back(tmp_path: Path, tiny: Build) -> None:
    model, tokens = tiny("llama"), texts(4)
    lens = train_tuned_lens(model, [tokens], [("resid_pre", 0), "resid_mid"], steps=3, progress=False)
    lens.save(tmp_path / "lens.safetensors")
    back = TunedLens.load(tmp_path / "lens.safetensors")
    assert (list(back.A), back.n_layers) == (list(lens.A), N_LAYERS)
    assert torch.equal(numbers(back), numbers(lens))
    assert torch.equal(logit_lens(model, tokens, lens=back, sites="resid_mid").kl,
                       logit_lens(model, tokens, lens=lens, sites="resid_mid").kl)  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["lens.safetensors"]


def test_what_is_no_lens_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        TunedLens.load(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("not a lens")
    with pytest.raises(ValueError, match=r"text\.safetensors' is no safetensors file, or damaged"):
        TunedLens.load(tmp_path / "text.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors' holds no tuned lens, but weight"):
        TunedLens.load(tmp_path / "model.safetensors")


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"batches": []}, "on batches of tokens, but there are none"),
        ({"batches": [torch.zeros(2, 3)]}, f"tokens have to be whole numbers from 0 to {VOCAB - 1}"),
        ({"batches": [texts(2), torch.full((1, 4), VOCAB)]}, "tokens have to be whole numbers"),
        ({"steps": 0}, "steps has to be at least 1; it is 0"),
        ({"chunk": 0}, "chunk has to be at least 1; it is 0"),
        ({"sites": "z"}, "it was asked for 'z'"),
        ({"sites": ("resid_post", 3)}, "there is no layer 3"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_sentence(wrong: dict[str, Any], sentence: str, tiny: Build) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        train_tuned_lens(tiny("gpt2"), **{"batches": [texts(2)], "progress": False, **wrong})
    assert "\n" not in str(raised.value)


def test_a_lens_for_other_places_or_another_model_says_what_it_is_for(tiny: Build) -> None:
    model, tokens = tiny("llama"), texts(2)
    with pytest.raises(ValueError, match="at resid_pre 0, resid_post 0, resid_post 1; it has none for 'resid_mid'"):
        logit_lens(model, tokens, sites="resid_mid", lens=TunedLens.identity(model))
    with pytest.raises(ValueError, match=r"for 2 layers of 64 numbers.*with 32 numbers"):
        logit_lens(model, tokens, lens=TunedLens.identity(load("attn2l")))


def test_bert_and_a_model_in_training_mode_are_refused(tiny: Build) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    bert = tf.BertForMaskedLM(tf.BertConfig(vocab_size=VOCAB, **sizes)).eval()
    with pytest.raises(ValueError, match="BertForMaskedLM has no last norm"):
        train_tuned_lens(bert, [texts(2)])
    with pytest.raises(ValueError, match=r"training mode.*call model\.eval\(\) first"):
        train_tuned_lens(tiny("gpt2").train(), [texts(2)])
