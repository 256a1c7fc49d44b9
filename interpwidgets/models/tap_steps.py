"""What a tap keeps of one site: of one run, or of the runs that went on with the keys and values of the one before.

    kept = Kept("pattern")
    kept.add(pattern, start=0, stop=7)      # [batch, head, 7, 7]: the prompt
    kept.add(pattern, start=7, stop=8)      # [batch, head, 1, 8]: one token more
    kept.joined()                           # [batch, head, 8, 8]: as one run over all eight would have had it

Positions of the text count from 0; a run brings those from ``start`` to ``stop``.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


@dataclass
class Kept:
    """The tensors of one site in one layer, a run each."""

    site: str
    grows: bool = True  # False where keys and values are those of another text, the same in every run
    runs: list[tuple[Tensor, int]] = field(default_factory=list)  # the tensor, and where its run stopped

    def add(self, value: Tensor, start: int, stop: int) -> None:
        """One more run. Of keys and values only what is new is kept: the others come with every run."""
        if self.site in ("k", "v") and self.runs and not self.grows:
            return
        if self.site in ("k", "v") and self.runs:
            end = min(stop, value.shape[1])  # a cache may be longer than the text, or hold the end of it alone
            value = value[:, end - (stop - start) : end].clone()
        self.runs.append((value, stop))

    def cut(self, length: int) -> None:
        """Forget every position from ``length`` on, as a cache that was cropped to it has."""
        self.runs = [
            (cut, min(stop, length))
            for value, stop in self.runs
            if (cut := self._without(value, stop, max(stop - length, 0))) is not None
        ]

    def _without(self, value: Tensor, stop: int, n: int) -> Tensor | None:
        """``value`` of a run up to ``stop`` without its last ``n`` positions; None if nothing is left of it."""
        if not n or (self.site in ("k", "v") and not self.grows):
            return value
        if self.site == "pattern" and self.grows:
            value = value[..., :stop][..., :-n]
        positions = 2 if self.site == "pattern" else 1
        value = value[:, :stop] if self.site in ("k", "v") else value
        left = value.shape[positions] - n
        return value.narrow(positions, 0, left) if left > 0 else None

    def joined(self) -> Tensor:
        """All runs as one: along positions, and in a pattern along queries, with zeros for keys that a query lacked."""
        if len(self.runs) == 1:
            return self.runs[0][0]
        if self.site == "pattern":
            total = self.runs[-1][1]
            if not self.grows:
                return torch.cat([pattern for pattern, _ in self.runs], dim=2)
            return torch.cat([_columns(pattern, stop, total) for pattern, stop in self.runs], dim=2)
        first, stop = self.runs[0]
        first = first[:, :stop] if self.site in ("k", "v") else first
        return torch.cat([first, *(value for value, _ in self.runs[1:])], dim=1)


def _columns(
    pattern: Float[Tensor, "batch head query key"], stop: int, total: int
) -> Float[Tensor, "batch head query total"]:
    """``pattern`` with a column for every position: its keys are the last ones up to ``stop``."""
    pattern = pattern[..., :stop]
    keys = pattern.shape[-1]
    return pad(pattern, (stop - keys, total - stop))
