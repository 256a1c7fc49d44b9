"""`AttentionHeads` from Python: what it chooses, what it tells the page, what it refuses. No browser."""

import asyncio
import base64
import csv
import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import traitlets
from ipywidgets.widgets.widget import _remove_buffers

from interpwidgets import AttentionHeads
from interpwidgets.widgets import attention_heads
from interpwidgets.widgets._arrays import InputError

TOKENS = ["<s>", "a", "b", "c", "a", "b"]
HOSTILE = [
    "<img src=x onerror=alert(1)>", "</script>", "\n", "\t", "", " ", "😀", "مرحبا", "\ud83d", "\u202e", "\x00",
    "a" * 10_000,
]  # fmt: skip


def attention(n_tokens, *, layers=2, heads=4, seed=0):
    """Random causal patterns, [layer, head, query, key]."""
    raw = np.exp(4 * np.random.default_rng(seed).random((layers, heads, n_tokens, n_tokens), dtype=np.float32))
    raw *= np.tri(n_tokens, dtype=np.float32)
    return raw / raw.sum(-1, keepdims=True)


def with_induction(patterns, layer, head):
    """The same patterns, one head an induction head on TOKENS."""
    patterns = patterns.copy()
    patterns[layer, head] = 0
    patterns[layer, head, :, 0] = 1
    for query, key in [(4, 2), (5, 3)]:
        patterns[layer, head, query] = np.eye(6)[key]
    return patterns


@pytest.fixture
def heads():
    return AttentionHeads(TOKENS, attention(6), layer=0, head=0)


@pytest.fixture
def sent(monkeypatch):
    """Call it with a widget: a list that grows by every message to the page."""

    def record(widget):
        messages = []
        monkeypatch.setattr(widget, "_send", lambda msg, buffers=None: messages.append((msg, buffers)))
        return messages

    return record


def updates(messages):
    """The names of the traits in each update."""
    return [set(msg["state"]) for msg, _ in messages if msg["method"] == "update"]


def saved_bytes(widget):
    """What a notebook saves of it: JSON, and binary data as base64. The shared bundle is another model."""
    state, _, buffers = _remove_buffers(widget.get_state())
    return len(json.dumps(state)) + sum(len(base64.b64encode(buffer)) for buffer in buffers)


# -- what is chosen ------------------------------------------------------------------------------------------------


def test_it_opens_on_the_strongest_induction_head():
    widget = AttentionHeads(TOKENS, with_induction(attention(6), 1, 2))
    assert (widget.layer, widget.head, widget.query, widget.key, widget.locked) == (1, 2, 5, 3, False)
    assert repr(widget) == "AttentionHeads(2 layers × 4 heads, 6 tokens, L1 H2)"
    assert widget.heads_above("induction", 0.9) == [(1, 2)]


def test_without_an_induction_head_it_opens_on_the_first():
    widget = AttentionHeads(list("abcdef"), attention(6))
    assert (widget.layer, widget.head, widget.query) == (0, 0, 5)
    assert widget.key == attention(6)[0, 0, 5].argmax()


def test_the_choice_counts_from_the_end_too():
    widget = AttentionHeads(TOKENS, attention(6), layer=-1, head=-2, query=-1, key=-6)
    assert (widget.layer, widget.head, widget.query, widget.key) == (1, 2, 5, 0)
    widget.query = np.int64(-2)
    assert widget.query == 4


def test_the_selection_is_the_array_on_the_screen(heads):
    patterns = attention(6)
    heads.layer, heads.head, heads.query, heads.key = 1, 3, 4, 2
    np.testing.assert_array_equal(heads.selected, patterns[1, 3])
    assert heads.selected_value == patterns[1, 3, 4, 2]
    heads.head = None
    np.testing.assert_allclose(heads.selected, patterns[1].mean(0), rtol=1e-6)
    assert heads.selected_value == pytest.approx(patterns[1, :, 4, 2].mean())
    assert repr(heads) == "AttentionHeads(2 layers × 4 heads, 6 tokens, L1 mean)"


def test_writing_into_the_selection_changes_nothing(heads):
    heads.selected[:] = 9
    assert heads.selected.max() <= 1


def test_scores_are_one_number_per_head_and_yours_are_among_them():
    own = np.arange(8).reshape(2, 4)
    widget = AttentionHeads(TOKENS, attention(6), scores={"mine": own}, sort="mine", bar="mine")
    assert widget._score_names[-1] == "mine"
    assert widget._score_values.shape == (6, 2, 4)
    np.testing.assert_array_equal(widget.scores["mine"], own)
    assert widget.heads_above("mine", 4.5) == [(1, 3), (1, 2), (1, 1)]


# -- to the page and from it ---------------------------------------------------------------------------------------


def test_a_head_chosen_in_python_and_its_tile_reach_the_page_in_one_message(heads, sent):
    messages = sent(heads)
    heads.head = 2
    assert updates(messages) == [{"head", "_tile"}]
    assert (heads._tile["layer"], heads._tile["head"]) == (heads.layer, 2)


def test_a_head_chosen_in_the_page_is_answered_by_its_tile(heads, sent):
    messages, seen = sent(heads), []
    heads.observe(lambda change: seen.append((change.name, change.new)), ["layer", "head"])
    heads.set_state({"layer": 1, "head": 3})
    assert updates([m for m in messages if m[0]["method"] == "update"]) == [{"_tile"}]
    assert sorted(seen) == [("head", 3), ("layer", 1)]
    values = np.frombuffer(heads._tile["values"]["data"], "<f4")
    np.testing.assert_array_equal(values, attention(6)[1, 3][np.tri(6, dtype=bool)])


def test_a_choice_of_the_page_that_no_longer_exists_is_put_right(heads, sent):
    messages = sent(heads)
    heads.set_state({"query": 50, "key": 0})
    assert (heads.query, heads.key) == (5, heads.key)
    assert messages[-1][0]["state"] == {"query": heads.query, "key": heads.key}


def test_the_page_asks_for_a_row_and_gets_its_numbers(heads, sent):
    messages = sent(heads)
    for request, head in [(7, 1), (8, None)]:
        heads._on_message({"type": "row", "id": request, "layer": 1, "head": head, "query": 4}, [])
    heads._on_message({"type": "row", "id": 9, "layer": 1, "head": 0, "query": 99}, [])
    (first, row), (_second, mean), (third, nothing) = messages
    assert first["content"] == {"type": "row", "id": 7, "side": ""}
    np.testing.assert_array_equal(np.frombuffer(row[0], "<f4"), attention(6)[1, 1, 4])
    np.testing.assert_allclose(np.frombuffer(mean[0], "<f4"), attention(6)[1, :, 4].mean(0), rtol=1e-6)
    assert third["content"]["id"] == 9
    assert "no such row" in third["content"]["error"]
    assert not nothing


@pytest.mark.parametrize("message", [{}, {"type": "row"}, {"type": "run"}, {"type": "run", "prompt": 5}, {"type": "?"}])
def test_messages_that_make_no_sense_are_ignored(heads, sent, message):
    messages = sent(heads)
    heads._on_message(message, [])
    assert messages == []


def test_the_page_is_told_the_sizes():
    widget = AttentionHeads(TOKENS, attention(6), n_kv_heads=2, caption="made up")
    assert widget._meta == {
        "model": "", "layers": 2, "heads": 4, "kv_heads": 2, "tokens": 6, "causal": True, "signed": False, "vmax": 1.0,
        "block": 1, "tile": 1, "exact": "float32", "note": "", "name": "",
    }  # fmt: skip
    assert widget._thumbs.shape == (2, 5, 6, 6)
    assert widget._tile["values"]["shape"] == [21]
    assert not widget._has_model
    assert widget._status == {"state": "ready", "text": "", "progress": None}


def test_hostile_tokens_cross_the_wire_as_they_are():
    widget = AttentionHeads(HOSTILE, attention(len(HOSTILE)), title="\ud83d", caption="</script>")
    state, _, _ = _remove_buffers(widget.get_state())
    crossed = json.loads(json.dumps(state, ensure_ascii=False).encode("utf-8"))["tokens"]
    assert crossed == [token if token != "\ud83d" else "\\ud83d" for token in HOSTILE]
    widget.caption = "\udc00"
    assert widget.caption == "\\udc00"


@pytest.mark.parametrize(("n_tokens", "causal"), [(16, True), (128, True), (512, True), (448, False), (512, False)])
def test_the_saved_state_stays_within_its_budget(n_tokens, causal):
    values = attention(n_tokens, layers=12, heads=12)
    values[0, 0, 0, -1] = values[0, 0, 0, -1] if causal else 1e-6  # one number above the diagonal
    widget = AttentionHeads([f" t{i % 50}" for i in range(n_tokens)], values)
    total = saved_bytes(widget)
    _, _, buffers = _remove_buffers(widget.get_state())
    data = sum(len(base64.b64encode(buffer)) for buffer in buffers) + len(json.dumps(widget.tokens))
    assert total < 1_500_000
    assert total - data < 10_000


def test_an_untrusted_notebook_shows_a_small_picture_made_only_once(heads):
    png = heads._fallback_png()
    assert png.startswith(b"\x89PNG")
    assert heads._fallback_png() is png
    bundle, _ = heads._repr_mimebundle_()
    assert bundle["text/plain"] == repr(heads)
    assert bundle["image/png"]
    noise = np.random.default_rng(0).random((48, 40, 16, 16), dtype=np.float32) ** 4 - 0.2
    assert len(AttentionHeads(["a"] * 16, noise, normalized=False)._fallback_png()) < 50_000


# -- notices and errors --------------------------------------------------------------------------------------------


def test_rows_that_do_not_sum_to_one_are_named_until_silenced():
    patterns = attention(6)
    patterns[0, 1] *= 0.5
    patterns[1, 2, 3] *= 0.71
    notice = AttentionHeads(TOKENS, patterns)._notice
    assert notice["title"] == "Rows do not sum to one in 2 heads."
    assert notice["text"].startswith("L0 H1 (0.5), L1 H2 (0.71 to 1).")
    assert notice["hint"] == "Silence with normalized=False"
    assert notice["heads"] == [[0, 1], [1, 2]]
    assert AttentionHeads(TOKENS, patterns, normalized=False)._notice is None
    assert AttentionHeads(TOKENS, attention(6))._notice is None


WRONG_OPTIONS = {
    "layer": ({"layer": 2}, "no layer 2", "0 to 1 (2 layers)"),
    "head": ({"head": 4}, "no head 4", "0 to 3"),
    "query": ({"query": 6}, "no query 6", "0 to 5 (6 tokens)"),
    "key": ({"key": -7}, "no key -7", "0 to 5"),
    "a layer that is no number": ({"layer": "last"}, "whole number", "'last'"),
    "sort": ({"sort": "Induction"}, '"Induction"', '"layer", "induction"'),
    "bar": ({"bar": "x"}, '"x"', '"none"'),
    "scale": ({"scale": "logarithmic"}, '"logarithmic"', '"linear", "row" or "log"'),
    "theme": ({"theme": "blue"}, '"blue"', '"auto", "light" or "dark"'),
    "groups": ({"n_kv_heads": 3}, "4 heads cannot share 3", "1, 2 or 4"),
    "no groups": ({"n_kv_heads": 0}, "share 0", "1, 2 or 4"),
    "score shape": ({"scores": {"s": [1, 2]}}, "'s'", "[2, 4]"),
    "score not finite": ({"scores": {"s": np.full((2, 4), np.nan)}}, "'s'", "not finite"),
    "score name": ({"scores": {"layer": np.zeros((2, 4))}}, "'layer'", "other than"),
}


@pytest.mark.parametrize(("options", "what", "expected"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_wrong_options_are_refused_with_the_right_ones(options, what, expected):
    with pytest.raises(ValueError, match="xpected") as caught:
        AttentionHeads(TOKENS, attention(6), **options)
    assert isinstance(caught.value, InputError)
    assert what in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("layer", 2), ("head", 4), ("query", 6), ("key", -7), ("sort", "x"), ("bar", "x"), ("scale", "x"), ("theme", "x"),
     ("tokens", ["a"]), ("layer", "x"), ("layer", None), ("prompt", "there is no model")],
)  # fmt: skip
def test_a_trait_that_is_set_to_nonsense_keeps_its_value(heads, sent, name, value):
    messages, before = sent(heads), getattr(heads, name)
    with pytest.raises((InputError, traitlets.TraitError)) as caught:
        setattr(heads, name, value)
    assert "expected" in str(caught.value).lower() or "from_model" in str(caught.value)
    assert getattr(heads, name) == before
    assert name not in set().union(*updates(messages))


# -- a model behind it ---------------------------------------------------------------------------------------------

Attention = namedtuple("Attention", "tokens patterns n_kv_heads causal name")


class PromptTooLong(ValueError):
    rows = (("expected", "at most 20 tokens"),)
    advice = "Shorten it."


@pytest.fixture
def model(monkeypatch):
    """A stand-in: a token per word, patterns that depend on the prompt. Its `prompts` are what it was run on."""

    class Model:
        prompts: list[str] = []  # noqa: RUF012

        def run(self, model, text, tokenizer, on_layer):
            assert model is self
            self.prompts.append(text)
            tokens = ["<s>", *text.split(" ")]
            for layer in range(2 if on_layer else 0):
                on_layer(layer + 1, 2)
            if len(tokens) > 20:
                raise PromptTooLong("the text is too long; shorten it")
            if "bug" in tokens:
                raise RuntimeError("out of memory\nat 0x0")
            return Attention(tokens, attention(len(tokens), seed=len(text)), 2, True, "somebody/tiny-model")

    model = Model()
    model.prompts = []
    monkeypatch.setattr(attention_heads, "_attention", model.run)
    return model


@pytest.fixture
def live(model):
    return AttentionHeads.from_model(model, "one two three four", title="Mine")


def picture(widget):
    """Everything that must change together."""
    return {
        name: getattr(widget, name) for name in ("prompt", "tokens", "layer", "head", "query", "key", "_meta", "_tile")
    }


def test_a_model_gives_tokens_patterns_groups_and_its_name(live):
    assert live.tokens == ["<s>", "one", "two", "three", "four"]
    assert (live.prompt, live._has_model, live.title) == ("one two three four", True, "Mine")
    assert (live._meta["model"], live._meta["kv_heads"]) == ("tiny-model", 2)


def test_a_prompt_set_in_python_runs_and_arrives_whole(live, model, sent):
    messages = sent(live)
    live.prompt = "a b c"
    assert model.prompts == ["one two three four", "a b c"]
    assert live.tokens == ["<s>", "a", "b", "c"]
    np.testing.assert_array_equal(live.selected, attention(4, seed=5)[live.layer, live.head])
    *progress, shown = updates(messages)
    assert all(names <= {"_status", "_error"} for names in progress)
    assert {"prompt", "tokens", "_thumbs", "_tile", "_meta", "_score_values", "query", "_status"} <= shown
    assert live._status["state"] == "ready"


def test_the_page_runs_a_prompt_and_sees_the_layers_pass(live, sent):
    messages = sent(live)
    live._on_message({"type": "run", "prompt": "a b c"}, [])
    states = [msg["state"]["_status"] for msg, _ in messages if "_status" in msg["state"]]
    assert [status["progress"] for status in states] == [0, 0.5, 1, None]
    assert states[1] == {"state": "busy", "text": "Computing attention · layer 1 of 2", "progress": 0.5}
    assert live.prompt == "a b c"
    assert "prompt" in messages[-1][0]["state"]


def test_another_prompt_keeps_the_head_and_where_it_can_the_token(live):
    live.layer, live.head, live.query, live.key = 1, 3, 2, 1
    live.prompt = "a b c d e f"
    assert (live.layer, live.head, live.query, live.key) == (1, 3, 2, 1)
    live.prompt = "a"
    assert (live.layer, live.head, live.query) == (1, 3, 1)
    live.prompt = "a b c"  # it was the last token: it stays the last token
    assert (live.query, live.key) == (3, live.selected[3].argmax())
    live.head = None
    live.prompt = "a b"
    assert (live.layer, live.head) == (1, None)


@pytest.mark.parametrize(
    ("prompt", "title", "rows", "advice"),
    [
        ("", "The prompt is empty.", [["expected", "at least one character"]], ""),
        ("w " * 30, "The text is too long.", [["expected", "at most 20 tokens"]], "Shorten it"),
        ("a bug", "RuntimeError: out of memory\nat 0x0.", [], ""),
    ],
)
def test_an_error_goes_to_the_page_and_the_former_picture_stays(live, prompt, title, rows, advice):
    before = picture(live)
    live._on_message({"type": "run", "prompt": prompt}, [])
    assert picture(live) == before
    assert (live._error["title"], live._error["rows"]) == (title, rows)
    assert advice in live._error["advice"]
    assert live._status["state"] == "error"
    live._on_message({"type": "run", "prompt": "fine again"}, [])
    assert (live._error, live._status["state"], live.prompt) == (None, "ready", "fine again")


@pytest.mark.parametrize(("prompt", "error"), [("", InputError), ("w " * 30, PromptTooLong), ("bug", RuntimeError)])
def test_an_error_of_a_prompt_set_in_python_is_raised_there(live, prompt, error):
    before = picture(live)
    with pytest.raises(error):
        live.prompt = prompt
    assert picture(live) == before
    assert (live._error, live._status["state"]) == (None, "ready")


def test_an_observer_that_raises_leaves_no_half_state(live, sent):
    messages = sent(live)

    def grumble(_change):
        raise KeyError("mine")

    live.observe(grumble, "tokens")
    with pytest.raises(KeyError):
        live.prompt = "a b c"
    assert live.tokens == ["<s>", "a", "b", "c"]
    assert live._meta["tokens"] == 4
    assert {"prompt", "tokens", "_meta", "_thumbs", "_tile"} <= set().union(*updates(messages))
    live.unobserve_all("tokens")
    live.prompt = "a b"
    assert live.tokens == ["<s>", "a", "b"]


def test_a_run_does_not_start_another(live, model):
    def restless(change):
        with pytest.raises(InputError, match="still running"):
            live.prompt = "and again"
        live._on_message({"type": "run", "prompt": "and again"}, [])

    live.observe(restless, "tokens")
    live.prompt = "a b c"
    assert model.prompts == ["one two three four", "a b c"]
    assert live.prompt == "a b c"


def test_a_prompt_that_comes_with_other_traits_runs_too(live):
    live.set_state({"prompt": "a b c", "layer": 1})
    assert (live.tokens, live.layer) == (["<s>", "a", "b", "c"], 1)
    live.set_state({"prompt": "", "layer": 0})
    assert (live.prompt, live.layer, live._error["title"]) == ("a b c", 0, "The prompt is empty.")


def test_observers_see_everything_changed(live):
    seen = []
    live.observe(lambda _change: seen.append((len(live.tokens), live._meta["tokens"], len(live.selected))), "tokens")
    live.prompt = "a b c"
    assert seen == [(4, 4, 4)]


def test_half_an_emoji_in_a_prompt_can_be_sent_back(live):
    live._on_message({"type": "run", "prompt": "half \ud83d"}, [])
    assert live.prompt == "half \\ud83d"


def test_a_prompt_that_is_no_text_is_refused(model):
    with pytest.raises(InputError, match="not a text"):
        AttentionHeads.from_model(model, ["a", "b"])


def test_a_real_model_shows_its_grouped_queries():
    folder = Path(__file__).parents[2] / "../shared/models/stories260K"
    folder = Path(os.environ.get("INTERPWIDGETS_STORIES260K", folder))
    if not folder.exists():
        pytest.skip("the model stories260K is not here; set INTERPWIDGETS_STORIES260K")
    from interpwidgets import load

    widget = AttentionHeads.from_model(load(str(folder)), "Once upon a time, there was a little girl named Lily.")
    assert repr(widget).startswith("AttentionHeads(5 layers × 8 heads, 16 tokens")
    assert (widget._meta["kv_heads"], widget._meta["causal"], widget._notice) == (4, True, None)
    widget.prompt = "Lily saw a dog. Lily saw a"
    assert "".join(widget.tokens).endswith("Lily saw a")
    with pytest.raises(ValueError, match="512"):
        widget.prompt = "a " * 1000


# -- zoom ----------------------------------------------------------------------------------------------------------


def test_a_part_of_the_map_is_shown_and_the_whole_again(heads, sent):
    messages = sent(heads)
    heads.zoom = 2, 1, np.int64(3)
    assert heads.zoom == [2, 1, 3]
    assert updates(messages) == [{"zoom"}], "the page has all numbers already"
    heads.zoom = 0, 0, 6
    assert heads.zoom is None


@pytest.mark.parametrize("zoom", [(0, 0, 7), (5, 0, 2), (-1, 0, 3), (0, 0, 1), (0, 0), "abc", 5, (0.5, 0, 2)])
def test_a_part_that_does_not_exist_is_refused(heads, zoom):
    with pytest.raises(InputError, match="within 6 tokens"):
        heads.zoom = zoom
    assert heads.zoom is None


def test_what_the_page_knows_only_by_blocks_is_sent_finer_when_zoomed(sent):
    values = attention(1100, layers=1, heads=2)
    widget = AttentionHeads([f" {i}" for i in range(1100)], values)
    messages = sent(widget)
    widget.set_state({"zoom": [700, 300, 100]})
    assert updates(messages) == [{"_window"}]
    assert (widget._window["block"], widget._window["zoom"]) == (1, [700, 300, 100])
    shown = np.frombuffer(widget._window["values"]["data"], widget._window["values"]["dtype"]).reshape(100, 100)
    np.testing.assert_allclose(shown, values[0, 0, 700:800, 300:400], rtol=1e-3)
    widget.head = 1
    assert widget._window["head"] == 1
    widget.zoom = None
    assert widget._window is None


# -- long texts ----------------------------------------------------------------------------------------------------


class Later:
    """A layer whose rows are computed when they are looked at."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def rows(self, rows, head=None):
        return self.array[:, rows] if head is None else self.array[head : head + 1, rows]


@pytest.fixture
def long_model(monkeypatch):
    """A stand-in whose patterns are computed later."""

    def run(_model, text, _tokenizer, _on_layer):
        tokens = text.split(" ")
        layers = [Later(layer) for layer in attention(len(tokens), layers=3, seed=len(tokens))]
        return Attention(tokens, layers, 4, True, "long")

    monkeypatch.setattr(attention_heads, "_attention", run)


def text_of(n_tokens):
    return " ".join(f"w{i % 7}" for i in range(n_tokens))


@pytest.mark.usefixtures("long_model")
def test_without_a_page_long_texts_are_complete_at_once():
    widget = AttentionHeads.from_model(object(), text_of(30))
    assert widget._status["state"] == "ready"
    expected = AttentionHeads(text_of(30).split(" "), attention(30, layers=3, seed=30), layer=0, head=0)
    np.testing.assert_array_equal(widget._thumbs, expected._thumbs)
    np.testing.assert_allclose(widget._score_values, expected._score_values, rtol=1e-6)


@pytest.fixture
def page_waits(monkeypatch):
    """Play a kernel with a page: what it would do between messages is done by `asyncio`."""
    monkeypatch.setattr(attention_heads, "_loop_of_a_page", asyncio.get_running_loop)
    monkeypatch.setattr(attention_heads, "STEP", 0)


@pytest.mark.usefixtures("long_model", "page_waits")
def test_thumbnails_reach_the_page_layer_by_layer_while_heads_are_chosen(sent):
    async def scene():
        widget = AttentionHeads.from_model(object(), text_of(30))
        assert widget._status == {"state": "busy", "text": "Computing thumbnails", "progress": 0, "filling": True}
        assert not widget._thumbs.any()
        assert widget._tile is not None, "the head on show is there at once"
        messages = sent(widget)
        while widget._status["state"] == "busy":
            widget.head = (widget.head + 1) % 4
            assert widget._tile["head"] == widget.head
            await asyncio.sleep(0.01)
        return messages

    states = [msg["state"]["_status"] for msg, _ in asyncio.run(scene()) if "_status" in msg.get("state", {})]
    assert [state["progress"] for state in states] == [1 / 3, 2 / 3, None]
    assert states[0]["text"] == "Computing thumbnails · layer 1 of 3"


@pytest.mark.usefixtures("long_model", "page_waits")
def test_scores_that_are_asked_for_early_are_computed_then():
    async def scene():
        widget = AttentionHeads.from_model(object(), text_of(30))
        scores = widget.scores
        assert widget._status["state"] == "ready"
        await asyncio.sleep(0.02)
        return scores["previous token"]

    expected = AttentionHeads(text_of(30).split(" "), attention(30, layers=3, seed=30)).scores["previous token"]
    np.testing.assert_allclose(asyncio.run(scene()), expected, rtol=1e-6)


@pytest.mark.usefixtures("long_model", "page_waits")
def test_another_prompt_ends_the_thumbnails_of_the_former_one():
    async def scene():
        widget = AttentionHeads.from_model(object(), text_of(30))
        widget.prompt = text_of(20)
        widget.prompt = text_of(25)
        while widget._status["state"] == "busy":
            await asyncio.sleep(0.01)
        return widget

    widget = asyncio.run(scene())
    expected = AttentionHeads(text_of(25).split(" "), attention(25, layers=3, seed=25))
    np.testing.assert_array_equal(widget._thumbs, expected._thumbs)


def test_a_real_kernel_computes_thumbnails_between_cells_if_somebody_watches():
    manager = pytest.importorskip("jupyter_client.manager")
    code = """
from interpwidgets import AttentionHeads, load
from interpwidgets.widgets import attention_heads
attention_heads.KEPT_ABOVE = attention_heads.STEP = 0
heads = AttentionHeads.from_model(load("demo"), "Lily ran to the park.")
"""
    kernel, client = manager.start_new_kernel(kernel_name="python3")

    def state_after(cell, watched):
        asked = client.execute(cell, user_expressions={"s": "heads._status['state']"}, allow_stdin=watched)
        while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != asked:
            pass
        return reply["content"]["user_expressions"]["s"]["data"]["text/plain"].strip("'")

    try:
        assert state_after(code, watched=False) == "ready"
        assert state_after(code, watched=True) == "busy"
        assert "ready" in (state_after("", watched=True) for _ in range(50))
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def test_a_model_on_a_long_text_is_the_same_picture(monkeypatch):
    pytest.importorskip("torch")
    from interpwidgets import load

    model, text = load("demo"), "Lily ran to the park. Lily ran to the dog."
    plain = AttentionHeads.from_model(model, text, layer=0, head=0)
    monkeypatch.setattr(attention_heads, "KEPT_ABOVE", 0)
    kept = AttentionHeads.from_model(model, text)
    np.testing.assert_allclose(kept.selected, plain.selected, atol=1e-6)
    assert np.abs(kept._thumbs.astype(int) - plain._thumbs).max() <= 1, "a code is half a step off at most"
    np.testing.assert_allclose(kept._score_values, plain._score_values, atol=1e-6)


# -- to other tools ------------------------------------------------------------------------------------------------


def test_csv_holds_the_chosen_head_and_no_formulas(tmp_path):
    tokens = ["=1+1", "+a", "-b", "@c", 'say "hi", you', "\n"]
    patterns = attention(6)
    widget = AttentionHeads(tokens, patterns, layer=0, head=1)
    text = widget.to_csv()
    header, *rows = csv.reader(text.splitlines(keepends=True))
    assert header == ["query \\ key", "'=1+1", "'+a", "'-b", "'@c", 'say "hi", you', "\n"]
    assert [row[0] for row in rows] == header[1:]
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), patterns[0, 1], rtol=1e-6)
    assert widget.to_csv(tmp_path / "head.csv") is None
    assert (tmp_path / "head.csv").read_bytes() == text.encode()


def test_arrays_need_neither_torch_nor_transformers():
    code = """
import sys, numpy as np
import interpwidgets
heads = interpwidgets.AttentionHeads(["a", "b"], np.tile([[1, 0], [.5, .5]], (2, 3, 1, 1)))
heads.head = 2; heads.selected; heads.scores; heads.to_csv(); repr(heads)
heavy = {"torch", "transformers", "circuitsvis", "PIL", "matplotlib", "pandas", "plotly"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
