"""Every family in the table: its sites are what the library itself, and hooks of our own, say that they are."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.models.anatomy import UnknownModelError, anatomy
from interpwidgets.models.families import FAMILIES
from interpwidgets.models.folding import fold_norms
from interpwidgets.models.identities import identities
from interpwidgets.models.tap_attention import registered
from interpwidgets.models.taps import TapError

CLOSE = {"rtol": 0, "atol": 1e-5}
PARALLEL = {"gptj", "gpt_neox", "falcon", "falcon 40b", "falcon 11b", "phi"}
NO_LAST_NORM = {"opt 350m", "bert", "roberta", "distilbert"}
ENCODERS = {"bert", "roberta", "distilbert", "vit"}
DECODERS = [
    "gpt2", "gpt_neo", "gptj", "gpt_neox", "gpt_neox sequential", "opt", "opt 350m", "bloom", "falcon", "falcon 40b",
    "falcon 11b", "falcon rw", "phi", "phi3", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2",
]  # fmt: skip
ONE_AFTER_THE_OTHER = [name for name in (*DECODERS, *sorted(ENCODERS)) if name not in PARALLEL]


@pytest.fixture(autouse=True)
def _no_gradients(request: pytest.FixtureRequest) -> Any:
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """What ``any_model`` is called in conftest.py."""
    called: str = request.node.callspec.params["any_model"]
    return called


def kept(model: Any, inputs: dict[str, Tensor], *save: Any, edits: Any = None) -> Tap:
    with Tap(model, save or anatomy(model).sites, edits) as tap:
        model(**inputs)
    return tap


def state(model: Any) -> Any:
    """Everything about a model that a tap might leave behind."""
    modules = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), m.training, "forward" in vars(m)) for m in model.modules()
    ]
    return model.config._attn_implementation, modules, list(model.state_dict())


# -- what is read


def test_sites_agree_with_each_other_and_with_the_weights(any_model: Any, inputs: dict[str, Tensor]) -> None:
    errors = identities(any_model, **inputs)
    assert max(errors.values()) < 1e-5, errors
    assert set(errors) == set(anatomy(any_model).sites)


def test_the_stream_is_what_the_library_calls_hidden_states(
    any_model: Any, inputs: dict[str, Tensor], name: str
) -> None:
    states = any_model(**inputs, output_hidden_states=True).hidden_states
    tap = kept(any_model, inputs)
    torch.testing.assert_close(tap["embed"], states[0], rtol=0, atol=0)
    torch.testing.assert_close(tap["resid_pre"], torch.stack(states[:3]), **CLOSE)
    torch.testing.assert_close(tap["resid_post"][:2], torch.stack(states[1:3]), **CLOSE)
    if name not in NO_LAST_NORM | {"vit"}:  # ViT's last state is the one before the norm
        torch.testing.assert_close(tap["final_norm"], states[3], **CLOSE)


def test_patterns_are_those_that_the_plain_model_returns(any_model: Any, inputs: dict[str, Tensor]) -> None:
    any_model.config._attn_implementation = "eager"  # set_attn_implementation() leaves Falcon as it is
    plain = any_model(**inputs, output_attentions=True)
    tap = kept(any_model, inputs, "pattern")
    torch.testing.assert_close(tap["pattern"], torch.stack(plain.attentions), **CLOSE)
    with Tap(any_model, "pattern"):
        torch.testing.assert_close(any_model(**inputs).logits, plain.logits, **CLOSE)


def test_hooks_of_our_own_see_the_same(any_model: Any, inputs: dict[str, Tensor]) -> None:
    parts, seen = anatomy(any_model), {}
    for layer, block in enumerate(parts.blocks):
        into = block.get_submodule(parts.family.W_O)
        into.register_forward_pre_hook(lambda _, args, layer=layer: seen.update({("z", layer): args[0].clone()}))
        down = block.get_submodule(parts.family.mlp["W_out"])
        down.register_forward_pre_hook(lambda _, args, layer=layer: seen.update({("mlp_post", layer): args[0].clone()}))
        down.register_forward_hook(lambda _, __, out, layer=layer: seen.update({("mlp_out", layer): out.clone()}))
    tap = kept(any_model, inputs, "z", "mlp_post", "mlp_out")
    for (site, layer), found in seen.items():
        if site != "mlp_out" or parts.norm_after(layer, "mlp_out") is None:
            torch.testing.assert_close(tap[site, layer].reshape(found.shape), found, rtol=0, atol=0)


def test_without_patterns_nothing_changes_to_the_last_bit(any_model: Any, inputs: dict[str, Tensor]) -> None:
    expected = any_model(**inputs).logits
    with Tap(any_model, [site for site in anatomy(any_model).sites if site != "pattern"]):
        assert torch.equal(any_model(**inputs).logits, expected)


def test_a_family_lacks_what_it_lacks_and_says_so(any_model: Any, name: str) -> None:
    sites = anatomy(any_model).sites
    assert ("resid_mid" in sites) == (name not in PARALLEL)
    assert ("final_norm" in sites) == (name not in NO_LAST_NORM)
    if name in PARALLEL:
        with pytest.raises(
            TapError, match=r"no site 'resid_mid' \(its attention and its MLP read the same resid_pre\)"
        ):
            Tap(any_model, "resid_mid")


def test_the_facts_of_a_model(any_model: Any, name: str) -> None:
    heads = {"falcon": (4, 1), "falcon 40b": (4, 2), "falcon 11b": (4, 2)}
    grouped = {"phi3", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2"}
    parts = anatomy(any_model)
    assert (parts.n_layers, parts.d_model) == (3, 48)
    assert (parts.n_heads, parts.n_kv_heads) == ((4, 2) if name in grouped else heads.get(name, (4, 4)))
    assert parts.d_head == (16 if name in {"llama", "mistral", "qwen3", "gemma2", "gemma3"} else 12)
    assert parts.causal == (name not in ENCODERS)
    assert parts.max_context == {"roberta": 62, "vit": 10, "bloom": None}.get(name, 64)
    assert registered(parts) == (not name.startswith(("gpt_neo", "gptj", "bloom", "falcon")) or "neox" in name)


def test_every_family_of_the_table_is_tried_here(families: list[str]) -> None:
    ours = {"attention_only", "modular"}  # test_attention_only.py, test_modular.py
    second = ("mixtral", "gpt_oss", "mamba", "t5_", "switch_", "clip_", "bart_")  # test_second_tier.py
    tried = {"gemma3_text" if name == "gemma3" else name.split()[0] for name in families}
    assert {name for name in FAMILIES if not name.startswith(second)} - ours <= tried
    assert {*DECODERS, *ENCODERS} == set(families)


# -- what is changed


def test_edits_that_return_their_tensor_change_nothing(any_model: Any, inputs: dict[str, Tensor]) -> None:
    expected = any_model(**inputs).logits
    for site in anatomy(any_model).sites:
        with Tap(any_model, edits={site: lambda x: x}):
            found = any_model(**inputs).logits
        torch.testing.assert_close(found, expected, **CLOSE, msg=lambda m, site=site: f"{site}: {m}")


def test_edits_are_felt_below_them_and_not_above(any_model: Any, inputs: dict[str, Tensor]) -> None:
    plain = kept(any_model, inputs, "resid_post", "logits")
    for site in anatomy(any_model).sites:
        if site in ("embed", "final_norm", "logits"):
            continue
        tap = kept(any_model, inputs, site, "resid_post", "logits", edits={(site, 1): lambda x: 0 * x})
        assert tap[site, 1].abs().max() == 0, site
        torch.testing.assert_close(tap["resid_post", 0], plain["resid_post", 0], **CLOSE)
        assert (tap["resid_post", 1] - plain["resid_post", 1]).abs().max() > 1e-4, site
        assert (tap["logits"] - plain["logits"]).abs().max() > 1e-4, site


def test_a_zeroed_pattern_is_a_zeroed_z_and_a_zeroed_result(any_model: Any, inputs: dict[str, Tensor]) -> None:
    by_pattern, by_z, by_result = (
        kept(any_model, inputs, "logits", edits={(site, 1): torch.zeros_like})["logits"]
        for site in ("pattern", "z", "result")
    )
    torch.testing.assert_close(by_pattern, by_z, **CLOSE)
    torch.testing.assert_close(by_result, by_z, **CLOSE)


@pytest.mark.parametrize("any_model", ONE_AFTER_THE_OTHER, indirect=True)
def test_an_edit_of_the_middle_reaches_the_stream_that_runs_past_the_mlp(
    any_model: Any, inputs: dict[str, Tensor]
) -> None:
    parts = anatomy(any_model)
    tap = kept(any_model, inputs, "resid_mid", "mlp_out", "resid_post", edits={("resid_mid", 1): lambda x: x.flip(-1)})
    total, norm = tap["resid_mid", 1] + tap["mlp_out", 1], parts.norm_in_stream(1, "mlp_out")
    expected = total if norm is None else norm.module(total)
    torch.testing.assert_close(tap["resid_post", 1], expected, **CLOSE)


def test_patching_the_stream_carries_one_run_into_another(any_model: Any, inputs: dict[str, Tensor]) -> None:
    one, two = ({key: value[row : row + 1] for key, value in inputs.items()} for row in (0, 1))
    clean = kept(any_model, one, "resid_post", "logits")
    found = kept(any_model, two, "logits", edits={("resid_post", 1): clean["resid_post", 1]})
    torch.testing.assert_close(found["logits"], clean["logits"], **CLOSE)


def test_gradients_reach_every_site(any_model: Any, inputs: dict[str, Tensor]) -> None:
    tap = kept(any_model, inputs)
    loss = tap["logits"].pow(2).mean()
    for site in anatomy(any_model).sites:
        where: Any = site if site in ("embed", "final_norm", "logits") else (site, 1)
        (gradient,) = torch.autograd.grad(loss, tap[where], retain_graph=True)
        assert gradient.abs().max() > 0, site


# -- other texts, other numbers


@pytest.mark.parametrize("any_model", DECODERS, indirect=True)
def test_left_padding_changes_nothing(any_model: Any, inputs: dict[str, Tensor], name: str) -> None:
    ids, pad = inputs["input_ids"], torch.zeros(2, 3, dtype=torch.long)
    mask = torch.cat([pad, torch.ones_like(ids)], 1)
    padded: dict[str, Tensor] = {"input_ids": torch.cat([pad, ids], 1), "attention_mask": mask}
    if name not in {"bloom", "falcon rw"}:  # these take the distance of tokens from the mask
        padded["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    alone, tap = kept(any_model, inputs), kept(any_model, padded)
    assert tap["pattern"][..., 3:, :3].max() == 0
    torch.testing.assert_close(tap["pattern"][..., 3:, 3:], alone["pattern"], **CLOSE)
    for site in ("q", "v", "z", "attn_out", "mlp_post", "mlp_out", "resid_post"):
        torch.testing.assert_close(tap[site][:, :, 3:], alone[site], **CLOSE, msg=lambda m, site=site: f"{site}: {m}")
    torch.testing.assert_close(tap["logits"][:, 3:], alone["logits"], **CLOSE)


@pytest.mark.parametrize("any_model", ["bert", "roberta", "distilbert"], indirect=True)
def test_right_padding_changes_nothing_in_encoders(any_model: Any, inputs: dict[str, Tensor]) -> None:
    ids = inputs["input_ids"]
    pad = torch.full((2, 3), any_model.config.pad_token_id)
    mask = torch.cat([torch.ones_like(ids), 0 * pad], 1)
    alone, tap = (
        kept(any_model, inputs),
        kept(any_model, {"input_ids": torch.cat([ids, pad], 1), "attention_mask": mask}),
    )
    assert tap["pattern"][..., 10:].max() == 0
    torch.testing.assert_close(tap["pattern"][..., :10, :10], alone["pattern"], **CLOSE)
    torch.testing.assert_close(tap["logits"][:, :10], alone["logits"], **CLOSE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept_as_it_is(any_model: Any, inputs: dict[str, Tensor], dtype: torch.dtype) -> None:
    model = any_model.to(dtype)
    inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    expected = model(**inputs).logits
    with Tap(model, [site for site in anatomy(model).sites if site != "pattern"]):
        assert torch.equal(model(**inputs).logits, expected)
    tap = kept(model, inputs, edits={"z": lambda x: x, "result": lambda x: x})
    assert {tap[site].dtype for site in ("v", "z", "result", "resid_post", "logits")} == {dtype}
    assert (tap["pattern"].float().sum(-1) - 1).abs().max() < 0.03
    assert (tap["logits"] - expected).abs().max() < 0.05 * expected.abs().max()


EVEN, ODD = st.integers(1, 5).map(lambda half: 2 * half), st.integers(2, 11)


def sizes(draw: Any, name: str) -> dict[str, Any]:
    """A configuration of odd sizes, as far as the family lets them be odd: half of a half may be rotated."""
    kv, group, d_head = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(EVEN)
    d_head *= 2 if name.startswith(("phi", "gpt_neox")) else 1
    heads, tied = kv * group, draw(st.booleans())
    common = {"hidden_size": heads * d_head, "num_attention_heads": heads, "tie_word_embeddings": tied}
    width = {"intermediate_size": draw(ODD) * 2 + 1}
    if name == "gpt2":
        return {"n_embd": heads * d_head, "n_head": heads, "n_inner": 2 * draw(ODD) + 1, "tie_word_embeddings": tied}
    if name == "gptj":
        return {"n_embd": heads * d_head, "n_head": heads, "rotary_dim": 2 * draw(st.integers(1, d_head // 2))}
    if name == "gpt_neo":
        return {"hidden_size": heads * d_head, "num_heads": heads, "window_size": draw(st.integers(1, 9)), **width}
    if name == "bloom":
        return {"hidden_size": heads * d_head, "n_head": heads}
    if name == "distilbert":
        return {"dim": heads * d_head, "n_heads": heads, "hidden_dim": 2 * draw(ODD) + 1}
    if name.startswith("opt"):
        narrow = draw(st.integers(3, 9)) if name == "opt 350m" else heads * d_head
        return {
            **common,
            "ffn_dim": 2 * draw(ODD) + 1,
            "word_embed_proj_dim": narrow,
            "enable_bias": draw(st.booleans()),
        }
    if name.startswith("falcon"):
        return {
            **common,
            "num_kv_heads": kv if "b" in name else heads,
            "bias": draw(st.booleans()),
            "ffn_hidden_size": 7,
        }
    if name in {"gpt_neox", "gpt_neox sequential"}:
        rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": draw(st.sampled_from([0.5, 1.0]))}
        return {**common, **width, "attention_bias": draw(st.booleans()), "rope_parameters": rope}
    if name in {"phi", "bert", "roberta", "vit"}:
        extra = {"qk_layernorm": draw(st.booleans())} if name == "phi" else {}
        return {**common, **width, **extra}
    grouped = {**common, **width, "num_key_value_heads": kv}
    if name in {"phi3", "mistral", "gemma2", "gemma3"}:
        grouped["sliding_window"] = draw(st.integers(1, 9))
    if name in {"llama", "mistral", "qwen3", "gemma2", "gemma3"}:
        grouped |= {"head_dim": d_head, "hidden_size": 8 * heads}
    if name == "gemma2":
        grouped["attn_logit_softcapping"] = draw(st.sampled_from([None, 0.5, 30.0]))
    if name == "llama":
        grouped |= {"attention_bias": draw(st.booleans()), "mlp_bias": draw(st.booleans())}
    return grouped


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_models_of_any_size_satisfy_the_identities(build: Callable[..., Any], family: str, data: st.DataObject) -> None:
    model = build(family, seed=data.draw(st.integers(0, 9), "seed"), **sizes(data.draw, family))
    batch, n = data.draw(st.sampled_from([1, 3]), "batch"), data.draw(st.sampled_from([1, 2, 7, 12]), "tokens")
    generator = torch.Generator().manual_seed(n)
    if family == "vit":
        inputs = {"pixel_values": torch.randn(batch, 3, 24, 24, generator=generator)}
    else:
        inputs = {"input_ids": torch.randint(3, 97, (batch, n), generator=generator)}
    errors = identities(model, **inputs)
    assert max(errors.values()) < 1e-5, errors
    with Tap(model, edits={site: lambda x: x for site in anatomy(model).sites}):
        torch.testing.assert_close(model(**inputs).logits, (expected := model(**inputs).logits), **CLOSE)
    if not anatomy(model).family.norms_stream:
        torch.testing.assert_close(fold_norms(model)(**inputs).logits, expected, rtol=1e-5, atol=2e-5)


# -- what is left behind


def test_the_model_is_as_it_was_when_a_run_breaks_off(any_model: Any, inputs: dict[str, Tensor]) -> None:
    before, expected = state(any_model), any_model(**inputs).logits
    for site in ("q", "pattern", "mlp_post", "result"):
        for error in (RuntimeError, KeyboardInterrupt):

            def breaks(_: Tensor, error: type[BaseException] = error) -> Tensor:
                raise error

            with (
                pytest.raises(error),
                Tap(any_model, anatomy(any_model).sites),
                Tap(any_model, edits={(site, 1): breaks}),
            ):
                any_model(**inputs)
            assert state(any_model) == before
    assert torch.equal(any_model(**inputs).logits, expected)


def test_of_nested_taps_the_outer_acts_first_everywhere(any_model: Any, inputs: dict[str, Tensor]) -> None:
    plain = kept(any_model, inputs)
    for site in anatomy(any_model).sites:
        where: Any = site if site in ("embed", "final_norm", "logits") else (site, 0)
        with Tap(any_model, where, {where: lambda x: x + 1}) as outer:
            with Tap(any_model, where, {where: lambda x: 2 * x}) as inner:
                any_model(**inputs)
            torch.testing.assert_close(outer[where], plain[where] + 1, **CLOSE)
            torch.testing.assert_close(inner[where], 2 * (plain[where] + 1), **CLOSE)


def test_threads_see_only_their_own_taps(any_model: Any, inputs: dict[str, Tensor]) -> None:
    before, plain, found = state(any_model), any_model(**inputs).logits, {}
    expected = {
        scale: kept(any_model, inputs, "logits", edits={"z": lambda x, s=scale: s * x})["logits"] for scale in (0, 2)
    }
    together = threading.Barrier(3)

    def work(scale: int | None) -> None:
        together.wait()
        for _ in range(3):
            with torch.no_grad():
                if scale is None:
                    found[scale] = any_model(**inputs).logits
                    continue
                with Tap(any_model, "pattern", {"z": lambda x: scale * x}):
                    found[scale] = any_model(**inputs).logits

    threads = [threading.Thread(target=work, args=(scale,)) for scale in (0, 2, None)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scale, logits in {**expected, None: plain}.items():
        torch.testing.assert_close(found[scale], logits, **CLOSE)
    assert state(any_model) == before


def test_attention_that_cannot_be_recognised_is_refused(
    build: Callable[..., Any], ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("gptj")
    attention = model.transformer.h[0].attn
    monkeypatch.setattr(attention, "_attn", lambda q, k, v, mask: (v, None))
    with pytest.raises(UnknownModelError, match="GPTJAttention neither calls its attention through the library's"):
        kept(model, {"input_ids": ids}, "z")


def test_a_configuration_that_the_sites_cannot_describe_is_refused(build: Callable[..., Any]) -> None:
    with pytest.raises(UnknownModelError, match="BloomForCausalLM with apply_residual_connection_post_layernorm=True"):
        Tap(build("bloom", apply_residual_connection_post_layernorm=True), "z")
