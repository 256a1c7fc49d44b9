"""Exercises about texts and losses: 05.1, 05.2, 05.7 and 05.12."""

from typing import Any

import torch
from torch import Tensor

from interpwidgets.course.exercise import Answer, Arguments, Case, Exercise, Found, Mistake, Property
from interpwidgets.exercises.ch05.inputs import (
    PERIOD,
    Make,
    on,
    placed,
    probe,
    randn,
    run,
    transposed,
    words_again,
)
from interpwidgets.methods.in_context import in_context_score, loss_by_position, phase_change, repeat_tokens
from interpwidgets.methods.induction import induction_score
from interpwidgets.models.load import checkpoints, load
from interpwidgets.models.taps import Tap

# -- 05.1 repeat_tokens ----------------------------------------------------------------------------------------------


def _repeat_with_expand(words: Tensor, bos: int, copies: int = 2) -> Tensor:
    start = torch.tensor([[bos]], device=words.device, dtype=words.dtype).expand(len(words), 1)
    return torch.hstack((start, words.tile(1, copies)))


def _repeat_with_loops(words: Tensor, bos: int, copies: int = 2) -> Tensor:
    rows = []
    for row in words.tolist():
        rows.append([bos])
        for _ in range(copies):
            rows[-1] += row
    return torch.tensor(rows, device=words.device)


def _repeat_with_index(words: Tensor, bos: int, copies: int = 2) -> Tensor:
    batch, period = words.shape
    tokens = words.new_full((batch, 1 + copies * period), bos)
    tokens[:, 1:] = words[:, torch.arange(copies * period, device=words.device) % period]
    return tokens


def _start_in_every_copy(words: Tensor, bos: int, copies: int = 2) -> Tensor:
    return torch.cat([torch.full_like(words[:, :1], bos), words], 1).repeat(1, copies)


REPEAT_TOKENS = Exercise(
    id="05.1",
    title="The same words twice",
    points=1,
    minutes=5,
    lines=(2, 5),
    reference=repeat_tokens,
    axes=("text", "position"),
    cases=[
        Case("the words 5 8, bos 0, twice", placed(torch.tensor([[5, 8]]), 0, 2)),
        Case("two texts of three words", placed(torch.tensor([[5, 8, 2], [7, 1, 3]]), 0, 2)),
        Case("three copies, bos 9", lambda seed, device: on(device, words_again(seed, 4, 3, 8), 9, 3)),
        Case("one word, one copy", lambda seed, device: on(device, words_again(seed, 2, 1, 8), 0, 1)),
        Case("columns of a table", lambda seed, device: on(device, words_again(seed, 6, 5, 30).T, 0, 2)),
    ],
    mistakes=[
        Mistake(
            "no <s> at the beginning",
            lambda words, bos, copies=2: words.repeat(1, copies),
            "Your texts begin with their first word; bos is nowhere.",
            "Next: how long is the result if it holds two copies of two words, and bos?",
        ),
        Mistake(
            "a <s> before every copy",
            _start_in_every_copy,
            "bos stands once, at the very beginning; yours comes back with every copy.",
            "Next: write down the five tokens of the first case.",
        ),
        Mistake(
            "every word twice in a row",
            lambda words, bos, copies=2: torch.cat(
                [torch.full_like(words[:, :1], bos), words.repeat_interleave(copies, 1)], 1
            ),
            "You repeat each word on the spot: 5 5 8 8. The whole block comes again: 5 8 5 8.",
            "Next: compare what `repeat` and `repeat_interleave` make of [[5, 8]].",
        ),
        Mistake(
            "more texts, not longer ones",
            lambda words, bos, copies=2: torch.cat([torch.full_like(words[:, :1], bos), words], 1).repeat(copies, 1),
            "The copies stand below one another, as further texts. They belong one after the other, in the same text.",
            "Next: along which axis does a text grow?",
        ),
        Mistake(
            "always two copies",
            lambda words, bos, copies=2: repeat_tokens(words, bos, 2),
            "You make two copies, whatever `copies` says.",
            "Next: how many tokens should a text of one word and one copy have?",
        ),
        Mistake(
            "<s> at the end",
            lambda words, bos, copies=2: torch.cat([*[words] * copies, torch.full_like(words[:, :1], bos)], 1),
            "bos comes after the words; a text begins with it.",
            "Next: which token should result[:, 0] be?",
        ),
    ],
    hints=[
        "A column of bos, then the words, then the words again: three tensors side by side.",
        "`torch.cat([start, words, ...], 1)` puts tensors with the same number of rows side by side. "
        "`start` has the shape [batch, 1].",
        "start = a column of bos, one for each row of words\nresult = start, then words as often as copies says, "
        "joined along axis 1",
    ],
    first_step="Make the column of bos: one row for each text, one column.",
    properties=[
        Property(
            "begins with bos",
            lambda arguments, result: (
                None
                if bool((result[:, 0] == arguments[1]).all())
                else f"Every text begins with bos, here {arguments[1]}."
            ),
        )
    ],
    accepted=[_repeat_with_expand, _repeat_with_loops, _repeat_with_index],
)


# -- 05.2 loss_by_position -------------------------------------------------------------------------------------------


def _picked(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Minus the log-probability of a token, place by place."""
    return -log_probs.gather(-1, tokens[..., None]).squeeze(-1)


def _losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """The loss of every prediction, [batch, position - 1]."""
    return _picked(logits[:, :-1].log_softmax(-1), tokens[:, 1:])


def _loss_with_cross_entropy(logits: Tensor, tokens: Tensor) -> Tensor:
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    return losses.mean(0)


def _loss_with_loops(logits: Tensor, tokens: Tensor) -> Tensor:
    batch, n = tokens.shape
    means = []
    for position in range(n - 1):
        losses = [
            logits[text, position].logsumexp(0) - logits[text, position, tokens[text, position + 1]]
            for text in range(batch)
        ]
        means.append(torch.stack(losses).mean())
    return torch.stack(means)


def _loss_with_einsum(logits: Tensor, tokens: Tensor) -> Tensor:
    chosen = torch.nn.functional.one_hot(tokens[:, 1:], logits.shape[-1]).to(logits.dtype)
    return -torch.einsum("bpv,bpv->p", logits[:, :-1].log_softmax(-1), chosen) / len(tokens)


def _loss_case(batch: int, n: int, vocab: int, size: float, dtype: torch.dtype) -> Make:
    return lambda seed, device: on(
        device, (size * randn(seed, batch, n, vocab)).to(dtype), words_again(seed, batch, n, vocab - 1)
    )


def _found_loss(answer: Answer) -> Found:
    loss = answer(run()[1], probe())
    first, second = loss[0].item(), loss[PERIOD + 1 :].mean().item()
    sentence = f"attn2l starts at {first:.2f} nats and is down to {second:.2f} from the second word of the second copy."
    return Found("loss on twenty words, twice", loss[None], "", "position", sentence)


LOSS_BY_POSITION = Exercise(
    id="05.2",
    title="Loss, place by place",
    points=2,
    minutes=10,
    lines=(3, 6),
    reference=loss_by_position,
    axes=("after token",),  # entry i is about what comes after token i
    cases=[
        Case(
            "one text <s> a b, three words in the vocabulary",
            placed(torch.tensor([[[0.0, 2.0, 0.0], [1.0, 0.0, 3.0], [5.0, 0.0, 0.0]]]), torch.tensor([[0, 1, 2]])),
        ),
        Case("two texts of four tokens", _loss_case(2, 4, 5, 2.0, torch.float32)),
        Case("three texts of six tokens", _loss_case(3, 6, 7, 2.0, torch.float32)),
        Case("one text", _loss_case(1, 5, 9, 2.0, torch.float32)),
        Case("two tokens: one prediction", _loss_case(4, 2, 5, 2.0, torch.float32)),
        Case("very sure logits", _loss_case(3, 5, 7, 120.0, torch.float32)),
        Case(
            "logits laid out the other way round",
            lambda seed, device: on(device, transposed(randn(seed, 3, 5, 8)), words_again(seed, 3, 5, 7)),
        ),
    ],
    mistakes=[
        Mistake(
            "scored on the token it has just read",
            lambda logits, tokens: -logits.log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1).mean(0)[:-1],
            "You compare the logits at a position with the token at that position. They are about the one after it.",
            "Next: in the first case, which token do logits[0, 0] predict?",
        ),
        Mistake(
            "the first place is left out, not the last",
            lambda logits, tokens: _picked(logits[:, 1:].log_softmax(-1), tokens[:, 1:]).mean(0),
            "You drop the logits of the first position and keep those of the last. Each then meets the token at its "
            "own place.",
            "Next: which token do logits[:, -1] predict, and is it in tokens?",
        ),
        Mistake(
            "shifted the wrong way",
            lambda logits, tokens: -logits[:, 1:].log_softmax(-1).gather(-1, tokens[:, :-1, None]).squeeze(-1).mean(0),
            "You compare the logits at a position with the token before it.",
            "Next: does the model see the token that it is scored on?",
        ),
        Mistake(
            "bits, not nats",
            lambda logits, tokens: _losses(logits, tokens).mean(0) / 0.6931471805599453,
            "Your numbers are right in bits: logarithms to base 2. A nat uses the natural logarithm.",
            "Next: what is the loss of a guess among 64 equally likely words, in nats?",
        ),
        Mistake(
            "the mean over everything",
            lambda logits, tokens: _losses(logits, tokens).mean(),
            "You give one number for the whole batch. What you want to see is how the loss changes along the text.",
            "Next: which of the axes batch and position should be gone at the end?",
        ),
        Mistake(
            "one loss for each text",
            lambda logits, tokens: _losses(logits, tokens).mean(1),
            "You average along the text. What you want to see is how the loss changes along it.",
            "Next: which of the axes batch and position should be gone at the end?",
        ),
        Mistake(
            "compared with other positions, not with other words",
            lambda logits, tokens: _picked(logits[:, :-1].log_softmax(1), tokens[:, 1:]).mean(0),
            "Your softmax runs along the text. The probabilities of all *words*, at one position, add up to one.",
            "Next: which axis of logits is the vocabulary?",
        ),
        Mistake(
            "compared with the whole text, not with other words",
            lambda logits, tokens: _picked(logits.log_softmax(1)[:, :-1], tokens[:, 1:]).mean(0),
            "Your softmax runs along the text. The probabilities of all *words*, at one position, add up to one.",
            "Next: which axis of logits is the vocabulary?",
        ),
        Mistake(
            "the logarithm of a mean",
            lambda logits, tokens: -(-_losses(logits, tokens)).exp().mean(0).log(),
            "You average the probabilities and then take the logarithm. Each text has a loss of its own.",
            "Next: one text gives the word 1, the other 0.01. What are the two losses, and what is their mean?",
        ),
        Mistake(
            "added up over the texts",
            lambda logits, tokens: _losses(logits, tokens).sum(0),
            "You add up the losses of all texts; the loss of a position is their mean.",
            "Next: what happens to your numbers if the same texts are there twice?",
        ),
        Mistake(
            "the sign is missing",
            lambda logits, tokens: -_losses(logits, tokens).mean(0),
            "You give mean log-probabilities, which are never above 0. A loss is never below 0.",
            "Next: what is the logarithm of a probability of 0.5?",
        ),
        Mistake(
            "the raw logit",
            lambda logits, tokens: -logits[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1).mean(0),
            "You take the logits as they are. They become log-probabilities only beside the logits of all other words.",
            "Next: add 1 to all logits of the first case. Should the loss change?",
        ),
        Mistake(
            "a logarithm of 0",
            lambda logits, tokens: (
                -logits[:, :-1].softmax(-1).log().gather(-1, tokens[:, 1:, None]).squeeze(-1).mean(0)
            ),
            "First softmax, then log: a probability too small for the number format becomes 0, and its logarithm "
            "-infinity.",
            "Next: look for a function of torch that does both in one step.",
        ),
    ],
    hints=[
        "A model at position i predicts token i + 1. The last position predicts something that nobody knows.",
        "Take log-probabilities of all positions but the last; pick those of tokens[:, 1:] with `gather`; "
        "change the sign; average over the texts. (`cross_entropy` does this too, if the vocabulary is on axis 1: "
        "move it there with `.mT`.)",
        "log_probs = log_softmax of logits without the last position\n"
        "picked = in log_probs, the entry of the token that came next\n"
        "loss = minus the mean of picked over the batch",
    ],
    first_step="Turn logits into log-probabilities, leaving out the last position.",
    properties=[
        Property(
            "no loss below 0",
            lambda arguments, result: (
                None
                if bool((result >= -1e-3).all())
                else f"A loss is never below 0; one of yours is {result.min():.3g}."
            ),
        )
    ],
    accepted=[_loss_with_cross_entropy, _loss_with_loops, _loss_with_einsum],
    found=_found_loss,
)


# -- 05.7 in_context_score -------------------------------------------------------------------------------------------


def _curve_case(n: int, early: int, late: int, dtype: torch.dtype = torch.float32) -> Make:
    return lambda seed, device: on(device, 4 * randn(seed, n, dtype=dtype).abs() + 0.5, early, late)


def _found_in_context(answer: Answer) -> Found:
    loss = loss_by_position(run()[1], probe())
    scores = torch.stack([answer(loss, 1, late) for late in range(1, len(loss) + 1)])
    sentence = f"In attn2l, the last token is {-scores[-1].item():.2f} nats easier than the first."
    return Found("in-context score, early = 1", scores[None], "", "late − early", sentence)


IN_CONTEXT_SCORE = Exercise(
    id="05.7",
    title="Does reading help?",
    points=1,
    minutes=5,
    lines=(1, 2),
    reference=in_context_score,
    cases=[
        Case("loss 4, 3, 2, 0.5: from token 1 to token 3", placed(torch.tensor([4.0, 3.0, 2.0, 0.5]), 1, 3)),
        Case("twelve losses, token 2 to token 9", _curve_case(12, 2, 9)),
        Case("from late to early", _curve_case(8, 6, 3)),
        Case("a token with itself", _curve_case(5, 2, 2)),
        Case("float64", _curve_case(20, 5, 17, torch.float64)),
        Case("float16", _curve_case(9, 1, 7, torch.float16)),
    ],
    mistakes=[
        Mistake(
            "one token too far",
            lambda loss, early, late: loss[late] - loss[early],
            "You take the entries number early and late. Entry i of the loss belongs to token i + 1.",
            "Next: which entry of the loss is about token 1?",
        ),
        Mistake(
            "the sign is turned round",
            lambda loss, early, late: loss[early - 1] - loss[late - 1],
            "Yours is early minus late. The score of Olsson et al. is late minus early: below 0 where reading helps.",
            "Next: the loss falls from 4 to 2. Which score is asked for?",
        ),
        Mistake(
            "a ratio",
            lambda loss, early, late: loss[late - 1] / loss[early - 1],
            "You divide. A difference of losses, in nats, is asked for.",
            "Next: which score should a token have beside itself, 0 or 1?",
        ),
        Mistake(
            "the distance",
            lambda loss, early, late: (loss[late - 1] - loss[early - 1]).abs(),
            "You take away the sign. Then a model that gets worse looks like one that gets better.",
            "Next: which of the two should be below 0?",
        ),
        Mistake(
            "means up to there",
            lambda loss, early, late: loss[:late].mean() - loss[:early].mean(),
            "You average all losses up to the two tokens. Two single entries are enough.",
            "Next: which two entries of the loss does the first case name?",
        ),
    ],
    hints=[
        "Two entries of the loss, and a difference. Only mind which entry belongs to which token.",
        "Token 0 is <s>, which nobody predicts: loss[0] belongs to token 1, loss[1] to token 2.",
        "score = loss of token late minus loss of token early\nloss of token t = entry t - 1",
    ],
    first_step="Find the entry of the loss that belongs to token 1.",
    accepted=[
        lambda loss, early, late: torch.sub(loss[late - 1], loss[early - 1]),
        lambda loss, early, late: loss[torch.tensor([early - 1, late - 1], device=loss.device)].diff()[0],
        lambda loss, early, late: torch.cat([loss[:1] * 0, loss])[late] - torch.cat([loss[:1] * 0, loss])[early],
    ],
    found=_found_in_context,
)


# -- 05.12 phase_change ----------------------------------------------------------------------------------------------


def _phase_change_with_loop(steps: Tensor, scores: Tensor) -> Tensor:
    halfway = (scores[0] + max(scores.tolist())) / 2
    for place in range(len(steps)):
        if scores[place] >= halfway:
            return steps[place]
    raise ValueError("no score reaches half of the way")


def _phase_change_with_nonzero(steps: Tensor, scores: Tensor) -> Tensor:
    risen = (scores - scores[0]) * 2 >= scores.max() - scores[0]
    return steps[risen.nonzero()[0, 0]]


def _phase_change_with_mask(steps: Tensor, scores: Tensor) -> Tensor:
    return steps[scores >= torch.lerp(scores[0], scores.amax(), 0.5)][0]


def _training_case(n: int, dtype: torch.dtype = torch.float32) -> Make:
    """A bumpy rise between unevenly spaced checkpoints."""

    def make(seed: int, device: torch.device) -> Arguments:
        generator = torch.Generator().manual_seed(seed)
        steps = torch.randint(1, 200, (n,), generator=generator).cumsum(0)
        rise = torch.sigmoid(torch.linspace(-4, 6, n, dtype=torch.float64))
        scores = 0.35 + 0.5 * rise + 0.08 * randn(seed + 1, n, dtype=torch.float64)
        return on(device, steps, scores.to(dtype))

    return make


def _found_phase_change(answer: Answer) -> Found:
    steps, scores = checkpoints("attn2l"), []
    for step in steps:
        model: Any = load("attn2l", checkpoint=step)
        with torch.no_grad(), Tap(model, ("pattern", 1)) as tap:
            model(probe())
        scores.append(induction_score(tap["pattern"], PERIOD).max())
    change = int(answer(torch.tensor(steps), torch.stack(scores)))
    before = max((step for step in steps if step < change), default=0)
    sentence = f"The induction heads of attn2l appear between step {before} and step {change} of {steps[-1]}."
    return Found("best induction score, by checkpoint", torch.stack(scores)[None], "", "checkpoint", sentence)


PHASE_CHANGE = Exercise(
    id="05.12",
    title="The step at which it happens",
    points=1,
    minutes=8,
    lines=(2, 4),
    reference=phase_change,
    cases=[
        Case(
            "five checkpoints",
            placed(torch.tensor([0, 100, 200, 400, 800]), torch.tensor([0.25, 0.375, 0.5, 0.75, 0.625])),
        ),
        Case(
            "a score that starts high",
            placed(torch.tensor([0, 50, 100, 300, 900]), torch.tensor([0.5, 0.6, 0.7, 0.8, 1.0])),
        ),
        Case(
            "a score that comes down again",
            placed(torch.tensor([0, 10, 20, 30, 40]), torch.tensor([0.1, 0.3, 0.9, 0.6, 0.2])),
        ),
        Case(
            "a score that falls at first",
            placed(torch.tensor([0, 20, 40, 60, 80]), torch.tensor([0.5, 0.1, 0.55, 0.8, 0.9])),
        ),
        Case("eleven checkpoints, a bumpy rise", _training_case(11)),
        Case("thirty checkpoints", _training_case(30)),
        Case("it never rises", placed(torch.tensor([10, 20, 30]), torch.tensor([0.4, 0.4, 0.4]))),
        Case("one checkpoint", placed(torch.tensor([700]), torch.tensor([0.4]))),
        Case("float64", _training_case(17, torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the index, not the step",
            lambda steps, scores: (scores >= (scores[0] + scores.max()) / 2).int().argmax(),
            "You give the number of the checkpoint. The training step is asked for.",
            "Next: at which step was checkpoint 2 of the first case kept?",
        ),
        Mistake(
            "half of the highest score",
            lambda steps, scores: steps[(scores >= scores.max() / 2).int().argmax()],
            "You wait for half of the highest score. Half way means half way from where it starts.",
            "Next: what is half way from 0.5 to 1.0?",
        ),
        Mistake(
            "a half, whatever the scores",
            lambda steps, scores: steps[(scores >= 0.5).int().argmax()],
            "You wait for 0.5. Half way depends on where the scores begin and how high they get.",
            "Next: what is half way from 0.5 to 1.0?",
        ),
        Mistake(
            "the step of the highest score",
            lambda steps, scores: steps[scores.argmax()],
            "You give the step at which the score is highest. The change is over by then.",
            "Next: mark the highest score and the first one, and look half way between.",
        ),
        Mistake(
            "the steepest rise",
            lambda steps, scores: steps[scores.diff().argmax() + 1],
            "You give the end of the steepest rise between two checkpoints. It depends on how far apart they are.",
            "Next: which is the first score that is at least half way up?",
        ),
        Mistake(
            "where the steepest rise begins",
            lambda steps, scores: steps[scores.diff().argmax()],
            "You give the checkpoint before the steepest rise. Which one that is depends on how they are spaced.",
            "Next: which is the first score that is at least half way up?",
        ),
        Mistake(
            "half of the rise, from zero",
            lambda steps, scores: steps[(scores >= (scores.max() - scores[0]) / 2).int().argmax()],
            "You take half of the rise and forget where it starts.",
            "Next: a score rises from 0.5 to 1.0. How much is half of the rise, and where is half way?",
        ),
        Mistake(
            "above half way",
            lambda steps, scores: steps[(scores > (scores[0] + scores.max()) / 2).int().argmax()],
            "You wait for a score above half way. At least half way is enough.",
            "Next: which sign stands between scores and half way in your code?",
        ),
        Mistake(
            "half way from the lowest",
            lambda steps, scores: steps[(scores >= (scores.min() + scores.max()) / 2).int().argmax()],
            "You measure from the lowest score. The way begins at the first.",
            "Next: which is the first score of this case, and which is the lowest?",
        ),
        Mistake(
            "the last checkpoint before",
            lambda steps, scores: steps[((scores >= (scores[0] + scores.max()) / 2).int().argmax() - 1).clamp(min=0)],
            "You stop one checkpoint too early: there the score is still below half way.",
            "Next: is the score at your step at least half way up?",
        ),
        Mistake(
            "half way to the last score",
            lambda steps, scores: steps[(scores >= (scores[0] + scores[-1]) / 2).int().argmax()],
            "You measure up to the last score. It may have come down again; the highest is asked for.",
            "Next: which is the highest score of this case?",
        ),
    ],
    hints=[
        "Two numbers say how high half way is: the first score and the highest.",
        "scores >= halfway is a row of True and False. `.int().argmax()` is the place of the first True.",
        "halfway = (first score + highest score) / 2\nplace = first checkpoint with a score of at least halfway\n"
        "result = the step of that checkpoint",
    ],
    first_step="Work out half way for the first case, by hand.",
    properties=[
        Property(
            "a step from the list",
            lambda arguments, result: (
                None
                if bool((arguments[0] == result).any())
                else f"{int(result)} is no step at which a checkpoint was saved."
            ),
        )
    ],
    accepted=[_phase_change_with_loop, _phase_change_with_nonzero, _phase_change_with_mask],
    found=_found_phase_change,
)
