"""A patched path changes what goes along it, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor

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


# -- every family, and other senders and receivers

FAMILIES = ["gpt2", "llama", "gemma2", "attention_only"]


@pytest.fixture(scope="module", params=FAMILIES)
def any_model(request: pytest.FixtureRequest, tiny: Any) -> Any:
    model = tiny(request.param)
    for block in anatomy(model).blocks:
        for weight in block.parameters():
            weight.data *= 2  # so that what is swapped can be seen at the other end
    return model


@torch.no_grad()
def kept(model: Any, tokens: Tensor, sites: Any) -> Tap:
    with Tap(model, sites) as tap:
        model(tokens)
    return tap


@torch.no_grad()
def end(model: Any, stream: Tensor) -> Tensor:
    logits = model.get_output_embeddings()(anatomy(model).final_norm().module(stream))
    cap = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else cap * (logits / cap).tanh()


def written(model: Any, z: Tensor, layer: int) -> Tensor:
    """What the heads of a layer add to the residual stream."""
    block = anatomy(model).blocks[layer]
    with torch.no_grad():
        out = block.get_submodule(anatomy(model).family.W_O)(z.flatten(2))
        return block.post_attention_layernorm(out) if model.config.model_type == "gemma2" else out


def test_a_text_patched_with_itself_is_itself_in_every_family(any_model: Any, pair: Any) -> None:
    senders: list[Any] = [(0, 1), ("mlp_out", 0)] if "mlp_out" in anatomy(any_model).family.sites else [(0, 1)]
    expected = any_model(pair[0]).logits
    for sender in senders:
        for receivers, into in (([(1, 0), (1, 1)], "k"), ([(2, 3)], "q"), ("logits", None)):
            for through_mlps in (False, True):
                logits, _ = path_patch(any_model, pair[0], pair[0], sender, receivers, into, through_mlps=through_mlps)
                torch.testing.assert_close(logits, expected, **CLOSE)


def test_the_direct_effect_of_a_head_is_its_swap_at_the_end_of_the_stream(any_model: Any, pair: Any) -> None:
    clean, corrupt = (kept(any_model, tokens, ["z", "resid_post"]) for tokens in pair)
    z = clean["z", 0].clone()
    z[:, :, 1] = corrupt["z", 0][:, :, 1]
    change = written(any_model, z, 0) - written(any_model, clean["z", 0], 0)
    logits, _ = path_patch(any_model, *pair, (0, 1), "logits")
    torch.testing.assert_close(logits, end(any_model, clean["resid_post", 2] + change), **CLOSE)
    assert (logits - any_model(pair[0]).logits).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_the_direct_effect_of_an_mlp_is_its_swap_at_the_end_of_the_stream(tiny: Any, pair: Any, family: str) -> None:
    model = tiny(family)
    clean, corrupt = (kept(model, tokens, ["mlp_out", "resid_post"]) for tokens in pair)
    stream = clean["resid_post", 2] - clean["mlp_out", 1] + corrupt["mlp_out", 1]
    logits, _ = path_patch(model, *pair, ("mlp_out", 1), "logits")
    torch.testing.assert_close(logits, end(model, stream), **CLOSE)
    assert (logits - model(pair[0]).logits).abs().max() > 1e-3


@pytest.mark.parametrize("sender", [(0, 1), ("mlp_out", 0)])
def test_mlps_follow_the_swap_only_where_they_are_part_of_the_way(tiny: Any, pair: Any, sender: Any) -> None:
    model = tiny("gpt2")
    sites = ["z", "resid_mid", "mlp_out", "resid_pre"]
    clean, corrupt = (kept(model, tokens, sites) for tokens in pair)
    blocks = model.transformer.h
    with torch.no_grad():
        if sender[0] == "mlp_out":
            change = corrupt["mlp_out", 0] - clean["mlp_out", 0]
        else:
            swap = anatomy(model).heads(corrupt["z", 0] - clean["z", 0], 0)[:, :, 1]
            mid = clean["resid_mid", 0] + swap
            change = swap + blocks[0].mlp(blocks[0].ln_2(mid)) - clean["mlp_out", 0]
        mid = clean["resid_mid", 1] + change
        change = change + blocks[1].mlp(blocks[1].ln_2(mid)) - clean["mlp_out", 1]
        keys = (
            blocks[2].attn.c_attn(blocks[2].ln_1(clean["resid_pre", 2] + change)).chunk(3, -1)[1].unflatten(-1, (4, 8))
        )
    _, through = path_patch(model, *pair, sender, [(2, 3)], "k", save=("k", 2), through_mlps=True)
    torch.testing.assert_close(through["k", 2][:, :, 3], keys[:, :, 3], **CLOSE)
    _, past = path_patch(model, *pair, sender, [(2, 3)], "k", save=("k", 2))
    assert (past["k", 2] - through["k", 2])[:, :, 3].abs().max() > 1e-3


def test_where_queries_are_grouped_a_whole_group_receives_into_its_keys(tiny: Any, pair: Any) -> None:
    model = tiny("llama")
    plain = kept(model, pair[0], ["q", "k", "v"])
    for into, receivers, changed in (("k", [(1, 2), (1, 3)], [1]), ("v", [(1, 0), (1, 1)], [0]), ("q", [(1, 2)], [2])):
        _, tap = path_patch(model, *pair, (0, 1), receivers, into, save=[("q", 1), ("k", 1), ("v", 1)])
        for site in ("q", "k", "v"):
            change = (tap[site, 1] - plain[site, 1]).abs().amax((0, 1, 3))
            assert (change > 1e-6).nonzero().flatten().tolist() == (changed if site == into else [])


def test_a_part_of_a_group_cannot_receive_into_its_keys(tiny: Any, pair: Any) -> None:
    for into in ("k", "v"):
        with pytest.raises(ValueError, match=r"heads \(1, 2\), \(1, 3\) share .*\(\(1, 3\) is missing\), or receive"):
            path_patch(tiny("llama"), *pair, (0, 1), [(1, 2)], into)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_left_as_it_was(tiny: Any, pair: Any, trace: Any, family: str) -> None:
    model = tiny(family)
    before = trace(model)
    path_patch(model, *pair, (0, 1), [(1, 0), (1, 1)], "v")
    patch_head(model, *pair, [(0, 1)])
    assert trace(model) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"corrupt": torch.full((2, 6), 3)}, r"of one shape, but they are \[2, 7\] and \[2, 6\]"),
        ({"clean": torch.full((2, 7), 61)}, "clean tokens have to be whole numbers from 0 to 60"),
        ({"sender": (1, 0), "receivers": [(2, 0), (1, 1)]}, "after layer 1, but one is in layer 1"),
        ({"sender": ("mlp_out", 1)}, "after layer 1, but one is in layer 1"),
        ({"sender": (3, 0)}, "3 layers, 0 to 2; there is no layer 3"),
        ({"sender": ("mlp_out", 3)}, "3 layers, 0 to 2; there is no layer 3"),
        ({"sender": (0, 4)}, "4 heads, 0 to 3; there is no head 4"),
        ({"sender": ("mlp", 1)}, r"pairs \(layer, head\), such as \(0, 1\); \('mlp', 1\) is none"),
        ({"receivers": [(1, -1)]}, "there is no head -1"),
        ({"receivers": []}, "at least one head"),
        ({"into": None}, "'q', 'k' or 'v', and the logits into nothing; these were to receive into None"),
        ({"into": "z"}, "receive into 'z'"),
        ({"receivers": "logits"}, "the logits into nothing; these were to receive into 'k'"),
    ],
)
def test_what_cannot_be_patched_says_why(tiny: Any, pair: Any, change: dict[str, Any], says: str) -> None:
    clean, corrupt = pair
    asked = {"clean": clean, "corrupt": corrupt, "sender": (0, 1), "receivers": [(1, 0)], "into": "k", **change}
    with pytest.raises(ValueError, match=says):
        path_patch(tiny("gpt2"), **asked)


def test_models_that_cannot_be_patched_say_why(tiny: Any, pair: Any) -> None:
    with pytest.raises(ValueError, match="a norm follows each sum"):
        path_patch(tiny("bert"), *pair, (0, 0), [(1, 0)], "q")
    with pytest.raises(ValueError, match="has no MLPs that could send"):
        path_patch(tiny("attention_only"), *pair, ("mlp_out", 0), [(1, 0)], "q")
    with pytest.raises(ValueError, match="no head 4"):
        patch_head(tiny("gpt2"), *pair, [(0, 4)])
    for patch in (path_patch, patch_head):
        rest = ((0, 0), [(1, 0)], "q") if patch is path_patch else ([(0, 0)],)
        with pytest.raises(ValueError, match="training mode"):
            patch(tiny("gpt2").train(), *pair, *rest)
        with pytest.raises(ValueError, match="GPT2Model has no unembedding"):
            patch(tiny("gpt2").transformer, *pair, *rest)
