"""Relatives of the families in the table: some need a line, some a row, and some are told from them in a sentence."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers as tf
from torch import Tensor, nn

from interpwidgets import Tap
from interpwidgets.models.anatomy import UnknownModelError, anatomy
from interpwidgets.models.families import FAMILIES, PARTS
from interpwidgets.models.identities import identities

SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
T5 = {
    "vocab_size": 97, "d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0,
}  # fmt: skip
BART = {
    "vocab_size": 97, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 80,
    "decoder_ffn_dim": 80, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_start_token_id": 2,
    "pad_token_id": 0, "max_position_embeddings": 40, "eos_token_id": 2, "bos_token_id": 1,
}  # fmt: skip


def tiny(model: str, config: str, sizes: dict[str, Any]) -> Any:
    """A random model, with biases and norms that are not what initialisation makes them."""
    torch.manual_seed(0)
    made = getattr(tf, model)(getattr(tf, config)(**sizes)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return made


@pytest.mark.parametrize("part", ["encoder", "decoder", "cross"])
@pytest.mark.parametrize(
    ("name", "sizes"),
    [("MT5ForConditionalGeneration", T5), ("UMT5ForConditionalGeneration", T5), ("MarianMTModel", BART)],
)
def test_a_line_is_all_that_relatives_made_of_parts_need(
    monkeypatch: pytest.MonkeyPatch, name: str, sizes: dict[str, Any], part: str
) -> None:
    config = name.split("For")[0].removesuffix("MTModel") + "Config"
    ids = torch.randint(3, 97, (2, 9), generator=torch.Generator().manual_seed(1))
    model = tiny(name, config, sizes)
    monkeypatch.setitem(PARTS, model.config.model_type, PARTS["t5" if sizes is T5 else "bart"])
    errors = identities(model, part, input_ids=ids, decoder_input_ids=ids[:, :6])
    assert max(errors.values()) < 5e-5, errors


def test_a_norm_without_numbers_is_measured(monkeypatch: pytest.MonkeyPatch, ids: Tensor) -> None:
    monkeypatch.setitem(FAMILIES, "olmo", FAMILIES["llama"])
    model = tiny("OlmoForCausalLM", "OlmoConfig", SIZES)
    norm = anatomy(model).final_norm()
    assert norm is not None
    assert norm.centers
    assert norm.epsilon == pytest.approx(1e-5, rel=1e-2)
    assert max(identities(model, input_ids=ids).values()) < 1e-5


@pytest.mark.parametrize(
    ("model", "config", "row", "more", "away"),
    [
        ("StableLmForCausalLM", "StableLmConfig", "llama", {"use_parallel_residual": True}, "post_attention_layernorm"),
        ("Mamba2ForCausalLM", "Mamba2Config", "mamba", {}, "mixer.x_proj"),
    ],
)
def test_a_row_that_does_not_fit_names_what_is_not_there(
    monkeypatch: pytest.MonkeyPatch, model: str, config: str, row: str, more: dict[str, Any], away: str
) -> None:
    mamba = {"vocab_size": 97, "hidden_size": 64, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 16, "n_groups": 1}
    made = tiny(model, config, {**SIZES, **more} if row == "llama" else mamba)
    monkeypatch.setitem(FAMILIES, made.config.model_type, FAMILIES[row])
    with pytest.raises(UnknownModelError, match=f"does not describe this {model}: it looks for '{away}'"):
        Tap(made, "resid_post")


def test_what_is_wrapped_around_a_model_is_unwrapped_in_a_sentence(build: Callable[..., Any]) -> None:
    model = build("gpt2")
    with pytest.raises(UnknownModelError, match=r"a DataParallel; the transformer in it is model\.module"):
        anatomy(nn.DataParallel(model))
    with pytest.raises(UnknownModelError, match=r"the transformer in it is model\._orig_mod"):
        anatomy(torch.compile(model))


def test_a_text_tower_is_named() -> None:
    vision = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes = {
        "text_config": {**SIZES, "head_dim": 16},
        "vision_config": {**vision, "image_size": 28, "patch_size": 14},
        "mm_tokens_per_image": 4,
    }
    model = tiny("Gemma3ForConditionalGeneration", "Gemma3Config", sizes)
    with pytest.raises(UnknownModelError, match=r"take its text tower by itself, .* model\.model\.language_model"):
        Tap(model, "z")
    assert anatomy(model.model.language_model).n_layers == 2


def test_a_family_without_a_row_is_sent_to_the_page() -> None:
    model = tiny("Starcoder2ForCausalLM", "Starcoder2Config", SIZES)
    with pytest.raises(UnknownModelError, match=r"suggest\(model\) .* docs/families\.md shows how"):
        anatomy(model)


def test_parts_are_told_from_functions_that_take_none(build: Callable[..., Any]) -> None:
    with pytest.raises(UnknownModelError, match="functions that take no part, such as the lenses"):
        anatomy(build("t5"))


def test_positions_that_are_computed_are_read_from_their_table(monkeypatch: pytest.MonkeyPatch, ids: Tensor) -> None:
    sizes = {"vocab_size": 97, "d_model": 48, "ffn_dim": 80, "num_layers": 2, "attention_heads": 4, "pad_token_id": 0}
    model = tiny("XGLMForCausalLM", "XGLMConfig", sizes)
    monkeypatch.setitem(FAMILIES, "xglm", replace(FAMILIES["bart_decoder"], stream_norms={}))
    parts = anatomy(model)
    positions = parts.W_pos()
    assert positions is not None
    with torch.no_grad(), Tap(model, "embed") as tap:
        model(ids)
    expected = parts.W_E()[ids] + positions[:10]
    torch.testing.assert_close(tap["embed"], expected, rtol=0, atol=1e-5)
