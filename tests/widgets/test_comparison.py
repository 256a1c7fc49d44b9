"""Two pictures as one: side by side, as a difference; and the mean of many."""

from collections import namedtuple

import numpy as np
import pytest

from interpwidgets import AttentionHeads
from interpwidgets.widgets import attention_heads
from interpwidgets.widgets._arrays import InputError

TOKENS = ["<s>", "a", "b", "c", "a", "b"]


def attention(n_tokens, *, layers=2, heads=4, seed=0):
    """Random causal patterns, [layer, head, query, key]."""
    raw = np.exp(4 * np.random.default_rng(seed).random((layers, heads, n_tokens, n_tokens), dtype=np.float32))
    raw *= np.tri(n_tokens, dtype=np.float32)
    return raw / raw.sum(-1, keepdims=True)


def pair(second_tokens=TOKENS, **second):
    return AttentionHeads(TOKENS, attention(6)), AttentionHeads(
        second_tokens, attention(len(second_tokens), seed=1, **second)
    )


# -- differences ---------------------------------------------------------------------------------------------------


def test_a_difference_is_the_first_less_the_second_around_zero():
    first, second = pair()
    widget = AttentionHeads.compare(first, second, names=("one", "two"))
    expected = attention(6) - attention(6, seed=1)
    np.testing.assert_allclose(widget.selected, expected[widget.layer, widget.head], atol=1e-7)
    assert widget._meta["signed"]
    assert widget._meta["vmax"] == pytest.approx(np.abs(expected).max())
    assert widget._meta["note"] == "one − two"
    assert widget._notice is None, "rows of a difference sum to zero, and nobody wonders"
    np.testing.assert_allclose(
        widget.scores["first token"], first.scores["first token"] - second.scores["first token"], atol=1e-6
    )


def test_a_difference_opens_on_the_head_that_differs_most():
    patterns = attention(6)
    changed = patterns.copy()
    changed[1, 2] = np.eye(6)
    widget = AttentionHeads.compare(AttentionHeads(TOKENS, patterns), AttentionHeads(TOKENS, changed))
    assert (widget.layer, widget.head) == (1, 2)
    assert widget.heads_above("distance", 0) == [(1, 2)]
    expected = np.abs(patterns - changed)[1, 2].sum(-1).mean() / 2
    assert widget.scores["distance"][1, 2] == pytest.approx(expected)
    assert (widget._note, widget.bar) == ("first − second", "distance")


def test_a_difference_opens_on_the_pair_of_tokens_that_differs_most():
    widget = AttentionHeads.compare(*pair(), layer=1)
    assert (widget.layer, widget.query) == (1, 5), "what is asked for wins"
    widget = AttentionHeads.compare(*pair())
    assert abs(widget.selected_value) == np.abs(widget.selected).max()


def test_sides_are_called_after_what_differs():
    first, second = pair()
    first.title, second.title = "before", "after"
    assert AttentionHeads.compare(first, second)._note == "before − after"
    story = "Once upon a time, there was a little {} named {} who had a dog and a cat and a house"
    first.title, second.title = story.format("girl", "Lily"), story.format("boy", "Tim")
    a, b = AttentionHeads.compare(first, second)._note.split(" − ")
    assert "girl" in a
    assert "boy" in b
    assert max(len(a), len(b)) <= 42


def test_positions_where_the_texts_differ_have_both_tokens():
    first, second = pair(["<s>", "a", "X", "c", "a", "b"])
    assert AttentionHeads.compare(first, second).tokens == ["<s>", "a", "b/X", "c", "a", "b"]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"second_tokens": list("abcd")}, "One side has 6 tokens, the other 4"),
        ({"layers": 3}, "One side has 2 layers, the other 3"),
        ({"heads": 2}, "One side has 4 heads in a layer, the other 2"),
    ],
)
def test_a_difference_of_what_does_not_match_says_so_and_names_the_way_out(second, said):
    with pytest.raises(InputError, match="beside") as caught:
        AttentionHeads.compare(*pair(**second))
    assert said in str(caught.value)


def test_only_two_widgets_can_be_compared_in_two_ways():
    first, second = pair()
    with pytest.raises(InputError, match="got ndarray"):
        AttentionHeads.compare(first, attention(6))
    with pytest.raises(InputError, match='"beside" or "difference"'):
        AttentionHeads.compare(first, second, mode="both")


def test_both_stay_as_they_were():
    first, second = pair()
    widget = AttentionHeads.compare(first, second)
    widget.head = (widget.head + 1) % 4
    np.testing.assert_array_equal(first.selected, attention(6)[first.layer, first.head])
    assert first._other is None
    assert second._meta["note"] == ""


# -- side by side --------------------------------------------------------------------------------------------------


def test_side_by_side_one_choice_serves_both():
    first, second = pair()
    widget = AttentionHeads.compare(first, second, "beside", names=("one", "two"))
    widget.layer, widget.head = 1, 3
    np.testing.assert_array_equal(widget.selected, attention(6)[1, 3])
    np.testing.assert_array_equal(widget.selected_other, attention(6, seed=1)[1, 3])
    for tile in (widget._tile, widget._other_tile):
        assert (tile["layer"], tile["head"]) == (1, 3)
    assert (widget._meta["name"], widget._other["_meta"]["name"]) == ("one", "two")
    assert widget._other["heads_shared"]
    assert widget._other["cells_shared"]
    assert first.selected_other is None


def test_texts_of_different_lengths_have_a_query_and_a_key_each():
    first, second = pair(list("abc"))
    widget = AttentionHeads.compare(first, second, "beside")
    assert not widget._other["cells_shared"]
    assert (widget.query, widget._other_query) == (5, 2)
    widget.set_state({"_other_query": 1, "_other_key": 0})
    assert (widget.query, widget._other_query, widget._other_key) == (5, 1, 0)
    widget.set_state({"_other_query": 5})
    assert widget._other_query == 1


def test_models_of_different_shapes_have_a_head_each():
    first, second = pair(layers=3, heads=2)
    widget = AttentionHeads.compare(first, second, "beside")
    widget.set_state({"_other_layer": 2, "_other_head": 1})
    assert (widget._other_tile["layer"], widget._other_tile["head"]) == (2, 1)
    np.testing.assert_array_equal(widget.selected_other, attention(6, layers=3, heads=2, seed=1)[2, 1])
    widget.head = 3
    assert (widget._tile["head"], widget._other_tile["head"]) == (3, 1)


def test_rows_of_the_second_side_are_answered_too(monkeypatch):
    widget, sent = AttentionHeads.compare(*pair(), "beside"), []
    monkeypatch.setattr(widget, "_send", lambda msg, buffers=None: sent.append((msg["content"], buffers)))
    for side in ("", "other"):
        widget._on_message({"type": "row", "id": 1, "side": side, "layer": 1, "head": 0, "query": 4}, [])
    for (content, buffers), side, seed in zip(sent, ("", "other"), (0, 1), strict=True):
        assert content == {"type": "row", "id": 1, "side": side}
        np.testing.assert_array_equal(np.frombuffer(buffers[0], "<f4"), attention(6, seed=seed)[1, 0, 4])


# -- averages ------------------------------------------------------------------------------------------------------

Attention = namedtuple("Attention", "tokens patterns n_kv_heads causal name")


@pytest.fixture
def model(monkeypatch):
    """A stand-in: a token per word, patterns that depend on the prompt."""

    def run(_model, text, _tokenizer, _on_layer):
        tokens = text.split(" ")
        return Attention(tokens, attention(len(tokens), seed=len(text)), 2, True, "somebody/tiny")

    monkeypatch.setattr(attention_heads, "_attention", run)
    return object()


def test_an_average_is_the_mean_over_prompts_and_says_so(model):
    widget = AttentionHeads.average(model, ["a b c", "a bb c", "a bbb c"], layer=1, head=2)
    expected = np.mean([attention(3, seed=seed) for seed in (5, 6, 7)], axis=0)
    np.testing.assert_allclose(widget.selected, expected[1, 2], rtol=1e-5)
    assert widget.tokens == ["a", "b/bb/…", "c"]
    assert (widget._meta["note"], widget._meta["model"], widget._meta["kv_heads"]) == ("mean over 3 prompts", "tiny", 2)
    assert widget._notice is None
    assert not widget._has_model


def test_scores_of_an_average_are_the_mean_of_the_scores(model):
    prompts = ["a b a b", "c d c dd"]
    each = [AttentionHeads(prompt.split(" "), attention(4, seed=len(prompt))).scores for prompt in prompts]
    found = AttentionHeads.average(model, prompts).scores
    for name, score in found.items():
        np.testing.assert_allclose(score, np.mean([one[name] for one in each], axis=0), rtol=1e-5)


def test_prompts_of_different_lengths_are_refused_in_one_sentence(model):
    with pytest.raises(InputError, match="Prompt 0 has 3 tokens, prompt 2 has 2"):
        AttentionHeads.average(model, ["a b c", "d e f", "g h"])


@pytest.mark.parametrize(("prompts", "got"), [("a b", "one text"), ([], "none")])
def test_an_average_needs_a_list_of_prompts(model, prompts, got):
    with pytest.raises(InputError, match=f"got {got}"):
        AttentionHeads.average(model, prompts)
