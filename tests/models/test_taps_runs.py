"""The ends of a model, what heads write, runs that stop early or go on, and where kept tensors go."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.identities import identities
from interpwidgets.models.taps import TapError

CLOSE = {"rtol": 0, "atol": 1e-5}
JOINED = ("embed", "resid_pre", "q", "k", "v", "pattern", "z", "result", "attn_out", "mlp_out", "resid_post")


@pytest.fixture(autouse=True)
def _no_gradients(request: pytest.FixtureRequest) -> Any:
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


# -- sites that have no layer, and what each head writes


def test_the_ends_of_a_model_are_kept_without_a_layer(model: Any, ids: Tensor) -> None:
    ends = [end for end in ("embed", "final_norm", "logits") if end in anatomy(model).sites]
    with Tap(model, ends) as tap:
        out = model(ids)
    shapes = {"embed": (2, 10, 48), "final_norm": (2, 10, 48), "logits": (2, 10, 97)}
    assert {end: tuple(tap[end].shape) for end in ends} == {end: shapes[end] for end in ends}
    assert torch.equal(tap["logits"], out.logits)


def test_an_edit_of_an_end_is_felt(model: Any, ids: Tensor) -> None:
    plain = model(ids).logits
    for end in ("embed", "final_norm"):
        if end in anatomy(model).sites:
            with Tap(model, [end, ("resid_pre", 0)], {end: lambda x: 0 * x}) as tap:
                assert (model(ids).logits - plain).abs().max() > 1e-2
            assert tap[end].abs().max() == 0
            assert (tap["resid_pre", 0].abs().max() == 0) == (end == "embed")
    with Tap(model, edits={"logits": torch.zeros_like}):
        assert model(ids).logits.abs().max() == 0


def test_what_heads_write_adds_up_to_what_attention_writes(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    with Tap(model, ["result", "attn_out"]) as tap:
        model(ids)
    bias = torch.stack([block.attn.c_proj.bias for block in model.transformer.h])
    torch.testing.assert_close(tap["result"].sum(-2) + bias[:, None, None], tap["attn_out"], **CLOSE)
    assert tap["result"].shape == (3, 2, 10, 4, 48)


def test_a_head_whose_result_is_replaced_writes_that(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("llama")
    with Tap(model, ["result", "attn_out"]) as plain:
        model(ids)

    def doubled(heads: Tensor) -> Tensor:
        heads[..., 2, :] *= 2
        return heads

    with Tap(model, ["attn_out"], {("result", 1): doubled}) as tap:
        model(ids)
    expected = plain["attn_out", 1] + plain["result", 1][..., 2, :]
    torch.testing.assert_close(tap["attn_out", 1], expected, **CLOSE)


@pytest.mark.parametrize("site", ["embed", "final_norm", "logits", "result"])
def test_gradients_flow_through_the_ends_and_results(build: Callable[..., Any], ids: Tensor, site: str) -> None:
    model = build("gpt2")
    with Tap(model, site, {site: lambda x: x + 0 * x * x}) as tap:
        loss = model(ids).logits.pow(2).mean()
    where: Any = (site, 1) if site == "result" else site
    with Tap(model, where) as tap:
        loss = model(ids).logits.pow(2).mean()
    (gradient,) = torch.autograd.grad(loss, tap[where])
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        (("logits", 0), "'logits' has no layers: write 'logits' alone"),
        ("logit", "did you mean 'logits'"),
    ],
)
def test_a_layer_of_an_end_is_refused(build: Callable[..., Any], where: Any, sentence: str) -> None:
    with pytest.raises(TapError, match=sentence):
        Tap(build("gpt2"), where)


def test_a_base_model_has_no_logits_and_bert_no_last_norm(build: Callable[..., Any], ids: Tensor) -> None:
    with pytest.raises(TapError, match="GPT2Model has no site 'logits'; it has resid_pre"):
        Tap(build("gpt2").transformer, "logits")
    with pytest.raises(TapError, match="BertForMaskedLM has no site 'final_norm'"):
        Tap(build("bert"), "final_norm")
    with pytest.raises(TapError, match="return_dict=True"), Tap(model := build("gpt2"), "logits"):
        model(ids, return_dict=False)


# -- runs that stop early


@pytest.mark.parametrize("site", ["resid_pre", "q", "pattern", "z", "result", "mlp_post", "resid_post"])
def test_a_run_stops_after_what_was_asked_for(model: Any, ids: Tensor, site: str) -> None:
    with Tap(model, (site, 1)) as whole:
        model(ids)
    seen: list[int] = []
    for layer, block in enumerate(anatomy(model).blocks):
        block.register_forward_pre_hook(lambda *_, layer=layer: seen.append(layer))
    with Tap(model, (site, 1), stop=True) as tap:
        model(ids)
        again = tap[site, 1]  # the block of the `with` goes on
    torch.testing.assert_close(again, whole[site, 1], rtol=0, atol=0)
    assert seen == [0, 1]


def test_what_a_stopped_run_would_have_returned_is_not_there(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    with Tap(model, ("z", 0), stop=True), pytest.raises(AttributeError, match=r"stopped once .* no 'logits'"):
        _ = model(ids).logits
    with pytest.raises(TapError, match="nothing is to be kept"):
        Tap(model, edits={"z": torch.zeros_like}, stop=True)
    with Tap(model, ("z", 0), stop=True), pytest.raises(RuntimeError, match="run that very model"):
        model.transformer(ids)
    assert model(ids).logits.shape == (2, 10, 97)


def test_a_run_does_not_stop_before_every_open_tap_has_its_own(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    with Tap(model, ("z", 2)) as outer, Tap(model, ("z", 0), stop=True) as inner:
        model(ids)
    assert outer["z", 2].shape == inner["z", 0].shape


def test_gradients_of_a_stopped_run(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("llama")
    with Tap(model, [("resid_pre", 0), ("resid_post", 1)], stop=True) as tap:
        model(ids)
    (gradient,) = torch.autograd.grad(tap["resid_post", 1].sum(), tap["resid_pre", 0])
    assert gradient.abs().max() > 0


# -- where kept tensors go


def test_kept_tensors_go_where_they_are_told(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    with Tap(model, ["z", "logits"], device="meta") as tap:
        out = model(ids)
    assert tap["z"].device.type == tap["logits"].device.type == "meta"
    assert out.logits.device.type == "cpu"


# -- runs that go on: a cache of keys and values

GENERATING = [
    "gpt2", "gpt_neo", "gptj", "gpt_neox", "opt", "bloom", "falcon", "falcon 40b", "falcon rw", "phi", "phi3", "llama",
    "mistral", "qwen3", "gemma2", "gemma3", "olmo2",
]  # fmt: skip


@pytest.mark.parametrize("family", GENERATING)
def test_generating_keeps_what_one_run_over_the_whole_text_would(
    build: Callable[..., Any], ids: Tensor, family: str
) -> None:
    model = build(family)
    with Tap(model, [*JOINED, "logits"]) as tap:
        text = model.generate(
            ids[:, :4], attention_mask=torch.ones(2, 4), max_new_tokens=6, min_new_tokens=6, do_sample=False
        )
    with Tap(model, [*JOINED, "logits"]) as whole:
        model(text[:, :-1])
    for site in JOINED:
        torch.testing.assert_close(tap[site], whole[site], **CLOSE, msg=lambda m, site=site: f"{site}: {m}")
    torch.testing.assert_close(tap["logits"], whole["logits"][:, 3:], **CLOSE)


@pytest.mark.parametrize("family", ["gpt2", "bloom", "llama", "gptj"])
def test_generating_from_texts_of_two_lengths(build: Callable[..., Any], ids: Tensor, family: str) -> None:
    model, mask = build(family), torch.ones(2, 5, dtype=torch.long)
    mask[1, :2] = 0
    sites = ["pattern", "z", "resid_post"]
    with Tap(model, sites) as tap:
        text = model.generate(ids[:, :5] * mask, attention_mask=mask, max_new_tokens=4, min_new_tokens=4)
    with Tap(model, sites) as alone:
        model(text[1:, 2:-1])
    assert tap["pattern"][:, 1, :, 2:, :2].abs().max() == 0
    torch.testing.assert_close(tap["pattern"][:, 1:, :, 2:, 2:], alone["pattern"], **CLOSE)
    for site in ("z", "resid_post"):
        torch.testing.assert_close(tap[site][:, 1:, 2:], alone[site], **CLOSE)


def test_generating_with_an_edit_is_generating_with_another_model(build: Callable[..., Any], ids: Tensor) -> None:
    model, inputs = build("llama"), {"attention_mask": torch.ones(2, 4), "max_new_tokens": 4, "do_sample": False}
    silent = {("z", 1): torch.zeros_like}
    with Tap(model, edits=silent):
        text = model.generate(ids[:, :4], **inputs)
    model.model.layers[1].self_attn.o_proj.weight.zero_()
    assert torch.equal(text, model.generate(ids[:, :4], **inputs))


def test_runs_that_do_not_go_on_stand_alone(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    with Tap(model, "resid_post") as tap:
        model(ids)
        model(ids[:, :3])
        assert tap["resid_post"].shape == (3, 2, 3, 48)
        out = model(ids[:, :4], use_cache=True)
        model(ids[:, 4:], past_key_values=out.past_key_values)
        assert tap["resid_post"].shape == (3, 2, 10, 48)
        model.transformer(ids[:, :2])
        assert tap["resid_post"].shape == (3, 2, 2, 48)


def test_a_tap_that_opens_in_the_middle_keeps_what_comes_then(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    with Tap(model, ["pattern", "z"]) as whole:
        model(ids)
    cache = model(ids[:, :4], use_cache=True).past_key_values
    with Tap(model, ["pattern", "z"]) as tap:
        model(ids[:, 4:7], past_key_values=cache)
        model(ids[:, 7:], past_key_values=cache)
    torch.testing.assert_close(tap["z"], whole["z"][:, :, 4:], **CLOSE)
    torch.testing.assert_close(tap["pattern"], whole["pattern"][:, :, :, 4:], **CLOSE)


# -- others who stand around a model


def test_whoever_comes_while_a_tap_is_open_stays(build: Callable[..., Any], ids: Tensor) -> None:
    model, seen = build("gptj"), []
    plain = model(ids).logits
    attention = model.transformer.h[1].attn
    with Tap(model, "pattern") as tap:
        inside = attention.forward
        attention.forward = lambda *args, **kwargs: (seen.append(1), inside(*args, **kwargs))[1]
        model(ids)
    assert tap["pattern"].shape == (3, 2, 4, 10, 10)
    for _ in range(2):
        assert torch.equal(model(ids).logits, plain)
        with Tap(model, "pattern") as again:
            model(ids)
        assert torch.equal(again["pattern"], tap["pattern"])
    assert len(seen) == 5


def test_taps_can_be_closed_in_any_order(build: Callable[..., Any], ids: Tensor) -> None:
    for family in ("llama", "falcon"):
        model = build(family)
        plain, before = model(ids).logits, model.config._attn_implementation
        first, second = Tap(model, "z"), Tap(model, "z", {("z", 0): torch.zeros_like})
        first.__enter__()
        second.__enter__()
        first.__exit__()
        assert (model(ids).logits - plain).abs().max() > 1e-4
        second.__exit__()
        assert torch.equal(model(ids).logits, plain)
        assert model.config._attn_implementation == before
        assert not any("forward" in vars(module) for module in model.modules())


def test_a_real_model_satisfies_the_identities(stories: Any) -> None:
    ids = torch.randint(3, 500, (2, 40), generator=torch.Generator().manual_seed(0))
    errors = identities(stories, input_ids=ids)
    assert max(errors.values()) < 5e-5, errors
