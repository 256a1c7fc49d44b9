"""`LogitLens` from Python: what it chooses, what it tells the page, what it refuses. No browser."""

import base64
import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import traitlets
from ipywidgets.widgets.widget import _remove_buffers

from interpwidgets import LogitLens, load
from interpwidgets.methods.lens import follow, logit_lens
from interpwidgets.methods.lens_grid import lens_grid
from interpwidgets.methods.tuned_lens import TunedLens
from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets._base import from_wire

TOKENS = ["The", " cat", " sat"]
WORDS = ["a", " b", "c", " d", "e"]
IDS = np.array([[[0, 1], [2, 3], [1, 0]], [[1, 0], [2, 4], [4, 1]], [[3, 0], [2, 1], [4, 0]]])
PROBS = np.broadcast_to(np.array([0.5, 0.25], "f4"), IDS.shape) * np.array([0.5, 1, 1.5], "f4")[:, None, None]
HOSTILE = [
    "<img src=x onerror=alert(1)>", "</script>", "\n", "\t", "", " ", "😀", "مرحبا", "\ud83d", "\u202e", "\x00",
    "a" * 10_000,
]  # fmt: skip
SENTENCE = "the dog saw the cat"
EVERY = [("resid_pre", 0), "resid_post"]


@pytest.fixture
def lens():
    return LogitLens(TOKENS, IDS, PROBS, vocab=WORDS)


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return load("storylm-small")


@pytest.fixture
def read(model):
    return LogitLens.from_model(model, SENTENCE, k=3)


@pytest.fixture
def sent(monkeypatch):
    """Call it with a widget: a list that grows by every message to the page."""

    def record(widget):
        messages = []
        monkeypatch.setattr(widget, "_send", lambda msg, buffers=None: messages.append((msg, buffers)))
        return messages

    return record


def updates(messages):
    return [set(msg["state"]) for msg, _ in messages if msg["method"] == "update"]


def ids_of(model):
    return model.tokenizer(SENTENCE, return_tensors="pt").input_ids


def track(widget, token, lens="logit", source="residual"):
    """The probabilities and ranks of a followed token, as the page reads them."""
    (followed,) = (one for one in widget._followed if one["token"] == token)
    (plane,) = (plane for plane in followed["planes"] if (plane["lens"], plane["source"]) == (lens, source))
    return from_wire(plane["prob"]), from_wire(plane["rank"])


# -- from arrays ---------------------------------------------------------------------------------------------------


def test_it_opens_where_the_last_word_is_settled(lens):
    assert (lens.row, lens.layer, lens.position, lens.locked) == (1, 1, 2, False)
    assert repr(lens) == "LogitLens(3 rows × 3 tokens, row 1 (layer 1) at position 2: 'e' (0.50))"
    assert lens._meta == {
        "model": "", "layers": 3, "tokens": 3, "k": 2, "has_entropy": False, "has_kl": False, "lenses": ["logit"],
        "sources": ["residual"],
    }  # fmt: skip


def test_the_page_gets_every_top_token_and_its_probability(lens):
    (plane,) = lens._planes
    codes, probs = from_wire(plane["ids"]), from_wire(plane["probs"])
    assert codes.dtype == np.uint16
    assert [[[lens._vocab[code] for code in cell] for cell in row] for row in codes] == [
        [[WORDS[i] for i in cell] for cell in row] for row in IDS
    ]
    np.testing.assert_allclose(probs, PROBS, rtol=1e-3)


@pytest.mark.parametrize(
    "vocab",
    [
        WORDS,
        dict(enumerate(WORDS)),
        {word: i for i, word in enumerate(WORDS)},
        lambda i: WORDS[i],
        type("Tiktoken", (), {"decode": lambda self, ids: WORDS[ids[0]]})(),
    ],
    ids=["list", "id to string", "string to id", "function", "decode"],
)
def test_ids_are_named_by_any_vocabulary(vocab, lens):
    assert LogitLens(TOKENS, IDS, PROBS, vocab=vocab)._vocab == lens._vocab


def test_top_tokens_may_be_strings(lens):
    named = [[[WORDS[i] for i in cell] for cell in row] for row in IDS.tolist()]
    for given in (named, np.array(named), np.array(named, dtype=object)):
        widget = LogitLens(TOKENS, given, PROBS)
        assert widget.selected["tokens"] == lens.selected["tokens"] == ["e", " b"]


def test_tokens_that_are_not_sorted_are(lens):
    assert LogitLens(TOKENS, IDS[..., ::-1], PROBS[..., ::-1], vocab=WORDS).selected["tokens"] == ["e", " b"]


def test_what_the_method_returns_fits_as_it_is(model):
    found = logit_lens(model, ids_of(model), sites=EVERY)
    tokens = model.tokenizer.convert_ids_to_tokens(ids_of(model)[0])
    rows = ["emb", *range(len(found.sites) - 1)]
    widget = LogitLens(
        tokens,
        found.top_tokens,
        found.top_probs,
        entropy=found.entropy,
        kl=found.kl,
        vocab=model.tokenizer,
        layers=rows,
    )
    assert widget._planes[0]["probs"]["shape"] == [len(rows), len(tokens), 5]
    assert widget.selected["kl"] == pytest.approx(float(found.kl[widget.row, 0, -1]))
    assert widget._meta["layers"] == len(rows) - 1


def test_paths_of_tokens_can_be_handed_in():
    prob = np.linspace(0, 1, 9).reshape(3, 3)
    widget = LogitLens(TOKENS, IDS, PROBS, vocab=WORDS, follow={" Rome": (prob, 10 * prob), " b": prob}, target=" Rome")
    np.testing.assert_allclose(track(widget, " Rome")[1], 10 * prob, rtol=1e-6)
    assert np.isnan(track(widget, " b")[1]).all()
    assert widget.selected["followed"][" Rome"] == pytest.approx((0.625, 6.25))
    widget.pinned = [" b", "e"]
    with pytest.raises(InputError, match="Nothing is known about the token ' Paris'"):
        widget.pinned = [" Paris"]
    assert widget.pinned == [" b", "e"]


def test_hostile_tokens_stay_text():
    n = len(HOSTILE)
    ids = np.arange(n)[None, :, None]
    widget = LogitLens(HOSTILE, ids, np.full((1, n, 1), 0.5), vocab=HOSTILE)
    assert widget._vocab == [token.encode("utf-8", "backslashreplace").decode() for token in HOSTILE]
    state, _, _ = _remove_buffers(widget.get_state())
    json.dumps(state).encode()
    assert len(repr(widget)) < 400
    assert len(widget._alt()) < 400


REFUSED = {
    "probabilities of one layer": ((TOKENS, IDS[0], PROBS[0]), {}, "no place for each layer, position and top token"),
    "one token too many": (
        (["<s>", *TOKENS], IDS, PROBS),
        {},
        "4 tokens, but top_probs has 3 positions.*special token",
    ),
    "NaN": ((TOKENS, IDS, np.where(IDS == 3, np.nan, PROBS)), {}, r"not finite.*nan at \[0, 1, 1\]"),
    "logits": ((TOKENS, IDS, 9 * PROBS), {}, r"no probabilities.*2.25 at \[0, 0, 0\].*softmax"),
    "another shape": ((TOKENS, IDS[..., :1], PROBS), {}, "top_tokens does not fit top_probs"),
    "floats for ids": ((TOKENS, IDS + 0.5, PROBS), {}, "neither ids nor strings"),
    "an id beyond the vocabulary": ((TOKENS, IDS + 3, PROBS), {}, "vocab has no token 5"),
    "ids without names": ((TOKENS, IDS, PROBS), {"vocab": None}, "holds ids, and nobody says what they are called"),
    "a vocabulary that is none": ((TOKENS, IDS, PROBS), {"vocab": 7}, "vocab cannot name tokens"),
    "an entropy for each row": ((TOKENS, IDS, PROBS), {"entropy": [1, 2, 3]}, r"entropy does not fit.*\[3, 3\]"),
    "names for other rows": ((TOKENS, IDS, PROBS), {"layers": [0, 1]}, "layers does not name every row.*emb"),
    "a target nobody knows": ((TOKENS, IDS, PROBS), {"target": " Rome"}, "Nothing is known about the token ' Rome'"),
    "paths that are no dictionary": ((TOKENS, IDS, PROBS), {"follow": [" Rome"]}, "follow is no dictionary"),
    "a text for tokens": (("The cat sat", IDS, PROBS), {}, "The tokens are one text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shown_is_refused_in_words(case):
    arguments, options, sentence = REFUSED[case]
    with pytest.raises(InputError, match=f"(?s){sentence}"):
        LogitLens(*arguments, **{"vocab": WORDS, **options})


# -- choosing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("row", 3, r"no row 3\. Expected 0 to 2 \(3 rows\)"),
        ("position", -4, "no position -4"),
        ("layer", 7, "no layer 7"),
        ("measure", "kl", 'no measure "kl". Expected "probability" or "rank"'),
        ("lens", "tuned", 'no lens "tuned"'),
        ("compare", "tuned", 'no lens "tuned"'),
        ("source", "mlp", 'no source "mlp"'),
        ("theme", "pink", 'no theme "pink"'),
        ("tokens", ["a"], "One token is needed per position"),
    ],
)
def test_a_choice_that_is_not_there_is_refused_and_nothing_changes(lens, name, value, sentence):
    before = getattr(lens, name)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(lens, name, value)
    assert getattr(lens, name) == before


def test_what_the_page_cannot_choose_it_is_told(lens, sent):
    messages = sent(lens)
    lens.set_state({"row": 99})
    assert lens.row == 1
    assert messages[-1][0]["state"]["row"] == 1


def test_the_layer_follows_the_row_and_the_row_the_layer():
    widget = LogitLens(TOKENS, IDS, PROBS, vocab=WORDS, layers=["emb", 0, 1])
    seen = []
    for name, value in [("row", 0), ("layer", 0), ("layer", 1), ("row", 1), ("row", -1)]:
        setattr(widget, name, value)
        seen.append((widget.row, widget.layer))
    assert seen == [(0, 0), (0, 0), (2, 1), (1, 0), (2, 1)]


def test_a_row_and_its_layer_cross_in_one_message(lens, sent):
    messages = sent(lens)
    lens.row = 2
    assert updates(messages) == [{"row", "layer"}]


# -- from a model --------------------------------------------------------------------------------------------------


def test_the_picture_of_a_model_is_its_logit_lens(model, read):
    ids = ids_of(model)
    found = logit_lens(model, ids, k=3, sites=EVERY)
    (plane,) = read._planes
    np.testing.assert_allclose(from_wire(plane["probs"]), found.top_probs[:, 0], atol=1e-3)
    np.testing.assert_allclose(from_wire(plane["kl"]), found.kl[:, 0], atol=1e-2)
    np.testing.assert_allclose(track(read, "")[0][:, :-1], found.target_prob[:, 0], atol=1e-5)
    np.testing.assert_array_equal(track(read, "")[1][:, :-1], found.target_rank[:, 0])
    assert np.isnan(track(read, "")[0][:, -1]).all()
    assert (read._meta["model"], read._rows[:2], read.prompt) == ("storylm-small", ["emb", "0"], SENTENCE)


def test_a_target_and_pinned_tokens_are_followed_wherever_they_rank(model, read):
    read.target = " the"
    read.pinned = [" cat", " dog"]
    wanted = [
        model.tokenizer.convert_tokens_to_ids(model.tokenizer.tokenize(word))[0] for word in ("the", "cat", "dog")
    ]
    path = follow(model, ids_of(model), torch.tensor(wanted), sites=EVERY)
    for i, token in enumerate([" the", " cat", " dog"]):
        np.testing.assert_allclose(track(read, token)[0], path.prob[:, 0, :, i], atol=1e-5)
        np.testing.assert_array_equal(track(read, token)[1], path.rank[:, 0, :, i])
    read.pinned = []
    assert [one["token"] for one in read._followed] == ["", " the"]


def test_a_target_may_be_an_id(model):
    number = model.tokenizer.convert_tokens_to_ids(model.tokenizer.tokenize("cat"))[0]
    assert LogitLens.from_model(model, SENTENCE, target=number).target == " cat"
    with pytest.raises(InputError, match="There is no token 99999"):
        LogitLens.from_model(model, SENTENCE, target=99_999)


def test_a_target_that_is_not_one_token_is_refused(read):
    with pytest.raises(InputError, match=r"is not one token of this model.*got 2 tokens"):
        read.target = " the cat"
    with pytest.raises(InputError, match="has no token 'zeitgeist'"):
        read.pinned = ["zeitgeist"]
    assert (read.target, read.pinned) == ("", [])


def test_another_source_is_computed_when_it_is_chosen(model, read, sent):
    messages = sent(read)
    read.source = "mlp"
    found = lens_grid(model, ids_of(model)[0], ids_of(model)[0][:, None], source="mlp", k=3)
    assert [(plane["lens"], plane["source"]) for plane in read._planes] == [("logit", "residual"), ("logit", "mlp")]
    np.testing.assert_allclose(from_wire(read._planes[1]["probs"]), found.top_probs, atol=1e-3)
    assert updates(messages)[-1] >= {"source", "_planes", "_vocab", "_followed"}
    read.row = 0
    assert read.selected["tokens"] == []


def test_what_half_a_layer_adds_is_read_once_for_all_lenses(model):
    tuned = TunedLens.identity(model)
    widget = LogitLens.from_model(model, SENTENCE, lens={"tuned": tuned, "logit": None}, sources=("residual", "mlp"))
    planes = {(plane["lens"], plane["source"]): plane for plane in widget._planes}
    assert planes["tuned", "mlp"]["probs"] == planes["logit", "mlp"]["probs"]
    assert planes["tuned", "residual"]["probs"] == planes["logit", "residual"]["probs"]  # an untrained one
    assert (widget.lens, widget._meta["lenses"]) == ("tuned", ["tuned", "logit"])


def test_any_function_is_a_lens_and_the_logit_lens_stands_beside_it(model):
    widget = LogitLens.from_model(model, SENTENCE, lens=lambda site, layer, rows: -rows)
    assert (widget.lens, widget._meta["lenses"]) == ("own", ["own", "logit"])
    widget.compare = "logit"
    assert [plane["lens"] for plane in widget._planes] == ["own", "logit"]
    assert from_wire(widget._planes[0]["ids"]).tolist() != from_wire(widget._planes[1]["ids"]).tolist()


def test_a_lens_that_fails_leaves_everything_as_it_was(model):
    fails = []
    widget = LogitLens.from_model(model, SENTENCE, lens=lambda site, layer, rows: None if fails else rows)
    fails.append(True)
    with pytest.raises(InputError, match="something of type NoneType"):
        widget.target = " the"
    assert (widget.target, len(widget._followed), widget._status["state"]) == ("", 1, "ready")
    widget.set_state({"target": " the"})
    assert widget.target == ""
    assert widget._error["title"].startswith("A lens has to turn rows")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sources": ["heads"]}, "no source 'heads'"),
        ({"sources": []}, "No source was asked for"),
        ({"lens": 3}, "lens is neither a lens nor a dictionary"),
        ({"k": 10**6}, "k has to be between 1 and"),
    ],
)
def test_what_a_model_cannot_be_asked_is_refused(model, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        LogitLens.from_model(model, SENTENCE, **options)


# -- another prompt ------------------------------------------------------------------------------------------------


def test_another_prompt_keeps_the_row_the_lens_and_the_pins(read, sent):
    read.row, read.pinned = 1, [" cat"]
    messages = sent(read)
    read.prompt = "the cat"
    assert (len(read.tokens), read.row, read.position, read.pinned) == (3, 1, 2, [" cat"])
    assert track(read, " cat")[0].shape[1] == 3
    assert updates(messages)[-1] >= {"prompt", "tokens", "_planes", "_followed", "_vocab", "_meta"}
    assert read._status["state"] == "ready"


@pytest.mark.parametrize(("prompt", "sentence"), [("", "prompt is empty"), ("the " * 5000, "tokens long, but")])
def test_a_prompt_that_cannot_be_run_leaves_everything_as_it_was(read, prompt, sentence):
    before = read.get_state()
    with pytest.raises(ValueError, match=sentence):
        read.prompt = prompt
    assert read.get_state() == before


def test_the_page_may_run_another_prompt_and_is_told_what_goes_wrong(read):
    read._on_message({"type": "run", "prompt": "the cat"}, [])
    assert len(read.tokens) == 3
    read._on_message({"type": "run", "prompt": ""}, [])
    assert (read._status["state"], read._error["title"]) == ("error", "The prompt is empty.")
    assert len(read.tokens) == 3
    read.set_state({"prompt": "the dog saw"})
    assert len(read.tokens) == 4
    assert read._error is None


def test_the_page_may_ask_for_planes_and_paths(read):
    read._on_message({"type": "plane", "lens": "logit", "source": "attention"}, [])
    read._on_message({"type": "follow", "tokens": [" cat"]}, [])
    assert [plane["source"] for plane in read._planes] == ["residual", "attention"]
    assert track(read, " cat")[0].shape == (len(read._rows), len(read.tokens))
    read._on_message({"type": "plane", "lens": "none", "source": "attention"}, [])
    assert read._error["title"] == 'There is no lens "none".'


def test_pins_of_the_page_are_followed(read, sent):
    token = read.selected["tokens"][0]
    messages = sent(read)
    read.set_state({"pinned": [token]})
    assert track(read, token)[0].shape[0] == len(read._rows)
    assert any("_followed" in names for names in updates(messages))


def test_arrays_have_no_prompt(lens):
    with pytest.raises(InputError, match=r"made from arrays.*LogitLens.from_model"):
        lens.prompt = "the cat"
    assert not lens._has_model


# -- to other tools ------------------------------------------------------------------------------------------------


def test_every_cell_can_be_had_as_csv(lens, tmp_path):
    rows = list(csv.DictReader(lens.to_csv().splitlines()))
    assert len(rows) == 9
    assert rows[-1] == {
        "layer": "2", "position": "2", "token": " sat", "lens": "logit", "source": "residual", "entropy": "", "kl": "",
        "token 1": "e", "probability 1": "0.75", "token 2": "a", "probability 2": "0.375",
    }  # fmt: skip
    assert lens.to_csv(tmp_path / "lens.csv") is None
    assert (tmp_path / "lens.csv").read_text() == lens.to_csv()
    formula = LogitLens(["=1"], [[["=2"]]], [[[0.5]]])
    assert "'=1" in formula.to_csv()
    assert "'=2" in formula.to_csv()


def test_where_no_widget_runs_there_is_a_picture_and_a_sentence(lens):
    data, metadata = lens._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == repr(lens)
    assert metadata["interpwidgets"]["alt"] == (
        "A grid of the likeliest next token at each of 3 rows and 3 positions. After ' sat', the last position, "
        "layer 0 says ' b' (0.25) and layer 2 'e' (0.75)."
    )


def test_the_state_of_a_small_model_with_a_long_text_is_below_half_a_megabyte():
    """31 rows, 128 tokens, 5 top tokens, a target and two pins: SmolLM2-135M at T=128."""
    rng = np.random.default_rng(0)
    ids, cells = rng.integers(0, 1000, (31, 128, 5)), rng.random((31, 128))
    names = [f" word{i}" for i in range(1000)]
    paths = {name: (cells, 1000 * cells) for name in ["", *names[:3]]}
    widget = LogitLens(names[:128], ids, np.full(ids.shape, 0.1), vocab=names, entropy=cells, kl=cells, follow=paths)
    state, _, buffers = _remove_buffers(widget.get_state())
    assert len(json.dumps(state)) + sum(len(base64.b64encode(buffer)) for buffer in buffers) < 500_000


def test_arrays_need_neither_torch_nor_transformers():
    code = """
import sys, numpy as np
from interpwidgets import LogitLens, link
LogitLens(["a", "b"], [[["x"], ["y"]]], np.full((1, 2, 1), 0.5))
assert not {"torch", "transformers", "PIL", "plotly"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
