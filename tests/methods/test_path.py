"""A patched path changes what goes along it, and nothing else."""

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

from interpwidgets.methods.path import patch_head, path_patch
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from interpwidgets.models.taps import Tap

CLOSE = {"rtol": 0, "atol": 1e-5}
CLEAN, CORRUPT = torch.randint(1, 65, (2, 3, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    model = AttentionOnlyForCausalLM(AttentionOnlyConfig(n_layers=3, n_heads=3, d_model=24, d_head=8)).eval()
    for weight in model.parameters():
        weight.data *= 2
    return model.requires_grad_(False)


@pytest.mark.parametrize("into", ["q", "k", "v"])
def test_a_text_patched_with_itself_is_itself(model: Any, into: Any) -> None:
    logits, _ = path_patch(model, CLEAN, CLEAN, (0, 1), [(1, 0), (2, 2)], into)
    torch.testing.assert_close(logits, model(CLEAN).logits, **CLOSE)
    torch.testing.assert_close(patch_head(model, CLEAN, CLEAN, [(0, 1)])[0], model(CLEAN).logits, **CLOSE)


def test_only_the_receiver_reads_the_swap_and_only_where_it_is_told_to(model: Any) -> None:
    sites = [(site, layer) for site in ("q", "k", "v") for layer in (0, 1)]
    with Tap(model, sites) as plain:
        model(CLEAN)
    _, tap = path_patch(model, CLEAN, CORRUPT, (0, 1), [(1, 0)], "k", save=sites)
    for site, layer in sites:
        change = (tap[site, layer] - plain[site, layer]).abs().amax((0, 1, 3))
        assert [bool(each > 1e-6) for each in change] == [site == "k" and layer == 1 and h == 0 for h in range(3)]


def test_the_keys_are_those_of_a_stream_in_which_the_head_wrote_something_else(model: Any) -> None:
    with Tap(model, ["z", "resid_pre"]) as clean:
        model(CLEAN)
    with Tap(model, "z") as corrupt:
        model(CORRUPT)
    head = [anatomy(model).heads(tap["z", 0], 0)[:, :, 1] for tap in (clean, corrupt)]
    block = model.model.layers[2]
    keys = block.attention.k(block.norm(clean["resid_pre", 2] - head[0] + head[1])).view(3, 9, 3, 8)
    _, tap = path_patch(model, CLEAN, CORRUPT, (0, 1), [(2, 2)], "k", save=("k", 2))
    torch.testing.assert_close(tap["k", 2][:, :, 2], keys[:, :, 2], **CLOSE)


def test_all_heads_of_the_first_layer_carry_all_but_the_embedding(model: Any) -> None:
    logits, tap = patch_head(model, CLEAN, CORRUPT, [(0, 0), (0, 1), (0, 2)], save=[("attn_out", 0)])
    with Tap(model, [("attn_out", 0)]) as corrupt:
        model(CORRUPT)
    torch.testing.assert_close(tap["attn_out", 0], corrupt["attn_out", 0], **CLOSE)
    assert (logits - model(CLEAN).logits).abs().max() > 1e-3


def test_what_cannot_be_patched_says_why(model: Any) -> None:
    with pytest.raises(ValueError, match=r"of one shape, but they are \[3, 9\] and \[3, 8\]"):
        path_patch(model, CLEAN, CORRUPT[:, 1:], (0, 1), [(1, 0)], "k")
    with pytest.raises(ValueError, match="after layer 1, but one is in layer 1"):
        path_patch(model, CLEAN, CORRUPT, (1, 0), [(2, 0), (1, 1)], "k")
    sizes = {"vocab_size": 65, "hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 8}
    grouped = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))
    with pytest.raises(ValueError, match="grouped queries"):
        path_patch(grouped, CLEAN, CORRUPT, (0, 0), [(1, 0)], "q")
    with pytest.raises(ValueError, match="a norm follows the heads"):
        path_patch(BertForMaskedLM(BertConfig(**sizes, num_attention_heads=4)), CLEAN, CORRUPT, (0, 0), [(1, 0)], "q")
