"""What training made is written whole or not at all, and `load` opens it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interpwidgets import load
from interpwidgets.models.load import LoadError, checkpoints
from interpwidgets.zoo.attention_only import train
from interpwidgets.zoo.registry import ZOO
from interpwidgets.zoo.save import SaveError, save
from interpwidgets.zoo.spec import Measured, measure

SPEC = replace(ZOO["attn2l"], accept=lambda model: {"height": Measured(1.23456, at_least=1)})
MADE = train(2, steps=3, keep=(1, 2))


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond ``room`` bytes."""
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_saved_is_a_model_that_load_opens(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "attn2l"
    assert save(SPEC, MADE, folder) == {"height": Measured(1.23456, at_least=1)}
    model = load(folder)
    assert torch.equal(model.unembed.weight, MADE.model.unembed.weight)
    assert model.tokenizer("river seven").input_ids == [0, 1, 2]
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["measured"] == {"height": {"value": 1.2346, "at least": 1}}
    assert list((tmp_path / "new").iterdir()) == [folder]


def test_the_steps_on_the_way_are_saved_in_half_precision_and_can_be_loaded(tmp_path: Path) -> None:
    save(SPEC, MADE, tmp_path / "attn2l")
    assert checkpoints(tmp_path / "attn2l") == [1, 2, 3]
    weight = load(tmp_path / "attn2l", checkpoint=2).unembed.weight
    assert torch.equal(weight, MADE.series[2]["unembed.weight"].half().float())
    with pytest.raises(LoadError, match=r"was kept at the steps 1, 2, 3; there is none at 7"):
        load(tmp_path / "attn2l", checkpoint=7)


def test_a_twin_is_saved_in_half_precision_and_measured_so(tmp_path: Path) -> None:
    def accept(model: torch.nn.Module) -> dict[str, Measured]:
        return {"first weight": Measured(model.unembed.weight[0, 0].item())}

    twin = replace(SPEC, precision="float16", accept=accept)
    measured = save(twin, MADE, tmp_path / "twin")
    weight = MADE.model.unembed.weight[0, 0]
    assert measured["first weight"].value == weight.half().item() != weight.item()
    assert measure(twin, tmp_path / "twin") == measured
    assert MADE.model.unembed.weight.dtype == torch.float32
    whole = save(SPEC, MADE, tmp_path / "whole") and (tmp_path / "whole" / "model.safetensors").stat().st_size
    assert (tmp_path / "twin" / "model.safetensors").stat().st_size < 0.6 * whole


def test_a_series_is_measured_by_its_own_function(tmp_path: Path) -> None:
    spec = replace(SPEC, accept_series=lambda models: {"steps": Measured(len(models))})
    assert save(spec, MADE, tmp_path / "attn2l")["steps"] == Measured(3)


def test_a_card_can_have_more_parts(tmp_path: Path) -> None:
    save(replace(SPEC, more=lambda model: {"samples": ["river egg"]}), MADE, tmp_path / "attn2l")
    card = json.loads((tmp_path / "attn2l" / "card.json").read_text(encoding="utf-8"))
    assert card["samples"] == ["river egg"]


@pytest.mark.parametrize("room", [0, 1_000, 100_000])
def test_a_full_disk_is_told_in_one_sentence_and_leaves_nothing(tmp_path: Path, room: int) -> None:
    with full_disk(room), pytest.raises(SaveError, match=r"could not be written, and nothing of it was left behind"):
        save(SPEC, MADE, tmp_path / "attn2l")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_measuring_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    def killed(model: torch.nn.Module) -> dict[str, Measured]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(replace(SPEC, accept=killed), MADE, tmp_path / "attn2l")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".attn2l.half-written").mkdir()
    (tmp_path / ".attn2l.half-written" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "attn2l").mkdir()
    save(SPEC, MADE, tmp_path / "attn2l")
    assert list(tmp_path.iterdir()) == [tmp_path / "attn2l"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(SaveError, match=r"is not empty; name another folder, or remove it"):
        save(SPEC, MADE, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "my only copy"


def test_a_measure_knows_whether_it_passes() -> None:
    assert Measured(0.5).ok
    assert Measured(0.5, at_least=0.5, at_most=0.5).ok
    assert not Measured(0.4, at_least=0.5).ok
    assert not Measured(0.6, at_most=0.5).ok
    assert not Measured(float("nan"), at_least=0.5).ok
    assert str(Measured(0.4, at_least=0.5)) == "0.400 (at least 0.5: FAILS)"
