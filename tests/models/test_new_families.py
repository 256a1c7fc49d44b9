"""Families that have no row: one is added, and proves itself or does not; without one the error says what to do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers as tf
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.models.anatomy import UnknownModelError
from interpwidgets.models.families import FAMILIES, Family, suggest
from interpwidgets.models.identities import identities

SIZES = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GPT2, LLAMA, BLOOM, OPT, PHI = (FAMILIES[name] for name in ("gpt2", "llama", "bloom", "opt", "phi"))
GPT_SIZES = {"vocab_size": 97, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64, "bos_token_id": 1}

STARCODER2 = replace(
    LLAMA,
    mlp=GPT2.mlp,
    sites={**LLAMA.sites, **{site: GPT2.sites[site] for site in ("mlp_pre", "mlp_post")}},
)
MPT = replace(
    GPT2,
    blocks="blocks",
    positions=None,
    QKV=("attn.Wqkv",),
    W_O="attn.out_proj",
    mlp={"W_in": "ffn.up_proj", "W_out": "ffn.down_proj"},
    norms={"attention": "norm_1", "mlp": "norm_2"},
    final_norm="norm_f",
    sites={
        **GPT2.sites,
        "resid_mid": replace(GPT2.sites["resid_mid"], path="norm_2"),
        "mlp_pre": replace(GPT2.sites["mlp_pre"], path="ffn.up_proj"),
        "mlp_post": replace(GPT2.sites["mlp_post"], path="ffn.down_proj"),
        "mlp_out": replace(GPT2.sites["mlp_out"], path="ffn.down_proj"),  # the MLP itself adds the stream
    },
)
NEW: dict[str, tuple[Any, Family]] = {
    "stablelm": (lambda: tf.StableLmForCausalLM(tf.StableLmConfig(**{**SIZES, "hidden_size": 64})), LLAMA),
    "starcoder2": (lambda: tf.Starcoder2ForCausalLM(tf.Starcoder2Config(**SIZES)), STARCODER2),
    "gpt_bigcode": (lambda: tf.GPTBigCodeForCausalLM(tf.GPTBigCodeConfig(**GPT_SIZES, eos_token_id=2)), GPT2),
    "mpt": (
        lambda: tf.MptForCausalLM(tf.MptConfig(vocab_size=97, d_model=48, n_heads=4, n_layers=3, max_seq_len=64)),
        MPT,
    ),
    "granite": (
        lambda: tf.GraniteForCausalLM(tf.GraniteConfig(**SIZES, residual_multiplier=0.5)),
        LLAMA,
    ),
}


@pytest.fixture
def new() -> Callable[[str], Any]:
    def new(name: str) -> Any:
        torch.manual_seed(0)
        model = NEW[name][0]().eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        return model

    return new


@pytest.mark.parametrize("name", ["stablelm", "starcoder2", "gpt_bigcode", "mpt"])
def test_a_row_is_all_that_a_new_family_needs(
    new: Callable[[str], Any], ids: Tensor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new(name)
    with pytest.raises(UnknownModelError, match=f"family '{name}', which has no row"):
        Tap(model, "pattern")
    monkeypatch.setitem(FAMILIES, name, NEW[name][1])
    errors = identities(model, input_ids=ids)
    assert max(errors.values()) < 1e-5, errors
    model.config._attn_implementation = "eager"
    with torch.no_grad(), Tap(model, "pattern") as tap:
        plain = model(ids, output_attentions=True).attentions
    torch.testing.assert_close(tap["pattern"], torch.stack(plain), rtol=0, atol=1e-6)


def test_a_row_that_fits_by_name_alone_is_found_out(
    new: Callable[[str], Any], ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "granite", LLAMA)  # which adds half of what each layer writes
    errors = identities(new("granite"), input_ids=ids)
    assert {site for site, error in errors.items() if error > 1e-5} == {"resid_mid", "resid_post"}


def test_the_closest_row_is_suggested(new: Callable[[str], Any]) -> None:
    assert suggest(new("stablelm"))[0] == "llama"
    assert suggest(new("gpt_bigcode")) == ["gpt2"]
    assert suggest(new("mpt")) == []
    with pytest.raises(UnknownModelError, match=r"so FAMILIES\['stablelm'\] = FAMILIES\['llama'\] may be all it needs"):
        Tap(new("stablelm"), "z")
    with pytest.raises(UnknownModelError, match="print the model, find its parts and add the row"):
        Tap(new("mpt"), "z")
