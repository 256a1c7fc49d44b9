"""Taps show what the model computes, change what they are told to change, and leave the model as it was."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from interpwidgets.models.anatomy import UnknownModelError, anatomy
from interpwidgets.models.families import FAMILIES
from interpwidgets.models.taps import SITES, Tap, TapError

CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _no_gradients(request: pytest.FixtureRequest) -> Any:
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


def per_head(tap: Tap, tensor: torch.Tensor) -> torch.Tensor:
    """[batch, key, kv_head, d] -> [batch, head, key, d], keys and values repeated for the heads that share them."""
    parts = tap.anatomy
    return tensor.transpose(1, 2).repeat_interleave(parts.n_heads // parts.n_kv_heads, dim=1)


def kept(model: Any, ids: torch.Tensor, **inputs: Any) -> Tap:
    with Tap(model, SITES) as tap:
        model(ids, **inputs)
    return tap


def logits(model: Any, ids: torch.Tensor, edits: Any = None, **inputs: Any) -> torch.Tensor:
    with Tap(model, edits=edits):
        return model(ids, **inputs).logits


def state(model: Any) -> Any:
    """Everything about a model that a tap might leave behind."""
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in model.modules()]
    return model.config._attn_implementation, hooks, list(model.state_dict())


# -- what is read


def test_every_site_has_the_shape_that_the_drawing_gives(model: Any, ids: torch.Tensor) -> None:
    tap, parts = kept(model, ids), anatomy(model)
    stream, heads = (2, 10, 48), (2, 10, parts.n_heads, parts.d_head)
    keys = (2, 10, parts.n_kv_heads, parts.d_head)
    mlp = (2, 10, 4 * 48 if model.config.model_type == "gpt2" else 80)
    shapes = dict.fromkeys(("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"), stream)
    shapes |= {"q": heads, "z": heads, "k": keys, "v": keys, "pattern": (2, 4, 10, 10), "mlp_pre": mlp, "mlp_post": mlp}
    assert {site: tuple(tap[site, 1].shape) for site in SITES} == shapes


def test_the_heads_and_the_bias_sum_to_the_output_of_the_attention_projection(model: Any, ids: torch.Tensor) -> None:
    projections: list[torch.Tensor] = []
    parts = anatomy(model)
    for block in parts.blocks:
        projection = block.get_submodule(parts.family.W_O)
        projection.register_forward_hook(lambda _, args, out: projections.append(out))
    tap = kept(model, ids)
    for layer, projected in enumerate(projections):
        heads = parts.heads(tap["z", layer], layer)
        torch.testing.assert_close(heads.sum(2) + parts.b_O(layer), projected, **CLOSE)


def test_z_is_the_pattern_applied_to_the_values(model: Any, ids: torch.Tensor) -> None:
    tap = kept(model, ids)
    for layer in range(3):
        z = tap["pattern", layer] @ per_head(tap, tap["v", layer])
        torch.testing.assert_close(z.transpose(1, 2), tap["z", layer], **CLOSE)


def test_the_residual_stream_adds_up(model: Any, ids: torch.Tensor) -> None:
    tap = kept(model, ids)
    mid, post = tap["resid_pre"] + tap["attn_out"], tap["resid_mid"] + tap["mlp_out"]
    if model.config.model_type == "bert":  # a norm follows each sum
        blocks = tap.anatomy.blocks
        mid = torch.stack([b.attention.output.LayerNorm(x) for b, x in zip(blocks, mid, strict=True)])
        post = torch.stack([b.output.LayerNorm(x) for b, x in zip(blocks, post, strict=True)])
    torch.testing.assert_close(mid, tap["resid_mid"], **CLOSE)
    torch.testing.assert_close(post, tap["resid_post"], **CLOSE)
    torch.testing.assert_close(tap["resid_post"][:-1], tap["resid_pre"][1:], rtol=0, atol=0)


def test_patterns_are_those_of_the_plain_model(model: Any, ids: torch.Tensor) -> None:
    tap = kept(model, ids)
    model.set_attn_implementation("eager")
    expected = model(ids, output_attentions=True)
    torch.testing.assert_close(tap["pattern"], torch.stack(expected.attentions), **CLOSE)
    torch.testing.assert_close(tap["pattern"].sum(-1), torch.ones(3, 2, 4, 10), **CLOSE)
    with Tap(model, "pattern"):
        torch.testing.assert_close(model(ids).logits, expected.logits, rtol=0, atol=1e-6)


def test_scores_of_q_and_k_give_the_pattern_in_llama(build: Any, ids: torch.Tensor) -> None:
    tap = kept(build("llama"), ids)
    scores = tap["q", 2].transpose(1, 2) @ per_head(tap, tap["k", 2]).mT / 16**0.5
    scores = scores.masked_fill(torch.ones(10, 10).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(scores.softmax(-1), tap["pattern", 2], **CLOSE)


def test_without_patterns_the_model_runs_its_own_attention_to_the_last_bit(model: Any, ids: torch.Tensor) -> None:
    expected = model(ids).logits
    with Tap(model, ["q", "z", "resid_mid", "mlp_out"]):
        assert torch.equal(model(ids).logits, expected)


def test_gemma_looks_no_further_back_than_its_window_in_every_other_layer(build: Any, ids: torch.Tensor) -> None:
    pattern = kept(build("gemma2"), ids)["pattern"]
    too_far = torch.ones(10, 10).tril(-5).bool()
    assert pattern[0][..., too_far].max() == 0
    assert pattern[1][..., too_far].min() > 0


def test_bert_does_not_look_at_padding(build: Any, ids: torch.Tensor) -> None:
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    model = build("bert")
    tap = kept(model, ids, attention_mask=mask)
    assert tap["pattern"][:, 1, :, :, 6:].max() == 0
    assert tap["pattern"][:, 0, :, :, 6:].min() > 0
    alone = kept(model, ids[1:, :6])
    torch.testing.assert_close(tap["resid_post", 2][1:, :6], alone["resid_post", 2], **CLOSE)


@pytest.mark.parametrize("site", ["pattern", "z"])
def test_left_padding_changes_nothing_in_gpt2(build: Any, ids: torch.Tensor, site: str) -> None:
    model, pad = build("gpt2"), torch.zeros(2, 3, dtype=torch.long)
    padded, mask = torch.cat([pad, ids], 1), torch.cat([pad, torch.ones_like(ids)], 1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with Tap(model, [site, "resid_post"]) as tap:
        found = model(padded, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(found[:, 3:], model(ids).logits, **CLOSE)
    if site == "pattern":
        assert tap["pattern"][..., 3:, :3].max() == 0


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), family=st.sampled_from(["gpt2", "llama", "gemma2", "bert"]))
def test_the_identities_hold_for_models_of_any_size(build: Any, data: st.DataObject, family: str) -> None:
    kv, group = data.draw(st.integers(1, 3), "key-value heads"), data.draw(st.integers(1, 3), "heads in a group")
    heads, d_head = kv * group, 2 * data.draw(st.integers(1, 5), "half of d_head")
    if family == "gpt2":
        config: dict[str, int] = {"n_embd": heads * d_head, "n_head": heads}
    elif family == "bert":
        config = {"hidden_size": heads * d_head, "num_attention_heads": heads}
    else:
        config = {"hidden_size": 8 * heads, "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": d_head}
    model = build(family, **config)
    ids = torch.randint(3, 97, (data.draw(st.integers(1, 2), "batch"), data.draw(st.integers(1, 12), "tokens")))
    with torch.no_grad():
        tap = kept(model, ids)
        z = tap["pattern", 1] @ per_head(tap, tap["v", 1])
        torch.testing.assert_close(z.transpose(1, 2), tap["z", 1], **CLOSE)
        torch.testing.assert_close(tap["resid_post"][:-1], tap["resid_pre"][1:], **CLOSE)
        torch.testing.assert_close(logits(model, ids, {"pattern": lambda x: x}), model(ids).logits, **CLOSE)
        if family != "bert":
            total = tap["resid_pre"] + tap["attn_out"] + tap["mlp_out"]
            torch.testing.assert_close(total, tap["resid_post"], **CLOSE)


# -- what is changed


@pytest.mark.parametrize("site", SITES)
def test_an_edit_that_returns_its_tensor_changes_nothing(model: Any, ids: torch.Tensor, site: str) -> None:
    torch.testing.assert_close(logits(model, ids, {site: lambda x: x}), model(ids).logits, **CLOSE)


@pytest.mark.parametrize("site", SITES)
def test_an_edit_is_felt_below_it_and_not_above(model: Any, ids: torch.Tensor, site: str) -> None:
    plain = kept(model, ids)
    with Tap(model, [site, "resid_pre", "resid_post"], edits={(site, 1): lambda x: 0 * x}) as tap:
        found = model(ids).logits
    assert tap[site, 1].abs().max() == 0  # what is kept is what went on
    torch.testing.assert_close(tap["resid_post", 0], plain["resid_post", 0], **CLOSE)
    assert (tap["resid_post", 1] - plain["resid_post", 1]).abs().max() > 1e-3
    assert (found - model(ids).logits).abs().max() > 1e-3


def test_a_zeroed_pattern_is_a_zeroed_z(model: Any, ids: torch.Tensor) -> None:
    no_pattern = logits(model, ids, {("pattern", 1): torch.zeros_like})
    torch.testing.assert_close(no_pattern, logits(model, ids, {("z", 1): torch.zeros_like}), **CLOSE)


def test_silencing_a_head_takes_exactly_its_output_away(build: Any, ids: torch.Tensor) -> None:
    model = build("llama")
    plain = kept(model, ids)

    def without_head_2(z: torch.Tensor) -> torch.Tensor:
        z[:, :, 2] = 0
        return z

    with Tap(model, "attn_out", edits={("z", 1): without_head_2}) as tap:
        model(ids)
    head = anatomy(model).heads(plain["z", 1], 1)[:, :, 2]
    torch.testing.assert_close(tap["attn_out", 1], plain["attn_out", 1] - head, **CLOSE)


def test_an_edit_of_the_middle_reaches_the_mlp_and_the_stream_that_runs_past_it(model: Any, ids: torch.Tensor) -> None:
    with Tap(
        model, ["resid_mid", "mlp_pre", "mlp_out", "resid_post"], edits={("resid_mid", 1): lambda x: x.flip(-1)}
    ) as tap:
        model(ids)
    plain = kept(model, ids)
    torch.testing.assert_close(tap["resid_mid", 1], plain["resid_mid", 1].flip(-1), **CLOSE)
    assert (tap["mlp_pre", 1] - plain["mlp_pre", 1]).abs().max() > 1e-2
    after = tap["resid_mid", 1] + tap["mlp_out", 1]
    if model.config.model_type == "bert":
        after = tap.anatomy.blocks[1].output.LayerNorm(after)
    torch.testing.assert_close(after, tap["resid_post", 1], **CLOSE)


def test_patching_the_residual_stream_carries_one_run_into_another(model: Any, ids: torch.Tensor) -> None:
    clean, corrupt = ids[:1], ids[1:]
    with Tap(model, "resid_post") as tap:
        expected = model(clean).logits
    patch = {("resid_post", 1): tap["resid_post", 1]}
    torch.testing.assert_close(logits(model, corrupt, patch), expected, **CLOSE)


def test_patching_one_position_leaves_what_came_before_alone(build: Any, ids: torch.Tensor) -> None:
    model = build("gpt2")
    clean = kept(model, ids[:1])

    def patch(x: torch.Tensor) -> torch.Tensor:
        x[:, 6] = clean["resid_pre", 1][:, 6]
        return x

    found, plain = logits(model, ids[1:], {("resid_pre", 1): patch}), model(ids[1:]).logits
    torch.testing.assert_close(found[:, :6], plain[:, :6], **CLOSE)
    assert (found[:, 6:] - plain[:, 6:]).abs().amax((0, 2)).min() > 1e-4


def test_an_edit_may_write_into_its_tensor_without_harm_to_what_is_kept_elsewhere(
    model: Any, ids: torch.Tensor
) -> None:
    plain = kept(model, ids)
    with Tap(model, ["resid_post"], edits={("resid_pre", 1): lambda x: x.zero_()}) as tap:
        model(ids)
    torch.testing.assert_close(tap["resid_post", 0], plain["resid_post", 0], **CLOSE)


@pytest.mark.parametrize("site", SITES)
def test_gradients_flow_through_taps_and_edits(model: Any, ids: torch.Tensor, site: str) -> None:
    with Tap(model, [(site, 1), ("pattern", 2)], edits={(site, 0): lambda x: 2 * x * x}) as tap:
        loss = model(ids).logits.pow(2).mean()
    (gradient,) = torch.autograd.grad(loss, tap[site, 1])
    assert gradient.shape == tap[site, 1].shape
    assert gradient.abs().max() > 0


def test_gradients_of_a_patch_are_right(build: Any, ids: torch.Tensor) -> None:
    model = build("gpt2").double()
    start = kept(model, ids)["resid_mid", 1].detach()

    def loss(nudge: torch.Tensor) -> torch.Tensor:
        return logits(model, ids, {("resid_mid", 1): lambda x: x + nudge}).pow(2).mean()

    nudge = torch.zeros_like(start, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(nudge), nudge)
    step = 1e-5 * torch.randn(start.shape, dtype=start.dtype, generator=torch.Generator().manual_seed(0))
    numeric = loss(step) - loss(-step)
    torch.testing.assert_close(numeric, 2 * (gradient * step).sum(), rtol=1e-5, atol=0)


# -- what is left behind


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_as_it_was_even_when_the_block_fails(model: Any, ids: torch.Tensor, error: type) -> None:
    before, expected = state(model), model(ids).logits

    def work() -> None:
        with Tap(model, SITES, edits={"resid_mid": lambda x: 2 * x}):
            model(ids)
            raise error

    with pytest.raises(error):
        work()
    assert state(model) == before
    assert torch.equal(model(ids).logits, expected)


def test_the_model_is_as_it_was_when_an_edit_fails_in_the_middle_of_a_run(model: Any, ids: torch.Tensor) -> None:
    before = state(model)
    with pytest.raises(ZeroDivisionError), Tap(model, SITES, edits={("z", 1): lambda x: x * (1 / 0)}) as tap:
        model(ids)
    assert state(model) == before
    assert tap["resid_post", 0].shape == (*ids.shape, 48)  # what had flowed by is there to look at


def test_the_model_is_as_it_was_when_a_tap_cannot_open(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("gpt2")
    before = state(model)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(model.transformer.h[2].mlp, "register_forward_hook", fail)
    with pytest.raises(MemoryError), Tap(model, SITES):
        pass
    assert state(model) == before


def test_training_mode_stays(build: Any, ids: torch.Tensor) -> None:
    model = build("gpt2").train()
    with Tap(model, "pattern"):
        model(ids)
        assert model.training
    assert model.training


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_attention_that_a_model_was_set_to_comes_back(build: Any, ids: torch.Tensor, implementation: str) -> None:
    model = build("llama")
    model.set_attn_implementation(implementation)
    with Tap(model, "pattern"), Tap(model, "z"):
        model(ids)
    assert model.config._attn_implementation == implementation


def test_of_nested_taps_the_outer_acts_first(build: Any, ids: torch.Tensor) -> None:
    model = build("gpt2")
    plain = kept(model, ids)
    for site in SITES:
        with Tap(model, site, {(site, 0): lambda x: x + 1}) as outer:
            with Tap(model, site, {(site, 0): lambda x: 2 * x}) as inner:
                model(ids)
            torch.testing.assert_close(outer[site, 0], plain[site, 0] + 1, **CLOSE)
            torch.testing.assert_close(inner[site, 0], 2 * (plain[site, 0] + 1), **CLOSE)
            model(ids)  # the inner one is closed: only the outer one acts
            torch.testing.assert_close(outer[site, 0], plain[site, 0] + 1, **CLOSE)


def test_taps_on_two_models_do_not_mix(build: Any, ids: torch.Tensor) -> None:
    one, two = build("gpt2"), build("gpt2", seed=1)
    with Tap(one, "pattern") as tap_one, Tap(two, "pattern") as tap_two:
        one(ids)
        two(ids)
    torch.testing.assert_close(tap_one["pattern"], kept(one, ids)["pattern"], rtol=0, atol=0)
    torch.testing.assert_close(tap_two["pattern"], kept(two, ids)["pattern"], rtol=0, atol=0)


@pytest.mark.parametrize("site", ["z", "mlp_out"])
def test_threads_see_only_their_own_taps(build: Any, ids: torch.Tensor, site: str) -> None:
    model = build("llama")
    before, plain, found = state(model), model(ids).logits, {}
    expected = {scale: logits(model, ids, {site: lambda x, s=scale: s * x}) for scale in range(4)}
    together = threading.Barrier(5)

    def work(scale: int) -> None:
        together.wait()
        for _ in range(5):
            with torch.no_grad(), Tap(model, "pattern", {site: lambda x: scale * x}):
                found[scale] = model(ids).logits

    def bare() -> None:
        together.wait()
        with torch.no_grad():
            found["bare"] = [model(ids).logits for _ in range(5)]

    threads = [threading.Thread(target=work, args=(scale,)) for scale in range(4)] + [threading.Thread(target=bare)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scale in range(4):
        torch.testing.assert_close(found[scale], expected[scale], **CLOSE)
    for each in found["bare"]:
        torch.testing.assert_close(each, plain, **CLOSE)
    assert state(model) == before


@pytest.mark.parametrize("site", ["z", "mlp_out"])
def test_tasks_see_only_their_own_taps(build: Any, ids: torch.Tensor, site: str) -> None:
    model = build("gpt2")
    before = state(model)

    async def scaled(scale: int) -> torch.Tensor:
        with Tap(model, edits={site: lambda x: scale * x}):
            await asyncio.sleep(0)
            found: torch.Tensor = model(ids).logits
            await asyncio.sleep(0)
        return found

    async def both() -> list[torch.Tensor]:
        return list(await asyncio.gather(scaled(0), scaled(2)))

    with ThreadPoolExecutor(1) as thread:  # the browser tests leave a running event loop in the main one
        tasks = thread.submit(asyncio.run, both()).result()
    for scale, found in zip((0, 2), tasks, strict=True):
        torch.testing.assert_close(found, logits(model, ids, {site: lambda x, s=scale: s * x}), **CLOSE)
    assert state(model) == before


def test_a_tap_can_be_opened_again_and_forgets(build: Any, ids: torch.Tensor) -> None:
    model = build("gpt2")
    tap = Tap(model, ["pattern", ("resid_post", -1)])
    for n in (10, 4):
        with tap:
            model(ids[:, :n])
        assert tap["pattern"].shape == (3, 2, 4, n, n)
    assert torch.equal(tap["resid_post", 2], tap["resid_post", -1])
    with tap, pytest.raises(TapError, match="run the model inside"):
        _ = tap["pattern", 0]


# -- what cannot be

WRONG = {
    "there are 3 layers": (lambda m: Tap(m, [("z", 3)]), "3 layers, 0 to 2; there is no layer 3"),
    "and none below": (lambda m: Tap(m, ("z", -4)), "there is no layer -4"),
    "a slip of the pen": (lambda m: Tap(m, ["patern"]), "no site 'patern'; did you mean 'pattern'"),
    "an unknown site": (lambda m: Tap(m, edits={"xyz": torch.zeros_like}), "no site 'xyz'; sites are resid_pre, q,"),
    "a layer by name": (lambda m: Tap(m, edits={("z", "one"): torch.zeros_like}), "there is no layer 'one'"),
    "an edit that is no edit": (lambda m: Tap(m, edits={"z": 0}), "a function or a tensor.*int"),
    "edits without sites": (lambda m: Tap(m, edits=torch.zeros_like), r"edits=\{site"),
    "not asked for": (lambda m: Tap(m, ["q"])["z", 1], r"does not keep \('z', 1\)"),
    "this layer not asked for": (lambda m: Tap(m, [("z", 0)])["z", 1], "does not keep"),
    "nothing run": (lambda m: Tap(m, ["q"])["q"], "run the model inside the `with` block"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_tap_that_cannot_be_says_why(build: Any, case: str) -> None:
    attempt, sentence = WRONG[case]
    with pytest.raises(TapError, match=sentence):
        attempt(build("gpt2"))


BAD_EDITS = {
    "it forgets to return": (lambda x: None, "returned nothing"),
    "it returns a number": (lambda x: 3.0, "returned float"),
    "it drops an axis": (lambda x: x[0], r"shape \[2, 10, 4, 12\]; its shape is \[10, 4, 12\]"),
    "a patch from a shorter text": (torch.zeros(2, 9, 4, 12), r"its shape is \[2, 9, 4, 12\]"),
}


@pytest.mark.parametrize("case", BAD_EDITS)
def test_an_edit_that_gives_the_wrong_thing_says_so(build: Any, ids: torch.Tensor, case: str) -> None:
    edit, sentence = BAD_EDITS[case]
    with pytest.raises(TapError, match=f"'z' in layer 1.*{sentence}"):
        logits(build("gpt2"), ids, {("z", 1): edit})


def test_a_site_that_a_family_lacks_is_said(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpt2 = FAMILIES["gpt2"]
    without = {site: place for site, place in gpt2.sites.items() if site != "resid_mid"}
    monkeypatch.setitem(FAMILIES, "gpt2", replace(gpt2, sites=without))
    with pytest.raises(TapError, match=r"GPT2LMHeadModel has no site 'resid_mid'; it has resid_pre, q, k"):
        Tap(build("gpt2"), ["resid_mid"])


def test_a_tap_is_opened_once_at_a_time(build: Any) -> None:
    tap = Tap(build("gpt2"), "z")
    with tap, pytest.raises(TapError, match="open already"):
        tap.__enter__()


def test_models_whose_insides_are_unknown_are_refused(build: Any) -> None:
    mamba = tf.MambaForCausalLM(tf.MambaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, state_size=2))
    for model, sentence in {
        nn.Linear(2, 2): "expected a Hugging Face transformer.*got a Linear",
        "gpt2": "got a str",
        mamba: r"MambaForCausalLM \(mamba\) has no attention heads",
    }.items():
        with pytest.raises(UnknownModelError, match=sentence):
            Tap(model, "pattern")
