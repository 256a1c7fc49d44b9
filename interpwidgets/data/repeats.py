"""Random words that come again: text in which the only thing to learn is to look back.

    from interpwidgets.data.repeats import random_periods, repeated_tokens

    repeated_tokens(batch=1, period=3)      # <s> river glass egg river glass egg, as ids [1, 7]
    tokens, periods = random_periods(64, torch.Generator().manual_seed(0))      # what attn2l is trained on

A row starts with ``<s>`` (id 0). Then come ``period`` random words, drawn afresh for each row, and the same words in
the same order again. The first copy cannot be predicted by anyone; from the second word of the second copy on, every
word follows from the one before it, for a reader who finds where that one stood before.

Source: Olsson et al. 2022, "In-context Learning and Induction Heads", repeated sequences of random tokens.
"""

import torch
from jaxtyping import Int
from torch import Tensor

BEGIN = 0  # the id of <s>; words are 1 to n_words
N_WORDS = 64
CONTEXT = 48
SHORTEST, LONGEST = 4, 23  # periods of the training stream


def repeated_tokens(
    batch: int, period: int, n_words: int = N_WORDS, copies: int = 2, seed: int = 0
) -> Int[Tensor, "batch position"]:
    """``copies`` copies of ``period`` random words after ``<s>``: ids of shape [batch, 1 + copies * period].

    No word stands twice in one copy. Raises `ValueError` if there are not that many words.
    """
    if not 1 <= period <= n_words:
        raise ValueError(f"period has to be between 1 and n_words = {n_words}, but it is {period}.")
    generator = torch.Generator().manual_seed(seed)
    words = 1 + torch.rand(batch, n_words, generator=generator).argsort(1)[:, :period]
    return _begin(words.repeat(1, copies))


def random_periods(
    batch: int, generator: torch.Generator
) -> tuple[Int[Tensor, "batch position"], Int[Tensor, " batch"]]:
    """The next ``batch`` rows of the training stream, 48 tokens long, and the period of each row, 4 to 23.

    After ``<s>`` come some words that do not return, from none at all to as many as leave room for two copies; then the
    copies begin and go on to the end of the row, where the last one is cut off. No two words of the lead and of one
    copy are the same.

    With the lead, the copy to look back to may stand anywhere. Without it, first copies would always stand at the
    beginning, and heads would learn their habit for the first half of the context only.
    """
    periods = torch.randint(SHORTEST, LONGEST + 1, (batch,), generator=generator)
    words = 1 + torch.rand(batch, N_WORDS, generator=generator).argsort(1)
    room = CONTEXT - 1 - 2 * periods
    lead = (torch.rand(batch, generator=generator) * (room + 1)).long()[:, None]
    places = torch.arange(CONTEXT - 1).expand(batch, -1)
    in_copy = (places - lead) % periods[:, None]
    return _begin(words.gather(1, torch.where(places < lead, places, lead + in_copy))), periods


def _begin(words: Int[Tensor, "batch n"]) -> Int[Tensor, "batch 1+n"]:
    return torch.cat([torch.full((len(words), 1), BEGIN), words], 1)
