"""Exercises about what a head does for the model: 05.8 to 05.11."""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from interpwidgets.course.exercise import Answer, Arguments, Case, Exercise, Found, Mistake, Property
from interpwidgets.exercises.ch05.inputs import (
    PERIOD,
    SCORE,
    Make,
    best_place,
    on,
    placed,
    probe,
    randn,
    transposed,
    within,
)
from interpwidgets.methods.ablation import mean_ablate
from interpwidgets.methods.attribution import head_logit_attribution, logit_direction
from interpwidgets.methods.circuits import composition_score, copying_score
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.load import load
from interpwidgets.models.taps import Tap

# -- 05.8 mean_ablate ------------------------------------------------------------------------------------------------


def _mean_ablate_with_loops(z: Tensor, head: int) -> Tensor:
    rows = [z[text, query, head] for text in range(z.shape[0]) for query in range(z.shape[1])]
    mean = sum(rows[1:], rows[0]) / len(rows)
    new = torch.empty_like(z)
    for each in range(z.shape[2]):
        new[:, :, each] = mean if each == head else z[:, :, each]
    return new


def _mean_ablate_with_where(z: Tensor, head: int) -> Tensor:
    chosen = (torch.arange(z.shape[2], device=z.device) == head)[:, None]
    return torch.where(chosen, z.mean((0, 1), keepdim=True), z)


def _mean_ablate_with_einsum(z: Tensor, head: int) -> Tensor:
    new = z.clone()
    new[:, :, head] = torch.einsum("bqe->e", z[:, :, head]) / (z.shape[0] * z.shape[1])
    return new


def _replaced(z: Tensor, head: int, value: Any) -> Tensor:
    new = z.clone()
    new[:, :, head] = value
    return new


def _only_the_head_stays(z: Tensor, head: int) -> Tensor:
    new = z.mean((0, 1), keepdim=True).expand_as(z).clone()
    new[:, :, head] = z[:, :, head]
    return new


def _position_for_head(z: Tensor, head: int) -> Tensor:
    new = z.clone()
    new[:, head] = z[:, head].mean((0, 1))
    return new


def _other_heads_unchanged(arguments: Arguments, result: Any) -> str | None:
    z, head = arguments
    others = torch.arange(z.shape[2], device=z.device) != head
    if torch.equal(result[:, :, others], z[:, :, others]):
        return None
    return f"Only head {head} is to change; another one did."


def _z_case(batch: int, n: int, heads: int, d_head: int, head: int, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(device, randn(seed, batch, n, heads, d_head, dtype=dtype) + 0.5, head)


def _edit(answer: Answer, head: int) -> Callable[[Tensor], Tensor]:
    return lambda z: answer(z, head)


def _found_ablation(answer: Answer) -> Found:
    """The share of wrong words on the second copy without each head."""
    model: Any = load("attn2l")
    tokens = probe()
    wrong = torch.zeros(2, anatomy(model).n_heads)
    for layer, head in product(*map(range, wrong.shape)):
        with torch.no_grad(), Tap(model, edits={("z", layer): _edit(answer, head)}):
            expected = model(tokens).logits.argmax(-1)
        wrong[layer, head] = (expected[:, :-1] != tokens[:, 1:])[:, PERIOD + 1 :].float().mean()
    layer, head = divmod(int(wrong.argmax()), wrong.shape[1])
    sentence = f"Without L{layer} H{head}, attn2l gets {wrong.max():.0%} of the second copy wrong."
    return Found("wrong on the second copy, without this head", wrong, "layer", "head", sentence)


MEAN_ABLATE = Exercise(
    id="05.8",
    title="Take a head out",
    points=2,
    minutes=8,
    lines=(3, 4),
    reference=mean_ablate,
    axes=("text", "query", "head", "d_head"),
    cases=[
        Case(
            "one text, two queries, two heads of one number, head 1",
            placed(torch.tensor([[[[1.0], [2.0]], [[3.0], [6.0]]]]), 1),
        ),
        Case(
            "two texts of one query, two heads of two numbers, head 0",
            placed(torch.tensor([[[[1.0, 2.0], [5.0, 6.0]]], [[[3.0, 4.0], [9.0, 8.0]]]]), 0),
        ),
        Case("3 texts, 5 queries, 4 heads of 2, head 2", _z_case(3, 5, 4, 2, 2)),
        Case("a single text, head 0", _z_case(1, 4, 3, 2, 0)),
        Case("one query", _z_case(3, 1, 2, 4, 1)),
        Case("float64", _z_case(2, 4, 3, 5, 1, torch.float64)),
        Case(
            "z laid out the other way round",
            lambda seed, device: on(device, transposed(randn(seed, 2, 5, 3, 4) + 0.5), 1),
        ),
    ],
    mistakes=[
        Mistake(
            "zero, not the mean",
            lambda z, head: _replaced(z, head, 0),
            "You set the head to 0. That is zero ablation; here the head keeps what it writes on average.",
            "Next: what is the mean of 2 and 6?",
        ),
        Mistake(
            "one number for the whole head",
            lambda z, head: _replaced(z, head, z[:, :, head].mean()),
            "You average over d_head as well. The mean is a vector of length d_head.",
            "Next: which of the axes text, query and d_head does the mean keep?",
        ),
        Mistake(
            "the mean over the texts alone",
            lambda z, head: _replaced(z, head, z[:, :, head].mean(0)),
            "You keep a mean for every position. What is left then still knows the position.",
            "Next: over which two axes does the docstring average?",
        ),
        Mistake(
            "the mean of each text",
            lambda z, head: _replaced(z, head, z[:, :, head].mean(1, keepdim=True)),
            "You keep a mean for every text. What is left then still knows the text.",
            "Next: over which two axes does the docstring average?",
        ),
        Mistake(
            "a position, not a head",
            _position_for_head,
            "You replace the query with the number of the head. The axes of z are text, query, head, d_head.",
            "Next: how many colons stand before head in z[..., head]?",
        ),
        Mistake(
            "the mean over the heads",
            lambda z, head: _replaced(z, head, z.mean(2)),
            "You put the mean of all heads in its place. It is the head's own mean that is asked for.",
            "Next: what should the value of head 1 be if head 0 changes?",
        ),
        Mistake(
            "one mean for all heads",
            lambda z, head: _replaced(z, head, z.mean((0, 1, 2))),
            "You average over the heads too. It is the head's own mean that is asked for.",
            "Next: what should the value of head 1 be if head 0 changes?",
        ),
        Mistake(
            "all heads but this one",
            _only_the_head_stays,
            "You keep this head and take out the others.",
            "Next: which head has to change in the first case?",
        ),
    ],
    hints=[
        "Work on a copy. Find the values of this head for all texts and queries, and put their mean in their place.",
        "`z.clone()` makes a copy. `z[:, :, head]` are the values of one head: [batch, query, d_head]. "
        "Which two of these axes does the mean go over?",
        "new = copy of z\nmean = mean of z[:, :, head] over batch and query: a vector [d_head]\n"
        "new[:, :, head] = mean\nreturn new",
    ],
    first_step="Make a copy of z, so that the one you were given stays as it is.",
    properties=[Property("the other heads unchanged", _other_heads_unchanged)],
    accepted=[_mean_ablate_with_loops, _mean_ablate_with_where, _mean_ablate_with_einsum],
    found=_found_ablation,
)


# -- 05.9 head_logit_attribution -------------------------------------------------------------------------------------


def _attribution_with_loops(z: Tensor, W_O: Tensor, direction: Tensor, scale: Tensor) -> Tensor:
    result = torch.empty_like(z[..., 0])
    for text in range(z.shape[0]):
        for query in range(z.shape[1]):
            for head in range(z.shape[2]):
                written = z[text, query, head] @ W_O[head]
                result[text, query, head] = written @ direction[text, query] / scale[text, query]
    return result


def _attribution_with_einsum(z: Tensor, W_O: Tensor, direction: Tensor, scale: Tensor) -> Tensor:
    return torch.einsum("bqhe,hed,bqd,bq->bqh", z, W_O, direction, 1 / scale)


def _attribution_with_matmul(z: Tensor, W_O: Tensor, direction: Tensor, scale: Tensor) -> Tensor:
    written = (z.transpose(1, 2) @ W_O).transpose(1, 2)
    return (written * (direction / scale.unsqueeze(-1)).unsqueeze(2)).sum(-1)


def _along(z: Tensor, W_O: Tensor, direction: Tensor) -> Tensor:
    return torch.einsum("bqhe,hed,bqd->bqh", z, W_O, direction)


def _attribution_case(sizes: tuple[int, int, int, int, int], dtype: torch.dtype = torch.float32) -> Make:
    batch, n, heads, d_head, d_model = sizes

    def make(seed: int, device: torch.device) -> Arguments:
        return on(
            device,
            randn(seed, batch, n, heads, d_head, dtype=dtype),
            randn(seed + 1, heads, d_head, d_model, dtype=dtype),
            randn(seed + 2, batch, n, d_model, dtype=dtype),
            randn(seed + 3, batch, n, dtype=dtype).abs() + 0.5,
        )

    return make


def _found_attribution(answer: Answer) -> Found:
    model: Any = load("attn2l")
    tokens = probe()
    with torch.no_grad(), Tap(model, ["z", ("resid_post", 1)]) as tap:
        model(tokens)
        norm = model.model.norm
        scale = (tap["resid_post", 1].var(-1, correction=0) + norm.eps).sqrt()[:, :-1]
        direction = logit_direction(model.unembed.weight, norm.weight, tokens[:, 1:])
        second = slice(PERIOD + 1, None)
        values = torch.stack(
            [
                answer(tap["z", layer][:, :-1], anatomy(model).W_O(layer), direction, scale)[:, second].mean((0, 1))
                for layer in (0, 1)
            ]
        )
    layer, head = divmod(int(values.argmax()), values.shape[1])
    sentence = (
        f"In the second copy, L{layer} H{head} of attn2l adds {values.max().item():.1f} to the logit of the right word."
    )
    return Found("what each head adds to the right logit", values, "layer", "head", sentence)


HEAD_LOGIT_ATTRIBUTION = Exercise(
    id="05.9",
    title="Who wrote the answer?",
    points=2,
    minutes=15,
    lines=(2, 5),
    reference=head_logit_attribution,
    axes=("text", "query", "head"),
    cases=[
        Case(
            "one query, two heads of one number, d_model 2, scale 2",
            placed(
                torch.tensor([[[[1.0], [3.0]]]]),
                torch.tensor([[[1.0, 0.0]], [[1.0, 2.0]]]),
                torch.tensor([[[4.0, 1.0]]]),
                torch.tensor([[2.0]]),
            ),
        ),
        Case("2 texts, 3 queries, 4 heads of 5, d_model 6", _attribution_case((2, 3, 4, 5, 6))),
        Case("as wide as it is deep: d_head = d_model", _attribution_case((2, 3, 4, 3, 3))),
        Case("a single text, a single query", _attribution_case((1, 1, 3, 2, 4))),
        Case("three texts, two queries, two heads of 3", _attribution_case((3, 2, 2, 3, 4))),
    ],
    mistakes=[
        Mistake(
            "the norm is left out",
            lambda z, W_O, direction, scale: _along(z, W_O, direction),
            "You do not divide by scale. The model does, before it makes logits.",
            "Next: what has to happen to your numbers so that they add up to the logit?",
        ),
        Mistake(
            "multiplied by the scale",
            lambda z, W_O, direction, scale: _along(z, W_O, direction) * scale[..., None],
            "You multiply by scale; a norm divides.",
            "Next: a longer residual stream, and the same head: does it count for more or for less?",
        ),
        Mistake(
            "divided by the variance",
            lambda z, W_O, direction, scale: _along(z, W_O, direction) / scale[..., None] ** 2,
            "You divide by the square of scale: it is a standard deviation already.",
            "Next: divide once.",
        ),
        Mistake(
            "a direction of length 1",
            lambda z, W_O, direction, scale: (
                _along(z, W_O, direction / direction.norm(dim=-1, keepdim=True)) / scale[..., None]
            ),
            "You make the direction one unit long. Its length belongs to the logit.",
            "Next: take the direction twice as long. Should the logit double?",
        ),
        Mistake(
            "all heads as one",
            lambda z, W_O, direction, scale: _along(z, W_O, direction).sum(-1) / scale,
            "You give the layer as a whole. Keep the heads apart.",
            "Next: which axes does the result have?",
        ),
        Mistake(
            "every head through everybody's W_O",
            lambda z, W_O, direction, scale: torch.einsum("bqhd,bqd->bqh", z @ W_O, direction) / scale[..., None],
            "`z @ W_O` multiplies the last two axes of each: every head of z meets every W_O.",
            "Next: head 0 has z[:, :, 0] and W_O[0]. Say in an einsum that the two share the head.",
        ),
        Mistake(
            "everybody through the first head's W_O",
            lambda z, W_O, direction, scale: _along(z, W_O[:1].expand_as(W_O), direction) / scale[..., None],
            "All your heads write with W_O[0]. Every head has its own.",
            "Next: in your einsum, is the head of z the head of W_O?",
        ),
    ],
    hints=[
        "What a head writes is its own z times its own W_O. How much of that lies along the direction is a dot "
        "product. The norm divides. (`z @ W_O` will not do: it does not know that the two share the head.)",
        'An einsum for what is written: "bqhe,hed->bqhd", with e for d_head and d for d_model. A second one for the '
        "dot product with direction, over d. Then divide by scale; it needs one more axis, for the heads.",
        "written = z of each head times W_O of that head: [batch, query, head, d_model]\n"
        "along = dot product of written and direction, over d_model: [batch, query, head]\n"
        "result = along / scale, the same for all heads of a query",
    ],
    first_step="For one text, one query and one head: z[0, 0, 0] @ W_O[0].",
    tolerance={"float32": (1e-4, 1e-4)},
    accepted=[_attribution_with_loops, _attribution_with_einsum, _attribution_with_matmul],
    found=_found_attribution,
)


# -- 05.10 copying_score ---------------------------------------------------------------------------------------------


def _eigenvalues(W_E: Tensor, W_V: Tensor, W_O: Tensor, W_U: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvals((W_O @ W_U) @ (W_E @ W_V))
    return values


def _share(values: Tensor) -> Tensor:
    return values.sum() / values.abs().sum()


def _copying_in_full(W_E: Tensor, W_V: Tensor, W_O: Tensor, W_U: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvals(W_E @ W_V @ W_O @ W_U)
    return values.sum().real / values.abs().sum()


def _copying_by_trace(W_E: Tensor, W_V: Tensor, W_O: Tensor, W_U: Tensor) -> Tensor:
    small = torch.einsum("ed,dv,vm,mf->ef", W_O, W_U, W_E, W_V)
    values: Tensor = torch.linalg.eig(small).eigenvalues
    return small.trace() / values.abs().sum()


def _copying_with_loops(W_E: Tensor, W_V: Tensor, W_O: Tensor, W_U: Tensor) -> Tensor:
    total = magnitude = 0.0
    for value in torch.linalg.eigvals(W_O @ W_U @ W_E @ W_V).tolist():
        total, magnitude = total + value.real, magnitude + abs(value)
    return torch.tensor(total / magnitude, dtype=W_E.dtype, device=W_E.device)


def _head_case(vocab: int, d_model: int, d_head: int, dtype: torch.dtype = torch.float32) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        shapes = ((vocab, d_model), (d_model, d_head), (d_head, d_model), (d_model, vocab))
        return on(device, *(randn(4 * seed + i, *shape, dtype=dtype) for i, shape in enumerate(shapes)))

    return make


def _copier(sign: float) -> Make:
    """A head whose output weights undo its input weights, exactly or with the sign turned round."""

    def make(seed: int, device: torch.device) -> Arguments:
        W_E, W_V, _, _ = _head_case(7, 5, 3)(seed, torch.device("cpu"))
        return on(device, W_E, W_V, sign * W_V.T, W_E.T)

    return make


def _found_copying(answer: Answer) -> Found:
    model: Any = load("attn2l")
    W_U = (model.model.norm.weight * model.unembed.weight).detach().T  # the norms belong to the way
    words = [layer.norm(model.model.embed.weight).detach() for layer in model.model.layers]
    values = torch.stack([torch.stack([answer(words[i], *head, W_U) for head in _heads_OV(model, i)]) for i in (0, 1)])
    return Found("copying score", values, "layer", "head", f"In attn2l, {best_place(values)}: what it sees, it says.")


def _heads_OV(model: Any, layer: int) -> list[tuple[Tensor, Tensor]]:
    """W_V and W_O of every head of a layer."""
    attention = model.model.layers[layer].attention
    n_heads = anatomy(model).n_heads
    return list(
        zip(
            attention.v.weight.detach().T.chunk(n_heads, 1),
            attention.o.weight.detach().T.chunk(n_heads, 0),
            strict=True,
        )
    )


COPYING_SCORE = Exercise(
    id="05.10",
    title="Does it copy?",
    points=2,
    minutes=15,
    lines=(3, 6),
    reference=copying_score,
    cases=[
        Case(
            "eigenvalues 3 and -1",
            placed(torch.eye(2), torch.eye(2), torch.tensor([[3.0, 5.0], [0.0, -1.0]]), torch.eye(2)),
        ),
        Case(
            "eigenvalues 1 + 2i and 1 - 2i",
            placed(torch.eye(2), torch.eye(2), torch.tensor([[1.0, -2.0], [2.0, 1.0]]), torch.eye(2)),
        ),
        Case(
            "two words, a head of one number",
            placed(*(torch.tensor(each) for each in ([[1.0], [2.0]], [[1.0]], [[1.0]], [[3.0, -4.0]]))),
        ),
        Case("a perfect copier", _copier(1.0)),
        Case("a head that suppresses what it sees", _copier(-1.0)),
        Case("7 words, d_model 5, d_head 3", _head_case(7, 5, 3)),
        Case("20 words, d_model 8, d_head 4", _head_case(20, 8, 4)),
        Case("a head of one number", _head_case(6, 4, 1)),
        Case("11 words, d_model 6, d_head 5", _head_case(11, 6, 5)),
    ],
    mistakes=[
        Mistake(
            "magnitudes above and below",
            lambda W_E, W_V, W_O, W_U: (
                _eigenvalues(W_E, W_V, W_O, W_U).sum().abs() / _eigenvalues(W_E, W_V, W_O, W_U).abs().sum()
            ),
            "You take the magnitude of the sum. Then a head that suppresses what it sees scores like one that copies.",
            "Next: which sign should the score of a suppressing head have?",
        ),
        Mistake(
            "a complex number",
            lambda W_E, W_V, W_O, W_U: (
                _eigenvalues(W_E, W_V, W_O, W_U).sum() / _eigenvalues(W_E, W_V, W_O, W_U).abs().sum()
            ),
            "Your score is complex. Eigenvalues come in mirror pairs, so the imaginary parts cancel: drop them.",
            "Next: how do you get the real part of a complex tensor?",
        ),
        Mistake(
            "counted, not weighed",
            lambda W_E, W_V, W_O, W_U: (_eigenvalues(W_E, W_V, W_O, W_U).real > 0).to(W_E.dtype).mean(),
            "You count positive eigenvalues. A tiny one then weighs as much as a huge one.",
            "Next: what do 3 and -1 give, weighed by their size?",
        ),
        Mistake(
            "the mean eigenvalue",
            lambda W_E, W_V, W_O, W_U: _eigenvalues(W_E, W_V, W_O, W_U).real.mean(),
            "You average the eigenvalues. A head with weights twice as large would get twice the score.",
            "Next: divide by something that grows with the weights.",
        ),
        Mistake(
            "singular values",
            lambda W_E, W_V, W_O, W_U: (
                _eigenvalues(W_E, W_V, W_O, W_U).real.sum() / torch.linalg.svdvals(W_E @ W_V @ W_O @ W_U).sum()
            ),
            "You divide by the singular values. They are magnitudes of something else; take those of the eigenvalues.",
            "Next: compare `eigvals` and `svdvals` on [[3, 5], [0, -1]].",
        ),
        Mistake(
            "as if the circuit were symmetric",
            lambda W_E, W_V, W_O, W_U: (
                torch.linalg.eigvalsh((W_O @ W_U) @ (W_E @ W_V)).sum()
                / torch.linalg.eigvalsh((W_O @ W_U) @ (W_E @ W_V)).abs().sum()
            ),
            "`eigvalsh` reads half of the matrix and takes the other half for its mirror. An OV circuit has no mirror.",
            "Next: `eigvals` gives complex numbers. What is their sum?",
        ),
        Mistake(
            "as if the whole circuit were symmetric",
            lambda W_E, W_V, W_O, W_U: _share(torch.linalg.eigvalsh(W_E @ W_V @ W_O @ W_U)),
            "`eigvalsh` reads half of the matrix and takes the other half for its mirror. An OV circuit has no mirror.",
            "Next: `eigvals` gives complex numbers. What is their sum?",
        ),
        Mistake(
            "real parts instead of magnitudes",
            lambda W_E, W_V, W_O, W_U: _share(_eigenvalues(W_E, W_V, W_O, W_U).real),
            "You drop the imaginary parts before you take the magnitudes. The magnitude of 3 + 4i is 5, not 3.",
            "Next: what is the magnitude of 1 + 2i?",
        ),
        Mistake(
            "always 1",
            lambda W_E, W_V, W_O, W_U: _share(torch.linalg.svdvals(W_E @ W_V @ W_O @ W_U)),
            "You take singular values. They are never negative, so they are their own magnitudes and the score is "
            "always 1.",
            "Next: compare `eigvals` and `svdvals` on [[3, 5], [0, -1]].",
        ),
        Mistake(
            "the diagonal, not the eigenvalues",
            lambda W_E, W_V, W_O, W_U: _share((W_E @ W_V @ W_O @ W_U).diagonal()),
            "You use the numbers on the diagonal. Their sum is that of the eigenvalues, their magnitudes are not.",
            "Next: the diagonal of [[1, -2], [2, 1]] holds 1 and 1. What are its eigenvalues?",
        ),
        Mistake(
            "the words are left out",
            lambda W_E, W_V, W_O, W_U: (
                torch.linalg.eigvals(W_O @ W_V).real.sum() / torch.linalg.eigvals(W_O @ W_V).abs().sum()
            ),
            "You look at W_V and W_O alone. Copying is about words: from a token, by W_E, to a logit, by W_U.",
            "Next: what is multiplied first, on the way from a token to a logit?",
        ),
    ],
    hints=[
        "The way from a token to the logits, through this head, is one matrix. A copying head has large numbers on its "
        "diagonal; positive eigenvalues say so, whichever way the words are mixed.",
        "`torch.linalg.eigvals` gives complex eigenvalues; they come in mirror pairs, so their sum is real. The full "
        "circuit is [vocab, vocab]. A B and B A have the same eigenvalues other than 0, so (W_O W_U)(W_E W_V) will do.",
        "small = (W_O @ W_U) @ (W_E @ W_V): [d_head, d_head]\neigenvalues = those of small\n"
        "score = sum of their real parts / sum of their magnitudes",
    ],
    first_step="Multiply W_E, W_V, W_O and W_U for the first case and look at the result.",
    properties=[Property("between -1 and 1", within(-1, 1))],
    tolerance={"float32": (1e-3, 1e-3), "float64": (1e-6, 1e-6)},
    accepted=[_copying_in_full, _copying_by_trace, _copying_with_loops],
    found=_found_copying,
)


# -- 05.11 composition_score -----------------------------------------------------------------------------------------


def _composition_with_loops(W_A: Tensor, W_B: Tensor) -> Tensor:
    rows = [[((a @ b).norm() / (a.norm() * b.norm())) for b in W_B] for a in W_A]
    return torch.stack([torch.stack(row) for row in rows])


def _composition_with_einsum(W_A: Tensor, W_B: Tensor) -> Tensor:
    product = torch.einsum("aij,bjk->abik", W_A, W_B)
    squares = product.square().sum((-2, -1)) / torch.outer(W_A.square().sum((1, 2)), W_B.square().sum((1, 2)))
    return squares.sqrt()


def _composition_of_scaled(W_A: Tensor, W_B: Tensor) -> Tensor:
    A = W_A / W_A.flatten(1).norm(dim=1)[:, None, None]
    B = W_B / W_B.flatten(1).norm(dim=1)[:, None, None]
    product = A.unsqueeze(1) @ B.unsqueeze(0)
    sizes: Tensor = product.flatten(2).norm(dim=-1)
    return sizes


def _ratio(product: Tensor, W_A: Tensor, W_B: Tensor, order: Any = "fro") -> Tensor:
    norm = torch.linalg.matrix_norm
    ratio: Tensor = norm(product, order) / (norm(W_A, order)[:, None] * norm(W_B, order)[None])
    return ratio


def _weights_case(a: int, b: int, d_model: int, d_head: int, dtype: torch.dtype = torch.float32) -> Make:
    """Products of thin matrices, as the circuits of heads are."""

    def make(seed: int, device: torch.device) -> Arguments:
        sides = [randn(4 * seed + i, n, d_model, d_head, dtype=dtype) for i, n in enumerate((a, a, b, b))]
        return on(device, sides[0] @ sides[1].mT, sides[2] @ sides[3].mT)

    return make


def _found_composition(answer: Answer) -> Found:
    model: Any = load("attn2l")
    W_OV = torch.stack([W_V @ W_O for W_V, W_O in _heads_OV(model, 0)])
    second = model.model.layers[1].attention
    n_heads = anatomy(model).n_heads
    q, k = (w.weight.detach().unflatten(0, (n_heads, -1)) for w in (second.q, second.k))
    values = answer(W_OV, k.mT @ q)
    first, then = divmod(int(values.argmax()), values.shape[1])
    sentence = f"In attn2l, L1 H{then} reads most through its keys from L0 H{first}: {values.max().item():.2f}."
    return Found("K-composition", values, "head of layer 0", "head of layer 1", sentence)


COMPOSITION_SCORE = Exercise(
    id="05.11",
    title="Who reads whom?",
    points=2,
    minutes=12,
    lines=(3, 5),
    reference=composition_score,
    axes=("first head", "second head"),
    cases=[
        Case(
            "A writes where B reads",
            placed(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])),
        ),
        Case(
            "A writes where B does not read",
            placed(torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])),
        ),
        Case("2 first heads, 3 second heads, d_model 6", _weights_case(2, 3, 6, 2)),
        Case("3 first heads, 3 second heads", _weights_case(3, 3, 5, 2)),
        Case("one head each, of full rank", _weights_case(1, 1, 4, 4)),
        Case("2 first heads, 4 second heads, d_model 8", _weights_case(2, 4, 8, 3)),
        Case(
            "weights laid out the other way round",
            lambda seed, device: on(device, *map(transposed, _weights_case(3, 2, 5, 2)(seed, torch.device("cpu")))),
        ),
    ],
    mistakes=[
        Mistake(
            "the second head first",
            lambda W_A, W_B: _ratio(W_B[None] @ W_A[:, None], W_A, W_B),
            "You multiply W_B W_A. Weights multiply from the right here, x @ W_A @ W_B, so A comes first.",
            "Next: in the first case, what is [1, 0] @ W_A @ W_B?",
        ),
        Mistake(
            "number by number",
            lambda W_A, W_B: _ratio(W_A[:, None] * W_B[None], W_A, W_B),
            "You multiply the entries one by one, with *. A matrix product is written @.",
            "Next: which sign stands between the two matrices in your code?",
        ),
        Mistake(
            "an angle between the matrices",
            lambda W_A, W_B: (
                torch.einsum("aij,bij->ab", W_A, W_B).abs() / (W_A.norm(dim=(1, 2))[:, None] * W_B.norm(dim=(1, 2)))
            ),
            "You compare how alike the matrices are. What counts is how much of the output of A goes through B.",
            "Next: form the product of the two before you take a norm.",
        ),
        Mistake(
            "another norm",
            lambda W_A, W_B: _ratio(W_A[:, None] @ W_B[None], W_A, W_B, 2),
            "You use the largest singular value. The Frobenius norm is the root of the sum of all squares.",
            "Next: which norm does `torch.linalg.matrix_norm` take if you do not say?",
        ),
        Mistake(
            "the sizes are left in",
            lambda W_A, W_B: torch.linalg.matrix_norm(W_A[:, None] @ W_B[None]),
            "You do not divide by the sizes of A and B. Larger weights would score higher.",
            "Next: what happens to your score if W_A doubles?",
        ),
        Mistake(
            "one size for all heads",
            lambda W_A, W_B: torch.linalg.matrix_norm(W_A[:, None] @ W_B[None]) / (W_A.norm() * W_B.norm()),
            "You divide by the norm of all matrices together. Each has a size of its own.",
            "Next: which shape has the norm of W_A if every head keeps its own?",
        ),
        Mistake(
            "the first with the first alone",
            lambda W_A, W_B: (
                torch.linalg.matrix_norm(W_A @ W_B) / (torch.linalg.matrix_norm(W_A) * torch.linalg.matrix_norm(W_B))
            ),
            "`W_A @ W_B` pairs the first with the first and the second with the second. Every A meets every B.",
            "Next: how many numbers do two first heads and three second heads give?",
        ),
        Mistake(
            "squares without the root",
            lambda W_A, W_B: _ratio(W_A[:, None] @ W_B[None], W_A, W_B) ** 2,
            "Yours is the square of the score: the root is missing.",
            "Next: what is the Frobenius norm of [[3, 4]]?",
        ),
        Mistake(
            "B transposed",
            lambda W_A, W_B: _ratio(W_A[:, None] @ W_B[None].mT, W_A, W_B),
            "You transpose B. It comes with its reading side first.",
            "Next: multiply the matrices just as they come.",
        ),
    ],
    hints=[
        "If B reads what A writes, then A followed by B does not shrink to nothing. Compare the size of the product "
        "with the sizes of the two.",
        "W_A[:, None] @ W_B[None] multiplies every A with every B: [a, b, d_model, d_model]. "
        "`torch.linalg.matrix_norm` works on the last two axes.",
        "product = every W_A times every W_B\nscore = norm of product / (norm of W_A, as a column, times norm of W_B, "
        "as a row)",
    ],
    first_step="For one pair: the norm of W_A[0] @ W_B[0].",
    properties=[SCORE],
    tolerance={"float32": (1e-4, 1e-4)},
    accepted=[_composition_with_loops, _composition_with_einsum, _composition_of_scaled],
    found=_found_composition,
)
