"""Every model that comes with the package does what its card says, and damaged files are told."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from interpwidgets import load
from interpwidgets.models import shipped
from interpwidgets.models.load import LoadError, checkpoints
from interpwidgets.models.shipped import SHIPPED, WEIGHTS
from interpwidgets.zoo.registry import ZOO
from interpwidgets.zoo.save import card
from interpwidgets.zoo.spec import Made, measure

BUDGET = 25_000_000  # bytes of all weights together


def read_card(name: str) -> Any:
    return json.loads((WEIGHTS / name / "card.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ZOO)
def test_a_shipped_model_passes_and_its_card_says_what_is_measured(name: str) -> None:
    measured, written = measure(ZOO[name], name), read_card(name)["measured"]
    assert [what for what, found in measured.items() if not found.ok] == []
    assert list(written) == list(measured)
    for what, found in measured.items():
        assert found.value == pytest.approx(written[what]["value"], abs=2e-3, rel=2e-3), what
        assert (found.at_least, found.at_most) == (written[what].get("at least"), written[what].get("at most"))


@pytest.mark.parametrize("name", ZOO)
def test_a_card_says_how_the_model_is_made(name: str) -> None:
    spec, model = ZOO[name], load(name)
    now, written = card(spec, Made(model), {}), read_card(name)
    for part in ("name", "purpose", "architecture", "parameters", "data", "limits", "license"):
        assert written[part] == now[part], part
    assert written["recipe"] == json.loads(json.dumps(now["recipe"]))
    assert set(written) >= {*now, "files"}
    assert written["minutes of processor time"] > 0


@pytest.mark.parametrize("name", ZOO)
def test_a_card_has_the_checksum_of_every_file(name: str) -> None:
    files = {file.name: sha256(file.read_bytes()).hexdigest() for file in (WEIGHTS / name).iterdir()}
    del files["card.json"]
    assert read_card(name)["files"] == files
    assert shipped.damage(name, series=True) is None


def test_what_is_shipped_has_a_recipe_and_is_small() -> None:
    assert set(SHIPPED) == set(ZOO)
    assert {path.name for path in WEIGHTS.iterdir() if path.is_dir()} == set(SHIPPED)
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < BUDGET
    assert all(len(checkpoints(name)) <= 12 for name in SHIPPED)


@pytest.mark.parametrize("name", ZOO)
def test_a_model_is_loaded_in_single_precision_whatever_its_file_holds(name: str) -> None:
    for step in (None, *checkpoints(name)[:1]):
        kinds = {weight.dtype for weight in load(name, checkpoint=step).state_dict().values()}
        assert {kind for kind in kinds if kind.is_floating_point} == {torch.float32}


# -- damage


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of attn2l, which `load` takes for the shipped one."""
    shutil.copytree(WEIGHTS / "attn2l", tmp_path / "attn2l")
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    load("attn2l")
    return tmp_path / "attn2l"


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_named_in_one_sentence(copy: Path, file: str) -> None:
    flip_a_bit(copy / file)
    with pytest.raises(LoadError, match=rf"{file} is damaged.*install interpwidgets again to get 'attn2l' back\.$"):
        load("attn2l")


@pytest.mark.parametrize("file", ["model.safetensors", "card.json", "tokenizer.json"])
def test_a_missing_file_is_named_in_one_sentence(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(LoadError, match=rf"{file} (is missing|cannot be read).*install interpwidgets again"):
        load("attn2l")


def test_a_card_that_cannot_be_read_is_told(copy: Path) -> None:
    for content in ("{", "[]", "{}"):
        (copy / "card.json").write_text(content)
        with pytest.raises(LoadError, match=r"card.json is missing or damaged; install"):
            load("attn2l")


def test_a_damaged_series_is_told_to_those_who_ask_for_it(copy: Path) -> None:
    flip_a_bit(copy / "series.safetensors")
    load("attn2l")
    with pytest.raises(LoadError, match=r"series.safetensors is damaged"):
        load("attn2l", checkpoint=600)
    (copy / "series.safetensors").write_bytes(b"nonsense")
    with pytest.raises(LoadError, match=r"series.safetensors is damaged"):
        checkpoints("attn2l")
