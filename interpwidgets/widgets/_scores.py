"""What a head does, as one number: the attention that it gives to a known place, averaged over the queries.

    places = score_places(["a", "b", "a"])      # where to look, once per text
    head_score(pattern, places["induction"])    # [query, key] -> float

Every score is a mean over queries of the attention that goes to some of their keys:

| score           | queries                        | keys                                                             |
|-----------------|--------------------------------|------------------------------------------------------------------|
| induction       | repeats of an earlier token    | all positions right after an earlier occurrence of the token     |
| previous token  | all but the first              | the position before                                              |
| duplicate token | repeats of an earlier token    | all earlier occurrences of the token                             |
| first token     | all but the first              | position 0                                                       |
| same token      | all                            | the query itself                                                 |

Induction is the prefix-matching score of Olsson et al. (2022), "In-context Learning and Induction Heads", on any text;
where a token directly follows its own repeat ("a a"), the position after the earlier one is the query itself. A score
that no query takes part in is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Above this share of all cells, a dot product with a mask reads faster than a gather.
_DENSE = 1 / 16


@dataclass(frozen=True)
class Places:
    """The cells that one score adds up, and the number of queries that it is a mean over."""

    cells: NDArray[np.intp] | slice
    """Indices into the flattened [query, key] pattern."""
    n_queries: int
    mask: NDArray[np.float32] | None = None
    """The same cells as a flat 0/1 mask, where they are many."""


def score_places(tokens: Sequence[str]) -> dict[str, Places]:
    """Where each score looks on this text: name -> `Places`, in the order in which widgets list them."""
    n = len(tokens)
    ids = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    token_ids = np.array([ids[token] for token in tokens])
    repeats = np.tril(token_ids[:, None] == token_ids[None, :], -1)  # [query, earlier position of the same token]
    earlier, n_repeats = np.flatnonzero(repeats), int(repeats.any(1).sum())
    return {
        "induction": _places(earlier + 1, n_repeats, n),
        "previous token": Places(slice(n, None, n + 1), n - 1),
        "duplicate token": _places(earlier, n_repeats, n),
        "first token": Places(slice(n, None, n), n - 1),
        "same token": Places(slice(None, None, n + 1), n),
    }


def _places(cells: NDArray[np.intp], n_queries: int, n: int) -> Places:
    if len(cells) < _DENSE * n * n:
        return Places(cells, n_queries)
    mask = np.zeros(n * n, np.float32)
    mask[cells] = 1
    return Places(cells, n_queries, mask)


def head_score(pattern: NDArray[Any], places: Places) -> float:
    """The score of one head: ``pattern`` is [query, key] and contiguous."""
    return score_sum(pattern, places, 0) / places.n_queries if places.n_queries else 0.0


def score_sum(rows: NDArray[Any], places: Places, first: int) -> float:
    """The attention in the places of a score that ``rows`` holds: [query, key], contiguous, from query ``first`` on."""
    flat, start = rows.reshape(-1), first * rows.shape[-1]
    if places.mask is not None:
        return float(np.dot(places.mask[start : start + len(flat)], flat))
    if isinstance(places.cells, slice):
        begin, step = places.cells.start or 0, places.cells.step
        return float(flat[max(begin - start, (begin - start) % step) :: step].sum())
    low, high = np.searchsorted(places.cells, (start, start + len(flat)))
    return float(flat[places.cells[low:high] - start].sum())
