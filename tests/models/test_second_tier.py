"""Experts, parts of a model, state spaces: their sites are what the library, and our own hooks, say that they are."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import transformers as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from interpwidgets import Tap, load
from interpwidgets.methods.ablation import ablate_sweep
from interpwidgets.methods.attribution import logit_attribution
from interpwidgets.methods.circuits import full_ov
from interpwidgets.methods.lens import logit_lens
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patching import patch_sweep
from interpwidgets.methods.projections import neuron_writes
from interpwidgets.methods.runs import score
from interpwidgets.methods.tuned_lens import TunedLens
from interpwidgets.models.anatomy import MissingPartError, UnknownModelError, anatomy
from interpwidgets.models.families import FAMILIES, PARTS, suggest
from interpwidgets.models.folding import fold_norms
from interpwidgets.models.identities import identities
from interpwidgets.models.tap_experts import RoutingError
from interpwidgets.models.taps import TapError

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ENDS = ("embed", "final_norm", "logits")
Second = tuple[str, str | None]
Build = Callable[..., Any]
Inputs = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _no_gradients(request: pytest.FixtureRequest) -> Any:
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


@pytest.fixture
def part(second: Second) -> str | None:
    return second[1]


@pytest.fixture
def model(second: Second, build: Build) -> Any:
    return build(second[0])


@pytest.fixture
def inputs(second: Second, inputs_of: Callable[..., Inputs]) -> Inputs:
    return inputs_of(second[0], 2, 10)


def kept(model: Any, inputs: Inputs, *save: Any, part: str | None = None, edits: Any = None) -> Tap:
    with Tap(model, save or anatomy(model, part).sites, edits, part=part) as tap:
        model(**inputs)
    return tap


def answer(model: Any, inputs: Inputs, part: str | None = None, edits: Any = None) -> Tensor:
    """What a model returns in the end: logits, or how well texts and images fit."""
    with Tap(model, edits=edits, part=part) if edits else nullcontext():
        out = model(**inputs)
    found: Tensor = out.logits if "logits" in out else out.logits_per_text
    return found


def assert_alike(found: Tensor, expected: Tensor, what: str = "") -> None:
    """Equal but for rounding, which grows with the largest number there is."""
    size = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * size, msg=lambda m: f"{what}: {m}")


def somewhere(model: Any, part: str | None, site: str) -> Any:
    """A site with a layer that has it, the second if that will do."""
    there = [layer for layer in range(anatomy(model, part).n_layers) if anatomy(model, part).has(site, layer)]
    return site if site in ENDS else (site, 1 if 1 in there else there[0])


def state(model: Any) -> Any:
    """Everything about a model that a tap might leave behind."""
    modules = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), m.training, "forward" in vars(m)) for m in model.modules()
    ]
    configs = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    return configs, modules, list(model.state_dict())


# -- what is read


def test_sites_agree_with_each_other_and_with_the_weights(model: Any, part: str | None, inputs: Inputs) -> None:
    errors = identities(model, part=part, **inputs)
    size = max(1.0, float(answer(model, inputs).abs().max()))
    assert max(errors.values()) < 1e-5 * size, errors
    assert set(errors) == set(anatomy(model, part).sites)


def test_the_stream_is_what_the_library_calls_hidden_states(model: Any, part: str | None, inputs: Inputs) -> None:
    if part == "cross":
        pytest.skip("the stream in the middle of a layer is not among what the library returns")
    out = model(**inputs, output_hidden_states=True)
    if part in ("text", "vision"):
        out = out[f"{part}_model_output"]
    states = out[f"{part}_hidden_states" if part in ("encoder", "decoder") else "hidden_states"]
    tap = kept(model, inputs, "embed", "resid_post", part=part)
    states = [tap["embed"], *states] if model.config.model_type == "mamba" else states  # Mamba's leave that out
    torch.testing.assert_close(tap["embed"], states[0], rtol=0, atol=0)
    n = anatomy(model, part).n_layers
    torch.testing.assert_close(tap["resid_post"][: n - 1], torch.stack(states[1:n]), rtol=0, atol=0)


def test_patterns_are_those_that_the_plain_model_returns(model: Any, part: str | None, inputs: Inputs) -> None:
    if model.config.model_type == "mamba":
        pytest.skip("Mamba has no attention")
    model.set_attn_implementation("eager")
    plain = model(**inputs, output_attentions=True)
    if part in ("text", "vision"):
        plain = plain[f"{part}_model_output"]
    names = {"encoder": "encoder_attentions", "decoder": "decoder_attentions", "cross": "cross_attentions"}
    tap = kept(model, inputs, "pattern", part=part)
    torch.testing.assert_close(tap["pattern"], torch.stack(plain[names.get(part or "", "attentions")]), **CLOSE)


@pytest.mark.parametrize(
    ("name", "part", "reported"),
    [
        ("mixtral", None, "router_logits"), ("gpt_oss", None, "router_logits"),
        ("switch", "encoder", "encoder_router_logits"), ("switch", "decoder", "decoder_router_logits"),
    ],
)  # fmt: skip
def test_routers_say_what_the_library_reports(
    build: Build, inputs_of: Callable[..., Inputs], name: str, part: str | None, reported: str
) -> None:
    model, inputs = build(name), inputs_of(name, 2, 10)
    with Tap(model, ["router", "routing"], part=part) as tap:
        out = model(**inputs, output_router_logits=True)
    expected = torch.stack([each.reshape(tap["router"].shape[1:]) for each in out[reported]])
    torch.testing.assert_close(tap["router"], expected, rtol=0, atol=0)
    probabilities, asked = expected.softmax(-1), tap["routing"] > 0
    if name == "switch":  # one expert, with its share among all; nothing beyond the capacity of an expert
        assert asked.sum(-1).max() == 1
        assert asked.sum(2).max() <= 4
        torch.testing.assert_close(tap["routing"], probabilities * asked, **CLOSE)
    else:
        assert (asked.sum(-1) == 2).all()
        best = probabilities.topk(2, -1).indices
        assert asked.gather(-1, best).all()
        torch.testing.assert_close(tap["routing"].sum(-1), torch.ones(3, 2, 10), **CLOSE)


def test_hooks_of_our_own_see_the_same(model: Any, part: str | None, inputs: Inputs) -> None:
    parts, seen = anatomy(model, part), {}
    for layer, block in enumerate(parts.blocks):
        into = block.get_submodule(parts.family.W_O)
        into.register_forward_pre_hook(lambda _, args, layer=layer: seen.update({layer: args[0].clone()}))
    site = "z" if parts.attentions else "y"
    tap = kept(model, inputs, site, part=part)
    assert len(seen) == parts.n_layers
    for layer, found in seen.items():
        torch.testing.assert_close(tap[site, layer].reshape(found.shape), found, rtol=0, atol=0)


def test_hooks_of_our_own_see_the_same_in_mamba(build: Build, ids: Tensor) -> None:
    model, seen = build("mamba"), {}
    mixer = model.backbone.layers[1].mixer
    mixer.in_proj.register_forward_hook(lambda _, __, out: seen.update(inner=out.clone()))
    mixer.x_proj.register_forward_hook(lambda _, args, out: seen.update(conv=args[0].clone(), made=out.clone()))
    tap = kept(model, {"input_ids": ids})
    assert torch.equal(tap["gate", 1], seen["inner"][..., 96:])
    assert torch.equal(tap["conv", 1], seen["conv"])
    assert torch.equal(torch.cat([tap["B", 1], tap["C", 1]], -1), seen["made"][..., -8:])


def test_the_last_state_of_mamba_is_what_its_cache_holds(build: Build, ids: Tensor) -> None:
    model = build("mamba")
    with Tap(model, ["state", "delta"]) as tap:
        cache = model(ids, use_cache=True).cache_params
    for layer in range(3):
        held = cache.get_recurrent_state(layer, state_idx=0)
        torch.testing.assert_close(tap["state", layer][:, -1], held, **CLOSE)
    assert tap["delta"].min() > 0


def test_without_patterns_nothing_changes_to_the_last_bit(model: Any, part: str | None, inputs: Inputs) -> None:
    expected = answer(model, inputs)
    with Tap(model, [site for site in anatomy(model, part).sites if site != "pattern"], part=part):
        assert torch.equal(answer(model, inputs), expected)


def test_the_sinks_of_gpt_oss_take_what_the_rows_lack(build: Build, ids: Tensor) -> None:
    model = build("gpt_oss")
    rows = kept(model, {"input_ids": ids}, "pattern")["pattern"].sum(-1)
    assert rows.max() < 1
    assert rows.min() > 0
    for block in model.model.layers:
        block.self_attn.sinks.fill_(-1e9)
    rows = kept(model, {"input_ids": ids}, "pattern")["pattern"].sum(-1)
    torch.testing.assert_close(rows, torch.ones_like(rows), **CLOSE)
    assert anatomy(model).sinks(1).shape == (4,)
    assert anatomy(build("mixtral")).sinks(1) is None


def test_the_text_tower_of_clip_looks_back_and_the_other_all_around(
    build: Build, inputs_of: Callable[..., Inputs]
) -> None:
    model, inputs = build("clip"), inputs_of("clip", 2, 10)
    later = torch.ones(10, 10).triu(1).bool()
    text, vision = (kept(model, inputs, "pattern", part=part) for part in ("text", "vision"))
    assert text["pattern"][..., later].max() == 0
    assert vision["pattern"][..., later].min() > 0
    assert (text.anatomy.causal, vision.anatomy.causal) == (True, False)
    alone = kept(model.text_model, {"input_ids": inputs["input_ids"]}, "resid_post")
    assert torch.equal(alone["resid_post"], kept(model, inputs, "resid_post", part="text")["resid_post"])


def test_cross_attention_looks_from_one_text_at_another(build: Build, inputs_of: Callable[..., Inputs]) -> None:
    model, inputs = build("t5"), inputs_of("t5", 2, 10)
    mask = torch.ones(2, 10)
    mask[1, 6:] = 0
    tap = kept(model, {**inputs, "attention_mask": mask}, part="cross")
    assert tap["pattern"].shape == (2, 2, 4, 7, 10)
    assert tap["pattern"][:, 1, :, :, 6:].max() == 0
    torch.testing.assert_close(tap["pattern"].sum(-1), torch.ones(2, 2, 4, 7), **CLOSE)
    with Tap(model, "resid_mid", part="decoder") as decoder:
        model(**inputs, attention_mask=mask)
    torch.testing.assert_close(
        tap["resid_pre"], decoder["resid_mid"], **CLOSE
    )  # it stands between a decoder's attention and its MLP


def test_the_facts_of_a_model(second: Second, model: Any, part: str | None) -> None:
    parts, (name, _) = anatomy(model, part), second
    assert parts.d_model == 48
    assert parts.n_layers == (2 if part in ("decoder", "cross") else 3)
    heads = {"mamba": (0, 0, 0), "mixtral": (4, 2, 16), "gpt_oss": (4, 2, 16)}
    assert (parts.n_heads, parts.n_kv_heads, parts.d_head) == heads.get(name, (4, 4, 12))
    assert parts.causal == (part not in ("encoder", "cross", "vision"))
    lengths = {"mixtral": 64, "gpt_oss": 64, "bart": 64, "clip": 10 if part == "vision" else 64}
    assert parts.max_context == lengths.get(name)


def test_weights_by_name_make_the_logits(build: Build, inputs_of: Callable[..., Inputs]) -> None:
    for name, part in (
        ("t5", "decoder"),
        ("t5 gated", "decoder"),
        ("switch", "decoder"),
        ("mixtral", None),
        ("mamba", None),
    ):
        model, inputs = build(name), inputs_of(name, 2, 10)
        tap = kept(model, inputs, "final_norm", "logits", part=part)
        expected = tap["final_norm"] @ tap.anatomy.W_U() + tap.anatomy.b_U()
        torch.testing.assert_close(tap["logits"], expected, **CLOSE, msg=lambda m, name=name: f"{name}: {m}")


def test_layers_of_switch_have_experts_or_neurons(build: Build, inputs_of: Callable[..., Inputs]) -> None:
    model, inputs = build("switch"), inputs_of("switch", 2, 10)
    tap = kept(model, inputs, part="encoder")
    assert [site for site in ("router", "mlp_pre") if tap.anatomy.has(site, 1)] == ["router"]
    assert (len(tap["router"]), len(tap["mlp_pre"]), len(tap["mlp_out"])) == (1, 2, 3)
    with pytest.raises(TapError, match="layer 1 has no 'mlp_post'; layers that have it are 0, 2"):
        Tap(model, ("mlp_post", 1), part="encoder")
    with pytest.raises(MissingPartError, match="mixture of experts in layer 1, each with matrices of its own"):
        tap.anatomy.W_in(1)
    assert tap.anatomy.W_in(0).shape == (48, 80)


# -- what is changed


def test_edits_that_return_their_tensor_change_nothing(model: Any, part: str | None, inputs: Inputs) -> None:
    expected = answer(model, inputs)
    for site in anatomy(model, part).sites:
        assert_alike(answer(model, inputs, part, {site: lambda x: x.clone()}), expected, site)


def test_edits_are_felt_below_them_and_not_above(model: Any, part: str | None, inputs: Inputs) -> None:
    plain, before = answer(model, inputs), kept(model, inputs, "resid_pre", part=part)
    for site in anatomy(model, part).sites:
        where = somewhere(model, part, site)
        tap = kept(model, inputs, site, "resid_pre", part=part, edits={where: lambda x: 0 * x})
        assert tap[where].abs().max() == 0, site
        if site != "logits":  # which does not flow into anything
            assert not torch.allclose(answer(model, inputs, part, {where: lambda x: 0 * x}), plain, atol=1e-4), site
        if isinstance(where, tuple) and site != "resid_pre":
            layer = where[1]
            assert torch.allclose(tap["resid_pre", layer], before["resid_pre", layer], atol=1e-5), site


def test_patching_the_stream_carries_one_run_into_another(model: Any, part: str | None, inputs: Inputs) -> None:
    if part == "cross":
        pytest.skip("what a decoder reads runs past its cross attention as well")
    one, two = ({key: value[row : row + 1] for key, value in inputs.items()} for row in (0, 1))
    whole = {**two, **{key: one[key] for key in one if key not in _read_by(part)}}  # the other part reads the same
    clean = kept(model, one, "resid_post", part=part)
    last = anatomy(model, part).n_layers - 1
    found = answer(model, whole, part, {("resid_post", last): clean["resid_post", last]})
    assert_alike(found, answer(model, one))
    assert (answer(model, whole) - answer(model, one)).abs().max() > 1e-4


def _read_by(part: str | None) -> tuple[str, ...]:
    """What goes into a part; the rest goes into the other one."""
    read = {"decoder": ("decoder_input_ids",), "vision": ("pixel_values",)}
    return read.get(part or "", ("input_ids",))


def test_a_zeroed_pattern_is_a_zeroed_z_and_a_zeroed_result(model: Any, part: str | None, inputs: Inputs) -> None:
    if model.config.model_type == "mamba":
        pytest.skip("Mamba has no attention")
    found = [answer(model, inputs, part, {(site, 1): torch.zeros_like}) for site in ("pattern", "z", "result")]
    assert_alike(found[0], found[1])
    assert_alike(found[2], found[1])


def test_an_edit_of_the_routing_is_followed(build: Build, ids: Tensor) -> None:
    for name in ("mixtral", "gpt_oss"):
        model, inputs = build(name), {"input_ids": ids}

        def all_to_the_third(routing: Tensor) -> Tensor:
            return functional.one_hot(torch.full(routing.shape[:-1], 3), 5).to(routing)

        tap = kept(model, inputs, ("resid_mid", 1), ("mlp_out", 1), edits={("routing", 1): all_to_the_third})
        block, x = model.model.layers[1], tap["resid_mid", 1]
        x = block.post_attention_layernorm(x).flatten(0, 1)
        expected = block.mlp.experts(x, torch.full((20, 1), 3), torch.ones(20, 1)).reshape(2, 10, 48)
        torch.testing.assert_close(tap["mlp_out", 1], expected, **CLOSE)


def test_an_edit_of_the_router_changes_who_is_asked(build: Build, inputs_of: Callable[..., Inputs]) -> None:
    for name, part in (("mixtral", None), ("gpt_oss", None), ("switch", "encoder")):
        model, inputs = build(name), inputs_of(name, 2, 3)

        def prefers_the_first(logits: Tensor) -> Tensor:
            logits[..., 0] = logits.max() + 5
            return logits

        tap = kept(model, inputs, "routing", part=part, edits={"router": prefers_the_first})
        assert (tap["routing"].argmax(-1) == 0).all()


def test_switch_asks_one_expert_for_a_position_and_no_more(build: Build, inputs_of: Callable[..., Inputs]) -> None:
    model, inputs = build("switch"), inputs_of("switch", 2, 10)
    halved = kept(model, inputs, "mlp_out", part="encoder")["mlp_out", 1] / 2
    tap = kept(model, inputs, "mlp_out", part="encoder", edits={"routing": lambda x: x / 2})
    torch.testing.assert_close(tap["mlp_out", 1], halved, **CLOSE)
    before = state(model)
    with pytest.raises(RoutingError, match="one expert for each position; the edit of 'routing' asks several"):
        answer(model, inputs, "encoder", {"routing": torch.ones_like})
    assert state(model) == before


def test_a_patched_state_is_remembered_from_there_on(build: Build, ids: Tensor) -> None:
    model = build("mamba", num_hidden_layers=1)
    one, two = ids[:1], ids[:1].clone()
    two[0, 2] = (one[0, 2] + 1) % 90 + 3  # another word; the convolution sees it until position 5
    clean = kept(model, {"input_ids": one}, "state", "logits")

    def with_that_memory(state: Tensor) -> Tensor:
        state[:, 6] = clean["state", 0][:, 6]
        return state

    tap = kept(model, {"input_ids": two}, "state", "logits", edits={("state", 0): with_that_memory})
    plain = kept(model, {"input_ids": two}, "state", "logits")
    torch.testing.assert_close(tap["state", 0][:, 6:], clean["state", 0][:, 6:], **CLOSE)
    torch.testing.assert_close(tap["logits"][:, 6:], clean["logits"][:, 6:], **CLOSE)
    torch.testing.assert_close(tap["logits"][:, :6], plain["logits"][:, :6], **CLOSE)
    assert (plain["logits"][:, 6:] - clean["logits"][:, 6:]).abs().amax(-1).min() > 1e-5


def test_nested_edits_of_the_state_are_both_kept(build: Build, ids: Tensor) -> None:
    model = build("mamba")

    def writes(position: int, value: float) -> Callable[[Tensor], Tensor]:
        def edit(state: Tensor) -> Tensor:
            state[:, position] = value
            return state

        return edit

    both = lambda state: writes(7, 2.0)(writes(3, 1.0)(state))  # noqa: E731
    expected = answer(model, {"input_ids": ids}, edits={("state", 1): both})
    with Tap(model, edits={("state", 1): writes(3, 1.0)}), Tap(model, "state", {("state", 1): writes(7, 2.0)}) as inner:
        found = model(ids).logits
    torch.testing.assert_close(found, expected, **CLOSE)
    assert (inner["state", 1][:, 3] == 1).all()
    assert (inner["state", 1][:, 7] == 2).all()


@pytest.mark.parametrize("site", ["conv", "gate", "C"])
def test_what_a_state_space_reads_is_all_that_it_has(build: Build, ids: Tensor, site: str) -> None:
    model = build("mamba")
    tap = kept(model, {"input_ids": ids}, "y", "conv", "gate", edits={(site, 1): torch.zeros_like})
    through = 0 if site != "C" else model.backbone.layers[1].mixer.D * tap["conv", 1] * functional.silu(tap["gate", 1])
    torch.testing.assert_close(tap["y", 1], tap["y", 1] * 0 + through, **CLOSE)


@pytest.mark.parametrize("way", ["eager", "grouped_mm", "batched_mm"])
def test_experts_may_be_computed_in_any_way(build: Build, ids: Tensor, way: str) -> None:
    for name in ("mixtral", "gpt_oss"):
        model = build(name)
        model.config._experts_implementation = way
        assert max(identities(model, input_ids=ids).values()) < 1e-5
        edits = {"routing": lambda x: x.flip(-1)}
        model.config._experts_implementation = "eager"
        expected = answer(model, {"input_ids": ids}, edits=edits)
        model.config._experts_implementation = way
        assert_alike(answer(model, {"input_ids": ids}, edits=edits), expected)


def test_a_larger_delta_forgets_what_came_before(build: Build, ids: Tensor) -> None:
    model = build("mamba", num_hidden_layers=1)

    def forgets(delta: Tensor) -> Tensor:
        delta[:, 6] = 1e4
        return delta

    tap = kept(model, {"input_ids": ids}, edits={("delta", 0): forgets})
    alone = tap["delta", 0][:, 6, :, None] * tap["B", 0][:, 6, None] * tap["conv", 0][:, 6, :, None]
    torch.testing.assert_close(tap["state", 0][:, 6], alone, **CLOSE)
    read = (tap["state", 0] @ tap["C", 0][..., None])[..., 0] + model.backbone.layers[0].mixer.D * tap["conv", 0]
    torch.testing.assert_close(tap["y", 0], read * functional.silu(tap["gate", 0]), **CLOSE)


def test_gradients_reach_every_site(model: Any, part: str | None, inputs: Inputs) -> None:
    sites = anatomy(model, part).sites
    with Tap(model, sites, part=part) as tap:
        loss = answer(model, inputs).pow(2).mean()
    for site in sites:
        where = somewhere(model, part, site)
        (gradient,) = torch.autograd.grad(loss, tap[where], retain_graph=True)
        assert gradient.abs().max() > 0, site


# -- runs that go on, that stop, that are padded


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "mamba"])
def test_generating_keeps_what_one_run_over_the_whole_text_would(build: Build, ids: Tensor, name: str) -> None:
    model = build(name)
    sites = [site for site in anatomy(model).sites if site not in ("final_norm", "logits")]
    asked = {"attention_mask": torch.ones(2, 4), "max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    with Tap(model, sites) as tap:
        text = model.generate(ids[:, :4], pad_token_id=0, **asked)
    whole = kept(model, {"input_ids": text[:, :-1]}, *sites)
    for site in sites:
        torch.testing.assert_close(tap[site], whole[site], **CLOSE, msg=lambda m, site=site: f"{site}: {m}")


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("part", ["encoder", "decoder", "cross"])
def test_a_model_writes_and_every_part_of_it_is_seen(
    build: Build, inputs_of: Callable[..., Inputs], name: str, part: str
) -> None:
    model, source = build(name), inputs_of(name, 2, 10)["input_ids"]
    sites = [site for site in anatomy(model, part).sites if site not in ("final_norm", "logits")]
    with Tap(model, sites, part=part) as tap:
        text = model.generate(source, attention_mask=torch.ones(2, 10), max_new_tokens=6, min_new_tokens=6)
    whole = kept(model, {"input_ids": source, "decoder_input_ids": text[:, :-1]}, *sites, part=part)
    for site in sites:
        torch.testing.assert_close(tap[site], whole[site], **CLOSE, msg=lambda m, site=site: f"{site}: {m}")


def test_mamba_writes_on_with_the_state_that_an_edit_leaves(build: Build, ids: Tensor) -> None:
    model, asked = build("mamba"), {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    asked["attention_mask"] = torch.ones(2, 4)
    edits = {("state", 1): lambda state: torch.full_like(state, 3), ("delta", 0): lambda delta: 9 * delta}
    with Tap(model, edits=edits):
        cached, anew = (model.generate(ids[:, :4], use_cache=use, **asked) for use in (True, False))
    assert torch.equal(cached, anew)
    assert not torch.equal(cached, model.generate(ids[:, :4], **asked))


@pytest.mark.parametrize("name", ["t5", "clip", "mixtral", "mamba"])
def test_a_run_stops_after_what_was_asked_for(build: Build, inputs_of: Callable[..., Inputs], name: str) -> None:
    model, inputs = build(name), inputs_of(name, 2, 10)
    part = {"t5": "encoder", "clip": "vision"}.get(name)
    site = {"mixtral": "routing", "mamba": "state"}.get(name, "pattern")
    whole, after = kept(model, inputs, (site, 1), part=part), []
    for block in anatomy(model, part).blocks[2:] + (anatomy(model, "decoder").blocks if name == "t5" else []):
        block.register_forward_pre_hook(lambda *_: after.append(1))
    with Tap(model, (site, 1), part=part, stop=True) as tap:
        model(**inputs)
        model(**inputs)
    torch.testing.assert_close(tap[site, 1], whole[site, 1], rtol=0, atol=0)
    assert not after


def test_a_run_with_two_parts_open_stops_once_both_have_their_own(
    build: Build, inputs_of: Callable[..., Inputs]
) -> None:
    model, inputs = build("t5"), inputs_of("t5", 2, 10)
    with Tap(model, "z", part="encoder", stop=True) as one, Tap(model, ("z", 0), part="decoder", stop=True) as two:
        for _ in range(2):
            model(**inputs)
    assert torch.equal(one["z"], kept(model, inputs, "z", part="encoder")["z"])
    assert torch.equal(two["z", 0], kept(model, inputs, "z", part="decoder")["z", 0])


def test_left_padding_changes_nothing_in_mamba(build: Build, ids: Tensor) -> None:
    model, pad = build("mamba"), torch.zeros(2, 3, dtype=torch.long)
    mask = torch.cat([pad, torch.ones_like(ids)], 1)
    alone = kept(model, {"input_ids": ids})
    tap = kept(model, {"input_ids": torch.cat([pad, ids], 1), "attention_mask": mask})
    for site in ("gate", "conv", "B", "C", "delta", "state", "y", "resid_post"):
        found, expected = tap[site][:, :, 3:], alone[site]
        torch.testing.assert_close(found, expected, **CLOSE, msg=lambda m, site=site: f"{site}: {m}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept_as_it_is(model: Any, part: str | None, inputs: Inputs, dtype: torch.dtype) -> None:
    model = model.to(dtype)
    inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    expected = answer(model, inputs)
    with Tap(model, [site for site in anatomy(model, part).sites if site != "pattern"], part=part):
        assert torch.equal(answer(model, inputs), expected)
    tap = kept(model, inputs, part=part)
    assert {tap[site].dtype for site in ("resid_pre", "resid_post")} <= {dtype, torch.float32}  # Mamba keeps its stream
    assert (answer(model, inputs, part, {"resid_post": lambda x: x}) - expected).abs().max() == 0


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_models_of_any_size_satisfy_the_identities(
    build: Build, inputs_of: Callable[..., Inputs], second: Second, data: st.DataObject
) -> None:
    name, part = second
    model = build(name, seed=data.draw(st.integers(0, 9), "seed"), **sizes(data.draw, name))
    batch, n = data.draw(st.sampled_from([1, 3]), "batch"), data.draw(st.sampled_from([1, 2, 7, 12]), "tokens")
    inputs = inputs_of(name, batch, n, n)
    errors = identities(model, part=part, **inputs)
    expected = answer(model, inputs)
    size = max(1.0, float(expected.abs().max()), *(float(x.abs().max()) for x in _streams(model, part, inputs)))
    assert max(errors.values()) < 1e-5 * size, errors
    found = answer(model, inputs, part, {site: lambda x: x.clone() for site in anatomy(model, part).sites})
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * size)


def _streams(model: Any, part: str | None, inputs: Inputs) -> list[Tensor]:
    tap = kept(model, inputs, "resid_post", part=part)
    return [tap["resid_post"]]


def sizes(draw: Any, name: str) -> dict[str, Any]:
    """A configuration of odd sizes, as far as the family lets them be odd."""
    kv, group, half = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    heads, d_head, odd = kv * group, 2 * half, 2 * draw(st.integers(2, 11)) + 1
    if name in ("mixtral", "gpt_oss"):
        experts = draw(st.integers(1, 6))
        return {
            "hidden_size": 8 * heads, "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": d_head,
            "intermediate_size": 4 * odd,  # the library multiplies experts in blocks of four
            "num_local_experts": experts, "sliding_window": draw(st.integers(1, 9)),
            "num_experts_per_tok": draw(st.integers(1, experts)), "tie_word_embeddings": draw(st.booleans()),
        }  # fmt: skip
    if name == "clip":
        tower = {"hidden_size": heads * d_head, "num_attention_heads": heads, "intermediate_size": odd}
        text = {"vocab_size": 97, "num_hidden_layers": 2, "max_position_embeddings": 20, "eos_token_id": 96, **tower}
        return {
            "text_config": text,
            "vision_config": {"image_size": 24, "patch_size": 8, "num_hidden_layers": 2, **tower},
        }
    if name == "mamba":
        return {
            "hidden_size": 2 * odd, "state_size": draw(st.integers(1, 5)), "conv_kernel": draw(st.integers(1, 4)),
            "use_bias": draw(st.booleans()), "use_conv_bias": draw(st.booleans()), "expand": draw(st.integers(1, 3)),
        }  # fmt: skip
    if name == "bart":
        stacks = {
            f"{stack}_{size}": n for stack in ("encoder", "decoder") for size, n in (("ffn_dim", odd), ("layers", 2))
        }
        counts = {"encoder_attention_heads": heads, "decoder_attention_heads": kv}
        return {"d_model": heads * d_head, "scale_embedding": draw(st.booleans()), **stacks, **counts}
    common = {"d_model": 8 * heads, "num_heads": heads, "d_kv": d_head, "d_ff": odd}
    if name == "switch":
        common |= {"num_experts": draw(st.integers(1, 4)), "expert_capacity": draw(st.integers(1, 9))}
    return common


# -- methods

METRIC = partial(logit_difference, right=5, wrong=7)


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "mamba"])
def test_the_lens_ends_with_what_the_model_says(build: Build, ids: Tensor, name: str) -> None:
    model = build(name).requires_grad_(False)
    seen = logit_lens(model, ids, sites=["resid_post"])
    assert seen.kl[-1].abs().max() == 0
    assert seen.kl[0].mean() > 0


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss"])
def test_shares_of_a_logit_add_up_to_it_where_experts_write(build: Build, ids: Tensor, name: str) -> None:
    model = build(name).requires_grad_(False)
    logits = model(ids).logits
    torch.testing.assert_close(logit_attribution(model, ids, 5, 7).total, logits[..., 5] - logits[..., 7], **CLOSE)


@pytest.mark.parametrize(("name", "site"), [("mixtral", "mlp_out"), ("gpt_oss", "z"), ("mamba", "resid_pre")])
def test_a_sweep_is_what_one_run_for_each_patch_gives(build: Build, ids: Tensor, name: str, site: Any) -> None:
    model, clean, corrupt = build(name).requires_grad_(False), ids[:1, :4], ids[1:, :4]
    found = patch_sweep(model, clean, corrupt, METRIC, site, progress=False)
    there = kept(model, {"input_ids": clean}, site)

    def patched(layer: int, place: int) -> Tensor:
        index = (slice(None), slice(None), place) if site == "z" else (slice(None), place)

        def patch(x: Tensor) -> Tensor:
            x[index] = there[site, layer][index]
            return x

        with Tap(model, edits={(site, layer): patch}):
            return score(model, corrupt, METRIC)[0]

    expected = torch.stack([torch.stack([patched(layer, place) for place in range(4)]) for layer in range(3)])
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_method_says_what_a_model_lacks_for_it(build: Build, ids: Tensor) -> None:
    no_heads = "MambaForCausalLM.* has no attention"
    with pytest.raises(UnknownModelError, match=no_heads):
        ablate_sweep(build("mamba"), ids, METRIC, progress=False)
    with pytest.raises(UnknownModelError, match=no_heads):
        logit_attribution(build("mamba"), ids, 5, 7)
    with pytest.raises(MissingPartError, match=no_heads):
        full_ov(build("mamba"), 1, 2)
    with pytest.raises(MissingPartError, match="a mixture of experts in layer 1"):
        neuron_writes(build("mixtral"), 1, 3)
    for name in ("t5", "clip"):
        with pytest.raises(UnknownModelError, match="is made of parts"):
            logit_lens(build(name), ids, sites=["resid_post"])
        with pytest.raises(UnknownModelError, match="is made of parts"):
            TunedLens.identity(build(name))


# -- what is left behind


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_as_it_was_when_a_run_breaks_off(
    model: Any, part: str | None, inputs: Inputs, error: type
) -> None:
    before, expected = state(model), answer(model, inputs)

    def breaks(_: Tensor) -> Tensor:
        raise error

    sites = anatomy(model, part).sites
    for site in {"embed", "pattern", "result", "routing", "B", "state", "resid_post"} & set(sites):
        where = somewhere(model, part, site)
        with pytest.raises(error), Tap(model, sites, part=part), Tap(model, edits={where: breaks}, part=part):
            model(**inputs)
        assert state(model) == before
    assert torch.equal(answer(model, inputs), expected)


def test_of_nested_taps_the_outer_acts_first(model: Any, part: str | None, inputs: Inputs) -> None:
    plain = kept(model, inputs, part=part)
    for site in anatomy(model, part).sites:
        if site in ("routing", "state"):  # which no number can be added to everywhere: tried above
            continue
        where = somewhere(model, part, site)
        with (
            Tap(model, where, {where: lambda x: x + 1}, part=part) as outer,
            Tap(model, where, {where: lambda x: 2 * x}, part=part) as inner,
        ):
            model(**inputs)
        assert_alike(outer[where], plain[where] + 1, site)
        assert_alike(inner[where], 2 * (plain[where] + 1), site)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_see_only_their_own_taps(model: Any, part: str | None, inputs: Inputs) -> None:
    before, plain, found = state(model), answer(model, inputs), {}
    site = {"mixtral": "router", "gpt_oss": "router", "mamba": "state"}.get(model.config.model_type, "z")
    edits = {scale: {(site, 1): lambda x, scale=scale: scale * x} for scale in (0, 2)}
    expected = {scale: answer(model, inputs, part, edit) for scale, edit in edits.items()}
    together = threading.Barrier(3)

    def work(scale: int | None) -> None:
        together.wait()
        for _ in range(9):
            with torch.no_grad():
                found[scale] = answer(model, inputs, part, None if scale is None else edits[scale])

    threads = [threading.Thread(target=work, args=(scale,)) for scale in (0, 2, None)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scale, logits in {**expected, None: plain}.items():
        assert_alike(found[scale], logits)
    assert state(model) == before


# -- what cannot be

ATTENTION_OF_A_DECODER = "it is the attention of a decoder to what its encoder read"
REFUSED = {
    "T5 without a part": ("t5", lambda m: Tap(m, "z"), r"made of parts, one of which has to be named.*part='encoder'"),
    "a part it has not": ("t5", lambda m: Tap(m, "z", part="encodr"), "there is no part 'encodr'.*or part='cross'"),
    "CLIP without a part": ("clip", lambda m: Tap(m, "z"), "part='text'.* or take model.text_model or model.vision_mo"),
    "a part of a piece": ("t5", lambda m: Tap(m.encoder, "z"), "T5Stack is a piece of a larger model"),
    "parts of one piece": ("gpt2", lambda m: Tap(m, "z", part="encoder"), "GPT2LMHeadModel is not made of parts"),
    "logits of an encoder": (
        "t5",
        lambda m: Tap(m, "logits", part="encoder"),
        "the part 'encoder' of T5.* no site 'log",
    ),
    "an MLP of cross attention": ("t5", lambda m: Tap(m, "mlp_out", part="cross"), ATTENTION_OF_A_DECODER),
    "words of an encoder": ("t5", lambda m: anatomy(m, "encoder").W_U(), "the part 'encoder' of T5.* says no tokens"),
    "words of a picture": ("clip", lambda m: anatomy(m, "vision").W_E(), "CLIPModel does not read tokens"),
    "heads of Mamba": (
        "mamba",
        lambda m: Tap(m, "pattern"),
        r"MambaForCausalLM \(mamba\) has no attention heads.*conv",
    ),
    "results of Mamba": ("mamba", lambda m: Tap(m, "result"), "has no site 'result'; it has resid_pre, gate"),
    "matrices of heads of Mamba": ("mamba", lambda m: anatomy(m).W_Q(0), "has no attention, so it has no W_Q"),
    "outputs of heads of Mamba": ("mamba", lambda m: anatomy(m).W_O(0), "has no attention, so it has no W_O"),
    "neurons of experts": ("mixtral", lambda m: Tap(m, "mlp_post"), "its neurons are in experts"),
    "matrices of experts": ("mixtral", lambda m: anatomy(m).W_in(0), "a mixture of experts in layer 0"),
    "experts of GPT-2": ("gpt2", lambda m: Tap(m, "router"), r"has no site 'router' \(it has no experts\)"),
    "states of GPT-2": ("gpt2", lambda m: Tap(m, "state"), r"has no site 'state' \(it has no state space\)"),
    "norms of experts": ("mixtral", fold_norms, "has experts: the router and all of them read one norm"),
    "norms of parts": ("t5", fold_norms, "is made of parts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_family_lacks_is_said(build: Build, case: str) -> None:
    name, attempt, sentence = REFUSED[case]
    with pytest.raises((UnknownModelError, TapError, MissingPartError, ValueError), match=sentence):
        attempt(build(name))


def test_half_a_model_has_one_part_and_needs_no_name_for_it(build: Build, ids: Tensor) -> None:
    config = build("t5").config
    torch.manual_seed(0)
    encoder = tf.T5EncoderModel(config).eval()
    assert anatomy(encoder).part == "encoder"
    assert max(identities(encoder, input_ids=ids).values()) < 1e-5
    with pytest.raises(UnknownModelError, match=r"there is no part 'decoder': Tap\(model, ..., part='encoder'\)"):
        Tap(encoder, "z", part="decoder")


def test_folding_makes_the_norms_of_mamba_simple(build: Build, ids: Tensor) -> None:
    model = build("mamba")
    folded = fold_norms(model)
    torch.testing.assert_close(folded(ids).logits, model(ids).logits, **CLOSE)
    assert all((block.norm.weight == 1).all() for block in folded.backbone.layers)


def test_our_own_small_models_have_what_they_have(ids: Tensor) -> None:
    heads = ("resid_pre", "q", "k", "v", "pattern", "z", "attn_out")
    assert anatomy(load("attn2l")).sites == (*heads, "resid_post", "result", "embed", "final_norm", "logits")
    modular = (*heads, "resid_mid", "mlp_pre", "mlp_post", "mlp_out", "resid_post", "result", "embed", "logits")
    assert anatomy(load("modadd113")).sites == modular
    with pytest.raises(UnknownModelError, match=r"ToyModel \(toy\) has no attention heads"):
        anatomy(load("tms5"))


class Packed(nn.Module):
    """A layer as libraries of quantised ones store it: whole numbers, and a scale for each output."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.scale = nn.Buffer(layer.weight.abs().amax(1, keepdim=True) / 127)
        self.weight = nn.Parameter((layer.weight / self.scale).round().to(torch.int8), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.scale)


def test_quantised_layers_can_be_tapped_but_are_no_matrices(build: Build, ids: Tensor) -> None:
    model = build("llama", attention_bias=False, mlp_bias=False)
    for block in model.model.layers:
        for name in ("q_proj", "o_proj"):
            setattr(block.self_attn, name, Packed(getattr(block.self_attn, name)))
    inputs = {"input_ids": ids}
    tap = kept(model, inputs, "q", "z", "attn_out", "pattern", "mlp_pre", "logits")
    torch.testing.assert_close(tap["logits"], model(**inputs).logits, **CLOSE)
    assert (answer(model, inputs, edits={("z", 1): torch.zeros_like}) - tap["logits"]).abs().max() > 1e-3
    for matrix in (tap.anatomy.W_Q, tap.anatomy.W_O):
        with pytest.raises(MissingPartError, match="the weight of Packed is quantised or not here"):
            matrix(1)
    assert tap.anatomy.W_K(1).shape == (4, 48, 16)


QK_NORMS = {"qk_norms": ("self_attn.q_norm", "self_attn.k_norm")}
SIZES = {
    "vocab_size": 97, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32,
    "num_key_value_heads": 2, "num_experts": 5, "num_experts_per_tok": 2, "pad_token_id": 0,
}  # fmt: skip
QWEN3_MOE = {**SIZES, "moe_intermediate_size": 32, "head_dim": 16}


@pytest.mark.parametrize("sums_to_one", [True, False])
@pytest.mark.parametrize(
    ("name", "model_class", "config_class", "config"),
    [
        ("qwen3_moe", tf.Qwen3MoeForCausalLM, tf.Qwen3MoeConfig, QWEN3_MOE),
        ("olmoe", tf.OlmoeForCausalLM, tf.OlmoeConfig, SIZES),
    ],
)
def test_a_row_is_all_that_another_mixture_of_experts_needs(
    ids: Tensor, monkeypatch: pytest.MonkeyPatch, name: str, model_class: Any, config_class: Any, config: Any,
    sums_to_one: bool,
) -> None:  # fmt: skip
    torch.manual_seed(0)
    model = model_class(config_class(**config, norm_topk_prob=sums_to_one)).eval()
    with pytest.raises(UnknownModelError, match=f"so FAMILIES\\['{name}'\\] = FAMILIES\\['mixtral'\\] may be all"):
        Tap(model, "z")
    monkeypatch.setitem(FAMILIES, name, replace(FAMILIES["mixtral"], **QK_NORMS))
    errors = identities(model, input_ids=ids)
    assert max(errors.values()) < 1e-5, errors
    assert {"router", "routing"} <= set(errors)


def test_a_line_is_all_that_another_t5_needs(inputs_of: Callable[..., Inputs], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"vocab_size": 97, "d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 2, "num_heads": 4}
    torch.manual_seed(0)
    model = tf.MT5ForConditionalGeneration(tf.MT5Config(**sizes, decoder_start_token_id=0)).eval()
    with pytest.raises(UnknownModelError, match="family 'mt5', which has no row"):
        Tap(model, "z", part="encoder")
    monkeypatch.setitem(PARTS, "mt5", PARTS["t5"])
    inputs = inputs_of("t5", 2, 10)
    size = max(1.0, float(answer(model, inputs).abs().max()))
    for part in ("encoder", "decoder", "cross"):
        assert max(identities(model, part=part, **inputs).values()) < 1e-5 * size


def test_other_state_spaces_are_told_from_mamba(ids: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"vocab_size": 97, "hidden_size": 48, "num_hidden_layers": 2, "state_size": 4}
    torch.manual_seed(0)
    normed = tf.FalconMambaForCausalLM(tf.FalconMambaConfig(**sizes)).eval()  # which puts norms on B, C and delta
    assert suggest(normed) == ["mamba"]
    monkeypatch.setitem(FAMILIES, "falcon_mamba", FAMILIES["mamba"])
    assert max(identities(normed, input_ids=ids).values()) > 1e-3
    second = tf.Mamba2ForCausalLM(tf.Mamba2Config(**sizes, num_heads=4, head_dim=24, n_groups=1))
    assert suggest(second) == []


def test_every_family_of_the_second_tier_is_tried_here() -> None:
    rows = {row for parts in PARTS.values() for _, row in parts.values()} | {"mixtral", "gpt_oss", "mamba"}
    assert rows <= set(FAMILIES)
    assert set(PARTS) == {"t5", "switch_transformers", "bart", "clip"}
