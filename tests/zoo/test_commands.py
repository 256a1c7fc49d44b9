"""``interpwidgets zoo``: list, show, train, verify."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from interpwidgets import load
from interpwidgets.cli import main
from interpwidgets.models import shipped
from interpwidgets.zoo import registry
from interpwidgets.zoo.attention_only import train
from interpwidgets.zoo.registry import ZOO
from interpwidgets.zoo.spec import Measured


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
    assert "There are attn2l, attn1l, attn0l" in run("verify", "gpt9")[1]


def test_the_command_verifies_and_fails_where_a_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("verify", "attn1l")[0] == 0
    lame = replace(ZOO["attn1l"], accept=lambda model: {"legs": Measured(1, at_least=2)})
    monkeypatch.setattr(registry, "ZOO", {"attn1l": lame})
    code, text = run("verify", "attn1l")
    assert code == 1
    assert "1.000 (at least 2: FAILS)" in text


def test_the_command_tells_of_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    code, text = run("verify", "attn1l")
    assert code == 1
    assert text.splitlines()[-1].startswith("Error: ")
    assert "card.json is missing or damaged; install interpwidgets again" in text


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """attn0l in three steps."""
    spec = replace(ZOO["attn0l"], train=lambda **how: train(0, steps=3, **how))
    monkeypatch.setattr(registry, "ZOO", {"attn0l": spec})


@pytest.mark.usefixtures("quick")
def test_the_command_trains_where_it_is_told(tmp_path: Path) -> None:
    code, text = run("train", "attn0l", "--out", str(tmp_path / "deep" / "mine"))
    assert (code, load(tmp_path / "deep" / "mine").config.n_layers) == (0, 0)
    assert "second-copy accuracy" in text
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["mine"]
    code, text = run("train", "attn0l", "--out", str(tmp_path / "deep" / "mine"))
    assert code == 1
    assert "is not empty" in text


@pytest.mark.usefixtures("quick")
def test_the_command_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(step: int, loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    state = tmp_path / "mine.training"
    monkeypatch.setattr("interpwidgets.zoo.training.fit.__defaults__", (None, None, 0.0))  # a state after each step
    with pytest.raises(KeyboardInterrupt):
        train(0, steps=3, state=state, progress=killed)
    assert state.exists()
    assert run("train", "attn0l", "--out", str(tmp_path / "mine"))[0] == 0
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.usefixtures("quick")
def test_the_command_tells_of_a_state_that_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "mine.training").write_bytes(b"nonsense")
    code, text = run("train", "attn0l", "--out", str(tmp_path / "mine"))
    assert code == 1
    assert "mine.training is not the state of a training, or it is damaged; remove it to begin again." in text
    assert not (tmp_path / "mine").exists()
