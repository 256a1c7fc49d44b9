"""The shipped models do what their cards say, and training makes them."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from interpwidgets import load
from interpwidgets.cli import main
from interpwidgets.data.repeats import random_periods
from interpwidgets.models.load import checkpoints
from interpwidgets.models.shipped import SHIPPED, WEIGHTS
from interpwidgets.zoo import registry
from interpwidgets.zoo.attention_only import train
from interpwidgets.zoo.registry import ZOO
from interpwidgets.zoo.save import card, save
from interpwidgets.zoo.spec import Made, Measured


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def read_card(name: str) -> Any:
    return json.loads((WEIGHTS / name / "card.json").read_text(encoding="utf-8"))


def loss_of(model: Any) -> float:
    tokens, _ = random_periods(64, torch.Generator().manual_seed(99))
    with torch.no_grad():
        return float(F.cross_entropy(model(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()))


# -- what is shipped


@pytest.mark.parametrize("name", ZOO)
def test_a_shipped_model_passes_and_its_card_says_what_is_measured(name: str) -> None:
    measured, written = ZOO[name].accept(load(name)), read_card(name)["measured"]
    assert [what for what, found in measured.items() if not found.ok] == []
    assert list(written) == list(measured)
    for what, found in measured.items():
        assert found.value == pytest.approx(written[what]["value"], abs=2e-3), what
        assert (found.at_least, found.at_most) == (written[what].get("at least"), written[what].get("at most"))


@pytest.mark.parametrize("name", ZOO)
def test_a_card_says_how_the_model_is_made(name: str) -> None:
    spec, model = ZOO[name], load(name)
    now, written = card(spec, Made(model), {}), read_card(name)
    for part in ("name", "architecture", "parameters", "data", "recipe", "license"):
        assert written[part] == now[part], part
    assert set(written) == set(now)


def test_what_is_shipped_has_a_recipe_and_is_small() -> None:
    assert list(SHIPPED) == list(ZOO)
    assert {path.name for path in WEIGHTS.iterdir() if path.is_dir()} == set(SHIPPED)
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 2_500_000


def test_models_that_are_not_what_they_should_be_fail() -> None:
    accept = ZOO["attn2l"].accept
    untrained = accept(load("attn2l", checkpoint=0))
    failed = {what for what, found in untrained.items() if not found.ok}
    assert {"second-copy accuracy", "best induction head", "best previous-token head"} <= failed
    assert not ZOO["attn1l"].accept(load("attn2l"))["best induction head"].ok


def test_induction_appears_between_steps_of_the_series() -> None:
    steps, accept = checkpoints("attn2l"), ZOO["attn2l"].accept
    assert len(steps) <= 12
    assert steps[0] == 0
    scores = [accept(load("attn2l", checkpoint=step))["best induction head"].value for step in steps]
    assert scores[0] < 0.1
    assert max(after - before for before, after in pairwise(scores)) > 0.4
    losses = [loss_of(load("attn2l", checkpoint=step)) for step in steps]
    assert losses[-1] == loss_of(load("attn2l"))
    assert min(losses) < losses[0] - 1.5


# -- how it is made


def test_thirty_steps_lower_the_loss_and_are_the_same_every_time() -> None:
    seen: list[float] = []
    one = train(2, steps=30, keep=(0, 20), progress=lambda step, loss: seen.append(loss))
    two = train(2, steps=30)
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, two.model.state_dict()[name]), name
    assert len(seen) == 30
    assert loss_of(one.model) < loss_of(load("attn2l", checkpoint=0)) - 0.05
    assert list(one.series) == [0, 20]
    assert not torch.equal(one.series[0]["unembed.weight"], one.series[20]["unembed.weight"])
    assert not torch.equal(
        train(2, seed=5, steps=1).model.unembed.weight, train(2, seed=6, steps=1).model.unembed.weight
    )


def test_the_first_step_of_the_series_is_what_training_starts_from() -> None:
    begun = train(2, steps=1, keep=(0,)).series[0]
    shipped = load("attn2l", checkpoint=0).state_dict()
    for name, weight in begun.items():
        torch.testing.assert_close(weight, shipped[name], msg=name)


def test_what_is_saved_is_a_model_that_load_opens(tmp_path: Path) -> None:
    spec, made = ZOO["attn2l"], train(2, steps=2, keep=(1,))
    save(spec, made, tmp_path, {"height": Measured(1.23456, at_least=1)})
    model = load(tmp_path)
    assert torch.equal(model.unembed.weight, made.model.unembed.weight)
    assert model.tokenizer("river seven").input_ids == [0, 1, 2]
    assert json.loads((tmp_path / "card.json").read_text())["measured"] == {"height": {"value": 1.2346, "at least": 1}}


def test_a_measure_knows_whether_it_passes() -> None:
    assert Measured(0.5).ok
    assert Measured(0.5, at_least=0.5, at_most=0.5).ok
    assert not Measured(0.4, at_least=0.5).ok
    assert not Measured(0.6, at_most=0.5).ok
    assert not Measured(float("nan"), at_least=0.5).ok
    assert str(Measured(0.4, at_least=0.5)) == "0.400 (at least 0.5: FAILS)"


# -- the command


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["zoo", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_command_lists_and_shows() -> None:
    code, text = run("list")
    assert code == 0
    assert all(f"{name} " in text for name in ZOO)
    code, text = run("show", "attn2l")
    assert code == 0
    assert "best induction head: 0.9" in text
    assert "checkpoints: 0, " in text
    assert "license: MIT" in text


def test_the_command_guesses_a_name() -> None:
    code, text = run("show", "atn2l")
    assert code == 1
    assert "Did you mean 'attn2l'?" in text
    assert "There are attn2l, attn1l, attn0l." in run("verify", "gpt9")[1]


def test_the_command_verifies_and_fails_where_a_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("verify", "attn1l")[0] == 0
    lame = replace(ZOO["attn1l"], accept=lambda model: {"legs": Measured(1, at_least=2)})
    monkeypatch.setattr(registry, "ZOO", {"attn1l": lame})
    code, text = run("verify", "attn1l")
    assert code == 1
    assert "1.000 (at least 2: FAILS)" in text


def test_the_command_trains_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(ZOO["attn0l"], train=lambda progress: train(0, steps=3, progress=progress))
    monkeypatch.setattr(registry, "ZOO", {"attn0l": quick})
    code, text = run("train", "attn0l", "--out", str(tmp_path / "mine"))
    assert (code, load(tmp_path / "mine").config.n_layers) == (0, 0)
    assert "second-copy accuracy" in text
    code, text = run("train", "attn0l", "--out", str(tmp_path / "mine"))
    assert code == 1
    assert "is not empty" in text
