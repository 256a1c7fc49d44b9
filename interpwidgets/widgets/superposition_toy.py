"""A toy with more features than dimensions, trained while you look: where it puts them, and how they overlap.

    SuperpositionToy(features=5, hidden=2, sparsity=0.93)       # trains in the page, with or without a kernel

    toy = SuperpositionToy.from_weights(W)      # yours: one W [hidden, feature], or one for each of several steps
    toy.show(W, step=100, loss=0.02)            # and on, from your training loop, while it runs

    toy.sparsity, toy.chosen = 0.8, 2           # what the sliders and clicks set, here and in the page
    toy.selected                                # W on the screen, [hidden, feature]

The page (frontend/src/widgets/superposition_toy is the other side) draws the same random numbers and takes the same
steps as `interpwidgets.methods.superposition.train_toys`, which says what a toy is. So `selected` is computed here, by
torch, when it is asked for; the widget itself needs no torch.

Features are counted from 0 here, as columns of W are, and from 1 in the picture.
"""

import math
from collections.abc import Sequence
from operator import index
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import traitlets as t
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError, shape_text, spelled, to_numpy
from interpwidgets.widgets._atlas import atlas_png
from interpwidgets.widgets._base import Array, InterpWidget
from interpwidgets.widgets._phases import FEATURES, HIDDEN, phase_map

STEPS = 1000  # of a training in the page
THEMES = ("auto", "light", "dark")
MOST_SENT = 256  # steps of sent weights that are kept; with more, every other one goes
MOST_BYTES = 200_000  # and of their numbers together

_RANGES: dict[str, tuple[float, float]] = {
    "features": FEATURES,
    "hidden": HIDDEN,
    "sparsity": (0, 0.99),
    "decay": (0.4, 1),
    "correlation": (0, 0.9),
    "seed": (0, 2**32 - 1),
}

Matrix = NDArray[np.float32]


class SettingError(InputError, t.TraitError):
    """A trait was set to what it cannot be; it keeps its old value."""


class _Whole(t.Int):  # type: ignore[type-arg]
    """A whole number; takes the integers of numpy and torch too."""

    def validate(self, obj: Any, value: Any) -> Any:
        try:
            return index(value)
        except TypeError:
            raise _no_number(self.name, "a whole number", value) from None


class _Share(t.Float):  # type: ignore[type-arg]
    """A number; takes those of numpy and torch too."""

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, str):
            raise _no_number(self.name, "a number", value)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise _no_number(self.name, "a number", value) from None


def _no_number(name: str | None, expected: str, value: Any) -> SettingError:
    return SettingError(f"{name} is no number.", [("expected", expected), ("got", f"{type(value).__name__} {value!r}")])


class _Sent(NamedTuple):
    """Weights that came from Python at one step."""

    step: int
    W: Matrix
    b: Matrix | None
    loss: float | None


class SuperpositionToy(InterpWidget):
    """More features than dimensions: arrows, overlaps, dimensionality, phase diagram, loss of a toy that trains here.

    ``features``: 2 to 12; ``hidden``: dimensions, 1 to 6. ``sparsity``: how likely a feature is absent, 0 to 0.99;
    ``decay``: feature i counts ``decay ** i`` in the loss, 0.4 to 1; ``correlation``: how strongly features come in
    pairs, 0 to 0.9; ``seed``: of the data and of the start.

    Phase diagrams are there for up to 3 dimensions, as long as there are more features.

    ``step``: the training step on show, 0 to 1000; ``playing``: whether it moves; ``chosen``: the feature in accent,
    counted from 0. ``theme``: "auto", "light" or "dark".

    Raises `InputError` (a `ValueError`) that says what was expected, what came and what to do.

    Source: Elhage et al. 2022, "Toy Models of Superposition".
    """

    _kind = t.Unicode("superposition_toy").tag(sync=True)

    features = _Whole(5).tag(sync=True)
    hidden = _Whole(2).tag(sync=True)
    sparsity = _Share(0.93).tag(sync=True)
    decay = _Share(0.96).tag(sync=True)
    correlation = _Share(0.0).tag(sync=True)
    seed = _Whole(0).tag(sync=True)
    step = _Whole(STEPS).tag(sync=True)
    playing = t.Bool(False).tag(sync=True)
    chosen = _Whole(0).tag(sync=True)
    theme = t.Unicode("auto").tag(sync=True)
    title = t.Unicode("Superposition toy").tag(sync=True)
    caption = t.Unicode("").tag(sync=True)

    _phase = Array()
    _phase_of = t.List(t.Int()).tag(sync=True)
    _weights = Array()
    _biases = Array()
    _steps = t.List(t.Int()).tag(sync=True)
    _losses = t.List(t.Float(allow_none=True)).tag(sync=True)

    def __init__(
        self,
        features: int = 5,
        hidden: int = 2,
        sparsity: float = 0.93,
        decay: float = 0.96,
        correlation: float = 0.0,
        seed: int = 0,
        *,
        step: int = STEPS,
        chosen: int = 0,
        title: str = "Superposition toy",
        caption: str = "",
        theme: Literal["auto", "light", "dark"] = "auto",
    ) -> None:
        self._sent: list[_Sent] = []
        self._calls = 0  # of show, since the series began
        self._stride = 1  # of these one in so many is kept, and the last
        self._trained: tuple[Any, Any] = (None, None)
        settings = {
            "features": features, "hidden": hidden, "sparsity": sparsity, "decay": decay, "correlation": correlation,
            "seed": seed, "step": step, "chosen": chosen,
        }  # fmt: skip
        super().__init__(**settings, title=title, caption=caption, theme=theme)
        self._renew_map()

    @classmethod
    def from_weights(
        cls,
        W: Any,
        b: Any = None,
        steps: Sequence[int] | None = None,
        losses: Sequence[float] | None = None,
        **options: Any,
    ) -> Self:
        """Weights of your own: one W, [hidden, feature], or one for each of several steps, [step, hidden, feature].

        ``b``: their biases, [feature] or [step, feature]; ``steps``: the training step of each, by default 0, 1, 2 ...;
        ``losses``: a number for each. Arrays of any library. ``options``: title, caption, theme, chosen.
        """
        weights = _finite(W, "W", "[hidden, feature] or [step, hidden, feature]", (2, 3))
        weights = weights if weights.ndim == 3 else weights[None]
        count = len(weights)
        biases = None if b is None else _finite(b, "b", "[feature] or [step, feature]", (1, 2))
        if biases is not None:
            biases = biases if biases.ndim == 2 else biases[None]
        numbers = list(range(count)) if steps is None else [_step(step) for step in steps]
        for name, given in (("b", biases), ("steps", numbers), ("losses", losses)):
            if given is not None and len(given) != count:
                raise InputError(
                    f"{name} does not fit W.", [("expected", _count(count, "step")), ("got", str(len(given)))]
                )
        if count == 0 or numbers != sorted(set(numbers)):
            raise InputError("The steps of W do not go up.", [("expected", "at least one, each above the one before")])
        chosen = options.pop("chosen", 0)
        toy = cls(**options)
        with toy.hold_sync():
            for i, step in enumerate(numbers):
                toy._take(
                    weights[i], step, None if losses is None else losses[i], None if biases is None else biases[i]
                )
            toy._push()
            toy.chosen = chosen
        return toy

    # -- weights from a training loop -------------------------------------------------------------------------

    def show(self, W: Any, step: int | None = None, loss: Any = None, b: Any = None) -> None:
        """Show weights of yours, [hidden, feature], and keep them: call it every so often from your training loop.

        ``step``: by default one after the last; a step that is not after the last begins a new series. ``loss``: a
        number; ``b``: [feature]. Up to 256 steps are kept (fewer of large W); with more, every other one is forgotten.
        The page follows unless somebody has moved to an earlier step.
        """
        weights = _finite(W, "W", "[hidden, feature]", (2,))
        last = self._sent[-1].step if self._sent else None
        now = _step(step) if step is not None else 0 if last is None else last + 1
        bias = None if b is None else _finite(b, "b", "[feature]", (1,))
        follows = last is None or self.step >= last or now <= last
        self._take(weights, now, loss, bias)
        self._push(follows)

    def _take(self, W: Matrix, step: int, loss: Any, b: Matrix | None) -> None:
        """Check and keep one step. An error leaves everything as it was."""
        anew = not self._sent or step <= self._sent[-1].step
        if not anew and W.shape != self._sent[0].W.shape:
            raise InputError(
                "W has another shape than before.",
                [("expected", shape_text(self._sent[0].W.shape)), ("got", shape_text(W.shape))],
                "Make a new SuperpositionToy, or begin again with step=0.",
            )
        if b is not None and b.shape != W.shape[1:]:
            raise InputError("b does not fit W.", [("expected", shape_text(W.shape[1:])), ("got", shape_text(b.shape))])
        entry = _Sent(step, W, b, _loss(loss))
        if anew:
            self._sent, self._calls, self._stride = [], 0, 1
        elif (self._calls - 1) % self._stride:
            self._sent.pop()  # was kept only as the last
        self._sent.append(entry)
        self._calls += 1
        if len(self._sent) > max(2, min(MOST_SENT, MOST_BYTES // W.nbytes // 2 * 2)):
            self._sent, self._stride = self._sent[::2], 2 * self._stride

    def _push(self, follows: bool = True) -> None:
        """All that is kept, in one message."""
        kept = self._sent
        with self.hold_sync():
            self._steps = [one.step for one in kept]
            self._losses = [one.loss for one in kept]  # type: ignore[misc]
            biases = [one.b for one in kept if one.b is not None]
            self._biases = np.stack(biases) if len(biases) == len(kept) else None
            self._weights = np.stack([one.W for one in kept])
            if self.chosen >= self._n_features:
                self.chosen = 0
            if follows:
                self.step = kept[-1].step

    # -- what is on the screen --------------------------------------------------------------------------------

    @property
    def selected(self) -> NDArray[Any]:
        """W on the screen, [hidden, feature]: your own, or what the page has trained up to ``step``.

        The page's weights are computed here, by torch, once for each setting (a second or two).
        """
        if self._sent:
            return [one for one in self._sent if one.step <= max(self.step, self._sent[0].step)][-1].W.copy()
        settings = tuple(getattr(self, name) for name in _RANGES)
        if self._trained[0] != settings:
            from interpwidgets.methods.superposition import Toy, train_toys

            self._trained = settings, train_toys([Toy(*settings)], every=1).W[:, 0].numpy()
        found: NDArray[Any] = self._trained[1][self.step].copy()
        return found

    @property
    def _n_features(self) -> int:
        return int(self._sent[0].W.shape[1] if self._sent else self.features)

    def __repr__(self) -> str:
        if not self._sent:
            sizes = f"{_count(self.features, 'feature')} in {_count(self.hidden, 'dimension')}"
            return f"SuperpositionToy({sizes}, sparsity {self.sparsity:g}, decay {self.decay:g}, seed {self.seed})"
        hidden, features = self._sent[0].W.shape
        sizes = f"{_count(features, 'feature')} in {_count(hidden, 'dimension')}"
        return f"SuperpositionToy({sizes}, {_count(len(self._sent), 'step')} of weights, step {self.step})"

    def _fallback_png(self) -> bytes | None:
        if self._sent:
            overlap = self.selected.T @ self.selected
            codes = 128 + np.rint(127 * overlap / max(np.abs(overlap).max(), 1e-9))
        elif self._phase is None:
            return None
        else:
            counts = self._phase.astype(float)
            square = counts[np.arange(counts.shape[1]) * counts.shape[0] // counts.shape[1]]
            codes = np.rint(255 * square / self.features)
        return atlas_png(codes.astype(np.uint8)[None, None], causal=False, signed=bool(self._sent))

    # -- settings, from here and from the page ----------------------------------------------------------------

    @t.validate(*_RANGES)
    def _in_range(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        least, most = _RANGES[name]
        if not least <= value <= most:
            raise SettingError(f"{name} is out of range.", [("expected", f"{least} to {most}"), ("got", f"{value:g}")])
        return value

    @t.validate("step", "chosen")
    def _exists(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        most = self._n_features - 1 if name == "chosen" else math.inf if self._sent else STEPS
        if not 0 <= value <= most:
            expected = f"0 to {most}" if most < math.inf else "0 or more"
            raise SettingError(f"There is no {_NAMES[name]} {value}.", [("expected", expected), ("got", str(value))])
        return value

    @t.validate("theme")
    def _known(self, proposal: Any) -> Any:
        if proposal.value not in THEMES:
            raise SettingError(
                f"There is no theme {proposal.value!r}.",
                [("expected", '"auto", "light" or "dark"'), ("got", repr(proposal.value))],
            )
        return proposal.value

    @t.validate("title", "caption")
    def _encodable(self, proposal: Any) -> Any:
        return spelled(proposal.value)

    @t.observe("features", "hidden")
    def _size_changed(self, _change: Any) -> None:
        self._renew_map()
        if self.chosen >= self._n_features:
            self.chosen = self._n_features - 1

    def _renew_map(self) -> None:
        if self._phase_of != [self.features, self.hidden]:
            with self.hold_sync():
                self._phase = phase_map(self.features, self.hidden)
                self._phase_of = [self.features, self.hidden]

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page sets. If it names what cannot be, tell it what is."""
        try:
            super().set_state(sync_data)
        except t.TraitError:
            self.send_state([name for name in sync_data if name in self.keys])


_NAMES = {"step": "step", "chosen": "feature"}


def _finite(array: Any, name: str, axes: str, dims: tuple[int, ...]) -> Matrix:
    """An array of any library as float32 of one of these numbers of axes, all of it finite."""
    found = to_numpy(array, name, axes)[0].astype(np.float32)
    if found.ndim not in dims or 0 in found.shape:
        raise InputError(
            f"{name} does not have the shape of weights.", [("expected", axes), ("got", shape_text(found.shape))]
        )
    if not np.isfinite(found).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        raise InputError(
            f"{name} has numbers that are not finite.",
            [("expected", "finite numbers"), ("got", f"{found[first]} at {shape_text(first)}")],
        )
    return found


def _step(step: Any) -> int:
    try:
        number = index(step)
    except TypeError:
        raise InputError(
            "A step is no number.", [("expected", "a whole number"), ("got", f"{type(step).__name__} {step!r}")]
        ) from None
    if number < 0:
        raise InputError("A step is below zero.", [("expected", "0 or more"), ("got", str(number))])
    return number


def _loss(loss: Any) -> float | None:
    """A number of any library; None for none and for what is not finite."""
    if loss is None:
        return None
    try:
        number = float(loss.detach() if hasattr(loss, "detach") else loss)
    except (TypeError, ValueError, RuntimeError):
        raise InputError("The loss is no number.", [("expected", "one number"), ("got", type(loss).__name__)]) from None
    return number if math.isfinite(number) else None


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
