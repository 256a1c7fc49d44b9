"""Exercises about where heads look: 05.3 to 05.6 and 05.13."""

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from itertools import count
from typing import Any

import torch
from torch import Tensor

from interpwidgets.course.exercise import Arguments, Case, Exercise, Mistake, Property
from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.exercises.ch05.inputs import (
    PERIOD,
    SCORE,
    Make,
    found_heads,
    on,
    placed,
    probe,
    random_pattern,
    tidy,
    transposed,
    words_again,
)
from interpwidgets.exercises.ch05.stage import ranked
from interpwidgets.methods.induction import (
    duplicate_token_score,
    find_induction_heads,
    induction_score,
    prefix_matching_score,
    previous_token_score,
)
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.load import load
from interpwidgets.models.taps import Tap

# -- 05.3 previous_token_score ---------------------------------------------------------------------------------------


def _previous_with_loops(pattern: Tensor) -> Tensor:
    layers, batch, heads, n, _ = pattern.shape
    total = torch.zeros(layers, heads, dtype=pattern.dtype, device=pattern.device)
    for query in range(1, n):
        for text in range(batch):
            total += pattern[:, text, :, query, query - 1]
    return total / (batch * (n - 1))


def _previous_with_mask(pattern: Tensor) -> Tensor:
    n = pattern.shape[-1]
    mask = torch.diag(torch.ones(n - 1, device=pattern.device), -1).to(pattern.dtype)
    return torch.einsum("lbhqk,qk->lh", pattern, mask) / (pattern.shape[1] * (n - 1))


def _pattern_case(layers: int, batch: int, heads: int, n: int) -> Make:
    return lambda seed, device: on(device, random_pattern(seed, layers, batch, heads, n))


PREVIOUS_TOKEN_SCORE = Exercise(
    id="05.3",
    title="One step back",
    points=1,
    minutes=8,
    lines=(1, 4),
    reference=previous_token_score,
    axes=("layer", "head"),
    cases=[
        Case("three drawn heads on <s> A B A B", placed(tidy([0, 1, 2, 1, 2]))),
        Case("2 layers, 3 texts, 4 heads, 6 tokens", _pattern_case(2, 3, 4, 6)),
        Case("a single text", _pattern_case(3, 1, 2, 5)),
        Case("two tokens: one query in each of 3 texts", _pattern_case(2, 3, 4, 2)),
        Case("one text of two tokens", _pattern_case(3, 1, 2, 2)),
        Case("one layer", _pattern_case(1, 2, 3, 7)),
        Case(
            "a pattern laid out the other way round",
            lambda seed, device: on(device, transposed(random_pattern(seed, 2, 3, 4, 5))),
        ),
    ],
    mistakes=[
        Mistake(
            "query and key are swapped",
            lambda pattern: pattern.diagonal(1, -2, -1).mean((1, 3)),
            "You read one step ahead, above the diagonal. Nothing is there: no query sees what comes later.",
            "Next: in pattern[0, 0, 0] of the first case, find a 1. Is its row the query or the key?",
        ),
        Mistake(
            "the first two axes",
            lambda pattern: pattern.diagonal(-1).mean((1, -1)),
            "`diagonal` takes the first two axes unless told otherwise: layer and text. Queries and keys are last.",
            "Next: which two axes are the query and the key, counted from the end?",
        ),
        Mistake(
            "every token at itself",
            lambda pattern: pattern.diagonal(0, -2, -1).mean((1, 3)),
            "You read the main diagonal: the attention of every query to itself.",
            "Next: which key does query 3 have to look at?",
        ),
        Mistake(
            "added up, not averaged",
            lambda pattern: pattern.diagonal(-1, -2, -1).sum((1, 3)),
            "You add up the attention; a longer text would then score higher.",
            "Next: a perfect head has a 1 in every row. Which score should it get?",
        ),
        Mistake(
            "divided by one query too many",
            lambda pattern: pattern.diagonal(-1, -2, -1).sum((1, 3)) / (pattern.shape[1] * pattern.shape[3]),
            "You divide by the number of tokens. The first token has none before it, so it is no query here.",
            "Next: count the cells just below the diagonal of a 5 by 5 square.",
        ),
        Mistake(
            "one score for each text",
            lambda pattern: pattern.diagonal(-1, -2, -1).mean(3),
            "You keep the texts apart: your result is [layer, text, head].",
            "Next: which axis is still to be averaged?",
        ),
        Mistake(
            "the whole square",
            lambda pattern: pattern[..., 1:, :-1].mean((1, 3, 4)),
            "You average over every pair of a later query and an earlier key. Each query has one key that counts.",
            "Next: how many cells of pattern[0, 0, 0] say something about one step back?",
        ),
        Mistake(
            "layers are averaged too",
            lambda pattern: pattern.diagonal(-1, -2, -1).mean((0, 1, 3)),
            "Your score mixes the layers: you average over them as well.",
            "Next: which axes should be left in the result?",
        ),
        Mistake(
            "layers are averaged, not texts",
            lambda pattern: pattern.diagonal(-1, -2, -1).mean((0, 3)),
            "You average over axis 0, the layers. The texts are axis 1.",
            "Next: which axes should be left in the result?",
        ),
        Mistake(
            "heads are averaged too",
            lambda pattern: pattern.diagonal(-1, -2, -1).mean((1, 2, 3)),
            "Your score is about a whole layer: you average over its heads as well.",
            "Next: which axes should be left in the result?",
        ),
    ],
    hints=[
        "In a square of queries (rows) by keys (columns), the cells one step back lie just below the diagonal.",
        "`pattern.diagonal(offset, dim1, dim2)` takes such a line out of the last two axes and puts it last. "
        "Then average over what is neither layer nor head.",
        "line = the diagonal of the last two axes, one below the main one: [layer, batch, head, query]\n"
        "score = the mean of line over batch and query",
    ],
    first_step="Write pattern[..., 3, 2]: the attention from query 3 to key 2, for all heads and texts.",
    properties=[SCORE],
    accepted=[lambda pattern: pattern.diagonal(-1, -2, -1).mean((1, -1)), _previous_with_loops, _previous_with_mask],
    found=found_heads("previous-token score", lambda answer, pattern: answer(pattern), "it looks one step back."),
)


# -- 05.4 duplicate_token_score --------------------------------------------------------------------------------------


def _earlier(tokens: Tensor) -> Tensor:
    """Whether the key holds an earlier copy of the query's token: [batch, query, key]."""
    return (tokens[:, :, None] == tokens[:, None, :]).tril(-1)


def _some(pairs: Tensor) -> int:
    """How many pairs. Raises if there are none: whoever divides by them may return a NaN or a 0, both are met."""
    if not pairs.any():
        raise ZeroDivisionError("no pairs")
    return int(pairs.sum())


def _attention_on(pattern: Tensor, cells: Tensor) -> Tensor:
    return torch.einsum("lbhqk,bqk->lh", pattern, cells.to(pattern.dtype))


def _duplicate_with_loops(pattern: Tensor, tokens: Tensor) -> Tensor:
    total = torch.zeros_like(pattern[:, 0, :, 0, 0])
    n_queries = 0
    for text, row in enumerate(tokens.tolist()):
        for query, token in enumerate(row):
            keys = [key for key in range(query) if row[key] == token]
            n_queries += bool(keys)
            for key in keys:
                total = total + pattern[:, text, :, query, key]
    return total / max(n_queries, 1)


def _duplicate_with_mask(pattern: Tensor, tokens: Tensor) -> Tensor:
    mask = _earlier(tokens)
    received = (pattern * mask[None, :, None]).sum(-1)  # [layer, batch, head, query]
    repeats = mask.any(-1)[None, :, None]
    if not repeats.any():
        return torch.zeros_like(received[:, 0, :, 0])
    return (received * repeats).sum((1, 3)) / repeats.sum()


def _duplicate_with_where(pattern: Tensor, tokens: Tensor) -> Tensor:
    n = tokens.shape[1]
    before = torch.arange(n, device=tokens.device)[:, None] > torch.arange(n, device=tokens.device)
    mask = tokens.unsqueeze(2).eq(tokens.unsqueeze(1)) & before
    on = torch.where(mask[None, :, None], pattern, torch.zeros_like(pattern)).sum((1, 3, 4))
    return on / max(int(mask.any(2).sum()), 1)


def _text_case(layers: int, batch: int, heads: int, n: int, n_words: int) -> Make:
    return lambda seed, device: on(
        device, random_pattern(seed, layers, batch, heads, n), words_again(seed, batch, n, n_words)
    )


def _nothing_repeats(seed: int, device: torch.device) -> Arguments:
    return on(device, random_pattern(seed, 2, 2, 3, 5), torch.arange(10).reshape(2, 5))


def _uneven(seed: int, device: torch.device) -> Arguments:
    """One text with one repeat, one with many."""
    return on(device, random_pattern(seed, 2, 2, 3, 6), torch.tensor([[0, 1, 2, 3, 4, 1], [0, 1, 1, 2, 1, 2]]))


_TEXT_CASES = [
    Case("<s> A B C D A, and <s> A A B A B", _uneven),
    Case("2 layers, 3 texts, 4 heads, 9 tokens", _text_case(2, 3, 4, 9, 4)),
    Case("a single text", _text_case(3, 1, 2, 8, 3)),
    Case("nothing repeats: the score is 0", _nothing_repeats),
    Case("one token", _text_case(2, 3, 2, 1, 3)),
    Case(
        "<s> A B A: one repeat in all",
        lambda seed, device: on(device, random_pattern(seed, 2, 1, 3, 4), torch.tensor([[0, 1, 2, 1]])),
    ),
    Case("one layer", _text_case(1, 2, 3, 10, 4)),
    Case(
        "tensors laid out the other way round",
        lambda seed, device: on(device, transposed(random_pattern(seed, 2, 3, 4, 7)), words_again(seed, 7, 3, 4).T),
    ),
]

DUPLICATE_TOKEN_SCORE = Exercise(
    id="05.4",
    title="The same word, earlier",
    points=2,
    minutes=12,
    lines=(4, 8),
    reference=duplicate_token_score,
    axes=("layer", "head"),
    cases=[
        Case("three drawn heads on <s> A B A B", placed(tidy([0, 1, 2, 1, 2]), torch.tensor([[0, 1, 2, 1, 2]]))),
        *_TEXT_CASES,
    ],
    mistakes=[
        Mistake(
            "a token counts as its own copy",
            lambda pattern, tokens: (
                _attention_on(pattern, (tokens[:, :, None] == tokens[:, None, :]).tril(0)) / tokens.numel()
            ),
            "You include the query itself: every token is equal to itself, but it is no earlier copy.",
            "Next: which keys does the first A of the text have?",
        ),
        Mistake(
            "later, not earlier",
            lambda pattern, tokens: _attention_on(pattern, _earlier(tokens).mT) / _queries(tokens),
            "Your keys come after the query, where no head can look.",
            "Next: `tril` keeps what is below the diagonal. Are rows queries or keys?",
        ),
        Mistake(
            "averaged over all queries",
            lambda pattern, tokens: _attention_on(pattern, _earlier(tokens)) / tokens.numel(),
            "You divide by the number of all tokens. Only those that have stood before take part.",
            "Next: how many queries of <s> A B A B have an earlier copy?",
        ),
        Mistake(
            "averaged over pairs",
            lambda pattern, tokens: _attention_on(pattern, _earlier(tokens)) / _some(_earlier(tokens)),
            "You divide by the number of (query, copy) pairs. A head that spreads its attention over two copies of the "
            "token would get a half.",
            "Next: take a token that stands for the third time. What is the most attention that it can give to both?",
        ),
        Mistake(
            "later copies count too",
            lambda pattern, tokens: (
                _attention_on(pattern, _earlier(tokens))
                / (_earlier(tokens) | _earlier(tokens).mT).any(-1).sum().clamp(min=1)
            ),
            "Tokens that come again *later* are among your queries. Nothing that they look for is there yet.",
            "Next: at its first A, what does a model know about the second?",
        ),
        Mistake(
            "0 divided by 0",
            lambda pattern, tokens: _attention_on(pattern, _earlier(tokens)) / _earlier(tokens).any(-1).sum(),
            "Where nothing repeats you divide by 0. Then the score is 0.",
            "Next: run your function on a text of three different words.",
        ),
        Mistake(
            "a mean of means",
            lambda pattern, tokens: torch.stack(
                [
                    _attention_on(pattern[:, [i]], _earlier(tokens[[i]]))
                    / _earlier(tokens[[i]]).any(-1).sum().clamp(min=1)
                    for i in range(len(tokens))
                ]
            ).mean(0),
            "You average each text first, then the texts. A text with one repeat then weighs as much as one with many.",
            "Next: add up over the whole batch, then divide once.",
        ),
    ],
    hints=[
        "Make a square of true and false for each text: is the token of this key the same as that of this query, "
        "and does it stand earlier?",
        "tokens[:, :, None] == tokens[:, None, :] compares every query with every key. `.tril(-1)` keeps keys before "
        "the query. A query takes part if its row holds any True.",
        "earlier = same token, and key before query: [batch, query, key]\n"
        "total = pattern summed over the cells of earlier: [layer, head]\n"
        "score = total / number of queries with any such key (at least 1)",
    ],
    first_step="Compare all tokens of a text with all others: a square of True and False.",
    properties=[SCORE],
    accepted=[_duplicate_with_loops, _duplicate_with_mask, _duplicate_with_where],
    found=found_heads(
        "duplicate-token score",
        lambda answer, pattern: answer(pattern, probe()),
        "no head of this model looks at the copies themselves.",
    ),
)


# -- 05.5 induction_score --------------------------------------------------------------------------------------------


def _stripe(pattern: Tensor, period: int, shift: int = 0, start: int = 1) -> Tensor:
    """Attention from the queries of later copies to the key after the copy, ``shift`` keys further."""
    queries = torch.arange(period + start, pattern.shape[-1], device=pattern.device)
    return pattern[..., queries, queries - period + 1 + shift]


def _without_the_last(pattern: Tensor, period: int) -> Tensor:
    cells = _stripe(pattern, period)[..., :-1]
    if not cells.shape[-1]:
        raise RuntimeError("no query is left")  # whoever leaves out the last may also return a NaN: both are met
    return cells.mean((1, 3))


def _swapped_stripe(pattern: Tensor, period: int) -> Tensor:
    queries = torch.arange(period + 1, pattern.shape[-1], device=pattern.device)
    return pattern[..., queries - period + 1, queries]


def _induction_with_loops(pattern: Tensor, period: int) -> Tensor:
    n_texts, n = pattern.shape[1], pattern.shape[-1]
    total, count = 0 * pattern[:, 0, :, 0, 0], 0
    for query in range(period + 1, n):
        copy = query - period
        for text in range(n_texts):
            total, count = total + pattern[:, text, :, query, copy + 1], count + 1
    return total / count


def _induction_with_mask(pattern: Tensor, period: int) -> Tensor:
    n = pattern.shape[-1]
    position = torch.arange(n, device=pattern.device)
    mask = (position[:, None] - period + 1 == position) & (position[:, None] > period)
    return torch.einsum("lbhqk,qk->lh", pattern, mask.to(pattern.dtype)) / (mask.sum() * pattern.shape[1])


def _stripe_case(layers: int, batch: int, heads: int, period: int, copies: int) -> Make:
    return lambda seed, device: on(device, random_pattern(seed, layers, batch, heads, 1 + copies * period), period)


INDUCTION_SCORE = Exercise(
    id="05.5",
    title="The stripe",
    points=2,
    minutes=12,
    lines=(2, 5),
    reference=induction_score,
    axes=("layer", "head"),
    cases=[
        Case("three drawn heads on <s> A B C A B C, period 3", placed(tidy([0, 1, 2, 3, 1, 2, 3]), 3)),
        Case("2 layers, 3 texts, 4 heads, period 4", _stripe_case(2, 3, 4, 4, 2)),
        Case("a single text, period 5", _stripe_case(3, 1, 2, 5, 2)),
        Case("three copies, period 3", _stripe_case(2, 2, 3, 3, 3)),
        Case("one word over and over, period 1", _stripe_case(2, 2, 3, 1, 4)),
        Case("one word twice, in one text", _stripe_case(3, 1, 2, 1, 2)),
        Case("one layer, period 6", _stripe_case(1, 2, 3, 6, 2)),
        Case(
            "a pattern laid out the other way round",
            lambda seed, device: on(device, transposed(random_pattern(seed, 2, 3, 4, 9)), 4),
        ),
    ],
    mistakes=[
        Mistake(
            "one key too early",
            lambda pattern, period: _stripe(pattern, period, shift=-1).mean((1, 3)),
            "You score the attention to the earlier copy itself: that is a duplicate-token head.",
            "Next: take query 5, the second B. Which token came right after the first B?",
        ),
        Mistake(
            "one key too late",
            lambda pattern, period: _stripe(pattern, period, shift=1).mean((1, 3)),
            "You score the attention two steps after the earlier copy.",
            "Next: take query 4, the second A. At which position is the first A, and what comes one step after it?",
        ),
        Mistake(
            "two keys too early",
            lambda pattern, period: _stripe(pattern, period, shift=-2).mean((1, 3)),
            "You score the attention to what came before the earlier copy.",
            "Next: after the first A, is the next word to the left or to the right?",
        ),
        Mistake(
            "the second copy alone",
            lambda pattern, period: _stripe(pattern, period)[..., :period].mean((1, 3)),
            "You stop after the second copy. All later copies take part.",
            "Next: with three copies of three words, how many queries come after the first copy?",
        ),
        Mistake(
            "the last query is left out",
            _without_the_last,
            "You stop one query before the end. The last word has stood before too, so it takes part.",
            "Next: which is the last position of <s> A B C A B C, and is it among your queries?",
        ),
        Mistake(
            "the first copy takes part",
            lambda pattern, period: pattern.diagonal(1 - period, -2, -1).mean((1, 3)),
            "You average over the whole diagonal. It begins in the first copy, where no word has stood before.",
            "Next: which is the first query that reads a word for the second time?",
        ),
        Mistake(
            "<s> is forgotten",
            lambda pattern, period: _stripe(pattern, period, start=0).mean((1, 3)),
            "Your first query is the last word of the first copy: <s> in front moves every word one place on.",
            "Next: number the tokens <s> A B C A B C from 0. Where is the second A?",
        ),
        Mistake(
            "query and key are swapped",
            lambda pattern, period: _swapped_stripe(pattern, period).mean((1, 3)),
            "You read above the diagonal, where no query can look: it would be the future.",
            "Next: in pattern[..., i, j], which of the two is the query?",
        ),
        Mistake(
            "above the diagonal",
            lambda pattern, period: pattern.diagonal(period - 1, -2, -1).mean((1, 3)),
            "Your diagonal lies above the main one, where no query can look: it would be the future.",
            "Next: which sign has the offset of a diagonal below the main one?",
        ),
        Mistake(
            "the diagonal of the copies",
            lambda pattern, period: pattern.diagonal(-period, -2, -1).mean((1, 3)),
            "Your diagonal goes through the earlier copies themselves. What came next lies one key further on.",
            "Next: take query 5, the second B. Which token came right after the first B?",
        ),
        Mistake(
            "added up, not averaged",
            lambda pattern, period: _stripe(pattern, period).sum((1, 3)),
            "You add up the attention; a longer text would then score higher.",
            "Next: which score should a perfect induction head have?",
        ),
    ],
    hints=[
        "At the second A, an induction head looks for what came after the first A. Say it with numbers: if the query "
        "is at position q, where was the same word before, and what is one step after that?",
        "The queries are period + 1, period + 2, ... to the end. Each has one key. `pattern[..., queries, keys]` with "
        "two lists of the same length picks one cell for each pair.",
        "queries = period + 1 to the last position\nkeys = queries - period + 1\n"
        "score = mean of pattern[..., queries, keys] over batch and query",
    ],
    first_step="On <s> A B C A B C, write down the key of the second A, by hand.",
    properties=[SCORE],
    accepted=[
        lambda pattern, period: pattern.diagonal(1 - period, -2, -1)[..., 2:].mean((1, 3)),
        _induction_with_loops,
        _induction_with_mask,
    ],
    found=found_heads(
        "induction score",
        lambda answer, pattern: answer(pattern, PERIOD),
        "you have found an induction head.",
    ),
)


# -- 05.6 prefix_matching_score --------------------------------------------------------------------------------------


def _after(tokens: Tensor) -> Tensor:
    """Whether the key stands right after an earlier copy of the query's token: [batch, query, key]."""
    return _earlier(tokens).roll(1, -1)


def _queries(tokens: Tensor) -> Tensor:
    """How many queries have an earlier copy, at least 1."""
    return _earlier(tokens).any(-1).sum().clamp(min=1)


def _latest_copy(pattern: Tensor, tokens: Tensor) -> Tensor:
    earlier = _earlier(tokens)
    later = earlier.flip(-1).cumsum(-1).flip(-1)  # copies from this key on
    return _attention_on(pattern, (earlier & (later == 1)).roll(1, -1)) / _queries(tokens)


def _first_copy(pattern: Tensor, tokens: Tensor) -> Tensor:
    earlier = _earlier(tokens)
    return _attention_on(pattern, (earlier & (earlier.cumsum(-1) == 1)).roll(1, -1)) / _queries(tokens)


def _prefix_with_loops(pattern: Tensor, tokens: Tensor) -> Tensor:
    total = torch.zeros_like(pattern[:, 0, :, 0, 0])
    n_queries = 0
    for text, row in enumerate(tokens.tolist()):
        for query, token in enumerate(row):
            keys = [copy + 1 for copy in range(query) if row[copy] == token]
            n_queries += bool(keys)
            for key in keys:
                total = total + pattern[:, text, :, query, key]
    return total / max(n_queries, 1)


def _prefix_with_shifted_comparison(pattern: Tensor, tokens: Tensor) -> Tensor:
    before = torch.cat([torch.full_like(tokens[:, :1], -1), tokens[:, :-1]], 1)  # what stands before each key
    mask = (tokens[:, :, None] == before[:, None, :]).tril(0)
    on = (pattern * mask[None, :, None].to(pattern.dtype)).sum((1, 3, 4))
    return on / mask.any(-1).sum().clamp(min=1)


def _prefix_with_padding(pattern: Tensor, tokens: Tensor) -> Tensor:
    mask = torch.nn.functional.pad(_earlier(tokens)[..., :-1], (1, 0)).to(pattern.dtype)
    total: Tensor = torch.tensordot(pattern.transpose(1, 2).flatten(2), mask.flatten(), 1)
    return total / max(1, int((mask.sum(-1) > 0).sum()))


PREFIX_MATCHING_SCORE = Exercise(
    id="05.6",
    title="Induction on any text",
    points=2,
    minutes=12,
    lines=(5, 9),
    reference=prefix_matching_score,
    axes=("layer", "head"),
    cases=[
        Case(
            "three drawn heads on <s> A B C A B C",
            placed(tidy([0, 1, 2, 3, 1, 2, 3]), torch.tensor([[0, 1, 2, 3, 1, 2, 3]])),
        ),
        *_TEXT_CASES,
    ],
    mistakes=[
        Mistake(
            "one key too early",
            duplicate_token_score,
            "Yours is the duplicate-token score: you look at the copy, not at what came after it.",
            "Next: take query 4, the second A. Which token came right after the first A?",
        ),
        Mistake(
            "one key too late",
            lambda pattern, tokens: _attention_on(pattern, _earlier(tokens).roll(2, -1).tril()) / _queries(tokens),
            "You look two steps after the earlier copy.",
            "Next: in <s> A B C A, what came one step after the first A?",
        ),
        Mistake(
            "the query is shifted, not the key",
            lambda pattern, tokens: _attention_on(pattern, _earlier(tokens).roll(1, -2)) / _queries(tokens),
            "You moved the rows: now the query after the repeat looks at the copy.",
            "Next: which axis of your square of True and False is the key?",
        ),
        Mistake(
            "one key before the copy",
            lambda pattern, tokens: _attention_on(pattern, _earlier(tokens).roll(-1, -1)) / _queries(tokens),
            "You shift to the left: you look at what came before the earlier copy.",
            "Next: in <s> A B C A, is B to the left or to the right of the first A?",
        ),
        Mistake(
            "a word that follows itself is left out",
            lambda pattern, tokens: _attention_on(pattern, _after(tokens).tril(-1)) / _queries(tokens),
            "In A A, the place right after the first A is the query itself. It counts too.",
            "Next: run your function on <s> A A, and mark the key of the last A by hand.",
        ),
        Mistake(
            "only the latest copy",
            _latest_copy,
            "You count one place, after the latest copy. All earlier copies count.",
            "Next: when a word stands for the third time, how many places follow an earlier copy?",
        ),
        Mistake(
            "only the first copy",
            _first_copy,
            "You count one place, after the very first copy. All earlier copies count.",
            "Next: when a word stands for the third time, how many places follow an earlier copy?",
        ),
        Mistake(
            "averaged over pairs",
            lambda pattern, tokens: _attention_on(pattern, _after(tokens)) / _some(_after(tokens)),
            "You divide by the number of (query, place) pairs. A head that spreads its attention over two good places "
            "would get a half.",
            "Next: take a token that stands for the third time. What is the most attention that it can give to both?",
        ),
        Mistake(
            "the stripe again",
            lambda pattern, tokens: induction_score(pattern, max((tokens.shape[1] - 1) // 2, 1)),
            "You take the text for a block that comes twice. These texts repeat as they like.",
            "Next: in <s> A A B A B, which words have stood before, and what came after them?",
        ),
        Mistake(
            "averaged over all queries",
            lambda pattern, tokens: _attention_on(pattern, _after(tokens)) / tokens.numel(),
            "You divide by the number of all tokens. Only those that have stood before take part.",
            "Next: how many queries of <s> A B C A B C have an earlier copy?",
        ),
        Mistake(
            "0 divided by 0",
            lambda pattern, tokens: _attention_on(pattern, _after(tokens)) / _earlier(tokens).any(-1).sum(),
            "Where nothing repeats you divide by 0. Then the score is 0.",
            "Next: run your function on a text of three different words.",
        ),
    ],
    hints=[
        "It is the duplicate-token score with every place moved one key to the right.",
        "Build the same square of earlier copies. Then move its columns one to the right: `roll(1, -1)`, or pad on the "
        "left and cut on the right. The queries stay as they are.",
        "earlier = same token, and key before query\nafter = earlier, one key further\n"
        "score = attention on the cells of after / number of queries that have any earlier copy (at least 1)",
    ],
    first_step="Copy your answer to 05.4, and find the one place that has to change.",
    properties=[SCORE],
    accepted=[_prefix_with_loops, _prefix_with_shifted_comparison, _prefix_with_padding],
    found=found_heads(
        "prefix-matching score",
        lambda answer, pattern: answer(pattern, probe()),
        "and this measure works on any text.",
    ),
)


# -- 05.13 find_induction_heads --------------------------------------------------------------------------------------


def _twice(arguments: Arguments, result: Any) -> str | None:
    return getattr(result, "twice", "") or None


IS_A_LIST = Property("a list of pairs (layer, head)", lambda arguments, result: getattr(result, "trouble", "") or None)
_NEAR, _OTHER = 1e-4, 1_000  # scores nearer than this are too near; the step to the seed that is tried instead
EACH_ONCE = Property("each head once; its place in the list as a number, 0 if it is not there", _twice)


@lru_cache(maxsize=16)
def _small_model(seed: int) -> Any:
    """An untrained model of 3 layers of 4 heads whose attention is sharp enough for every head to have a score."""
    from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = AttentionOnlyForCausalLM(
            AttentionOnlyConfig(n_layers=3, n_heads=4, d_model=24, d_head=6, vocab_size=12, context=32)
        )
        with torch.no_grad():
            for layer in model.model.layers:
                layer.attention.q.weight.mul_(6)
    return model.eval()


def _shuffled(model: Any, seed: int) -> Any:
    """The same model with the heads of every layer in another order: it computes the same."""
    model = deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    n_heads = anatomy(model).n_heads
    with torch.no_grad():
        for layer in model.model.layers:
            order = torch.randperm(n_heads, generator=generator)
            attention = layer.attention
            for projection in (attention.q, attention.k, attention.v):
                projection.weight.copy_(projection.weight.unflatten(0, (n_heads, -1))[order].flatten(0, 1))
            attention.o.weight.copy_(attention.o.weight.unflatten(1, (n_heads, -1))[:, order].flatten(1, 2))
    return model


def _model_case(seed: int, device: torch.device, how_many: int, n_words: int = 6) -> Arguments:
    """A small model in which ``how_many`` heads, or some more, are above a threshold well between two scores."""
    for again in count(seed, _OTHER):
        model = _small_model(again)
        tokens = torch.cat([torch.zeros(2, 1, dtype=torch.long), words_again(again, 2, 13, n_words)], 1)
        ordered = _scores_of(model, tokens).flatten().sort(descending=True).values
        gaps = ordered[:-1] - ordered[1:]
        widest = int(gaps[how_many : how_many + 4].argmax()) + how_many
        threshold = round((ordered[widest] + ordered[widest + 1]).item() / 2, 3)
        if _apart(ordered, threshold):
            break
    return deepcopy(model).to(device), tokens.to(device), threshold


def _trained_case(seed: int, device: torch.device) -> Arguments:
    model = _shuffled(load("attn2l"), seed)
    texts = (repeated_tokens(8, 20, seed=again) for again in count(seed, _OTHER))
    tokens = next(each for each in texts if _apart(_scores_of(model, each).flatten().sort(descending=True).values, 0.4))
    return model.to(device), tokens.to(device), 0.4


def _apart(ordered: Tensor, threshold: float) -> bool:
    """True if no rounding can change which heads are listed, or their order."""
    listed = ordered[: int((ordered >= threshold).sum()) + 1]
    near = (ordered - threshold).abs().min()
    return bool(near > _NEAR) and bool((listed[:-1] - listed[1:] > _NEAR).all())


def _scores_of(model: Any, tokens: Tensor, score: Callable[..., Tensor] = prefix_matching_score) -> Tensor:
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    return score(tap["pattern"].float(), tokens)


def _listed(scores: Tensor, threshold: float) -> list[tuple[int, int]]:
    found = [(int(layer), int(head)) for layer, head in (scores >= threshold).nonzero()]
    return sorted(found, key=lambda place: -scores[place].item())


def _find_with_loops(model: Any, tokens: Tensor, threshold: float = 0.4) -> list[tuple[int, int]]:
    scores = _scores_of(model, tokens, _prefix_with_loops)
    found = []
    for layer, row in enumerate(scores.tolist()):
        for head, score in enumerate(row):
            if score >= threshold:
                found.append((score, layer, head))
    return [(layer, head) for _, layer, head in sorted(found, reverse=True)]


def _find_with_topk(model: Any, tokens: Tensor, threshold: float = 0.4) -> list[tuple[int, int]]:
    scores = _scores_of(model, tokens)
    values, places = scores.flatten().topk(scores.numel())
    n_heads = scores.shape[1]
    return [divmod(int(place), n_heads) for value, place in zip(values, places, strict=True) if value >= threshold]


FIND_INDUCTION_HEADS = Exercise(
    id="05.13",
    title="Find them anywhere",
    points=3,
    minutes=15,
    lines=(5, 10),
    reference=find_induction_heads,
    drive=ranked,
    axes=("layer", "head"),
    properties=[IS_A_LIST, EACH_ONCE],
    cases=[
        Case("an untrained model of 3 layers of 4 heads", lambda seed, device: _model_case(seed, device, 2, n_words=2)),
        Case("the same with a lower threshold", lambda seed, device: _model_case(seed, device, 6)),
        Case("another model", lambda seed, device: _model_case(seed + 1, device, 1)),
        Case("attn2l with its heads in another order", _trained_case),
        Case("two words, a high threshold", lambda seed, device: _model_case(seed, device, 1, n_words=2)),
        Case(
            "a threshold that nobody reaches",
            lambda seed, device: (*_model_case(seed + 2, device, 2)[:2], 1.01),
        ),
    ],
    mistakes=[
        Mistake(
            "the lowest first",
            lambda model, tokens, threshold=0.4: _listed(_scores_of(model, tokens), threshold)[::-1],
            "Your list begins with the lowest score. The highest comes first.",
            "Next: what does `sorted` do with numbers, and how do you turn that round?",
        ),
        Mistake(
            "in the order of the layers",
            lambda model, tokens, threshold=0.4: [
                (int(layer), int(head)) for layer, head in (_scores_of(model, tokens) >= threshold).nonzero()
            ],
            "Your heads are the right ones, but they stand in the order of the layers. The highest score comes first.",
            "Next: `sorted(..., key=...)` sorts by a number that you name.",
        ),
        Mistake(
            "previous-token heads",
            lambda model, tokens, threshold=0.4: _listed(
                _scores_of(model, tokens, lambda pattern, _: previous_token_score(pattern)), threshold
            ),
            "You score how much heads look one step back.",
            "Next: which of your scores is the one for induction on any text?",
        ),
        Mistake(
            "duplicate-token heads",
            lambda model, tokens, threshold=0.4: _listed(_scores_of(model, tokens, duplicate_token_score), threshold),
            "You score how much heads look at copies of the word. Induction looks one step after them.",
            "Next: which of your scores is the one for induction on any text?",
        ),
        Mistake(
            "a threshold of your own",
            lambda model, tokens, threshold=0.4: _listed(_scores_of(model, tokens), 0.4),
            "You always use 0.4. The caller says what counts as high.",
            "Next: where does `threshold` appear in your code?",
        ),
        Mistake(
            "the stripe, not prefix matching",
            lambda model, tokens, threshold=0.4: _listed(
                _scores_of(model, tokens, lambda pattern, _: induction_score(pattern, (tokens.shape[1] - 1) // 2)),
                threshold,
            ),
            "You take the tokens for a block that comes twice. They may repeat in any way.",
            "Next: which of your scores needs no period?",
        ),
        Mistake(
            "nothing comes back",
            lambda model, tokens, threshold=0.4: None,
            "Your function returns None. What it finds out stays inside.",
            "Next: what does its last line say?",
        ),
        Mistake(
            "a tensor, not a list",
            lambda model, tokens, threshold=0.4: (_scores_of(model, tokens) >= threshold).nonzero(),
            "You return a tensor. A plain list is asked, the highest score first.",
            "Next: what does `.tolist()` make of the places that `nonzero` finds?",
        ),
        Mistake(
            "the score is left in",
            lambda model, tokens, threshold=0.4: [
                (*place, 0.0) for place in _listed(_scores_of(model, tokens), threshold)
            ],
            "The items of your list have three parts. A pair (layer, head) is all that is asked.",
            "Next: print the first item of your list.",
        ),
        Mistake(
            "the head before the layer",
            lambda model, tokens, threshold=0.4: [
                (head, layer) for layer, head in _listed(_scores_of(model, tokens), threshold)
            ],
            "Your pairs begin with the head. Read as (layer, head), some name a layer that the model does not have.",
            "Next: your scores are [layer, head]; which number counts the rows?",
        ),
        Mistake(
            "always the same model",
            lambda model, tokens, threshold=0.4: _listed(
                _scores_of(load("attn2l").to(tokens.device), tokens), threshold
            ),
            "You measure `attn2l`, whatever model you are given.",
            "Next: which model does your code run, `model` or one from outside the function?",
        ),
        Mistake(
            "always the same heads",
            lambda model, tokens, threshold=0.4: [(1, 0), (1, 1)],
            "Your list is the same for every model. This one has other heads, in another order.",
            "Next: what in your code depends on `model`?",
        ),
        Mistake(
            "an empty list",
            lambda model, tokens, threshold=0.4: [],
            "Your list is always empty.",
            "Next: print your scores, and the threshold beside them.",
        ),
        Mistake(
            "the best head alone",
            lambda model, tokens, threshold=0.4: _listed(_scores_of(model, tokens), threshold)[:1],
            "You give the best head. There may be several, or none.",
            "Next: what should come back if three heads are above the threshold?",
        ),
        Mistake(
            "the first text alone",
            lambda model, tokens, threshold=0.4: _listed(_scores_of(model, tokens[:1]), threshold),
            "You use the first text of the batch. A score is averaged over all of them.",
            "Next: look for a [0] in your code.",
        ),
    ],
    hints=[
        "Everything is there: a Tap keeps the patterns, your score of 05.6 turns them into a table, and from the "
        "table you make a list.",
        'Open a Tap on "pattern", run the model inside, score tap["pattern"]. '
        "`(scores >= threshold).nonzero()` gives the places. `sorted` takes a `key`.",
        "with no gradients and a tap on pattern: run the model on tokens\n"
        "scores = prefix_matching_score(the patterns, tokens)\n"
        "places = all (layer, head) with a score of at least threshold\n"
        "return places, sorted by score, the highest first",
    ],
    first_step='Run the model inside `with Tap(model, "pattern") as tap:` and look at the shape of tap["pattern"].',
    accepted=[
        lambda model, tokens, threshold=0.4: _listed(_scores_of(model, tokens), threshold),
        _find_with_loops,
        _find_with_topk,
    ],
)
