"""What the models of stories have to be able to do, and how they do it.

Everything is asked of sentences that training cannot have shown: other names together, other scenes, other beginnings.
Which heads and layers do the work is looked up each time, since it changes with the seed.

How indirect objects are found is measured by cutting edges: a query at one place is kept from a key at another, in all
heads of all layers, and what is left of the answer is counted. What breaks the answer was on its way.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.data.stories import Sample, samples
from interpwidgets.data.stories.frames import Draft
from interpwidgets.data.stories.knowledge import CITY_IS_IN
from interpwidgets.data.stories.lexicon import CITIES
from interpwidgets.data.stories.vocabulary import VOCABULARY
from interpwidgets.data.stories.windows import REPEATS, annotated
from interpwidgets.methods.attribution import logit_attribution
from interpwidgets.methods.induction import prefix_matching_score
from interpwidgets.models.taps import Tap
from interpwidgets.zoo.spec import Measured

ROWS, ASKED, PERIOD, SEED = 400, 200, 31, 777  # the seed is none of a training run

_IDS = {token: i for i, token in enumerate(VOCABULARY)}
Cut = Callable[[Sample], tuple[int, Iterable[int]]]  # the query, and the keys that it no longer sees


def accept(wanted: Mapping[str, Mapping[str, float]], model: Any) -> dict[str, Measured]:
    """Everything that is measured, and what ``wanted`` asks of it: ``{"loss ...": {"at_most": 0.05}}``."""
    with torch.no_grad():
        found = {**_losses(model), **_answers(model), **_facts(model), **_copying(model), **_indirect_objects(model)}
    return {what: Measured(value, **wanted.get(what, {})) for what, value in found.items()}


def _losses(model: Any) -> dict[str, float]:
    """On whole stories in their rows: what the model loses, and what one that knows the grammar would."""
    rows = [row for row in annotated(ROWS, SEED) if row.stories]
    ids = torch.tensor([row.ids for row in rows])
    nats = F.cross_entropy(model(ids).logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    lost = bound = tokens = 0.0
    for row, of_row in zip(rows, nats.double(), strict=True):
        for told in (story for story in row.stories if story.whole):
            lost += of_row[told.start : told.stop].sum().item()
            bound -= told.logprob + (math.log(1 - REPEATS) if told.start == 0 else 0.0)
            tokens += told.stop - told.start
    return {"loss": lost / tokens, "bound": bound / tokens, "loss above the bound": (lost - bound) / tokens}


# -- asking


def _ask(model: Any, asked: list[Sample], cuts: Cut | None = None) -> Float[Tensor, "sample vocab"]:
    """The logits from which each answer is read."""
    ids = torch.zeros(len(asked), max(len(each.tokens) for each in asked), dtype=torch.long)
    for row, each in zip(ids, asked, strict=True):
        row[: len(each.tokens)] = torch.tensor([_IDS[token] for token in each.tokens])
    if cuts is None:
        logits = model(ids).logits
    else:
        with Tap(model, save=[], edits={"pattern": without(asked, cuts, ids.shape[1])}):
            logits = model(ids).logits
    ends = torch.tensor([_end(each) for each in asked])
    return torch.as_tensor(logits)[torch.arange(len(asked)), ends]


def without(asked: list[Sample], cuts: Cut, length: int) -> Callable[[Tensor], Tensor]:
    """An edit of a pattern: what a query no longer spends on some keys, the others get."""
    gone: Bool[Tensor, "sample query key"] = torch.zeros(len(asked), length, length, dtype=torch.bool)
    for mask, each in zip(gone, asked, strict=True):
        query, keys = cuts(each)
        mask[query, list(keys)] = True

    def edit(pattern: Tensor) -> Tensor:
        left = pattern.masked_fill(gone[:, None], 0)
        return left / left.sum(-1, keepdim=True).clamp(min=1e-12)

    return edit


def _some(
    task: str, held_out: bool = False, n: int = ASKED, of: Callable[[Sample], bool] = lambda told: True
) -> list[Sample]:
    """The first ``n`` samples of a task that do not ask the same, out of those that ``of`` lets pass."""
    found: dict[str, Sample] = {}
    for each in islice(samples(task, SEED, held_out), 20 * n):
        if of(each):
            found.setdefault(each.prompt, each)
        if len(found) == n:
            break
    return list(found.values())


def _right(logits: Float[Tensor, "sample vocab"], asked: list[Sample]) -> float:
    return float((logits.argmax(-1) == _ids(each.right for each in asked)).float().mean())


def _ids(tokens: Iterable[str]) -> Int[Tensor, " n"]:
    return torch.tensor([_IDS[token] for token in tokens])


def _answers(model: Any) -> dict[str, float]:
    """The share of answers that are right, for every task that has one answer; more for those that have many."""
    years = _some("greater-than", held_out=True)
    of_years = _ask(model, years).softmax(-1)[:, _ids(f"{year:02d}" for year in range(100))]
    later = torch.arange(100) >= torch.tensor([[len(each.wrong)] for each in years])
    verbs = _some("agreement", held_out=True, of=lambda told: told.kind == "other")
    of_verbs = _ask(model, verbs).softmax(-1)
    many = of_verbs[:, _ids((" are", " were"))].sum(1) > of_verbs[:, _ids((" is", " was"))].sum(1)
    plural = torch.tensor([each.right in (" are", " were") for each in verbs])
    moods = _some("review")
    lead = _ask(model, moods).log_softmax(-1)
    good, bad = (lead[:, _ids(verdicts)].logsumexp(1) for verdicts in _VERDICTS)
    is_good = torch.tensor([each.kind == "good" for each in moods])
    return {
        "greater-than, p(later) - p(not later)": float((of_years * torch.where(later, 1.0, -1.0)).sum(1).mean()),
        "agreement, with another number in between": float((many == plural).float().mean()),
        "review, mood of the verdict": float(((good > bad) == is_good).float().mean()),
        "acronym, all three letters": _acronyms(model),
        "successor, right": _right(_ask(model, rows := _some("successor", of=_three_so_far)), rows),
        **{f"{task}, right": _right(_ask(model, asked := _some(task)), asked) for task in _ONE_ANSWER},
    }


def _three_so_far(told: Sample) -> bool:
    """A row of four: it may end after four, five or six, but after three the next one is certain."""
    return len(told.tokens) == (10 if told.kind == "years" else 6)


_VERDICTS = ((" loved", " enjoyed", " praised"), (" hated", " disliked", " cursed"))
_ONE_ANSWER = ("calendar", "pronoun", "opposite", "mystery", "keeper", "coloured objects", "hearsay")


def _acronyms(model: Any) -> float:
    asked = _some("acronym")
    ids = torch.tensor([[_IDS[token] for token in each.tokens[:9]] for each in asked])
    return float((model(ids).logits[:, 5:8].argmax(-1) == ids[:, 6:9]).all(1).float().mean())


def _facts(model: Any) -> dict[str, float]:
    """Which country a city is in, for cities told of often, sometimes and rarely; and what was never told."""
    asked = []
    for city in CITIES:
        draft = Draft().say(CITY_IS_IN, city=city.name, country=city.country).ask("country")
        asked.append(Sample("fact", "country", tuple(draft.tokens), (), draft.answer, (), 0.0))
    right = _ask(model, asked).argmax(-1) == _ids(each.right for each in asked)
    often, sometimes, rarely = right.float().view(3, 20).mean(1).tolist()
    unseen = _some("two hops", held_out=True, n=10)
    return {
        "facts, the 20 most frequent cities": often,
        "facts, the 20 in between": sometimes,
        "facts, the 20 rarest": rarely,
        "two hops, languages of cities that were told": _right(_ask(model, told := _some("two hops")), told),
        "two hops, languages of cities that never were": _right(_ask(model, unseen), unseen),
    }


def _copying(model: Any) -> dict[str, float]:
    """Random words, twice: the best induction head, and the share of the second copy that is foreseen."""
    ids = repeated_tokens(128, PERIOD, n_words=len(VOCABULARY) - 1, seed=1)
    with Tap(model, "pattern") as tap:
        best = model(ids).logits.argmax(-1)
    known = slice(PERIOD + 1, 2 * PERIOD)
    return {
        "best induction head": float(prefix_matching_score(tap["pattern"], ids).max()),
        "second copy, right": float((best[:, known] == ids[:, PERIOD + 2 :]).float().mean()),
    }


# -- indirect objects


def _at(told: Sample, label: str) -> int:
    return told.find(label).start


def _end(told: Sample) -> int:
    return (told.answer or 1) - 1


def _earlier(told: Sample, token: str) -> int:
    return told.tokens.index(token)


def _before(told: Sample) -> int:
    """The mark or word that ends the first clause."""
    return _at(told, "subject") - 1


# Which query is kept from which keys. The giver's name comes again in the second clause; the end asks for the receiver.
_CUTS: dict[str, Cut] = {
    "end from both first names": lambda told: (_end(told), [_at(told, "a"), _at(told, "b")]),
    "end from the name that comes again": lambda told: (_end(told), [_at(told, "subject")]),
    "end from the end of the first clause": lambda told: (_end(told), [_before(told)]),
    "end of the first clause from the receiver": lambda told: (_before(told), [_earlier(told, told.right)]),
    "end of the first clause from the giver": lambda told: (_before(told), [_earlier(told, told.wrong[0])]),
    "name that comes again from its first time": lambda told: (_at(told, "subject"), [_earlier(told, told.wrong[0])]),
}


def _indirect_objects(model: Any) -> dict[str, float]:
    """Names and scenes that never came together: how often the receiver wins, by how much, and which edges matter."""
    asked = _some("ioi", held_out=True)
    right, wrong = _ids(each.right for each in asked), _ids(each.wrong[0] for each in asked)

    def lead(logits: Tensor) -> float:
        return float((logits.gather(1, right[:, None]) - logits.gather(1, wrong[:, None])).mean())

    logits = _ask(model, asked)
    found = {"ioi, right": _right(logits, asked), "ioi, logit difference": lead(logits)}
    for order in ("ABB", "BAB"):
        some = [i for i, each in enumerate(asked) if each.kind == order]
        found[f"ioi, right, {order}"] = _right(logits[some], [asked[i] for i in some])
    for name, cuts in _CUTS.items():
        logits = _ask(model, asked, cuts)
        found[f"ioi, {name}: right"] = _right(logits, asked)
        found[f"ioi, {name}: logit difference"] = lead(logits)
    return found | _written(model, asked)


def _written(model: Any, asked: list[Sample]) -> dict[str, float]:
    """What parts of the model write themselves into the difference of the logits, at the end."""
    parts: dict[str, list[Float[Tensor, ...]]] = {}
    for each in asked[:100]:
        ids = torch.tensor([[_IDS[token] for token in each.tokens[: each.answer]]])
        found = logit_attribution(model, ids, right=_IDS[each.right], wrong=_IDS[each.wrong[0]])
        parts.setdefault("heads", []).append(found.heads[:, 0, -1])
        parts.setdefault("mlps", []).append(
            torch.stack([found["mlp_out", layer][0, -1] for layer in range(len(found.heads))])
        )
    heads, mlps = (torch.stack(parts[part]).mean(0) for part in ("heads", "mlps"))
    written = {f"ioi, logit difference written by MLP {layer}": float(value) for layer, value in enumerate(mlps)}
    return written | {"ioi, logit difference written by the most helpful head": float(heads.max())}


def accept_series(models: Mapping[int, Any]) -> dict[str, Measured]:
    """At each step that was kept: who gets the drink, and the best induction head."""
    found = {}
    with torch.no_grad():
        for step, model in models.items():
            asked = _some("ioi", held_out=True, n=100)
            found[f"ioi, right, at step {step}"] = Measured(_right(_ask(model, asked), asked))
            found[f"best induction head, at step {step}"] = Measured(_copying(model)["best induction head"])
    return found
