"""What `InductionHeads` asks of a model: random tokens, twice; one run; one run with heads off; weights that compose.

    ids = random_ids(model, tokenizer, period=12, copies=2, seed=0)
    seen = see(model, tokenizer, ids)             # tokens, patterns, loss by position
    loss_without(model, ids, [(5, 1)])            # the same loss with a head at its mean
    composition(model, writers=[(2, 3)], readers=[(5, 1)])

All of it is `interpwidgets.methods`; torch is imported where it is needed and nowhere else.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets._induction_scores import Place, Scores

MOST_CELLS = 200_000_000  # of all patterns together: 800 MB in float32
CHANCE = 2  # an arrow needs this many times the composition that random matrices have
SHORTEST = 2

Loss = NDArray[np.float32]


class Arrow(NamedTuple):
    """The first head writes what the keys of the second one read; ``score`` is how much of it."""

    first: Place
    second: Place
    score: float


class Seen(NamedTuple):
    """One run on one text."""

    tokens: list[str]
    patterns: NDArray[np.float32]  # [layer, head, query, key]
    loss: Loss | None  # nats, [position - 1]; None for a model that does not say what comes next


def tokenizer_of(model: Any, tokenizer: Any) -> Any:
    """The tokenizer given, or else the one attached to the model."""
    found = tokenizer if tokenizer is not None else getattr(model, "tokenizer", None)
    if found is None:
        raise InputError(
            "This model has no tokenizer attached.", advice="Pass one: tokenizer=AutoTokenizer.from_pretrained(...)."
        )
    return found


def random_ids(model: Any, tokenizer: Any, period: int, copies: int, seed: int) -> list[int]:
    """A token that begins a text, if the tokenizer has one, and ``copies`` times the same ``period`` random tokens.

    Tokens are drawn without repetition from those that have a visible text of their own.
    """
    _check_room(model, period, copies)
    first = next((i for i in (tokenizer.bos_token_id, tokenizer.cls_token_id) if i is not None), None)
    words = _words(model, tokenizer, period, seed)
    return ([] if first is None else [int(first)]) + words * copies


def _check_room(model: Any, period: int, copies: int) -> None:
    from interpwidgets.models.anatomy import anatomy

    for name, value, least in (("period", period, SHORTEST), ("copies", copies, 2)):
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} is too small.", [("expected", f"at least {least}"), ("got", repr(value))])
    longest = anatomy(model).max_context
    if longest is not None and 1 + period * copies > longest:
        raise InputError(
            f"{copies} copies of {period} tokens do not fit.",
            [("expected", f"at most {longest} tokens"), ("got", f"{1 + period * copies}")],
            f"This model's context holds a period of {(longest - 1) // copies}.",
        )


def _words(model: Any, tokenizer: Any, period: int, seed: int) -> list[int]:
    from interpwidgets.models.anatomy import anatomy
    from interpwidgets.models.tokens import token_strings

    special = {*tokenizer.all_special_ids}
    found: dict[str, int] = {}
    for i in np.random.default_rng(seed).permutation(min(len(tokenizer), len(anatomy(model).W_E()))).tolist():
        if i in special:
            continue
        text = token_strings(tokenizer, [i])[0]
        if text.strip() and text.isprintable() and "\\x" not in text and text.strip() not in found:
            found[text.strip()] = i
        if len(found) == period:
            return [*found.values()]
    raise InputError(
        f"There are not {period} different tokens to draw.",
        [("expected", f"a period of at most {len(found)}"), ("got", str(period))],
    )


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text; raises `InputError` for a text without tokens or with words that the tokenizer has not."""
    from interpwidgets.models.words import UnknownWordError

    try:
        ids = [int(i) for i in tokenizer(text, verbose=False)["input_ids"]]
    except UnknownWordError as error:
        raise InputError(f"{str(error)[:1].upper()}{str(error)[1:]}") from None
    if len(ids) < 2:
        raise InputError("The text is too short.", [("expected", "at least two tokens"), ("got", str(len(ids)))])
    return ids


def see(model: Any, tokenizer: Any, ids: Sequence[int]) -> Seen:
    """Run the model once. Raises `ValueError` for a text that it cannot read and for one of too many pairs."""
    import torch

    from interpwidgets.methods.runs import expect_runnable
    from interpwidgets.models.anatomy import anatomy
    from interpwidgets.models.taps import Tap
    from interpwidgets.models.tokens import token_strings

    parts = anatomy(model)
    tokens = _batch(model, ids)
    expect_runnable(parts, tokens)
    cells = parts.n_layers * parts.n_heads * len(ids) ** 2
    if cells > MOST_CELLS:
        most = int((MOST_CELLS / parts.n_layers / parts.n_heads) ** 0.5)
        raise InputError(
            "The text is too long to keep every pattern.",
            [("expected", f"at most {most:,} tokens"), ("got", f"{len(ids):,}")],
            "Take a part of it.",
        )
    with torch.no_grad(), Tap(model, "pattern") as tap:
        out = model(tokens)
    patterns = np.stack([tap["pattern", layer][0].float().cpu().numpy() for layer in range(parts.n_layers)])
    return Seen(token_strings(tokenizer, ids), patterns, _loss(parts, out, tokens))


def loss_without(model: Any, ids: Sequence[int], heads: Sequence[Place]) -> Loss | None:
    """The loss by position, [position - 1], with each of ``heads`` at its mean over the positions of this text.

    That is `interpwidgets.methods.ablation.mean_ablate`, for all of them in one run.
    """
    import torch

    from interpwidgets.methods.ablation import mean_ablate
    from interpwidgets.models.anatomy import anatomy
    from interpwidgets.models.taps import Tap

    tokens = _batch(model, ids)

    def ablated(z: Any, off: list[int]) -> Any:
        for head in off:
            z = mean_ablate(z, head)
        return z

    layers = {layer: sorted(head for at, head in heads if at == layer) for layer, _ in heads}
    edits: dict[Any, Any] = {("z", layer): partial(ablated, off=off) for layer, off in layers.items()}
    with torch.no_grad(), Tap(model, edits=edits):
        return _loss(anatomy(model), model(tokens), tokens)


def _batch(model: Any, ids: Sequence[int]) -> Any:
    import torch

    return torch.tensor([list(ids)], device=next(model.parameters()).device)


def _loss(parts: Any, out: Any, tokens: Any) -> Loss | None:
    from interpwidgets.methods.in_context import loss_by_position

    logits = getattr(out, "logits", None)
    if not parts.causal or logits is None or logits.ndim != 3:
        return None
    found: Loss = loss_by_position(logits.float(), tokens).cpu().numpy()
    return found


# -- weights


def copying(model: Any) -> Scores | None:
    """`interpwidgets.methods.circuits.copying_scores`; None for a model whose weights do not say it."""
    from interpwidgets.methods.circuits import copying_scores

    try:
        found: Scores = copying_scores(model).float().cpu().numpy()
    except ValueError:  # BERT, or no unembedding
        return None
    return found


def composition(model: Any, writers: Sequence[Place], readers: Sequence[Place]) -> list[Arrow]:
    """K-composition of these heads, the strongest first: `interpwidgets.methods.circuits.composition_scores` of pairs.

    Only pairs that compose at least twice as strongly as random matrices do, which is 1 / sqrt(d_model).
    """
    from interpwidgets.methods.circuits import ov, qk
    from interpwidgets.models.anatomy import anatomy

    parts = anatomy(model)
    if parts.family.norms_stream:  # BERT: no matrix leads from one layer to another
        return []
    least = CHANCE / parts.d_model**0.5
    written = {place: ov(model, place[0])[place[1]] for place in writers}
    read = {place: qk(model, place[0])[place[1]].T for place in readers}
    arrows = [
        Arrow(first, second, float((a @ b).norm() / (a.norm() * b.norm())))
        for first, a in written.items()
        for second, b in read.items()
        if first[0] < second[0]
    ]
    return sorted((arrow for arrow in arrows if arrow.score >= least), key=lambda arrow: -arrow.score)


# -- training


def steps_of(model: Any) -> list[int]:
    """The steps of training that were kept of a built-in model; [] for any other."""
    from interpwidgets.models.load import checkpoints
    from interpwidgets.models.shipped import SHIPPED

    name = getattr(model, "name_or_path", "")
    return checkpoints(name) if name in SHIPPED else []


def at_step(model: Any, step: int) -> Any:
    """The same built-in model as it was at a step of its training, on the same device."""
    from interpwidgets.models.load import load

    weight = next(model.parameters())
    return load(model.name_or_path, checkpoint=step, device=weight.device, dtype=weight.dtype)
