"""The heads that find what came next last time: how strong each is, what they are built on, what is lost without them.

    heads = InductionHeads.from_model(load("attn2l"), period=12)    # <s>, twelve random words, the same again
    heads.found                         # the heads that "Send to Python" sent: [(1, 0), (1, 1)]
    heads.off = [(1, 0)]                # switched off, here or in the page
    heads.loss_off - heads.loss         # what that costs, by position, in nats
    heads.over_training()               # the same at every step of training that was kept
    heads.redraw(seed=7); heads.prompt = "river glass river glass"

    InductionHeads(tokens, patterns)    # arrays of any library, [layer, head, query, key]

What crosses to the page (frontend/src/widgets/induction_heads is the other side): the scores, the loss, the pattern of
the chosen head, and those of other heads as far as 64 kB go, for pages without a kernel. What people choose there are
the traits ``layer``, ``head``, ``score``, ``threshold``, ``step``, ``off`` and ``found``.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import traitlets as t
from numpy.typing import NDArray

from interpwidgets.widgets import _induction_model as asked
from interpwidgets.widgets._arrays import InputError, read_tokens, shape_text, spelled, to_numpy
from interpwidgets.widgets._atlas import atlas_png
from interpwidgets.widgets._base import Array, to_wire
from interpwidgets.widgets._choice import THEMES, Index, SelectionError, count, existing, one_of
from interpwidgets.widgets._induction_model import Arrow, Loss
from interpwidgets.widgets._induction_scores import Place, Repeat, Scores, find_repeat, habits, second_copy, strongest
from interpwidgets.widgets._patterns import Map, Patterns
from interpwidgets.widgets._prompt import PromptWidget

THRESHOLD = 0.4  # as in interpwidgets.methods.induction.find_induction_heads
WRITERS, READERS, ARROWS = (8, 0.4), (24, 0.2), 24  # heads that arrows may start from and lead to; arrows at most
KEPT = 64_000  # bytes of patterns that are saved beside that of the chosen head
LOSSES = 16  # sets of heads that were off and whose loss is remembered
PERIOD, COPIES = 12, 2


class _Reading(NamedTuple):
    """One model on the text: the finished one, or the one at a step of its training."""

    patterns: Patterns
    scores: dict[str, Scores]
    loss: Loss | None
    arrows: list[Arrow]


class _Text(NamedTuple):
    """Everything that is known about a text."""

    tokens: list[str]
    repeat: Repeat | None
    ids: list[int] | None
    seed: int | None  # None for a text of somebody's own
    readings: list[_Reading]  # by step of training; the finished model comes last
    losses: dict[tuple[Place, ...], Loss]  # with these heads off


class InductionHeads(PromptWidget):
    """The scores of every head on a text that repeats, the chosen head's pattern, and the loss with heads off.

    ``tokens``: one string per position. ``patterns``: as for `AttentionHeads`, [layer, head, query, key].
    ``loss``: nats by position, [position - 1], entry i for token i + 1. ``copying``: [layer, head], between -1 and 1
    (`interpwidgets.methods.circuits.copying_scores`). ``composition``: [layer, head, layer, head], as
    `interpwidgets.methods.circuits.composition_scores` gives it; what is twice its lower quartile can become an arrow.

    ``layer``, ``head``: what is chosen first; by default the strongest induction head. ``score``: "induction" (only on
    a block of tokens that is repeated), "previous token", "duplicate token", "prefix matching" or "copying".
    ``threshold``: heads that score more are listed. ``theme``: "auto", "light" or "dark".

    Raises `InputError` (a `ValueError`) that says what was expected, what came and what to do.

    Source: Olsson et al. 2022, "In-context Learning and Induction Heads".
    """

    _kind = t.Unicode("induction_heads").tag(sync=True)
    _as_one = frozenset({"layer", "head", "step"})

    tokens = t.List(t.Unicode()).tag(sync=True)
    layer = Index(0).tag(sync=True)
    head = Index(0).tag(sync=True)
    score = t.Unicode("prefix matching").tag(sync=True)
    threshold = t.Float(THRESHOLD).tag(sync=True)
    step = t.Int(None, allow_none=True).tag(sync=True)
    off: t.List[Any] = t.List().tag(sync=True)
    found: t.List[Any] = t.List().tag(sync=True)
    theme = t.Unicode("auto").tag(sync=True)
    title = t.Unicode("Induction heads").tag(sync=True)
    caption = t.Unicode("").tag(sync=True)

    _meta = t.Dict().tag(sync=True)
    _names = t.List(t.Unicode()).tag(sync=True)
    _scores = Array()
    _loss = Array()
    _losses: t.List[Any] = t.List().tag(sync=True)
    _steps = t.List(t.Int()).tag(sync=True)
    _arrows: t.List[Any] = t.List().tag(sync=True)
    _tile = t.Instance(dict, allow_none=True).tag(sync=True)
    _kept: t.List[Any] = t.List().tag(sync=True)
    _notice = t.Instance(dict, allow_none=True).tag(sync=True)

    def __init__(
        self,
        tokens: Sequence[str],
        patterns: Any,
        *,
        loss: Any = None,
        copying: Any = None,
        composition: Any = None,
        layer: int | None = None,
        head: int | None = None,
        score: str | None = None,
        threshold: float = THRESHOLD,
        title: str = "Induction heads",
        caption: str = "",
        theme: Literal["auto", "light", "dark"] = "auto",
    ) -> None:
        self._copying: Scores | None = None
        self._name = ""
        self._composed = composition is not None  # whether anybody looked for arrows
        self._png: tuple[Any, bytes | None] = (None, None)
        self._text = _from_arrays(read_tokens(tokens), patterns, loss, copying, composition)
        reading = self._text.readings[-1]
        names = list(reading.scores)
        place = _first_place(reading, layer, head)
        options = {"title": title, "caption": caption, "theme": theme, "threshold": threshold}
        super().__init__(
            **options, **self._shown(self._text, place), score=one_of("score", score or _main(reading.scores), names)
        )

    @classmethod
    def from_model(
        cls,
        model: Any,
        period: int = PERIOD,
        copies: int = COPIES,
        seed: int = 0,
        text: str | None = None,
        tokenizer: Any = None,
        **options: Any,
    ) -> Self:
        """The heads of ``model`` on ``period`` random tokens, ``copies`` times, or on a ``text`` of your own.

        ``model``: what `interpwidgets.load` returns, or any Hugging Face model that `Tap` knows, in evaluation mode;
        ``tokenizer``: by default ``model.tokenizer``. ``seed`` says which tokens are drawn. The options are those of
        `InductionHeads`. Heads that are switched off write their mean over the positions of this text.

        Raises `ValueError` for what does not fit into the model's context or has too many pairs of positions to keep,
        and for a model without layers.
        """
        tokenizer = asked.tokenizer_of(model, tokenizer)
        ids = (
            asked.random_ids(model, tokenizer, period, copies, seed)
            if text is None
            else asked.text_ids(tokenizer, text)
        )
        seen, copying = asked.see(model, tokenizer, ids), asked.copying(model)
        widget = cls(seen.tokens, seen.patterns, loss=seen.loss, copying=copying, **options)
        widget._model, widget._tokenizer, widget._copying = model, tokenizer, copying
        widget._name, widget._composed = _short_name(model), True
        with widget._shown_at_once():
            widget._has_model = True
        widget._show(spelled(text or ""), widget._read(ids, None if text is not None else seed, [seen]))
        return widget

    # -- what is on the screen --------------------------------------------------------------------------------

    @property
    def selected(self) -> Map:
        """The pattern on the screen, [query, key]."""
        return self._reading.patterns.head(self.layer, self.head).copy()

    @property
    def scores(self) -> dict[str, Scores]:
        """Name -> [layer, head], at the step of training on the screen (`interpwidgets.methods.induction`)."""
        return {name: values.copy() for name, values in self._reading.scores.items()}

    @property
    def loss(self) -> Loss | None:
        """Nats by position, [position - 1], with every head on; None where nobody said it."""
        found = self._reading.loss
        return None if found is None else found.copy()

    @property
    def loss_off(self) -> Loss | None:
        """The same with the heads in ``off`` at their mean over the positions; None where it was not computed."""
        found = self._text.losses.get(_key(self.off))
        return self.loss if not self.off else None if found is None else found.copy()

    @property
    def second_copy(self) -> slice:
        """The entries of the losses that belong to the second copy and later ones; all where nothing is repeated."""
        return second_copy(self._text.repeat)

    @property
    def arrows(self) -> list[Arrow]:
        """From heads that look one step back to induction heads whose keys read them, the strongest first."""
        return list(self._reading.arrows)

    def heads_above(self, threshold: float | None = None, score: str | None = None) -> list[Place]:
        """The heads (layer, head) whose score is above ``threshold``, the highest first; by default as listed."""
        values = self._reading.scores[one_of("score", score or self.score, self._names)]
        least = np.nextafter(np.float32(self.threshold if threshold is None else threshold), np.float32(np.inf))
        return strongest(values, values.size, float(least))

    @property
    def _reading(self) -> _Reading:
        readings = self._text.readings
        return readings[-1 if self.step is None else self._steps.index(self.step)]

    def __repr__(self) -> str:
        patterns, repeat = self._reading.patterns, self._text.repeat
        size = f"{count(patterns.n_layers, 'layer')} × {count(patterns.n_heads, 'head')}"
        what = f"{repeat.period} tokens × {repeat.copies}" if repeat else count(patterns.n_tokens, "token")
        value = self._reading.scores[_main(self._reading.scores)][self.layer, self.head]
        return f"InductionHeads({size}, {what}, L{self.layer} H{self.head} {value:.2f})"

    def _alt(self) -> str:
        main = _main(self._reading.scores)
        best = strongest(self._reading.scores[main], 3, self.threshold)
        names = ", ".join(f"L{layer} H{head} {self._reading.scores[main][layer, head]:.2f}" for layer, head in best)
        return f"Scores of every head for {main}. The highest: {names or f'none above {self.threshold:.2f}'}."

    def _fallback_png(self) -> bytes | None:
        if self._png[0] is not self._text:
            patterns = self._text.readings[-1].patterns
            self._png = self._text, atlas_png(patterns.thumbs[:, :-1], patterns.causal, patterns.signed)
        return self._png[1]

    # -- choosing, from here and from the page ----------------------------------------------------------------

    @t.validate("layer", "head")
    def _exists(self, proposal: Any) -> Any:
        name, patterns = proposal.trait.name, self._text.readings[-1].patterns
        size = patterns.n_layers if name == "layer" else patterns.n_heads
        return existing(name, proposal.value, size, "layers" if name == "layer" else "heads in a layer")

    @t.validate("score", "theme", "step", "threshold")
    def _is_known(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        if name == "threshold":
            if not isfinite(value):
                raise SelectionError("The threshold is no number.", [("expected", "0 to 1"), ("got", str(value))])
            return value
        if name == "step":
            return value if value is None and not self._steps else _known_step(value, self._steps)
        return one_of(name, value, THEMES if name == "theme" else self._names)

    @t.validate("off", "found")
    def _are_heads(self, proposal: Any) -> Any:
        name, patterns = proposal.trait.name, self._text.readings[-1].patterns
        places = [_place(place, patterns) for place in proposal.value]
        if name == "found":
            return places
        if places and self._model is None:
            raise SelectionError(
                "This widget was made from arrays: there is no model to switch heads off in.",
                advice="InductionHeads.from_model(model) makes one.",
            )
        if places and self._text.readings[-1].loss is None:
            raise SelectionError("This model does not say what comes next, so no loss would change.")
        return sorted(set(places))

    @t.validate("title", "caption")
    def _encodable(self, proposal: Any) -> Any:
        return spelled(proposal.value)

    @t.observe("layer", "head", "step")
    def _head_changed(self, _change: Any) -> None:
        if self._tile is not None and not self._showing:
            self._tile = self._tile_of(self.layer, self.head, self.step)

    @t.observe("off")
    def _off_changed(self, _change: Any) -> None:
        key = _key(self.off)
        if self._showing or not key or key in self._text.losses:
            return
        with self._told_to_page(), self._at_work(f"Computing the loss with {count(len(key), 'head')} off"):
            self._remember(key, asked.loss_without(self._model, self._text.ids or [], key))

    def _remember(self, key: tuple[Place, ...], loss: Loss | None) -> None:
        if loss is not None:
            losses = {**self._text.losses, key: loss}
            self._text = self._text._replace(losses=dict([*losses.items()][-LOSSES:]))
            self._losses = _losses_state(self._text.losses)

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        match content:
            case {"type": "draw", "period": int(period)}:
                with self._told_to_page():
                    self.redraw(period)
            case {"type": "training"}:
                with self._told_to_page():
                    self.over_training()
            case _:
                super()._on_message(content, buffers)

    # -- running the model ------------------------------------------------------------------------------------

    def redraw(self, period: int | None = None, copies: int | None = None, seed: int | None = None) -> None:
        """Show other random tokens; what is not given stays, and the seed moves on by one.

        Raises `ValueError` for what does not fit into the model's context; the picture then stays as it was.
        """
        text = self._text
        drawn = text.repeat if text.seed is not None else None
        period = period or (drawn.period if drawn else PERIOD)
        copies = copies or (drawn.copies if drawn else COPIES)
        seed = (text.seed or 0) + (text.seed is not None) if seed is None else seed
        with self._at_work("Reading new tokens"):
            fresh = self._read(asked.random_ids(self._model, self._tokenizer, period, copies, seed), seed)
        self._show("", fresh)

    def over_training(self) -> None:
        """Show the same text at every step of training that was kept; ``step`` chooses one of them.

        Raises `InputError` for a model without such steps, and for one that is not the last of them.
        """
        with self._at_work("Going back to the beginning of training"):
            if not asked.steps_of(self._model):
                raise InputError(
                    "No steps of this model's training were kept.",
                    advice='load("attn2l") gives a model that comes with some.',
                )
            text, finished = self._text, self._text.readings[-1]
            readings = self._over_training(text.ids or [])
            last = readings[-1].patterns
            if not all(
                np.allclose(last.head(*place), finished.patterns.head(*place), atol=1e-3) for place in _places(last)
            ):
                raise InputError(
                    "The kept steps of training do not end in this model.",
                    advice="Its weights are others than those that came with it: load it anew.",
                )
        self._show(self.prompt, text._replace(readings=[*readings[:-1], finished]))

    def _over_training(self, ids: list[int]) -> list[_Reading]:
        steps = asked.steps_of(self._model)
        readings = []
        for i, step in enumerate(steps):
            self._progress(f"Step {step} of training", i / len(steps))
            model = asked.at_step(self._model, step)
            readings.append(_reading_of(model, asked.see(model, self._tokenizer, ids), asked.copying(model)))
        return readings

    def _computed(self, prompt: str) -> Any:
        return self._read(asked.text_ids(self._tokenizer, prompt), None)

    def _read(self, ids: list[int], seed: int | None, seen: Sequence[asked.Seen] = ()) -> _Text:
        """Everything about a text: the run, the steps of training if they are on show, the loss with heads off."""
        found = seen[0] if seen else asked.see(self._model, self._tokenizer, ids)
        before = self._over_training(ids)[:-1] if self._steps else []
        off = _key(self.off)
        loss = asked.loss_without(self._model, ids, off) if off else None
        return _Text(
            tokens=[spelled(token) for token in found.tokens],
            repeat=find_repeat(found.tokens),
            ids=ids,
            seed=seed,
            readings=[*before, _reading_of(self._model, found, self._copying)],
            losses={} if loss is None else {off: loss},
        )

    # -- to the page ------------------------------------------------------------------------------------------

    def _shown(self, computed: Any, place: Place | None = None) -> dict[str, Any]:
        """The traits of the picture of a text."""
        text: _Text = computed
        self._text = text
        readings = text.readings
        reading = readings[-1]
        names = list(reading.scores)
        steps = asked.steps_of(self._model) if len(readings) > 1 else []
        layer, head = place or (self.layer, self.head)
        step = steps[-1] if steps else None
        losses = [one.loss for one in readings if one.loss is not None]
        return {
            "tokens": text.tokens,
            "layer": layer,
            "head": head,
            "step": step,
            **({} if place else {"score": self.score if self.score in names else _main(reading.scores)}),
            "_names": names,
            "_steps": steps,
            "_scores": np.stack([np.stack([one.scores[name] for name in names]) for one in readings]),
            "_loss": np.stack(losses).astype(np.float32) if losses else None,
            "_losses": _losses_state(text.losses),
            "_arrows": [[[*one.first, *one.second, round(one.score, 4)] for one in each.arrows] for each in readings],
            "_tile": self._tile_of(layer, head, step),
            "_kept": self._kept_tiles(steps),
            "_meta": self._meta_of(text),
        }

    def _meta_of(self, text: _Text) -> dict[str, Any]:
        patterns = text.readings[-1].patterns
        repeat = text.repeat
        return {
            "model": self._name,
            "layers": patterns.n_layers,
            "heads": patterns.n_heads,
            "tokens": patterns.n_tokens,
            "causal": all(one.patterns.causal for one in text.readings),
            "signed": patterns.signed,
            "vmax": patterns.vmax,
            "start": repeat.start if repeat else 0,
            "period": repeat.period if repeat else None,
            "copies": repeat.copies if repeat else 1,
            "seed": text.seed,
            "can_ablate": self._model is not None and text.readings[-1].loss is not None,
            "training": self._model is not None and bool(asked.steps_of(self._model)),
            "composed": self._composed,
            "longest": _longest(self._model, repeat.copies if repeat and text.seed is not None else COPIES),
        }

    def _tile_of(self, layer: int, head: int, step: int | None) -> dict[str, Any]:
        """The pattern of a head for the page."""
        readings = self._text.readings
        steps = asked.steps_of(self._model) if len(readings) > 1 else []
        tile = readings[steps.index(step) if step in steps else -1].patterns.tile(layer, head)
        where = tile["where"]
        crossing = {"values": to_wire(tile["values"]), "where": None if where is None else to_wire(where)}
        return {**tile, **crossing, "step": step}

    def _kept_tiles(self, steps: list[int]) -> list[dict[str, Any]]:
        """Patterns of other heads, the strongest first and the finished model first, as far as they fit."""
        reading = self._text.readings[-1]
        main = reading.scores[_main(reading.scores)]
        heads = strongest(np.maximum(main, reading.scores["previous token"]), main.size, -np.inf)
        kept: list[dict[str, Any]] = []
        room = KEPT
        for step in [*steps[:-1], None][::-1]:
            for layer, head in heads:
                tile = self._tile_of(layer, head, step if step is not None else (steps[-1] if steps else None))
                room -= len(tile["values"]["data"])
                if room < 0 or tile["block"] > 1:
                    return kept
                kept.append(tile)
        return kept


# -- readings -------------------------------------------------------------------------------------------------


def _reading_of(model: Any, seen: asked.Seen, copying: Scores | None) -> _Reading:
    patterns = Patterns.of(seen.tokens, seen.patterns)
    scores = habits(patterns, find_repeat(seen.tokens))
    main = scores[_main(scores)]
    arrows = asked.composition(model, strongest(scores["previous token"], *WRITERS), strongest(main, *READERS))
    return _Reading(
        patterns, {**scores, **({} if copying is None else {"copying": copying})}, seen.loss, arrows[:ARROWS]
    )


def _from_arrays(tokens: list[str], patterns: Any, loss: Any, copying: Any, composition: Any) -> _Text:
    measured, repeat = Patterns.of(tokens, patterns), find_repeat(tokens)
    heads = (measured.n_layers, measured.n_heads)
    scores = habits(measured, repeat)
    if copying is not None:
        scores["copying"] = _numbers("copying", copying, heads, "[layer, head]")
    losses = None if loss is None else _numbers("loss", loss, (len(tokens) - 1,), "[position - 1]")
    arrows: list[Arrow] = []
    if composition is not None:
        pairs = _numbers("composition", composition, (*heads, *heads), "[layer, head, layer, head]")
        writers = strongest(scores["previous token"], *WRITERS)
        readers = strongest(scores[_main(scores)], *READERS)
        usual = np.quantile([pairs[a, :, b] for a in range(heads[0]) for b in range(a + 1, heads[0])] or 0, 0.25)
        every = [Arrow(a, b, float(pairs[*a, *b])) for a in writers for b in readers if a[0] < b[0]]
        arrows = sorted((one for one in every if one.score > asked.CHANCE * usual), key=lambda one: -one.score)[:ARROWS]
    return _Text(tokens, repeat, None, None, [_Reading(measured, scores, losses, arrows)], {})


def _numbers(name: str, given: Any, shape: tuple[int, ...], axes: str) -> NDArray[np.float32]:
    found = to_numpy(given, name, axes)[0].astype(np.float32)
    if found.shape != shape or not np.isfinite(found).all():
        numbers = "" if found.shape != shape else " with numbers that are not finite"
        raise InputError(
            f"{name} does not fit the patterns.",
            [("expected", f"{shape_text(shape)}, {axes}"), ("got", shape_text(found.shape) + numbers)],
        )
    return found


def _main(scores: dict[str, Scores]) -> str:
    """The score by which a head is an induction head on this text."""
    return "induction" if "induction" in scores else "prefix matching"


def _first_place(reading: _Reading, layer: int | None, head: int | None) -> Place:
    patterns, main = reading.patterns, reading.scores[_main(reading.scores)]
    if layer is None and head is None:
        return strongest(main, 1, -np.inf)[0]
    return _place((layer or 0, head or 0), patterns)


def _place(place: Any, patterns: Patterns) -> Place:
    try:
        layer, head = (Index().validate(None, number) for number in place)
    except (TypeError, ValueError, t.TraitError):
        raise SelectionError("This is no head.", [("expected", "(layer, head)"), ("got", repr(place))]) from None
    return (
        existing("layer", layer, patterns.n_layers, "layers"),
        existing("head", head, patterns.n_heads, "heads in a layer"),
    )


def _places(patterns: Patterns) -> list[Place]:
    return [(layer, head) for layer in range(patterns.n_layers) for head in range(patterns.n_heads)]


def _known_step(value: Any, steps: list[int]) -> int:
    if value not in steps:
        expected = ", ".join(map(str, steps)) if steps else "no step: only the finished model is here"
        raise SelectionError(f"There is no step {value}.", [("expected", expected), ("got", str(value))])
    return int(value)


def _longest(model: Any, copies: int) -> int | None:
    """The longest period that fits into the model's context; None where there is no model or no limit."""
    if model is None:
        return None
    from interpwidgets.models.anatomy import anatomy

    most = anatomy(model).max_context
    return None if most is None else (most - 1) // copies


def _key(off: Sequence[Sequence[int]]) -> tuple[Place, ...]:
    return tuple((layer, head) for layer, head in off)


def _losses_state(losses: dict[tuple[Place, ...], Loss]) -> list[dict[str, Any]]:
    return [{"off": [list(place) for place in off], "loss": to_wire(loss)} for off, loss in losses.items()]


def _short_name(model: Any) -> str:
    """What a model is called, without the folder or the account that it came from."""
    name = str(getattr(model, "name_or_path", "") or type(model).__name__)
    return spelled(name.replace("\\", "/").rstrip("/").split("/")[-1])
