"""A sweep in one growing batch gives what one run for each patch gives, and leaves no trace of itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from interpwidgets import Tap, load
from interpwidgets.methods.metrics import kl_to, logit_difference, probability
from interpwidgets.methods.patching import patch_sweep
from interpwidgets.models.anatomy import anatomy

CLOSE = {"rtol": 0, "atol": 1e-5}
VOCAB, T = 65, 7
CLEAN, CORRUPT = torch.randint(3, VOCAB, (2, 1, T), generator=torch.Generator().manual_seed(0))
ROPE = {
    "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 32,
}  # fmt: skip
SOFT = {"sliding_window": 3, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=48, n_layer=3, n_head=4, n_positions=32)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**ROPE)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**ROPE, **SOFT, query_pre_attn_scalar=16)),
    "bert": lambda: BertForMaskedLM(
        BertConfig(**{name: size for name, size in ROPE.items() if name not in ("num_key_value_heads", "head_dim")})
    ),
    "attn2l": lambda: load("attn2l"),
}
SWEEPS = ["resid_pre", "attn_out", "mlp_out", "z"]


def build(family: str) -> Any:
    torch.manual_seed(0)
    model = MODELS[family]().eval().requires_grad_(False)
    if family != "attn2l":  # that one is trained
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=[*MODELS])
def model(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


@pytest.fixture
def gpt2() -> Any:
    return build("gpt2")


METRIC = partial(logit_difference, right=5, wrong=9)


def one_by_one(model: Any, site: str, by_position: bool = False, at: int = -1) -> Tensor:
    """Each number from a run of its own, by `Tap`."""
    with Tap(model, site) as clean:
        model(CLEAN)
    n_heads, n_layers = anatomy(model).n_heads, anatomy(model).n_layers
    places: list[tuple[Any, ...]] = [(slice(None), place) for place in range(T)]
    if site == "z":
        at_positions = range(T) if by_position else [slice(None)]
        places = [(slice(None), where, head) for head in range(n_heads) for where in at_positions]

    def measure(layer: int, place: tuple[Any, ...]) -> Tensor:
        def edit(x: Tensor) -> Tensor:
            x[place] = clean[site, layer][place]
            return x

        with Tap(model, edits={(site, layer): edit}):
            return METRIC(model(CORRUPT).logits[:, at])[0]

    return torch.stack([measure(layer, place) for layer in range(n_layers) for place in places]).view(n_layers, -1)


def trace(model: Any) -> list[Any]:
    """Everything that a sweep puts into a model for a while."""
    return [
        (dict(module._forward_hooks), dict(module._forward_pre_hooks), sorted(vars(module)), module.training)
        for module in model.modules()
    ] + [model.config._attn_implementation]


@pytest.mark.parametrize("site", SWEEPS)
def test_a_sweep_is_what_one_run_for_each_patch_gives_however_it_is_cut(model: Any, site: Any) -> None:
    if site == "mlp_out" and site not in anatomy(model).family.sites:
        pytest.skip("attention is all there is in this model")
    expected = one_by_one(model, site)
    assert expected.shape == (anatomy(model).n_layers, anatomy(model).n_heads if site == "z" else T)
    assert expected.std() > 1e-3, "all patches do the same, so this test could not fail"
    for max_batch in (1, 3, None):
        before = trace(model)
        sweep = patch_sweep(model, CLEAN, CORRUPT, METRIC, site, max_batch=max_batch)
        torch.testing.assert_close(sweep, expected, **CLOSE)
        assert trace(model) == before


@pytest.mark.parametrize("max_batch", [1, 5, None])
def test_heads_can_be_patched_at_one_position(model: Any, max_batch: int | None) -> None:
    sweep = patch_sweep(model, CLEAN, CORRUPT, METRIC, "z", by_position=True, max_batch=max_batch)
    assert sweep.shape == (anatomy(model).n_layers, anatomy(model).n_heads, T)
    torch.testing.assert_close(sweep.flatten(1), one_by_one(model, "z", by_position=True), **CLOSE)


def test_plain_attention_is_swept_as_well(model: Any) -> None:
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        for site in ("resid_pre", "z"):
            torch.testing.assert_close(
                patch_sweep(model, CLEAN, CORRUPT, METRIC, site, max_batch=4), one_by_one(model, site), **CLOSE
            )
    finally:
        model.set_attn_implementation(before)


def test_the_metric_gets_the_logits_where_it_looks(model: Any) -> None:
    expected = one_by_one(model, "resid_pre", at=2)
    torch.testing.assert_close(patch_sweep(model, CLEAN, CORRUPT, METRIC, at=2), expected, **CLOSE)
    torch.testing.assert_close(patch_sweep(model, CLEAN, CORRUPT, METRIC, at=2 - T), expected, **CLOSE)
    shapes = []

    def mean_of_two(logits: Tensor) -> Tensor:
        shapes.append(list(logits.shape))
        return METRIC(logits).mean(-1)

    sweep = patch_sweep(model, CLEAN, CORRUPT, mean_of_two, at=[2, -1], max_batch=4)
    torch.testing.assert_close(sweep, (expected + one_by_one(model, "resid_pre")) / 2, **CLOSE)
    assert {tuple(shape[1:]) for shape in shapes} == {(2, model.config.vocab_size)}
    assert max(shape[0] for shape in shapes) == 4


def test_a_text_patched_with_itself_is_itself(model: Any) -> None:
    sweep = patch_sweep(model, CLEAN, CLEAN, METRIC)
    torch.testing.assert_close(sweep, METRIC(model(CLEAN).logits[:, -1]).expand_as(sweep), **CLOSE)


def test_the_last_position_of_the_input_brings_nothing_where_a_causal_model_looks_earlier(gpt2: Any) -> None:
    sweep = patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, at=3)
    corrupt = METRIC(gpt2(CORRUPT).logits[:, 3])
    torch.testing.assert_close(sweep[:, 4:], corrupt.expand(3, T - 4), **CLOSE)
    assert (sweep[:, :4] - corrupt).abs().min() > 1e-6


def test_noising_is_the_same_call_with_the_texts_exchanged() -> None:
    model = build("attn2l")
    sweep = patch_sweep(model, CORRUPT, CLEAN, METRIC)
    with Tap(model, "resid_pre") as corrupt:
        model(CORRUPT)

    def edit(x: Tensor) -> Tensor:
        x[:, 2] = corrupt["resid_pre", 1][:, 2]
        return x

    with Tap(model, edits={("resid_pre", 1): edit}):
        expected = METRIC(model(CLEAN).logits[:, -1])[0]
    torch.testing.assert_close(sweep[1, 2], expected, **CLOSE)


def test_a_sweep_inside_an_open_tap_sweeps_the_edited_model(gpt2: Any) -> None:
    with Tap(gpt2, edits={("z", 1): lambda z: z * 0}):
        expected = one_by_one(gpt2, "resid_pre")
        torch.testing.assert_close(patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, max_batch=4), expected, **CLOSE)
    assert (patch_sweep(gpt2, CLEAN, CORRUPT, METRIC) - expected).abs().max() > 1e-3


class Counting(torch.nn.Module):
    """Stands for a layer norm and counts the positions that come by, in all rows."""

    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.norm, self.seen = norm, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.shape[0] * x.shape[1]
        return self.norm(x)


def counting(gpt2: Any) -> list[Counting]:
    for block in anatomy(gpt2).blocks:
        block.ln_1 = Counting(block.ln_1).eval()
    return [block.ln_1 for block in anatomy(gpt2).blocks]


def test_nothing_is_computed_below_the_layer_that_is_patched(gpt2: Any) -> None:
    layers = counting(gpt2)
    patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, "z")
    assert [layer.seen for layer in layers] == [T * (2 + 4 * n) for n in (1, 2, 3)]  # two texts, and a copy for a head
    for layer in layers:
        layer.seen = 0
    patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, "z", max_batch=1)
    assert [layer.seen for layer in layers] == [T * (2 + 4 * n) for n in (1, 2, 3)]


def test_nothing_is_computed_before_the_position_that_is_patched(gpt2: Any) -> None:
    layers = counting(gpt2)
    patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, max_batch=1)
    from_each_on = T * (T + 1) // 2
    assert [layer.seen for layer in layers] == [2 * T + n * from_each_on for n in (1, 2, 3)]


def test_hooks_of_other_people_see_the_whole_text(gpt2: Any) -> None:
    lengths = set()
    hook = gpt2.transformer.h[2].register_forward_pre_hook(lambda _, args: lengths.add(args[0].shape[1]))
    patch_sweep(gpt2, CLEAN, CORRUPT, METRIC)
    hook.remove()
    assert lengths == {T}
    for site in ("resid_pre", "z"):  # a tap counts positions from the start

        def edit(x: Tensor) -> Tensor:
            x[:, 5] = 0
            return x

        with Tap(gpt2, edits={(site, 1): edit}):
            expected = one_by_one(gpt2, "attn_out")
            torch.testing.assert_close(patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, "attn_out"), expected, **CLOSE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"corrupt": CORRUPT[:, 1:]}, r"of one shape, but they are \[1, 7\] and \[1, 6\]"),
        ({"clean": CLEAN.repeat(2, 1), "corrupt": CORRUPT.repeat(2, 1)}, r"one text each, .* they are \[2, 7\]"),
        ({"clean": CLEAN[0], "corrupt": CORRUPT[0]}, r"clean tokens have to be a tensor .* they are \[7\]"),
        ({"corrupt": CORRUPT.tolist()}, "corrupt tokens have to be a tensor .* of type list"),
        ({"clean": CLEAN[:, :0], "corrupt": CORRUPT[:, :0]}, "at least one of each; they are"),
        ({"clean": CLEAN.float()}, "clean tokens have to be whole numbers from 0 to 64"),
        ({"corrupt": CORRUPT > 9}, "corrupt tokens have to be whole numbers"),
        ({"corrupt": CORRUPT + VOCAB}, "corrupt tokens have to be whole numbers from 0 to 64"),
        ({"clean": CLEAN.repeat(1, 5), "corrupt": CORRUPT.repeat(1, 5)}, "35 tokens long, .* context holds 32"),
        ({"clean": CLEAN.to("meta")}, "clean tokens are on meta, but the model is on cpu"),
        ({"metric": "logits"}, "has to be a function of logits; it is of type str"),
        ({"at": 1.5}, r"position of the text, or a list of these; it cannot be 1\.5"),
        ({"at": "end"}, "it cannot be 'end'"),
        ({"max_batch": 2.5}, r"but it is 2\.5"),
        ({"site": "resid_per"}, "no sweep over 'resid_per'; did you mean 'resid_pre'"),
        ({"site": "???"}, "no sweep over '.*'; sweeps are over resid_pre, attn_out, mlp_out, z"),
        ({"metric": lambda logits: logits}, r"tensor of shape \[2\]; it returned something of shape \[2, 65\]"),
        ({"metric": lambda logits: logits.mean()}, r"it returned something of shape \[\]"),
        ({"metric": lambda logits: 0.5}, "it returned something of type float"),
        ({"at": T}, "7 positions, 0 to 6; the metric cannot look at 7"),
        ({"at": [0, -8]}, "cannot look at -8"),
        ({"at": []}, "one position at least"),
        ({"by_position": True}, "'resid_pre' is by position already"),
        ({"max_batch": 0}, "max_batch has to be at least 1, or None for no limit, but it is 0"),
    ],
)
def test_what_cannot_be_swept_says_why(gpt2: Any, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        patch_sweep(gpt2, **{"clean": CLEAN, "corrupt": CORRUPT, "metric": METRIC, **change})


def test_what_a_model_lacks_is_said(gpt2: Any) -> None:
    with pytest.raises(ValueError, match="has no site 'mlp_out'; it has resid_pre"):
        patch_sweep(build("attn2l"), CLEAN, CORRUPT, METRIC, "mlp_out")
    with pytest.raises(ValueError, match="GPT2Model has no logits"):
        patch_sweep(gpt2.transformer, CLEAN, CORRUPT, METRIC)


def test_a_model_in_training_mode_is_left_in_it(gpt2: Any) -> None:
    gpt2.train()
    before = trace(gpt2)
    with pytest.raises(ValueError, match=r"training mode.*model\.eval\(\)"):
        patch_sweep(gpt2, CLEAN, CORRUPT, METRIC)
    assert trace(gpt2) == before


@pytest.mark.parametrize("site", SWEEPS)
def test_an_error_in_the_middle_of_a_sweep_leaves_the_model_as_it_was(gpt2: Any, site: Any) -> None:
    before, logits = trace(gpt2), gpt2(CLEAN).logits

    def stumble(*_: Any) -> None:
        if copying:
            raise KeyboardInterrupt

    copying = False

    def metric(logits: Tensor) -> Tensor:
        nonlocal copying
        copying = True  # from the first group on
        return METRIC(logits)

    hook = gpt2.transformer.h[2].ln_1.register_forward_hook(stumble)
    with pytest.raises(KeyboardInterrupt):
        patch_sweep(gpt2, CLEAN, CORRUPT, metric, site, max_batch=4)
    hook.remove()
    assert trace(gpt2) == before
    assert torch.equal(gpt2(CLEAN).logits, logits)


def test_an_error_while_layers_are_skipped_brings_them_back(gpt2: Any) -> None:
    before, calls = trace(gpt2), []

    def metric(logits: Tensor) -> Tensor:
        calls.append(len(logits))
        return METRIC(logits) if len(calls) < 4 else logits

    with pytest.raises(ValueError, match="one number for each run"):
        patch_sweep(gpt2, CLEAN, CORRUPT, metric, max_batch=T)  # the third group: two layers are skipped
    assert trace(gpt2) == before


def test_a_short_sweep_shows_no_bar_and_a_long_one_can_be_silent(
    gpt2: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, max_batch=1)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr("interpwidgets.methods.patching.BAR_AFTER", 0)
    patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, max_batch=1, progress=False)
    assert capfd.readouterr().err == ""
    patch_sweep(gpt2, CLEAN, CORRUPT, METRIC, max_batch=1)
    assert "21" in capfd.readouterr().err


# -- metrics


LOGITS = torch.tensor([[[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]]).log()  # probabilities 0, 1/4, 3/4 and thirds: [1, 2, 3]


def test_metrics_on_numbers_that_can_be_checked_by_hand() -> None:
    log3 = torch.tensor(3.0).log()
    torch.testing.assert_close(logit_difference(LOGITS, 2, 1), torch.tensor([[log3, 0.0]]))
    torch.testing.assert_close(probability(LOGITS, 2), torch.tensor([[3 / 4, 1 / 3]]))
    torch.testing.assert_close(probability(LOGITS, torch.tensor([1, 0])), torch.tensor([[1 / 4, 1 / 3]]))
    # KL((0, 1/4, 3/4) || thirds) = log 3 - H(1/4, 3/4)
    expected = log3 + torch.tensor([1 / 4, 3 / 4]).mul(torch.tensor([1 / 4, 3 / 4]).log()).sum()
    torch.testing.assert_close(kl_to(LOGITS[0, 1], LOGITS[0, 0]), expected)
    torch.testing.assert_close(kl_to(LOGITS, LOGITS), torch.zeros(1, 2))
    torch.testing.assert_close(kl_to(LOGITS[:, 1:].expand(4, 2, 3), LOGITS[0, 0]), expected.expand(4, 2))


def test_metrics_do_not_change_when_all_logits_rise_by_the_same() -> None:
    logits, reference = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    for metric in (partial(logit_difference, right=3, wrong=4), partial(probability, token=3)):
        torch.testing.assert_close(metric(logits + 7), metric(logits))
    torch.testing.assert_close(kl_to(logits + 7, reference - 3), kl_to(logits, reference))
    assert (kl_to(logits, reference) > 0).all()


def test_metrics_say_which_token_or_vocabulary_is_wrong() -> None:
    with pytest.raises(ValueError, match="0 to 2; there is no token -1"):
        logit_difference(LOGITS, -1, 0)
    with pytest.raises(ValueError, match="0 to 2; there is no token 3"):
        probability(LOGITS, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="have 3 logits, as the model, but it has 2"):
        kl_to(LOGITS, LOGITS[..., :2])
