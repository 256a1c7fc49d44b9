"""What a model would say after every layer, at every position of a text; and how tokens come and go on the way.

    LogitLens(tokens, top_tokens, top_probs, vocab=tokenizer)       # arrays of any library, [row, position, k]
    lens = LogitLens.from_model(model, "The capital of Italy is", target=" Rome")
    LogitLens.from_model(model, text, lens={"tuned": tuned, "logit": None}, sources=("residual", "mlp"))

    lens.row, lens.position = 8, -1         # what is chosen, here and in the page
    lens.selected["tokens"]                 # the likeliest tokens there
    lens.pinned = [" the", " Paris"]        # tokens that are followed through the layers, beside the target

What crosses to the page (frontend/src/widgets/logit_lens is the other side): for each lens and source that was asked
for, a *plane*: the top tokens of every cell as codes into one list of strings, their probabilities, entropy and
divergence; and for each token that is followed its probability and rank in every cell. Logits never do.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import traitlets as t

from interpwidgets.widgets._arrays import InputError, read_tokens, spelled
from interpwidgets.widgets._choice import THEMES, Index, SelectionError, count, csv_cell, existing, one_of
from interpwidgets.widgets._heat import heat_png
from interpwidgets.widgets._lens_arrays import Plane, Track, Words, read_follow, read_plane, track_wire
from interpwidgets.widgets._prompt import PromptWidget, checked_prompt, error_state

MEASURES = ("probability", "rank", "entropy", "kl")
FOLLOWS = ""  # as a target: the token that really follows, another one at each position
ON_SHOW = frozenset({"lens", "compare", "source", "target", "pinned"})  # what decides which numbers the page needs
TOGETHER = ON_SHOW | {"row", "layer"}  # sent with what follows from them

Key = tuple[str, str]  # lens, source


@dataclass
class _Picture:
    """All that is known about one text."""

    tokens: list[str]
    words: Words
    ids: list[int] | None = None  # where a model read the text
    planes: dict[Key, Plane] = field(default_factory=dict)
    tracks: dict[str, dict[Key, Track]] = field(default_factory=dict)  # of the tokens that are followed


class LogitLens(PromptWidget):
    """The top token of every layer and position, coloured by a measure; paths of tokens through the layers beside it.

    ``tokens``: one string per position. ``top_tokens``: the likeliest next tokens of each row and position, ids or
    strings, [row, position, k]; ``top_probs``: their probabilities. ``entropy``, ``kl``: [row, position], nats.
    ``follow``: the paths of chosen tokens, ``{" Rome": (probability, rank)}``, each [row, position]; a rank counts the
    tokens that are likelier. What `interpwidgets.methods.lens.logit_lens` returns for one text fits as it is.
    ``vocab``: what ids are called: a tokenizer, a list of strings, a dictionary, or a function.
    ``layers``: the names of the rows, such as ``["emb", 0, 1]``; numbers from 0, unless given.
    ``target``: the token whose rank is shown; unless given, the one that really follows. ``theme``: "auto", "light" or
    "dark".

    Raises `InputError` (a `ValueError`) that says what was expected, what came and what to do.
    """

    _kind = t.Unicode("logit_lens").tag(sync=True)
    _as_one = TOGETHER

    tokens = t.List(t.Unicode()).tag(sync=True)
    row = Index(0).tag(sync=True)
    layer = Index(0).tag(sync=True)  # of the row; of the embedding layer 0, which reads it
    position = Index(0).tag(sync=True)
    locked = t.Bool(False).tag(sync=True)
    measure = t.Unicode("probability").tag(sync=True)
    lens = t.Unicode("logit").tag(sync=True)
    compare = t.Unicode("").tag(sync=True)
    source = t.Unicode("residual").tag(sync=True)
    target = t.Unicode(FOLLOWS).tag(sync=True)
    pinned = t.List(t.Unicode()).tag(sync=True)
    theme = t.Unicode("auto").tag(sync=True)
    title = t.Unicode("Logit lens").tag(sync=True)
    caption = t.Unicode("").tag(sync=True)

    _rows = t.List(t.Unicode()).tag(sync=True)
    _meta = t.Dict().tag(sync=True)
    _vocab = t.List(t.Unicode()).tag(sync=True)
    _planes = t.List(t.Dict()).tag(sync=True)
    _followed = t.List(t.Dict()).tag(sync=True)
    _notice = t.Instance(dict, allow_none=True).tag(sync=True)

    def __init__(
        self,
        tokens: Sequence[str],
        top_tokens: Any,
        top_probs: Any,
        *,
        entropy: Any = None,
        kl: Any = None,
        follow: Mapping[str, Any] | None = None,
        layers: Sequence[Any] | None = None,
        vocab: Any = None,
        target: str | None = None,
        title: str = "Logit lens",
        caption: str = "",
        theme: Literal["auto", "light", "dark"] = "auto",
    ) -> None:
        tokens = read_tokens(tokens)
        picture = _Picture(tokens, Words(vocab))
        plane = read_plane(picture.words, tokens, top_tokens, top_probs, entropy, kl)
        key = ("logit", "residual")
        picture.planes[key] = plane
        tracks = read_follow(follow or {}, plane.probs.shape[:2])
        picture.tracks = {token: {key: track} for token, track in tracks.items()}
        self._begin(picture, _row_names(layers, len(plane.probs)), target=target or FOLLOWS,
                    title=title, caption=caption, theme=theme)  # fmt: skip

    @classmethod
    def from_model(
        cls,
        model: Any,
        text: str,
        tokenizer: Any = None,
        *,
        target: str | int | None = None,
        lens: Any = None,
        sources: Sequence[str] = ("residual",),
        k: int = 5,
        title: str = "Logit lens",
        caption: str = "",
        theme: Literal["auto", "light", "dark"] = "auto",
    ) -> Self:
        """The lens of ``model`` on ``text``. The prompt can be edited in the page, or here: ``lens.prompt = "..."``.

        ``model``: what `interpwidgets.load` returns, or any Hugging Face language model with a norm before its
        unembedding; ``tokenizer``: by default ``model.tokenizer``. ``target``: one token, as its text or its id.
        ``lens``: how the stream is read: a tuned lens, any `interpwidgets.methods.lens.LensFunction`, or several of
        them by name, where None is the logit lens; the first is on show. ``sources``: what is read: "residual" is the
        stream; "attention" and "mlp" are what that half of each layer alone adds to it, through the last norm's scale
        of this run and without any lens (`interpwidgets.methods.lens_grid`). Lenses and sources that are not named are
        computed when they are chosen. ``k``: how many tokens each cell keeps.

        Raises `ValueError` for an empty text, one that is longer than the model's context, and a target that is not one
        token.
        """
        from interpwidgets.widgets._lens_model import LensModel, checked_sources, named_lenses

        text, lenses = checked_prompt(text), named_lenses(lens)
        reader = LensModel(model, tokenizer, {**lenses, "logit": lenses.get("logit")})
        asked = [(name, source) for source in checked_sources(sources, reader.sources) for name in lenses]
        ids, tokens = reader.read(text)
        widget = cls.__new__(cls)
        widget._model, widget._k, widget._asked, widget._ids_of = reader, k, asked, {}
        picture = _Picture(tokens, Words(reader.tokenizer), ids)
        wanted = FOLLOWS if target is None else widget._named(target)
        for key in asked:
            widget._read(picture, key, [FOLLOWS, wanted])
        widget._begin(picture, reader.rows, target=wanted, lens=asked[0][0], source=asked[0][1], prompt=text,
                      title=title, caption=caption, theme=theme, _has_model=True)  # fmt: skip
        return widget

    def _begin(self, picture: _Picture, rows: list[str], **traits: Any) -> None:
        self._picture, self._png = picture, (None, None)
        position = len(picture.tokens) - 1
        row = _settled(next(iter(picture.planes.values())), position)
        state = self._state(picture, rows, {FOLLOWS, traits["target"]})
        self._showing = True  # nothing is left to compute
        super().__init__(**{**state, "row": row, "layer": _layer_of(rows, row), "position": position, **traits})
        self._showing = False

    # -- from a model -----------------------------------------------------------------------------------------

    _picture: _Picture
    _png: tuple[Any, bytes | None]
    _k = 0
    _asked: Sequence[Key] = ()  # lenses and sources that were named, and are there for every prompt
    _ids_of: dict[str, int]  # of tokens that were named by their ids

    def _named(self, token: str | int) -> str:
        """The string of one token of the model; `SelectionError` where there is none."""
        number, text = self._model.token(token)
        self._ids_of.setdefault(text, number)
        return str(text)

    def _read(self, picture: _Picture, key: Key, tokens: Sequence[str]) -> None:
        """Add a plane, and the paths of tokens through it, as far as they are not there."""
        lens, source = key
        new = [token for token in dict.fromkeys(tokens) if key not in picture.tracks.get(token, {})]
        same = [other for other in picture.planes if source != "residual" and other[1] == source]
        if same and key not in picture.planes:  # what one half of a layer adds is read without a lens
            picture.planes[key] = picture.planes[same[0]]
            for track in picture.tracks.values():
                track.update({key: track[same[0]]} if same[0] in track else {})
            return self._read(picture, key, tokens)
        if not new and key in picture.planes:
            return None
        assert picture.ids is not None
        follows = [*picture.ids[1:], 0]
        ids = [follows if token == FOLLOWS else [self._id(picture, token)] * len(follows) for token in new]
        followed = np.array(ids, np.int64).reshape(len(new), len(follows)).T
        names = {"residual": f"the lens {lens}", "attention": "attention alone", "mlp": "the MLPs alone"}

        def on_chunk(done: int, of: int) -> None:
            if self._running:
                self._progress(f"Computing {names[source]}", done / of)

        found = self._model.grid(picture.ids, followed, lens, source, self._k, on_chunk)
        top, probs, entropy, kl, prob, rank = found
        picture.planes.setdefault(key, Plane(picture.words.codes(top), probs, entropy, kl))
        for i, token in enumerate(new):
            numbers = prob[..., i].copy(), rank[..., i].copy()
            if token == FOLLOWS:  # nobody knows what follows the last position
                numbers[0][:, -1] = numbers[1][:, -1] = np.nan
            picture.tracks.setdefault(token, {})[key] = numbers
        return None

    def _id(self, picture: _Picture, token: str) -> int:
        known = self._ids_of.get(token, picture.words.id_of(token))
        return int(self._model.token(token)[0] if known is None else known)

    def _computed(self, prompt: str) -> _Picture:
        ids, tokens = self._model.read(prompt)
        picture = _Picture(tokens, Words(self._model.tokenizer), ids)
        for key in dict.fromkeys([*self._asked, *self._keys(self._chosen({}))]):
            self._read(picture, key, self._wanted(self._chosen({})))
        return picture

    def _shown(self, computed: _Picture) -> dict[str, Any]:
        """Another text at the same row; at the same position, unless it was the last or there is none any more."""
        last, n_tokens = len(self.tokens) - 1, len(computed.tokens)
        self._picture = computed
        state = self._state(computed, self._rows, self._wanted(self._chosen({})))
        keeps = self.position != last and self.position < n_tokens
        return {**state, "position": self.position if keeps else n_tokens - 1}

    def _state(self, picture: _Picture, rows: list[str], wanted: Any) -> dict[str, Any]:
        """Every trait that depends on the text."""
        first = next(iter(picture.planes.values()))
        meta = {
            "model": spelled(self._model.name) if self._model else "",
            "layers": len([name for name in rows if name != "emb"]),
            "tokens": len(picture.tokens),
            "k": first.probs.shape[-1],
            "has_entropy": first.entropy is not None,
            "has_kl": first.kl is not None,
            "lenses": self._lenses(),
            "sources": self._sources(),
        }
        return {"tokens": picture.tokens, "_rows": rows, "_meta": meta, **self._numbers(picture, wanted)}

    def _numbers(self, picture: _Picture, wanted: Any) -> dict[str, Any]:
        """Planes and paths as the page reads them."""
        followed = [
            {
                "token": token,
                "code": picture.words.strings.index(token) if token in picture.words.strings else -1,
                "planes": [track_wire(track, *key) for key, track in tracks.items()],
            }
            for token, tracks in picture.tracks.items()
            if token in wanted or self._model is None
        ]
        planes = [plane.wire(*key) for key, plane in picture.planes.items()]
        return {"_vocab": list(picture.words.strings), "_planes": planes, "_followed": followed}

    def _lenses(self) -> list[str]:
        return list(self._model.lenses) if self._model else ["logit"]

    def _sources(self) -> list[str]:
        return list(self._model.sources) if self._model else ["residual"]

    # -- what is on the screen --------------------------------------------------------------------------------

    def _plane(self) -> Plane:
        return self._picture.planes[self.lens, self.source]

    @property
    def selected(self) -> dict[str, Any]:
        """What stands behind the chosen cell.

        ``row``, ``position``, ``token``: its names. ``tokens`` and ``probs``: the likeliest next tokens and their
        probabilities, [k]. ``entropy`` and ``kl``: nats, None where they are not known. ``followed``: the probability
        and the rank of the target and the pinned tokens, as far as they are known; the token that really follows is
        called "".
        """
        plane, at, key = self._plane(), (self.row, self.position), (self.lens, self.source)
        said = np.isfinite(plane.probs[at])
        return {
            "row": self._rows[self.row],
            "position": self.position,
            "token": self.tokens[self.position],
            "tokens": [self._vocab[code] for code in plane.codes[at][said]],
            "probs": plane.probs[at][said],
            "entropy": None if plane.entropy is None else float(plane.entropy[at]),
            "kl": None if plane.kl is None else float(plane.kl[at]),
            "followed": {
                token: (float(tracks[key][0][at]), float(tracks[key][1][at]))
                for token, tracks in self._picture.tracks.items()
                if key in tracks and token in self._wanted(self._chosen({}))
            },
        }

    def _said(self, row: int, position: int) -> str:
        plane = self._plane()
        if np.isnan(plane.probs[row, position, 0]):
            return "nothing"
        return f"{self._vocab[plane.codes[row, position, 0]][:40]!r} ({plane.probs[row, position, 0]:.2f})"

    def __repr__(self) -> str:
        size = f"{count(len(self._rows), 'row')} × {count(len(self.tokens), 'token')}"
        where = f"row {self.row} ({_row_title(self._rows[self.row])}) at position {self.position}"
        return f"LogitLens({size}, {where}: {self._said(self.row, self.position)})"

    def _alt(self) -> str:
        size = f"{count(len(self._rows), 'row')} and {count(len(self.tokens), 'position')}"
        last, after = len(self.tokens) - 1, self.tokens[-1][:40]
        return (
            f"A grid of the likeliest next token at each of {size}. After {after!r}, the last position, "
            f"{_row_title(self._rows[0])} says {self._said(0, last)} and {_row_title(self._rows[-1])} "
            f"{self._said(-1, last)}."
        )

    def _fallback_png(self) -> bytes | None:
        plane = self._plane()
        if self._png[0] is not plane:
            self._png = plane, heat_png(plane.probs[..., 0])
        return self._png[1]

    # -- choosing, from here and from the page ----------------------------------------------------------------

    @t.validate("row", "position")
    def _exists(self, proposal: Any) -> int:
        if proposal.trait.name == "row":
            return existing("row", proposal.value, len(self._picture.planes[self._first()].probs), "rows")
        return existing("position", proposal.value, len(self._picture.tokens), "tokens")

    def _first(self) -> Key:
        return next(iter(self._picture.planes))

    @t.validate("layer")
    def _layer_exists(self, proposal: Any) -> int:
        layers = sorted({_layer_of(self._rows, row) for row in range(len(self._rows))})
        if proposal.value not in layers:
            raise SelectionError(
                f"There is no layer {proposal.value}.",
                [("expected", f"{layers[0]} to {layers[-1]}"), ("got", str(proposal.value))],
            )
        return int(proposal.value)

    @t.observe("row", "layer")
    def _together(self, change: Any) -> None:
        layer = _layer_of(self._rows, self.row)
        if change["name"] == "row":
            self.layer = layer
        elif layer != self.layer:
            self.row = max(row for row in range(len(self._rows)) if _layer_of(self._rows, row) == self.layer)

    @t.validate("measure", "theme")
    def _known(self, proposal: Any) -> Any:
        plane = self._picture.planes[self._first()]
        there = {"entropy": plane.entropy, "kl": plane.kl}
        measures = [name for name in MEASURES if there.get(name, True) is not None]
        return one_of(proposal.trait.name, proposal.value, THEMES if proposal.trait.name == "theme" else measures)

    @t.validate("title", "caption")
    def _encodable(self, proposal: Any) -> Any:
        return spelled(proposal.value)

    @t.validate("tokens")
    def _one_per_position(self, proposal: Any) -> Any:
        tokens, n = read_tokens(proposal.value), len(self._picture.tokens)
        if len(tokens) != n:
            raise SelectionError(
                "One token is needed per position.", [("expected", count(n, "string")), ("got", str(len(tokens)))]
            )
        return tokens

    @t.validate("lens", "compare", "source")
    def _there(self, proposal: Any) -> Any:
        name = proposal.trait.name
        known = {"lens": self._lenses(), "compare": ["", *self._lenses()], "source": self._sources()}[name]
        value = one_of({"compare": "lens"}.get(name, name), proposal.value, known)
        self._complete({name: value})
        return value

    @t.validate("target", "pinned")
    def _token_there(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        given = [value] if name == "target" else list(dict.fromkeys(value))
        tokens = [FOLLOWS if token == FOLLOWS else self._checked(spelled(token)) for token in given]
        value = tokens[0] if name == "target" else [token for token in tokens if token != FOLLOWS]
        self._complete({name: value})
        return value

    def _checked(self, token: str) -> str:
        known = self._picture.words.strings
        if token in known or token in self._picture.tracks:
            return token
        if self._model is not None:
            return self._named(token)
        raise SelectionError(
            f"Nothing is known about the token {token!r}.",
            [("expected", "one that is among the top tokens somewhere, or in follow"), ("got", repr(token))],
            "Pass follow={token: (probability, rank)} to show others.",
        )

    def _chosen(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {name: changes[name] if name in changes else getattr(self, name) for name in ON_SHOW}

    def _keys(self, chosen: Mapping[str, Any]) -> list[Key]:
        """The planes on show."""
        return [(lens, chosen["source"]) for lens in dict.fromkeys([chosen["lens"], chosen["compare"]]) if lens]

    def _wanted(self, chosen: Mapping[str, Any]) -> list[str]:
        """The tokens that are followed."""
        return list(dict.fromkeys([FOLLOWS, chosen["target"], *chosen["pinned"]]))

    def _complete(self, changes: Mapping[str, Any], also: Sequence[str] = ()) -> None:
        """Compute what a choice needs before it is made, so that an error leaves everything as it was."""
        if self._model is None or self._showing or self._fresh:
            return
        chosen, picture = self._chosen(changes), self._picture
        tokens = [*self._wanted(chosen), *also]
        missing = [
            key
            for key in self._keys(chosen)
            if key not in picture.planes or any(key not in picture.tracks.get(token, {}) for token in tokens)
        ]
        if not missing:
            return
        try:
            with self._at_work("Reading the model"):
                for key in missing:
                    self._read(picture, key, tokens)
        except InputError as error:
            raise SelectionError(error.title, error.rows, error.advice) from error
        except (ValueError, TypeError, RuntimeError) as error:
            told = error_state(error)
            raise SelectionError(told["title"], told["rows"], told["advice"]) from error

    @t.observe(*ON_SHOW)
    def _publish(self, _change: Any = None, also: Sequence[str] = ()) -> None:
        if self._model is None or self._showing:
            return
        with self.hold_sync():
            for name, value in self._numbers(self._picture, [*self._wanted(self._chosen({})), *also]).items():
                setattr(self, name, value)

    def _refused(self, error: t.TraitError, sync_data: dict[str, Any]) -> None:
        if isinstance(error, InputError) and ON_SHOW & set(sync_data):
            self._error = error_state(error)

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        match content:
            case {"type": "plane", "lens": str(lens), "source": str(source)}:
                with self._told_to_page():
                    one_of("lens", lens, self._lenses())
                    self._complete({"lens": lens, "source": one_of("source", source, self._sources()), "compare": ""})
                    self._publish()
            case {"type": "follow", "tokens": list(tokens)}:
                with self._told_to_page():
                    also = [self._checked(spelled(token)) for token in tokens]
                    self._complete({}, also)
                    self._publish(also=also)
            case _:
                super()._on_message(content, buffers)

    # -- to other tools ---------------------------------------------------------------------------------------

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """Every cell of the plane on show as CSV, a line each; written to ``path``, or returned where there is none.

        Tokens that a spreadsheet would take for a formula get an apostrophe in front.
        """
        out = io.StringIO(newline="")
        writer, plane = csv.writer(out, lineterminator="\n"), self._plane()
        k = plane.probs.shape[-1]
        top = [f"{name} {i + 1}" for i in range(k) for name in ("token", "probability")]
        writer.writerow(["layer", "position", "token", "lens", "source", "entropy", "kl", *top])
        for row, position in np.ndindex(*plane.probs.shape[:2]):
            nats = [_number(None if values is None else values[row, position]) for values in (plane.entropy, plane.kl)]
            said = [
                cell
                for code, prob in zip(plane.codes[row, position], plane.probs[row, position], strict=True)
                for cell in (csv_cell(self._vocab[code]) if np.isfinite(prob) else "", _number(prob))
            ]
            names = [csv_cell(self._rows[row]), position, csv_cell(self.tokens[position]), self.lens, self.source]
            writer.writerow([*names, *nats, *said])
        if path is None:
            return out.getvalue()
        Path(path).write_text(out.getvalue(), encoding="utf-8", newline="")
        return None


def _number(value: Any) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.6g}"


def _row_names(layers: Any, n: int) -> list[str]:
    if layers is None:
        return [str(i) for i in range(n)]
    names = [layers] if isinstance(layers, str) else [spelled(name) for name in layers]
    if len(names) != n:
        raise InputError(
            "layers does not name every row.",
            [("expected", f"{count(n, 'name')}, one for each row of top_probs"), ("got", str(len(names)))],
            'With the embedding in front: layers=["emb", *range(n_layers)].' if len(names) in (n - 1, n + 1) else "",
        )
    return names


def _layer_of(rows: Sequence[str], row: int) -> int:
    """The layer that a row is named for, or the place of the row where names are others."""
    return int(rows[row]) if rows[row].isdecimal() and rows[row].isascii() else 0 if rows[row] == "emb" else row


def _row_title(name: str) -> str:
    return "the embedding" if name == "emb" else f"layer {name}" if name.isdigit() else name


def _settled(plane: Plane, position: int) -> int:
    """The first row from which on the top token at a position stays what it is in the end."""
    top = plane.codes[:, position, 0]
    other = np.flatnonzero(top != top[-1])
    return int(other[-1]) + 1 if len(other) else 0
