"""Transformers with attention alone, their words, and the built-in ones by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from interpwidgets import AttentionHeads, Tap, load
from interpwidgets.models.anatomy import UnknownModelError, anatomy
from interpwidgets.models.attention import PromptError, attention_patterns
from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from interpwidgets.models.load import LoadError, checkpoints
from interpwidgets.models.taps import SITES, TapError
from interpwidgets.models.words import WORDS, UnknownWordError, WordTokenizer

CLOSE = {"rtol": 0, "atol": 1e-5}
HERE = [site for site in SITES if not site.startswith("mlp") and site != "resid_mid"]


@pytest.fixture
def tiny() -> Any:
    """Three layers of four heads, whose widths are all different."""
    torch.manual_seed(0)
    model = AttentionOnlyForCausalLM(AttentionOnlyConfig(n_layers=3, n_heads=4, d_model=40, d_head=6, context=12))
    return model.eval().requires_grad_(False)


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(1, 65, (2, 10), generator=torch.Generator().manual_seed(1))


def kept(model: Any, ids: torch.Tensor, edits: Any = None) -> Tap:
    with Tap(model, HERE, edits) as tap:
        model(ids)
    return tap


# -- the architecture


def test_every_site_has_its_shape(tiny: Any, ids: torch.Tensor) -> None:
    tap = kept(tiny, ids)
    heads = dict.fromkeys(("q", "k", "v", "z"), (2, 10, 4, 6))
    stream = dict.fromkeys(("resid_pre", "attn_out", "resid_post"), (2, 10, 40))
    assert {site: tuple(tap[site, 1].shape) for site in HERE} == {**heads, **stream, "pattern": (2, 4, 10, 10)}


def test_the_facts_of_a_model(tiny: Any) -> None:
    parts = anatomy(tiny)
    facts = parts.n_layers, parts.n_heads, parts.n_kv_heads, parts.d_model, parts.d_head, parts.max_context
    assert facts == (3, 4, 4, 40, 6, 12)
    assert parts.causal


def test_the_identities_of_a_transformer_hold(tiny: Any, ids: torch.Tensor) -> None:
    tap, parts = kept(tiny, ids), anatomy(tiny)
    for layer in range(3):
        scores = tap["q", layer].transpose(1, 2) @ tap["k", layer].transpose(1, 2).mT / 6**0.5
        pattern = scores.masked_fill(torch.ones(10, 10).triu(1).bool(), -torch.inf).softmax(-1)
        torch.testing.assert_close(tap["pattern", layer], pattern, **CLOSE)
        z = pattern @ tap["v", layer].transpose(1, 2)
        torch.testing.assert_close(tap["z", layer], z.transpose(1, 2), **CLOSE)
        heads = parts.heads(tap["z", layer], layer).sum(2) + parts.b_O(layer)
        torch.testing.assert_close(tap["attn_out", layer], heads, **CLOSE)
    torch.testing.assert_close(tap["resid_pre"] + tap["attn_out"], tap["resid_post"], **CLOSE)
    torch.testing.assert_close(tap["resid_post"][:-1], tap["resid_pre"][1:], rtol=0, atol=0)
    logits = tiny.unembed(tiny.model.norm(tap["resid_post", -1]))
    torch.testing.assert_close(logits, tiny(ids).logits, **CLOSE)


def test_the_stream_begins_with_tokens_and_positions(tiny: Any, ids: torch.Tensor) -> None:
    begin = tiny.model.embed.weight[ids] + tiny.model.positions.weight[:10]
    torch.testing.assert_close(kept(tiny, ids)["resid_pre", 0], begin)


@pytest.mark.parametrize("site", HERE)
def test_an_edit_is_felt_and_one_that_changes_nothing_is_not(tiny: Any, ids: torch.Tensor, site: str) -> None:
    plain = tiny(ids).logits
    with Tap(tiny, edits={site: lambda x: x}):
        torch.testing.assert_close(tiny(ids).logits, plain, **CLOSE)
    with Tap(tiny, edits={(site, 1): torch.zeros_like}):
        assert (tiny(ids).logits - plain).abs().max() > 1e-3
    assert torch.equal(tiny(ids).logits, plain)


def test_it_runs_the_attention_it_is_told_to(tiny: Any, ids: torch.Tensor) -> None:
    found = {}
    for implementation in ("eager", "sdpa"):
        tiny.set_attn_implementation(implementation)
        found[implementation] = tiny(ids).logits
    torch.testing.assert_close(found["eager"], found["sdpa"], **CLOSE)


def test_nobody_looks_ahead_or_at_padding(tiny: Any, ids: torch.Tensor) -> None:
    other = ids.clone()
    other[:, 7:] = 5
    torch.testing.assert_close(tiny(other).logits[:, :7], tiny(ids).logits[:, :7], **CLOSE)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with Tap(tiny, "pattern") as tap:
        tiny(ids, attention_mask=mask)
    assert tap["pattern"][:, 1, :, :, 6:].max() == 0
    assert tap["pattern"][:, 0, :, 9].min() > 0


def test_there_is_no_mlp_to_tap_and_no_room_for_more_tokens(tiny: Any) -> None:
    for site in set(SITES) - set(HERE):
        with pytest.raises(TapError, match=f"AttentionOnlyForCausalLM has no site '{site}'; it has resid_pre, q"):
            Tap(tiny, site)
    with pytest.raises(ValueError, match="13 tokens long, but this model's context holds 12"):
        tiny(torch.ones(1, 13, dtype=torch.long))


def test_a_model_without_layers_predicts_from_the_last_token_and_has_no_attention() -> None:
    model = load("attn0l")
    texts = (model.tokenizer(text, return_tensors="pt").input_ids for text in ("river egg", "zoo egg"))
    one, two = (model(ids).logits[0, -1] for ids in texts)
    assert torch.equal(one, two)
    with pytest.raises(UnknownModelError, match="attn0l has no layers, so it has no attention to look at"):
        attention_patterns(model, "river egg")


def test_it_goes_to_a_directory_and_comes_back(tiny: Any, ids: torch.Tensor, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path)
    WordTokenizer().save_pretrained(tmp_path)
    model = load(tmp_path)
    assert type(model) is AttentionOnlyForCausalLM
    assert torch.equal(model(ids).logits, tiny(ids).logits)
    assert type(model.tokenizer) is WordTokenizer
    assert AutoConfig.from_pretrained(tmp_path).d_head == 6


# -- the words


def test_there_are_64_words_that_begin_differently() -> None:
    assert len(WORDS) == len({word[:2].lower() for word in WORDS}) == 64
    assert max(map(len, WORDS)) <= 5


def test_a_word_is_a_token_and_a_token_a_word() -> None:
    tokenizer = WordTokenizer()
    ids = tokenizer(" ".join(WORDS)).input_ids
    assert ids == list(range(65))
    assert tokenizer.decode(ids[1:]) == " ".join(WORDS)
    batch = tokenizer(["river", "egg  hill\n"], padding=True)
    assert batch.attention_mask == [[1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("text", ["river Elephant seven", ["river", "Elephant"]])
def test_an_unknown_word_is_named_together_with_some_that_are_known(text: Any) -> None:
    with pytest.raises(UnknownWordError, match=r"does not know the word 'Elephant'. It knows 64 words.*river, seven"):
        WordTokenizer()(text)


# -- by name


def test_a_text_through_attn2l_becomes_a_picture() -> None:
    model = load("attn2l")
    seen = attention_patterns(model, "river seven glass river seven")
    assert seen.tokens == ["<s>", "river", "seven", "glass", "river", "seven"]
    assert (seen.name, seen.patterns.shape) == ("attn2l", (2, 2, 6, 6))
    inputs = model.tokenizer("river seven glass river seven", return_tensors="pt")
    assert model.tokenizer.decode(model(**inputs).logits[0, -1].argmax()) == "glass"
    assert AttentionHeads.from_model(model, "river seven glass river seven").tokens == seen.tokens
    with pytest.raises(PromptError, match="does not know the word 'Paris'"):
        attention_patterns(model, "river Paris")


def test_the_built_in_names_are_known_everywhere() -> None:
    for name, n_layers in {"attn2l": 2, "attn1l": 1, "attn0l": 0}.items():
        model = load(name, dtype="float64")
        assert (model.config.n_layers, model.name_or_path, model.dtype) == (n_layers, name, torch.float64)
        assert not model.training
    with pytest.raises(LoadError, match=r"a built-in model \(demo, .*\battn2l, attn1l, attn0l\b"):
        load("")


def test_a_checkpoint_is_the_model_at_that_step() -> None:
    steps = checkpoints("attn2l")
    assert steps == sorted(set(steps))
    early, late, last = (load("attn2l", checkpoint=steps[i]) for i in (0, -2, -1))
    finished = load("attn2l")
    assert early.name_or_path == f"attn2l@{steps[0]}"
    assert torch.equal(last.unembed.weight, finished.unembed.weight)
    near, far = ((each.unembed.weight - finished.unembed.weight).norm() for each in (late, early))
    assert 0 < near < far
    assert checkpoints("demo") == checkpoints("attn1l") == []


WRONG = {
    "a step that was not kept": (
        lambda: load("attn2l", checkpoint=7),
        "kept at the steps 0, 100, .*there is none at 7",
    ),
    "no step": (lambda: load("attn2l", checkpoint="last"), "there is none at 'last'"),
    "a model without a series": (lambda: load("attn1l", checkpoint=0), "of 'attn1l' were kept; they were for .*attn2l"),
    "a model of the hub": (lambda: load("gpt2", checkpoint=0), "no built-in model 'gpt2'; built in are demo, storylm"),
    "a slip of the pen": (lambda: checkpoints("atn2l"), "no built-in model 'atn2l'; did you mean 'attn2l'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_checkpoint_that_cannot_be_says_why(case: str) -> None:
    attempt, sentence = WRONG[case]
    with pytest.raises(LoadError, match=sentence):
        attempt()
