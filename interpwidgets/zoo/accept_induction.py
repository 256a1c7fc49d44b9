"""What the attention-only models have to be able to do, and how they have to do it.

Random words, twice in the same order, and in an order that no training row has shown. The models are asked for every
word of the second copy but its first. Which head does what is looked up each time: it changes with the seed.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.methods.induction import prefix_matching_score, previous_token_score
from interpwidgets.methods.path import Head, patch_head, path_patch
from interpwidgets.models.taps import Tap
from interpwidgets.zoo.spec import Measured

ROWS, PERIOD = 128, 20
KNOWN = slice(PERIOD + 1, 2 * PERIOD)  # queries whose next word is certain: the second copy but its last word


def accept_attn0l(model: Any) -> dict[str, Measured]:
    """No layer: guessing."""
    return {"second-copy accuracy": Measured(_accuracy(model), at_most=0.05)}


def accept_attn1l(model: Any) -> dict[str, Measured]:
    """One layer: some use of the words seen so far, and no induction head."""
    return {
        "second-copy accuracy": Measured(_accuracy(model), at_most=0.3),
        "best induction head": Measured(_scores(model)[1].max().item(), at_most=0.3),
    }


def accept_attn2l(model: Any) -> dict[str, Measured]:
    """Two layers: the next word is right, induction heads find it, and a previous-token head tells them where.

    The share of a path is that of the effect which the previous-token head has as a whole. Effect: by how much the lead
    of the right word over the one at that place in another row of words shrinks (a difference of logits), if the head
    writes what it writes on that other row.
    """
    previous, induction = _scores(model)
    receivers = [(1, head) for head in range(len(induction[1]))]
    sender = (0, int(previous[0].argmax()))
    return {
        "second-copy accuracy": Measured(_accuracy(model), at_least=0.97),
        "best induction head": Measured(induction.max().item(), at_least=0.8),
        "best previous-token head": Measured(previous[0].max().item(), at_least=0.8),
        **_shares(model, sender, receivers),
    }


def _accuracy(model: Any) -> float:
    tokens = repeated_tokens(ROWS, PERIOD, seed=1)
    with torch.no_grad():
        best = model(tokens).logits[:, KNOWN].argmax(-1)
    return float((best == tokens[:, PERIOD + 2 :]).float().mean())


def _scores(model: Any) -> tuple[Float[Tensor, "layer head"], Float[Tensor, "layer head"]]:
    """The previous-token score and the induction score of every head."""
    tokens = repeated_tokens(ROWS, PERIOD, seed=1)
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    return previous_token_score(tap["pattern"]), prefix_matching_score(tap["pattern"], tokens)


def _shares(model: Any, sender: Head, receivers: list[Head]) -> dict[str, Measured]:
    """How much of what ``sender`` does goes by the keys, queries and values of the ``receivers``."""
    clean, corrupt = (repeated_tokens(ROWS, PERIOD, seed=seed) for seed in (1, 2))
    right, wrong = (tokens[:, PERIOD + 2 :] for tokens in (clean, corrupt))

    def lead(logits: Tensor) -> float:
        at = logits[:, KNOWN]
        return float((at.gather(2, right[..., None]) - at.gather(2, wrong[..., None])).mean())

    def surprise(logits: Tensor) -> float:
        return F.cross_entropy(logits[:, KNOWN].flatten(0, 1), right.flatten()).item()

    with torch.no_grad():
        plain = model(clean).logits
    whole, _ = patch_head(model, clean, corrupt, [sender])
    best = whole[:, KNOWN].argmax(-1)
    by = {into: path_patch(model, clean, corrupt, sender, receivers, into)[0] for into in ("k", "q", "v")}

    def share(of: Any, into: str) -> float:
        return float((of(by[into]) - of(plain)) / (of(whole) - of(plain)))

    return {
        "accuracy with that head from another row": Measured((best == right).float().mean().item(), at_most=0.3),
        "share of the path into keys": Measured(share(lead, "k"), at_least=0.7),
        "share of the path into keys, as loss": Measured(share(surprise, "k")),
        "share of the path into queries": Measured(share(lead, "q")),
        "share of the path into values": Measured(share(lead, "v")),
    }
