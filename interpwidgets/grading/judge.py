"""Judging answers that run elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """What may run of a notebook: the name of each cell, and its source reduced to imports, definitions, constants."""

    cells: tuple[tuple[str, str], ...]
