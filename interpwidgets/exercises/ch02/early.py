"""Exercises about reading the stream early: 02.6 to 02.8."""

import torch
from torch import Tensor

from interpwidgets.course.exercise import Answer, Arguments, Case, Exercise, Found, Mistake, Property
from interpwidgets.exercises.ch02.inputs import Make, drawn, ids, laid_out, on, placed, randn, story
from interpwidgets.methods.lens_steps import frozen_norm, kl_to_end, lens_logits, rank_of

# -- 02.6 lens_logits ------------------------------------------------------------------------------------------------


def _normed(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, epsilon)


def _lens_with_loop(stages: Tensor, weight: Tensor, bias: Tensor, W_U: Tensor, epsilon: float) -> Tensor:
    said = []
    for stage in stages:
        less = stage - stage.mean(-1, keepdim=True)
        said.append((less / (less.pow(2).mean(-1, keepdim=True) + epsilon).sqrt() * weight + bias) @ W_U)
    return torch.stack(said)


def _lens_with_einsum(stages: Tensor, weight: Tensor, bias: Tensor, W_U: Tensor, epsilon: float) -> Tensor:
    less = stages - stages.mean(-1, keepdim=True)
    scale = (less.square().mean(-1) + epsilon).rsqrt()
    return torch.einsum("...d,...,d,dv->...v", less, scale, weight, W_U) + bias @ W_U


def _scaled_by_the_end(stages: Tensor, weight: Tensor, bias: Tensor, W_U: Tensor, epsilon: float) -> Tensor:
    scale = (stages[-1].var(-1, correction=0, keepdim=True) + epsilon).sqrt()
    return ((stages - stages.mean(-1, keepdim=True)) / scale * weight + bias) @ W_U


def _lens_case(*shape: int, vocab: int = 7, epsilon: float = 1e-5, dtype: torch.dtype = torch.float32) -> Make:
    d = shape[-1]
    return lambda seed, device: on(
        device,
        randn(seed, *shape, dtype=dtype) + 0.6,
        randn(seed + 50, d, dtype=dtype),
        randn(seed + 60, d, dtype=dtype),
        randn(seed + 70, d, vocab, dtype=dtype),
        epsilon,
    )


def _found_lens(answer: Answer) -> Found:
    told = story()
    norm = told["norm"]
    said = answer(told["stages"], norm.weight, norm.bias, told["W_U"], norm.epsilon)[:, 0, -1].softmax(-1)
    values = torch.stack([said[:, int(told["luke"])], said[:, int(told["eva"])]]).detach()
    sentence = f"After the last layer storylm gives Luke {values[0, -1]:.0%}, before the first {values[0, 0]:.0%}."
    return Found("probability of Luke (row 0) and of Eva (row 1)", values, "", "stage", sentence)


LENS_LOGITS = Exercise(
    id="02.6",
    title="The logit lens",
    points=2,
    minutes=12,
    lines=(2, 5),
    reference=lens_logits,
    axes=("stage", "text", "position", "vocab"),
    cases=[
        Case(
            "two stages of two numbers, three tokens in the vocabulary",
            placed(
                torch.tensor([[[[1.0, 5.0]]], [[[3.0, 1.0]]]]),
                torch.tensor([1.0, 2.0]),
                torch.tensor([0.0, 1.0]),
                torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]),
                5.0,
            ),
        ),
        Case("4 stages, 2 texts, 3 tokens, d_model 5", _lens_case(4, 2, 3, 5)),
        Case("a large epsilon", _lens_case(3, 2, 4, 6, epsilon=0.5)),
        Case("rows of many texts: [stage, row, d_model]", _lens_case(3, 6, 4)),
        Case("one stage", _lens_case(1, 2, 3, 4)),
        Case("a single text of one token", _lens_case(5, 1, 1, 4)),
        Case("as many tokens as numbers", _lens_case(3, 2, 4, 6, vocab=6)),
        Case("float64", _lens_case(3, 2, 3, 4, dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the scale of the last stage, for all",
            _scaled_by_the_end,
            "You divide every stage by the scale of the last one. That is right for parts that have to add up; a lens "
            "asks "
            "what a model says that *ends* here, and such a model has a norm of its own.",
            "Next: whose standard deviation does stage 0 need?",
        ),
        Mistake(
            "one scale, from the sum of the stages",
            lambda stages, weight, bias, W_U, epsilon: (frozen_norm(stages, weight, epsilon) + bias) @ W_U,
            "You divide every stage by one scale, that of their sum, as `frozen_norm` does for parts. Stages are no "
            "parts: each holds the ones before it, and needs a scale of its own.",
            "Next: whose standard deviation does stage 0 need?",
        ),
        Mistake(
            "divided by the variance",
            lambda stages, weight, bias, W_U, epsilon: (
                (
                    (stages - stages.mean(-1, keepdim=True))
                    / (stages.var(-1, correction=0, keepdim=True) + epsilon)
                    * weight
                    + bias
                )
                @ W_U
            ),
            "You divide by the variance. The norm divides by its root.",
            "Next: variance 4, epsilon 0. What does the norm divide by?",
        ),
        Mistake(
            "no norm",
            lambda stages, weight, bias, W_U, epsilon: stages @ W_U,
            "You leave the norm out. The unembedding was trained to read what comes out of it.",
            "Next: which two steps come after the last layer?",
        ),
        Mistake(
            "the weight and the bias are left out",
            lambda stages, weight, bias, W_U, epsilon: (
                (stages - stages.mean(-1, keepdim=True))
                / (stages.var(-1, correction=0, keepdim=True) + epsilon).sqrt()
                @ W_U
            ),
            "You normalise, but leave out what the norm learned: weight and bias.",
            "Next: where do `weight` and `bias` appear in your code?",
        ),
        Mistake(
            "the bias is left out",
            lambda stages, weight, bias, W_U, epsilon: _normed(stages, weight, 0 * bias, epsilon) @ W_U,
            "The bias of the norm is missing.",
            "Next: where does `bias` appear in your code?",
        ),
        Mistake(
            "probabilities",
            lambda stages, weight, bias, W_U, epsilon: (_normed(stages, weight, bias, epsilon) @ W_U).softmax(-1),
            "You return probabilities. Logits are asked.",
            "Next: what is the last thing that your function does?",
        ),
        Mistake(
            "the mean is left in",
            lambda stages, weight, bias, W_U, epsilon: (
                (stages / (stages.var(-1, correction=0, keepdim=True) + epsilon).sqrt() * weight + bias) @ W_U
            ),
            "You do not take the mean away, as a LayerNorm does.",
            "Next: what does the norm make of a vector whose numbers are all the same?",
        ),
        Mistake(
            "the variance of a sample",
            lambda stages, weight, bias, W_U, epsilon: (
                (
                    (stages - stages.mean(-1, keepdim=True)) / (stages.var(-1, keepdim=True) + epsilon).sqrt() * weight
                    + bias
                )
                @ W_U
            ),
            "`var` divides by one less than the number of values unless told otherwise. A norm divides by the number.",
            "Next: what is the keyword of `var` for that?",
        ),
        Mistake(
            "RMSNorm",
            lambda stages, weight, bias, W_U, epsilon: (
                (stages / (stages.square().mean(-1, keepdim=True) + epsilon).sqrt() * weight + bias) @ W_U
            ),
            "You divide by the root of the mean square: that is RMSNorm, as in Llama. storylm has a LayerNorm.",
            "Next: what has to be taken away first?",
        ),
    ],
    hints=[
        "Do to every stage what the model does to the last one: the norm, then the unembedding.",
        "Mean and variance go over the last axis, with keepdim=True, so that every vector has a scale of its own. "
        "(torch has "
        "`layer_norm` for all of that; do it by hand once.)",
        "centred = stages less their mean over d_model\nscale = root of (variance of stages + epsilon)\n"
        "result = (centred / scale * weight + bias) @ W_U",
    ],
    first_step="Take one vector, stages[0, 0, 0], and run the norm on it by hand.",
    accepted=[
        lambda stages, weight, bias, W_U, epsilon: _normed(stages, weight, bias, epsilon) @ W_U,
        _lens_with_loop,
        _lens_with_einsum,
        lambda stages, weight, bias, W_U, epsilon: lens_logits(
            stages.double(), weight.double(), bias.double(), W_U.double(), epsilon
        ).to(stages.dtype),
    ],
    found=_found_lens,
)

# -- 02.7 rank_of ----------------------------------------------------------------------------------------------------


def _rank_with_loops(logits: Tensor, tokens: Tensor) -> Tensor:
    flat = logits.reshape(-1, logits.shape[-1])
    ranks = [int((row > row[token]).sum()) for row, token in zip(flat, tokens.reshape(-1).tolist(), strict=True)]
    return torch.tensor(ranks, device=tokens.device, dtype=torch.int64).reshape(tokens.shape)


def _rank_with_one_hot(logits: Tensor, tokens: Tensor) -> Tensor:
    own = torch.where(torch.nn.functional.one_hot(tokens, logits.shape[-1]).bool(), logits, -torch.inf).amax(-1)
    return (logits > own.unsqueeze(-1)).count_nonzero(-1)


def _ties(seed: int, device: torch.device) -> Arguments:
    return on(device, ids(seed, 4, 3, 5, 8).float(), ids(seed + 1, 8, 3, 5))


def _rank_case(*shape: int, vocab: int, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(device, randn(seed, *shape, vocab, dtype=dtype), ids(seed + 1, vocab, *shape))


RANK_OF = Exercise(
    id="02.7",
    title="How far from the top?",
    points=1,
    minutes=8,
    lines=(1, 3),
    reference=rank_of,
    axes=("text", "position"),
    cases=[
        Case(
            "logits 3, 9, 5, 5: tokens 1, 0 and 3",
            placed(torch.tensor([[[3.0, 9.0, 5.0, 5.0]] * 3]), torch.tensor([[1, 0, 3]])),
        ),
        Case("2 texts, 4 positions, vocabulary 9", _rank_case(2, 4, vocab=9)),
        Case("many tokens are equal", _ties),
        Case("as many positions as tokens in the vocabulary", _rank_case(3, 6, vocab=6)),
        Case("one text, one position", _rank_case(1, 1, vocab=12)),
        Case("stages in front: 5 of them", _rank_case(5, 2, 3, vocab=7)),
        Case("float16", _rank_case(2, 3, vocab=8, dtype=torch.float16)),
    ],
    mistakes=[
        Mistake(
            "counted from 1",
            lambda logits, tokens: (logits > logits.gather(-1, tokens[..., None])).sum(-1) + 1,
            "You count the token itself: the top is 1. Here it is 0, as nothing is above it.",
            "Next: how many logits of the first case are higher than 9?",
        ),
        Mistake(
            "equals count too",
            lambda logits, tokens: (logits >= logits.gather(-1, tokens[..., None])).sum(-1) - 1,
            "You count tokens with the same logit as if they were ahead. Only higher ones are.",
            "Next: how many logits of the first case are higher than 5?",
        ),
        Mistake(
            "from the bottom",
            lambda logits, tokens: (logits < logits.gather(-1, tokens[..., None])).sum(-1),
            "You count the tokens below. The top would be the largest number.",
            "Next: which way does your sign point?",
        ),
        Mistake(
            "the token that is at that rank",
            lambda logits, tokens: logits.argsort(dim=-1, descending=True, stable=True).gather(-1, tokens[..., None])[
                ..., 0
            ],
            "`argsort` tells which token is first, second, ... You look up entry `token` of that list: which token "
            "has this "
            "rank, not which rank has this token.",
            "Next: print argsort for the first case beside the logits.",
        ),
        Mistake(
            "sorted, and equals in the order of their ids",
            lambda logits, tokens: (
                logits.argsort(dim=-1, descending=True, stable=True).argsort(-1).gather(-1, tokens[..., None])[..., 0]
            ),
            "Sorting twice gives ranks, but puts equal tokens one after the other. Equal logits have equal ranks.",
            "Next: tokens 2 and 3 of the first case have the same logit. Which rank has each?",
        ),
        Mistake(
            "one row too many",
            lambda logits, tokens: (logits > logits.gather(-1, tokens[..., None])).sum(-1, keepdim=True),
            "Your result keeps an axis of length 1 where the vocabulary was.",
            "Next: what does keepdim do?",
        ),
        Mistake(
            "truth values",
            lambda logits, tokens: (logits > logits.gather(-1, tokens[..., None])).any(-1),
            "You say whether a token is ahead. How many are is asked.",
            "Next: what is the sum of truth values?",
        ),
    ],
    hints=[
        "No sorting is needed: count the logits that are higher than the token's own.",
        "`logits.gather(-1, tokens[..., None])` is the token's own logit, with an axis of length 1 where the "
        "vocabulary was, so "
        "it can be compared with all of them.",
        "own = the logit of the token, [..., 1]\nrank = how many of logits > own, along the vocabulary",
    ],
    first_step="In the first case, count by hand how many logits are higher than that of token 0.",
    accepted=[
        _rank_with_loops,
        _rank_with_one_hot,
        lambda logits, tokens: torch.take_along_dim(logits, tokens[..., None], -1).lt(logits).sum(-1),
    ],
)

# -- 02.8 kl_to_end --------------------------------------------------------------------------------------------------


def _kl_with_loop(logits: Tensor) -> Tensor:
    end = logits[-1].softmax(-1)
    entropy = -(end * logits[-1].log_softmax(-1)).sum(-1)
    return torch.stack([-(end * stage.log_softmax(-1)).sum(-1) - entropy for stage in logits])


def _kl_with_torch(logits: Tensor) -> Tensor:
    here = logits.log_softmax(-1)
    return torch.nn.functional.kl_div(here, here[-1].expand_as(here), reduction="none", log_target=True).sum(-1)


def _kl_with_einsum(logits: Tensor) -> Tensor:
    here = logits - logits.logsumexp(-1, keepdim=True)
    return torch.einsum("...v,s...v->s...", here[-1].exp(), here[-1] - here)


def _kl(one: Tensor, other: Tensor) -> Tensor:
    return (one.softmax(-1) * (one.log_softmax(-1) - other.log_softmax(-1))).sum(-1)


def _not_negative(arguments: Arguments, result: Tensor) -> str | None:
    if bool((result >= -1e-3).all()):
        return None
    return f"A divergence is never below 0; one of yours is {result.min():.3g}."


def _found_kl(answer: Answer) -> Found:
    told = story()
    norm = told["norm"]
    logits = lens_logits(told["stages"], norm.weight, norm.bias, told["W_U"], norm.epsilon).detach()
    values = answer(logits)[:, 0]
    sentence = (
        f"In the sentence about Luke, {values[0].mean():.1f} nats are missing before layer 0, "
        f"{values[2].mean():.1f} after layer 1, none in the end."
    )
    return Found("nats that are missing to what is said in the end", values, "stage", "position", sentence)


KL_TO_END = Exercise(
    id="02.8",
    title="Nats that are missing",
    points=2,
    minutes=12,
    lines=(2, 5),
    reference=kl_to_end,
    axes=("stage", "text", "position"),
    cases=[
        Case(
            "two stages, two tokens in the vocabulary: half and half, then 9 to 1",
            placed(torch.tensor([[[[0.0, 0.0]]], [[[2.1972246, 0.0]]]])),
        ),
        Case("4 stages, 2 texts, 3 positions, vocabulary 6", drawn((4, 2, 3, 6))),
        Case("one stage: nothing is missing", drawn((1, 2, 3, 5))),
        Case("rows of many texts: [stage, row, vocab]", drawn((3, 4, 6))),
        Case("as many stages as tokens in the vocabulary", drawn((4, 3, 2, 4))),
        Case("logits far apart", lambda seed, device: on(device, 60 * randn(seed, 3, 2, 2, 5))),
        Case("laid out the other way round", laid_out((3, 2, 4, 5))),
        Case("float64", drawn((3, 2, 3, 7), dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the other way round",
            lambda logits: _kl(logits, logits[-1:].expand_as(logits)),
            "Yours is KL(here || end). KL has a direction: what is said in the end is the truth, and comes first.",
            "Next: which of the two probabilities stands in front of the logarithms?",
        ),
        Mistake(
            "from one stage to the next",
            lambda logits: torch.cat([_kl(logits[1:], logits[:-1]), torch.zeros_like(logits[:1, ..., 0])]),
            "You compare each stage with the one after it. All are compared with the last.",
            "Next: which stage has a divergence of 0, whatever the logits?",
        ),
        Mistake(
            "from the first stage",
            lambda logits: _kl(logits[:1].expand_as(logits), logits),
            "You measure from stage 0. The last stage is what the model says.",
            "Next: which entry of logits is the end?",
        ),
        Mistake(
            "the sign is turned round",
            lambda logits: -_kl(logits[-1:].expand_as(logits), logits),
            "Your numbers are at most 0. A divergence is at least 0.",
            "Next: in which order do you subtract the two logarithms?",
        ),
        Mistake(
            "the cross-entropy",
            lambda logits: -(logits[-1].softmax(-1) * logits.log_softmax(-1)).sum(-1),
            "You give the cross-entropy. Take away what the last stage would lose itself: its entropy.",
            "Next: what should your function say about the last stage?",
        ),
        Mistake(
            "averaged over the vocabulary",
            lambda logits: _kl(logits[-1:].expand_as(logits), logits) / logits.shape[-1],
            "You average over the vocabulary. The probabilities are the weights already; the sum is asked.",
            "Next: do the probabilities of the end sum to one?",
        ),
        Mistake(
            "a softmax along another axis",
            lambda logits: (logits[-1].softmax(-1) * (logits.log_softmax(0)[-1] - logits.log_softmax(0))).sum(-1),
            "Your logarithms come from a softmax over the stages. The probabilities of all tokens, at one place, sum "
            "to one.",
            "Next: which axis of logits is the vocabulary?",
        ),
        Mistake(
            "a logarithm of 0",
            lambda logits: (logits.softmax(-1)[-1] * (logits.softmax(-1)[-1].log() - logits.softmax(-1).log())).sum(-1),
            "First softmax, then log: a probability too small for the number format becomes 0, its logarithm "
            "-infinity.",
            "Next: look for a function of torch that does both in one step.",
        ),
    ],
    hints=[
        "KL(end || here) is the mean, weighted with the probabilities of the end, of log p(end) - log p(here).",
        "`log_softmax(-1)` gives all logarithms at once; entry -1 is the end. It fits beside every stage by itself.",
        "here = log-probabilities of all stages\nend = the last of them\nresult = sum over the vocabulary of exp(end) "
        "* (end "
        "- here)",
    ],
    first_step="For the first case: 0.9 * log(0.9 / 0.5) + 0.1 * log(0.1 / 0.5) is the first number.",
    properties=[Property("no divergence below 0", _not_negative)],
    accepted=[_kl_with_loop, _kl_with_torch, _kl_with_einsum],
    found=_found_kl,
)
