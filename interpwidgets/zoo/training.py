"""The loop that every recipe of the zoo trains in: after a kill it goes on, and the same seed gives the same weights.

    from interpwidgets.zoo.training import Training, accelerator, fit

    torch.manual_seed(0)
    model, stream = nn.Linear(3, 1, device=accelerator()), torch.Generator().manual_seed(0)

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 3, generator=stream).to(accelerator())
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    training = Training(model, [torch.optim.AdamW(model.parameters())], loss, steps=500, recipe={"seed": 0},
                        streams=[stream], keep=[0, 100])
    made = fit(training, state=Path("sum.training"), progress=lambda step, loss: ...)
    made.model, made.series[100], made.minutes

With ``state``, everything that the next step depends on goes into that one file every few seconds: weights, optimizers,
random numbers, step. The same call after a kill reads it and goes on, and ends with the same weights to the last bit as
a run that nobody killed. On an accelerator the last bits may differ: it adds up in the order it likes.
"""

import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from time import monotonic, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interpwidgets._errors import Told
from interpwidgets.zoo.spec import Made, Progress

Stream = torch.Generator | np.random.Generator | random.Random
Series = dict[int, dict[str, Tensor]]

SECONDS = 20.0  # between two writings of the state: what a kill costs at most


class TrainingError(Told, RuntimeError):
    """A training that cannot go on; the message says what came and what to do."""


@dataclass(frozen=True)
class Training:
    """One model in training: what a step needs.

    ``loss(step)`` draws the batch of that step from the ``streams`` and returns its loss, a scalar. ``recipe`` names
    what the run depends on (seed, sizes, rates): a state of another recipe is not gone on with. ``rate(step)`` is the
    share of its own rate that each optimizer works at. ``keep`` are the steps before which the weights are put aside.
    """

    model: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    loss: Callable[[int], Tensor]
    steps: int
    recipe: Mapping[str, Any]
    streams: Sequence[Stream] = ()
    rate: Callable[[int], float] = lambda step: 1.0
    keep: Collection[int] = ()


@dataclass
class _At:
    """How far a run has come."""

    step: int = 0
    series: Series = field(default_factory=dict)
    seconds: float = 0.0  # of processor time, in the runs before this one


def fit(
    training: Training, state: Path | None = None, progress: Progress | None = None, seconds: float = SECONDS
) -> Made:
    """Train to the end, from the beginning or from where ``state`` says that an earlier run was.

    Arguments:
        state: a file, written every ``seconds`` and left where it is at the end; without it a kill loses everything.
        progress: called as ``progress(step, loss)`` after each step, counted from 1.

    Returns the model in evaluation mode on the processor, the weights put aside, and the minutes of processor time of
    all runs together. Raises `TrainingError` where the state cannot be written, cannot be read, or is of another
    recipe.
    """
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in training.optimizers]
    at = _resumed(training, state) if state is not None and state.exists() else _At()
    begun, written = process_time(), monotonic()
    with _steady():
        while at.step < training.steps:
            if at.step in training.keep:
                at.series[at.step] = weights_of(training.model)
            loss = _step(training, rates, at.step)
            at.step += 1
            if progress is not None:
                progress(at.step, loss.item())
            if state is not None and monotonic() - written >= seconds:
                _write(training, _At(at.step, at.series, at.seconds + process_time() - begun), state)
                written = monotonic()
    minutes = (at.seconds + process_time() - begun) / 60
    return Made(training.model.cpu().eval(), at.series, at.step, minutes)


def accelerator() -> torch.device:
    """Where to train: a CUDA device if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights as they are now; a weight that two modules share stands under its first name only."""
    seen: set[int] = set()
    copies = {}
    for name, weight in model.state_dict(keep_vars=True).items():
        if id(weight) not in seen:
            seen.add(id(weight))
            copies[name] = weight.detach().cpu().clone()
    return copies


def _step(training: Training, rates: list[list[float]], step: int) -> Tensor:
    share = training.rate(step)
    for optimizer, own in zip(training.optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = rate * share
        optimizer.zero_grad()
    loss = training.loss(step)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in training.optimizers:
        optimizer.step()
    return loss.detach()


# -- the state


def _write(training: Training, at: _At, file: Path) -> None:
    """The old state stays until the new one is on the disk."""
    content = BytesIO()
    torch.save(
        {
            "recipe": _plain(training.recipe),
            "step": at.step,
            "seconds": at.seconds,
            "series": at.series,
            "model": training.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in training.optimizers],
            "streams": [_state_of(stream) for stream in training.streams],
            "random": torch.get_rng_state(),
            "random on devices": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
        content,
    )
    half = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with half.open("wb") as out:
            out.write(content.getbuffer())
            out.flush()
            os.fsync(out.fileno())
        half.replace(file)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise TrainingError(
            f"the state of the training at step {at.step} could not be written to {file}: {error.strerror}; "
            "make room and run the same again, it goes on from what was written last."
        ) from None


def _resumed(training: Training, file: Path) -> _At:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        recipe = found["recipe"]
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError, KeyError, TypeError):
        raise TrainingError(
            f"{file} is not the state of a training, or it is damaged; remove it to begin again."
        ) from None
    if recipe != _plain(training.recipe):
        raise TrainingError(
            f"{file} is the state of another recipe; remove it to begin again, or train into another folder."
        )
    training.model.load_state_dict(found["model"])
    for optimizer, state in zip(training.optimizers, found["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    for stream, state in zip(training.streams, found["streams"], strict=True):
        _set_state(stream, state)
    torch.set_rng_state(found["random"])
    if torch.cuda.is_available() and found["random on devices"]:
        torch.cuda.set_rng_state_all(found["random on devices"])
    return _At(found["step"], found["series"], found["seconds"])


def _plain(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Compared as text, so that a tuple that comes back as a list is no other recipe."""
    return {key: str(value) for key, value in sorted(recipe.items())}


def _state_of(stream: Stream) -> Any:
    if isinstance(stream, torch.Generator):
        return stream.get_state()
    return stream.getstate() if isinstance(stream, random.Random) else dict(stream.bit_generator.state)


def _set_state(stream: Stream, state: Any) -> None:
    if isinstance(stream, torch.Generator):
        stream.set_state(state)
    elif isinstance(stream, random.Random):
        stream.setstate(state)
    else:
        stream.bit_generator.state = state


@contextmanager
def _steady() -> Iterator[None]:
    """One thread, since small matrices gain nothing from a second and sums in one order are the same every time.

    And numbers below 1e-38 are 0: weight decay makes many of them, and a processor is slow with them.
    """
    threads, flushed = torch.get_num_threads(), float(torch.tensor(1e-40) * 1.0) == 0.0
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
