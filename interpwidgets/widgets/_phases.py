"""The phase diagrams that `SuperpositionToy` shows: made once, shipped, read without torch.

    phase_map(5, 2)             # [decay, sparsity] of uint8: how many features the better of two toys represents

`DECAYS` and `SPARSITIES` name the rows and columns; columns are equally far apart in the logarithm of 1 - sparsity.
frontend/src/widgets/superposition_toy/phase.ts knows the same places. To make the file anew, half an hour on one core::

    python -m interpwidgets.widgets._phases
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FEATURES = (2, 12)
HIDDEN = (1, 6)
MAPPED = 3  # dimensions up to which maps are shipped
SPARSITIES = tuple(round(1 - 10 ** (-2 * i / 23), 4) for i in range(24))  # 0 to 0.99
DECAYS = tuple(round(1 - 0.6 * i / 13, 4) for i in range(14))  # 1 to 0.4

FILE = Path(__file__).with_name("phases.npz")


def phase_map(n_features: int, n_hidden: int) -> NDArray[np.uint8] | None:
    """The shipped map of one size; None where none is: more dimensions than `MAPPED`, or as many as features."""
    if n_hidden >= n_features or n_hidden > MAPPED:
        return None
    with np.load(FILE) as maps:
        found: NDArray[np.uint8] = maps[_name(n_features, n_hidden)]
    return found


def _name(n_features: int, n_hidden: int) -> str:
    return f"{n_features}_{n_hidden}"


def make() -> None:
    """Compute every map that is not in the file yet, and write the file after each."""
    from interpwidgets.methods.superposition import phase_diagram

    maps: dict[str, NDArray[np.uint8]] = dict(np.load(FILE)) if FILE.exists() else {}
    for n_hidden in range(HIDDEN[0], MAPPED + 1):
        for n_features in range(max(FEATURES[0], n_hidden + 1), FEATURES[1] + 1):
            if _name(n_features, n_hidden) in maps:
                continue
            found = phase_diagram(n_features, n_hidden, SPARSITIES, DECAYS)
            maps[_name(n_features, n_hidden)] = found.numpy().astype(np.uint8)
            np.savez_compressed(FILE, **maps)  # type: ignore[arg-type]
            print(f"{n_features} features in {n_hidden} dimensions", flush=True)


if __name__ == "__main__":
    make()
