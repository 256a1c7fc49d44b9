"""The logit lens with a model behind it: what the page asks for, Python computes, and the page shows."""

import pytest

from interpwidgets import LogitLens, load

SENTENCE = "the dog saw the cat"


@pytest.fixture
def lens():
    return LogitLens.from_model(load("storylm-small"), SENTENCE, target=" the")


def test_the_page_shows_what_the_model_would_say(bridge, lens, shot):
    figure = bridge.show(lens)
    assert lens.selected["tokens"][0].strip() in figure.locator("[data-part=readout]").inner_text()
    assert "storylm-small" in figure.locator(".iw-meta").inner_text()
    shot(figure, "logit-lens-live")


def test_a_source_chosen_in_the_page_is_computed_and_shown(bridge, lens):
    figure = bridge.show(lens)
    figure.locator("[data-part=source] select").select_option("mlp")
    bridge.until(lambda: lens.source == "mlp")
    assert [plane["source"] for plane in lens._planes] == ["residual", "mlp"]
    bridge.until(lambda: "Kernel connected" in figure.locator("[data-part=state]").inner_text())


def test_a_token_pinned_with_a_key_is_followed_exactly(bridge, lens):
    figure = bridge.show(lens)
    figure.locator("[data-part=map]").press("p")
    bridge.until(lambda: lens.pinned)
    assert {one["token"] for one in lens._followed} == {"", " the", *lens.pinned}


def test_another_prompt_typed_in_the_page_is_run(bridge, lens):
    figure = bridge.show(lens)
    box = figure.locator("[data-part=prompt]").get_by_role("textbox")
    box.fill("the cat")
    figure.locator("[data-part=run]").click()
    bridge.until(lambda: len(lens.tokens) == 3)
    box.fill("the " * 3000)
    figure.locator("[data-part=run]").click()
    bridge.until(lambda: figure.get_by_role("alert").count())
    assert (len(lens.tokens), lens.prompt) == (3, "the cat")
