"""Training goes on after a kill as if nothing had happened, and the same seed gives the same weights."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from interpwidgets.zoo.spec import Made
from interpwidgets.zoo.training import Training, TrainingError, accelerator, fit, weights_of


class Killed(BaseException):
    """What stops a run in the middle."""


def summing(seed: int = 0, steps: int = 12) -> Training:
    """A small model with two optimizers, three kinds of random numbers, and noise of its own (dropout)."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1)).to(accelerator())
    torch_stream = torch.Generator().manual_seed(seed)
    numpy_stream, python_stream = np.random.default_rng(seed), random.Random(seed)

    def loss(step: int) -> Tensor:
        x = torch.randn(16, 3, generator=torch_stream) + numpy_stream.normal() + python_stream.random()
        x = x.to(accelerator())
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    return Training(
        model,
        [
            torch.optim.Muon([model[0].weight], lr=0.02),
            torch.optim.AdamW([model[0].bias, *model[2].parameters()], lr=0.01),
        ],
        loss,
        steps,
        recipe={"seed": seed, "rates": (0.02, 0.01)},
        streams=[torch_stream, numpy_stream, python_stream],
        rate=lambda step: min(1.0, (step + 1) / 4),
        keep=(0, 3, 8),
    )


def stop_at(step: int):  # type: ignore[no-untyped-def]
    def progress(now: int, loss: float) -> None:
        if now == step:
            raise Killed

    return progress


def same(one: Made, two: Made) -> bool:
    pairs = [
        (one.model.state_dict(), two.model.state_dict()),
        *((one.series[step], two.series[step]) for step in one.series),
    ]
    return list(one.series) == list(two.series) and all(
        torch.equal(weight, other[name]) for weights, other in pairs for name, weight in weights.items()
    )


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


def test_a_run_that_was_stopped_twice_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    state = tmp_path / "run.training"
    for step in (5, 9):
        with pytest.raises(Killed):
            fit(summing(), state, progress=stop_at(step), seconds=0)
    seen: list[int] = []
    resumed = fit(summing(), state, progress=lambda step, loss: seen.append(step))
    assert seen == [9, 10, 11, 12]  # step 9 was not written any more
    assert same(resumed, fit(summing()))
    assert (resumed.steps, list(resumed.series)) == (12, [0, 3, 8])


def test_other_seeds_give_other_weights() -> None:
    assert same(fit(summing(0)), fit(summing(0)))
    assert not same(fit(summing(0)), fit(summing(1)))


def test_a_killed_process_leaves_a_state_that_can_be_gone_on_with(tmp_path: Path) -> None:
    program = f"""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_training import fit, summing

        def progress(step, loss):
            if step == 7:
                os.kill(os.getpid(), signal.{"SIGKILL" if hasattr(signal, "SIGKILL") else "SIGTERM"})

        fit(summing(), Path({str(tmp_path / "run.training")!r}), progress=progress, seconds=0)
    """
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, timeout=120)
    assert done.returncode != 0
    assert [file.name for file in tmp_path.iterdir()] == ["run.training"], done.stderr
    seen: list[int] = []
    assert same(fit(summing(), tmp_path / "run.training", lambda step, loss: seen.append(step)), fit(summing()))
    assert seen[0] == 7


def test_the_minutes_of_all_runs_are_counted(tmp_path: Path) -> None:
    state = tmp_path / "run.training"
    with pytest.raises(Killed):
        fit(summing(), state, progress=stop_at(11), seconds=0)
    spent = torch.load(state, weights_only=True)["seconds"] / 60
    assert 0 < spent < fit(summing(), state).minutes


def test_the_state_of_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    state = tmp_path / "run.training"
    fit(summing(seed=0), state, seconds=0)
    with pytest.raises(TrainingError, match=r"another recipe; remove it to begin again"):
        fit(summing(seed=1), state)


def test_a_file_that_is_no_state_is_told(tmp_path: Path) -> None:
    state = tmp_path / "run.training"
    fit(summing(), state, seconds=0)
    for content in (b"", b"nonsense", state.read_bytes()[:-500]):
        state.write_bytes(content)
        with pytest.raises(TrainingError, match=r"is not the state of a training, or it is damaged"):
            fit(summing(), state)


def test_a_full_disk_is_told_in_one_sentence_and_the_state_before_stays(tmp_path: Path) -> None:
    state = tmp_path / "run.training"
    with pytest.raises(Killed):
        fit(summing(), state, progress=stop_at(4), seconds=0)
    before = state.read_bytes()
    with full_disk(1000), pytest.raises(TrainingError, match=r"at step 4 could not be written .* make room"):
        fit(summing(), state, seconds=0)
    assert state.read_bytes() == before
    assert list(tmp_path.iterdir()) == [state]
    assert same(fit(summing(), state), fit(summing()))


def test_threads_and_small_numbers_are_left_as_they_were() -> None:
    torch.set_num_threads(2)
    try:
        fit(summing(steps=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert float(torch.tensor(1e-40) * 1.0) > 0


def test_a_weight_that_two_modules_share_is_put_aside_once() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    assert list(weights_of(nn.Sequential(first, second))) == ["0.weight", "0.bias", "1.bias"]
