"""What `LogitLens` asks of a model: the tokens of a text, the grid of a lens, the id of a token.

Imported once there is a model, since this is where torch comes in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interpwidgets.methods.lens import LensFunction, readout
from interpwidgets.methods.lens_grid import SITES, lens_grid
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.attention import model_name, prompt_inputs
from interpwidgets.models.tokens import token_strings
from interpwidgets.widgets._arrays import InputError, spelled
from interpwidgets.widgets._choice import SelectionError


class LensModel:
    """A model with its tokenizer and the lenses to read it through."""

    def __init__(self, model: Any, tokenizer: Any, lenses: Mapping[str, LensFunction | None]) -> None:
        readout(model)  # refuses models that have no end of the usual kind
        self.model, self.parts = model, anatomy(model)
        self.tokenizer: Any = tokenizer if tokenizer is not None else getattr(model, "tokenizer", None)
        self.lenses = dict(lenses)
        self.name = model_name(model)
        self.rows = ["emb", *(str(layer) for layer in range(self.parts.n_layers))]
        self.sources = [name for name, site in SITES.items() if site in self.parts.family.sites]
        self._ids: dict[str, int] | None = None

    def read(self, text: str) -> tuple[list[int], list[str]]:
        """The ids and the strings of the tokens of a text."""
        ids: list[int] = prompt_inputs(self.parts, text, self.tokenizer)["input_ids"][0].tolist()
        return ids, [spelled(token) for token in token_strings(self.tokenizer, ids)]

    def grid(
        self,
        ids: Sequence[int],
        followed: NDArray[np.int64],
        lens: str,
        source: str,
        k: int,
        on_chunk: Callable[[int, int], None],
    ) -> tuple[NDArray[Any], ...]:
        """What `lens_grid` finds, as numpy arrays in its order. ``followed``: ids [position, token]."""
        device = next(self.model.parameters()).device
        found = lens_grid(
            self.model,
            torch.tensor(ids, device=device),
            torch.tensor(followed, device=device),
            source,  # type: ignore[arg-type]
            k,
            self.lenses[lens] if source == "residual" else None,
            on_chunk=on_chunk,
        )
        return tuple(tensor.cpu().numpy() for tensor in astuple(found))

    def token(self, wanted: str | int) -> tuple[int, str]:
        """The id and the string of one token, named by either; `SelectionError` where there is no such token."""
        if not isinstance(wanted, str):
            return self._by_id(wanted)
        known = self._all()
        if wanted in known:
            return known[wanted], wanted
        pieces = self.tokenizer(wanted, add_special_tokens=False).input_ids if wanted else []
        if pieces == [getattr(self.tokenizer, "unk_token_id", None)]:
            raise SelectionError(
                f"This model has no token {wanted!r}.",
                [("expected", "one token, spaces in front included"), ("got", repr(wanted))],
            )
        if len(pieces) == 1:
            return pieces[0], spelled(token_strings(self.tokenizer, pieces)[0])
        strings = ", ".join(repr(token) for token in token_strings(self.tokenizer, pieces[:6]))
        near = [other for other in (f" {wanted}", wanted.strip()) if other in known]
        raise SelectionError(
            f"{wanted!r} is not one token of this model.",
            [("expected", "one token, spaces in front included"), ("got", f"{len(pieces)} tokens ({strings})")],
            f"There is {near[0]!r}." if near else "Take the first of them.",
        )

    def _by_id(self, wanted: int) -> tuple[int, str]:
        size = self._size()
        if isinstance(wanted, bool) or not 0 <= int(wanted) < size:
            raise SelectionError(
                f"There is no token {wanted}.", [("expected", f"an id from 0 to {size - 1}"), ("got", str(wanted))]
            )
        return int(wanted), spelled(token_strings(self.tokenizer, [int(wanted)])[0])

    def _size(self) -> int:
        return min(len(self.tokenizer), len(self.model.get_output_embeddings().weight))

    def _all(self) -> dict[str, int]:
        """Every string of the vocabulary; of two tokens of one name the first."""
        if self._ids is None:
            names = token_strings(self.tokenizer, range(self._size()))
            self._ids = {spelled(name): i for i, name in reversed(list(enumerate(names)))}
        return self._ids


def checked_sources(sources: Any, there: Sequence[str]) -> list[str]:
    """The sources that were asked for, if the model has them."""
    asked = [sources] if isinstance(sources, str) else list(sources)
    unknown = [source for source in asked if source not in there]
    if unknown or not asked:
        raise InputError(
            f"This model has no source {unknown[0]!r}." if unknown else "No source was asked for.",
            [("expected", f"some of {', '.join(there)}"), ("got", repr(unknown[0]) if unknown else "none")],
        )
    return list(dict.fromkeys(asked))


def named_lenses(lens: Any) -> dict[str, LensFunction | None]:
    """The lenses by their names, those that were asked for first; the logit lens, which is None, always among them."""
    if lens is None:
        return {"logit": None}
    if callable(lens):
        lens = {"tuned" if type(lens).__name__ == "TunedLens" else "own": lens}
    fits = isinstance(lens, Mapping) and all(
        isinstance(name, str) and name and (one is None or callable(one)) for name, one in lens.items()
    )
    if not fits or not lens:
        raise InputError(
            "lens is neither a lens nor a dictionary of them.",
            [("expected", 'a function, or {"tuned": lens, "logit": None}'), ("got", type(lens).__name__)],
            "What a lens function gets and returns stands in interpwidgets.methods.lens.",
        )
    return dict(lens)
