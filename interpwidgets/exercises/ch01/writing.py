"""Exercises about writing text: 01.10 to 01.13."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interpwidgets.course.exercise import Answer, Arguments, Case, Exercise, Found, Mistake, Property
from interpwidgets.exercises.ch01.inputs import Make, on, placed, randn, story
from interpwidgets.methods.sampling import attention_with_cache, keep_top_k, keep_top_p, next_probabilities

# -- 01.10 next_probabilities ----------------------------------------------------------------------------------------


def _softmax_by_hand(logits: Tensor, temperature: float) -> Tensor:
    scaled = logits / temperature
    powers = (scaled - scaled.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def _softmax_in_double(logits: Tensor, temperature: float) -> Tensor:
    return (logits.double() / temperature).log_softmax(-1).exp().to(logits.dtype)


def _softmax_with_loops(logits: Tensor, temperature: float) -> Tensor:
    rows = [F.softmax(row * (1 / temperature), 0) for row in logits.reshape(-1, logits.shape[-1])]
    return torch.stack(rows).reshape(logits.shape)


def _logits_case(*shape: int, temperature: float, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(device, 3 * randn(seed, *shape, dtype=dtype), temperature)


def _sums_to_one(arguments: Arguments, result: Any) -> str | None:
    worst = float((result.sum(-1) - 1).abs().max())
    return None if worst <= 0.02 else "Probabilities add up to 1; yours do not."


def _found_temperature(answer: Answer) -> Found:
    model, tokens = story()
    with torch.no_grad():
        logits = model(tokens).logits[0, -1]
    rows = torch.stack([answer(logits, temperature).topk(5).values for temperature in (0.5, 1.0, 2.0, 4.0)])
    sentence = (
        f"storylm gives its first choice {rows[1, 0].item():.0%}; at temperature 4 it is {rows[3, 0].item():.0%}."
    )
    return Found("the five most probable words at temperature 0.5, 1, 2 and 4", rows, "temperature", "word", sentence)


NEXT_PROBABILITIES = Exercise(
    id="01.10",
    title="Hot and cold",
    points=1,
    minutes=5,
    lines=(1, 2),
    reference=next_probabilities,
    axes=("batch", "vocab"),
    cases=[
        Case("logits 0, 2, 4 at temperature 2", placed(torch.tensor([[0.0, 2.0, 4.0]]), 2.0)),
        Case("4 texts, 7 words, warm", _logits_case(4, 7, temperature=1.5)),
        Case("6 texts, 3 words, cold", _logits_case(6, 3, temperature=0.3)),
        Case("temperature 1", _logits_case(3, 5, temperature=1.0)),
        Case("very cold", _logits_case(2, 6, temperature=0.01)),
        Case("one row of logits", _logits_case(8, temperature=0.7)),
        Case("float64", _logits_case(2, 4, temperature=1.2, dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the temperature multiplies",
            lambda logits, temperature: (logits * temperature).softmax(-1),
            "You multiply by the temperature. A high one would then make the model more certain, not less.",
            "Next: at temperature 100, should the words be nearly alike?",
        ),
        Mistake(
            "the temperature is not used",
            lambda logits, temperature: logits.softmax(-1),
            "Your temperature does nothing.",
            "Next: where does `temperature` appear in your code?",
        ),
        Mistake(
            "the temperature comes after the softmax",
            lambda logits, temperature: logits.softmax(-1) / temperature,
            "You divide probabilities. They no longer add up to 1, and their ratios are as before.",
            "Next: what is divided in the formula, probabilities or logits?",
        ),
        Mistake(
            "no softmax",
            lambda logits, temperature: logits / temperature,
            "You return logits. Probabilities are asked.",
            "Next: what do your numbers of one row add up to?",
        ),
        Mistake(
            "the softmax runs over the texts",
            lambda logits, temperature: (logits / temperature).softmax(0),
            "Your columns add up to 1. The words of one text share the probability: the last axis.",
            "Next: which axis of logits is the vocabulary?",
        ),
    ],
    hints=[
        "The temperature changes the logits before the softmax turns them into probabilities.",
        "`.softmax(-1)` works on the last axis, whatever stands in front of it.",
        "scaled = logits over temperature\nresult = softmax of scaled over the vocabulary",
    ],
    first_step="Take the softmax of the logits, without a temperature.",
    properties=[Property("probabilities add up to one", _sums_to_one)],
    accepted=[_softmax_by_hand, _softmax_in_double, _softmax_with_loops],
    found=_found_temperature,
)

# -- 01.11 keep_top_k ------------------------------------------------------------------------------------------------


def _top_k_with_scatter(logits: Tensor, k: int) -> Tensor:
    best = logits.topk(k, dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, best.indices, best.values)


def _top_k_with_sort(logits: Tensor, k: int) -> Tensor:
    rank = logits.argsort(-1, descending=True).argsort(-1)
    return torch.where(rank < k, logits, torch.full_like(logits, float("-inf")))


def _top_k_with_loops(logits: Tensor, k: int) -> Tensor:
    rows = []
    for row in logits.reshape(-1, logits.shape[-1]):
        lowest = sorted(row.tolist(), reverse=True)[k - 1]
        rows.append(torch.stack([value if value >= lowest else value - math.inf for value in row]))
    return torch.stack(rows).reshape(logits.shape)


def _top_case(*shape: int, k: float, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(device, 2 * randn(seed, *shape, dtype=dtype), k)


KEEP_TOP_K = Exercise(
    id="01.11",
    title="Only the best k",
    points=1,
    minutes=6,
    lines=(2, 4),
    reference=keep_top_k,
    axes=("batch", "vocab"),
    cases=[
        Case("1, 4, 2, 3 and k = 2", placed(torch.tensor([[1.0, 4.0, 2.0, 3.0]]), 2)),
        Case("3 texts, 8 words, k = 3", _top_case(3, 8, k=3)),
        Case("6 texts, 4 words, k = 1", _top_case(6, 4, k=1)),
        Case("all words stay", _top_case(2, 5, k=5)),
        Case("one row of logits", _top_case(9, k=4)),
        Case("texts and positions", _top_case(2, 3, 7, k=2)),
        Case("float64", _top_case(2, 6, k=2, dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the rest becomes 0",
            lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[..., -1:], 0.0),
            "You set the others to 0. A logit of 0 is an ordinary logit: those words can still come.",
            "Next: which number has an exponential of 0?",
        ),
        Mistake(
            "one too few",
            lambda logits, k: logits.masked_fill(logits <= logits.topk(k).values[..., -1:], -torch.inf),
            "Your k-th word is gone: you keep k - 1.",
            "Next: is the lowest logit that should stay below itself?",
        ),
        Mistake(
            "the lowest k",
            lambda logits, k: logits.masked_fill(logits > logits.topk(k, largest=False).values[..., -1:], -torch.inf),
            "You keep the k lowest logits.",
            "Next: which way round does your sort go?",
        ),
        Mistake(
            "the k best, sorted",
            lambda logits, k: logits.topk(k).values,
            "You return k sorted logits. Which words they belong to is lost: the result is as long as the vocabulary.",
            "Next: what shape does the result have?",
        ),
        Mistake(
            "the first k words",
            lambda logits, k: logits.masked_fill(torch.arange(logits.shape[-1], device=logits.device) >= k, -torch.inf),
            "You keep the first k words of the vocabulary, whatever their logits are.",
            "Next: where in your code are logits compared with each other?",
        ),
        Mistake(
            "one limit for all texts",
            lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[..., -1:].amin(), -torch.inf),
            "Your limit is the same for every text. Each has a k-th highest logit of its own.",
            "Next: how many limits do three texts have?",
        ),
    ],
    hints=[
        "Find the k-th highest logit of each text. Whatever is below it goes.",
        "`logits.topk(k).values` is sorted, the highest first; `[..., -1:]` is the lowest that stays, with its axis "
        "kept. "
        "`masked_fill` writes -torch.inf where a condition holds.",
        "lowest = the k-th highest logit of each row\nresult = logits, minus infinity where a logit is below lowest",
    ],
    first_step="Print logits.topk(k).values of the first case.",
    accepted=[_top_k_with_scatter, _top_k_with_sort, _top_k_with_loops],
)

# -- 01.12 keep_top_p ------------------------------------------------------------------------------------------------


def _top_p_with_loops(logits: Tensor, p: float) -> Tensor:
    rows = []
    for row in logits.reshape(-1, logits.shape[-1]):
        probs, kept, total = row.softmax(0), torch.full_like(row, -torch.inf), 0.0
        for at in probs.argsort(descending=True).tolist():
            if total >= p:
                break
            kept[at] = row[at]
            total += float(probs[at])
        rows.append(kept)
    return torch.stack(rows).reshape(logits.shape)


def _top_p_with_pairs(logits: Tensor, p: float) -> Tensor:
    probs = logits.softmax(-1)
    better = probs[..., None, :] > probs[..., :, None]  # [word, other]
    before = torch.einsum("...wo,...o->...w", better.to(probs.dtype), probs)
    return torch.where(before < p, logits, -torch.inf)


def _top_p_with_scatter(logits: Tensor, p: float) -> Tensor:
    values, order = logits.double().sort(-1, descending=True)
    drop = values.softmax(-1).cumsum(-1) >= p
    drop = torch.cat([torch.zeros_like(drop[..., :1]), drop[..., :-1]], -1)
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)


def _nucleus(logits: Tensor, p: float, until: bool = False) -> tuple[Tensor, Tensor]:
    probs, order = logits.softmax(-1).sort(-1, descending=True)
    total = probs.cumsum(-1)
    return (total if until else total - probs) >= p, order


def _back(logits: Tensor, drop: Tensor, order: Tensor) -> Tensor:
    return logits.masked_fill(drop.gather(-1, order.argsort(-1)), -torch.inf)


def _keeps_the_first(arguments: Arguments, result: Any) -> str | None:
    best = arguments[0].argmax(-1, keepdim=True)
    if bool(torch.isfinite(result.gather(-1, best)).all()):
        return None
    return "The most probable word of some text is gone. It always stays, however small p is."


HALVES = torch.tensor([[0.5, 0.05, 0.25, 0.2]]).log()

KEEP_TOP_P = Exercise(
    id="01.12",
    title="As few as needed",
    points=2,
    minutes=15,
    lines=(3, 7),
    reference=keep_top_p,
    axes=("batch", "vocab"),
    cases=[
        Case("probabilities 0.5, 0.05, 0.25, 0.2 and p = 0.7", placed(HALVES, 0.7)),
        Case("the same and p = 0.9", placed(HALVES, 0.9)),
        Case("a small p", placed(HALVES, 0.1)),
        Case("4 texts, 9 words", _top_case(4, 9, k=0.8)),
        Case("8 texts, 5 words", _top_case(8, 5, k=0.55)),
        Case("nearly everything", _top_case(3, 6, k=0.999)),
        Case("one row of logits", _top_case(10, k=0.6)),
        Case("texts and positions", _top_case(2, 3, 6, k=0.7)),
        Case("float64", _top_case(2, 7, k=0.75, dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "one too few",
            lambda logits, p: _back(logits, *_nucleus(logits, p, until=True)),
            "The word with which the sum reaches p is gone in your answer. It still belongs to the set.",
            "Next: 0.5 alone is less than 0.7. Which word has to come with it?",
        ),
        Mistake(
            "the order is not put back",
            lambda logits, p: logits.masked_fill(_nucleus(logits, p)[0], -torch.inf),
            "Your mask is in the order of probability, your logits in that of the vocabulary.",
            "Next: in the first case, which word has the second highest probability, and where does your mask have it?",
        ),
        Mistake(
            "the result is sorted",
            lambda logits, p: logits.sort(-1, descending=True).values.masked_fill(_nucleus(logits, p)[0], -torch.inf),
            "Your logits come back sorted. Which word is which is lost.",
            "Next: which word does entry 0 of the result belong to?",
        ),
        Mistake(
            "the order is applied twice",
            lambda logits, p: logits.masked_fill(_nucleus(logits, p)[0].gather(-1, _nucleus(logits, p)[1]), -torch.inf),
            "You gather with the order of the sort. That sorts again; putting back needs its inverse.",
            "Next: if the sort puts word 3 first, which entry of the mask does word 3 need?",
        ),
        Mistake(
            "each word against p",
            lambda logits, p: logits.masked_fill(logits.softmax(-1) < 1 - p, -torch.inf),
            "You hold every word against a limit. Here words count together: the sum has to reach p.",
            "Next: where in your code are probabilities added up?",
        ),
        Mistake(
            "from the least probable up",
            lambda logits, p: logits.masked_fill(
                (logits.softmax(-1).sort(-1).values.cumsum(-1) - logits.softmax(-1).sort(-1).values >= p).gather(
                    -1, logits.argsort(-1).argsort(-1)
                ),
                -torch.inf,
            ),
            "You begin with the least probable words.",
            "Next: which way round does your sort go?",
        ),
        Mistake(
            "the rest becomes 0",
            lambda logits, p: logits.masked_fill(_back(logits, *_nucleus(logits, p)).isinf(), 0.0),
            "You set the others to 0. A logit of 0 is an ordinary logit: those words can still come.",
            "Next: which number has an exponential of 0?",
        ),
        Mistake(
            "cumulated logits",
            lambda logits, p: _back(
                logits,
                logits.sort(-1, descending=True).values.cumsum(-1) - logits.sort(-1, descending=True).values >= p,
                logits.argsort(-1, descending=True),
            ),
            "You add up logits. p is a probability: take the softmax first.",
            "Next: what do your sums end at? For probabilities it is 1.",
        ),
    ],
    hints=[
        "Sort the words by probability. A word stays if those before it do not yet have p together.",
        "`sort(-1, descending=True)` gives values and order. cumsum minus the value itself is what stands before. To "
        "bring a mask back "
        "into the order of the vocabulary, gather with `order.argsort(-1)`, or scatter with `order`.",
        "probs, order = probabilities, sorted downwards\nbefore = running sum of probs, without the word itself\n"
        "drop = before is at least p\nput drop back into the order of the vocabulary\n"
        "result = logits, minus infinity where drop",
    ],
    first_step="For the first case, write the probabilities from the largest to the smallest and their running sum.",
    properties=[Property("the most probable word stays", _keeps_the_first)],
    accepted=[_top_p_with_loops, _top_p_with_pairs, _top_p_with_scatter],
)

# -- 01.13 attention_with_cache --------------------------------------------------------------------------------------

Read = tuple[Tensor, Tensor, Tensor]


def _cache_with_loops(q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor) -> Read:
    k, v = torch.cat((past_k, k), dim=1), torch.cat((past_v, v), dim=1)
    n_past = past_k.shape[1]
    z = torch.zeros_like(q)
    for text in range(q.shape[0]):
        for head in range(q.shape[2]):
            for new in range(q.shape[1]):
                seen = n_past + new + 1
                scores = k[text, :seen, head] @ q[text, new, head] / q.shape[3] ** 0.5
                z[text, new, head] = scores.softmax(0) @ v[text, :seen, head]
    return z, k, v


def _cache_with_sdpa(q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor) -> Read:
    k, v = torch.cat([past_k, k], 1), torch.cat([past_v, v], 1)
    rows = torch.arange(q.shape[1], device=q.device)[:, None] + past_k.shape[1]
    mask = torch.arange(k.shape[1], device=q.device) <= rows
    heads = [each.transpose(1, 2) for each in (q, k, v)]
    z = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
    return z.transpose(1, 2), k, v


def _cache_with_padding(q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor) -> Read:
    """Runs all queries, with zeros for those of the past, in double precision, and keeps the last."""
    k, v = torch.cat([past_k, k], 1), torch.cat([past_v, v], 1)
    whole = torch.cat([torch.zeros_like(past_k), q], 1).double()
    scores = torch.einsum("bqhd,bkhd->bhqk", whole, k.double()) / math.sqrt(q.shape[-1])
    pattern = scores.masked_fill(torch.ones_like(scores[0, 0]).triu(1).bool(), -torch.inf).softmax(-1)
    z = torch.einsum("bhqk,bkhd->bqhd", pattern, v.double())[:, past_k.shape[1] :]
    return z.to(q.dtype), k, v


def _read(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, scale: float | None = None) -> Tensor:
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / (scale or math.sqrt(q.shape[-1]))
    pattern = torch.nan_to_num(scores.masked_fill(hidden, -torch.inf).softmax(-1))
    return torch.einsum("bhqk,bkhd->bqhd", pattern, v)


def _later(q: Tensor, k: Tensor, shift: int) -> Tensor:
    return torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device).triu(1 + shift)


def _cached(shift: Any, last: bool = False, first: bool = True) -> Answer:
    """Reads with the diagonal of the mask at ``shift(past, new)``."""

    def answer(q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor) -> Read:
        pairs = ((past_k, k), (past_v, v)) if first else ((k, past_k), (v, past_v))
        k, v = (torch.cat(pair, 1) for pair in pairs)
        z = _read(q, k, v, _later(q, k, shift(past_k.shape[1], q.shape[1])))
        return z, k, v

    return answer


def _cache_case(batch: int, past: int, new: int, heads: int, d_head: int, dtype: torch.dtype = torch.float32) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        lengths = (new, new, new, past, past)
        made = [randn(10 * seed + at, batch, n, heads, d_head, dtype=dtype) for at, n in enumerate(lengths)]
        return on(device, 2 * made[0], *made[1:])

    return make


ATTENTION_WITH_CACHE = Exercise(
    id="01.13",
    title="Never twice",
    points=2,
    minutes=15,
    lines=(4, 8),
    reference=attention_with_cache,
    cases=[
        Case("one new position after two", _cache_case(1, 2, 1, 1, 2)),
        Case("2 texts, 3 past, 4 new, 5 heads of width 6", _cache_case(2, 3, 4, 5, 6)),
        Case("5 past, 2 new", _cache_case(3, 5, 2, 2, 4)),
        Case("no past yet", _cache_case(2, 0, 4, 3, 2)),
        Case("a single position, no past", _cache_case(2, 0, 1, 2, 3)),
        Case("float64", _cache_case(1, 4, 3, 2, 5, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "new positions see each other",
            _cached(lambda past, new: past + new),
            "Your new positions see everything, also those after them. With several new positions a mask is still "
            "needed.",
            "Next: which keys may the first new position see?",
        ),
        Mistake(
            "the mask does not know the past",
            _cached(lambda past, new: 0),
            "Your mask starts at the first key. The first new query stands at the place of the first *new* key, "
            "further right.",
            "Next: with three past keys, which column is the new query's own?",
        ),
        Mistake(
            "a new position does not see itself",
            _cached(lambda past, new: past - 1),
            "Your mask is one column too far left: a position does not see its own key.",
            "Next: with no past, which keys does the first position see?",
        ),
        Mistake(
            "one key too many",
            _cached(lambda past, new: past + 1),
            "Your mask is one column too far right: a position sees the one after it.",
            "Next: with no past, which keys does the first position see?",
        ),
        Mistake(
            "the new ones come first",
            _cached(lambda past, new: past, first=False),
            "You put the new keys and values before the past ones. The text goes on at the end.",
            "Next: in which order does your `cat` take them?",
        ),
        Mistake(
            "the cache is not handed on",
            lambda q, k, v, past_k, past_v: (attention_with_cache(q, k, v, past_k, past_v)[0], k, v),
            "What you read is right, but you return only the new keys and values. The next step needs all of them.",
            "Next: how many keys should come back after 2 past and 1 new?",
        ),
        Mistake(
            "the past is not read",
            lambda q, k, v, past_k, past_v: (
                _read(q, k, v, _later(q, k, 0)),
                torch.cat([past_k, k], 1),
                torch.cat([past_v, v], 1),
            ),
            "Your queries see the new keys only. The cache is there to be read.",
            "Next: how many columns should the pattern have?",
        ),
        Mistake(
            "the scale is missing",
            lambda q, k, v, past_k, past_v: (
                attention_with_cache(q * math.sqrt(q.shape[-1]), k, v, past_k, past_v)[0],
                torch.cat([past_k, k], 1),
                torch.cat([past_v, v], 1),
            ),
            "Your scores are not divided by the root of d_head.",
            "Next: compare with your attention_pattern.",
        ),
    ],
    hints=[
        "Keys and values of the past are glued to the front. The pattern then has more columns than rows, and the "
        "mask moves right.",
        "`torch.cat([past_k, k], 1)` glues along the positions. With P past keys, query 0 stands at column P: mark "
        "what lies "
        "beyond with `.triu(1 + P)`.",
        "k, v = past and new together\nscores = new queries with all keys, over the root of d_head\n"
        "later = ones [new, all], above the diagonal that starts at the number of past keys\n"
        "z = softmax of the masked scores, times v\nreturn z, k, v",
    ],
    first_step="Glue past and new keys together and print the shape.",
    accepted=[_cache_with_loops, _cache_with_sdpa, _cache_with_padding],
)
