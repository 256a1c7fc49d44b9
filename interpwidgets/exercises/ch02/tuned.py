"""Exercises about a lens that learns, and how to doubt it: 02.9 to 02.12."""

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch import Tensor

from interpwidgets.course.exercise import Arguments, Case, Exercise, Mistake, Property
from interpwidgets.exercises.ch02.inputs import Make, drawn, laid_out, on, placed, randn
from interpwidgets.exercises.ch02.stage import AsItIs, Unembedding
from interpwidgets.methods.lens_steps import ablate_direction, lens_bias, train_translator, translate

# -- 02.9 translate --------------------------------------------------------------------------------------------------


def _translate_with_loop(residual: Tensor, A: Tensor, b: Tensor) -> Tensor:
    return torch.stack([row + (row[:, None] * A).sum(0) + b for row in residual])


def _translate_as_matrix(residual: Tensor, A: Tensor, b: Tensor) -> Tensor:
    return torch.addmm(b, residual, A + torch.eye(len(A), dtype=A.dtype, device=A.device))


def _zeros(shape: tuple[int, int]) -> Make:
    return lambda seed, device: on(device, randn(seed, *shape), torch.zeros(shape[1], shape[1]), torch.zeros(shape[1]))


TRANSLATE = Exercise(
    id="02.9",
    title="A translator",
    points=1,
    minutes=5,
    lines=(1, 2),
    reference=translate,
    axes=("row", "d_model"),
    cases=[
        Case(
            "one row of two numbers",
            placed(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([10.0, 20.0])),
        ),
        Case("zeros: the stream stays as it is", _zeros((3, 4))),
        Case("6 rows, d_model 4", drawn((6, 4), (4, 4), (4,))),
        Case("as many rows as numbers", drawn((5, 5), (5, 5), (5,))),
        Case("laid out the other way round", laid_out((6, 3), (3, 3), (3,))),
        Case("float64", drawn((2, 3), (3, 3), (3,), dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "the stream is lost",
            lambda residual, A, b: residual @ A + b,
            "You give the correction alone. With A and b zero, nothing would be left; the stream itself has to stay.",
            "Next: what should come out if A and b are zero?",
        ),
        Mistake(
            "A is transposed",
            lambda residual, A, b: residual + residual @ A.T + b,
            "You multiply with A transposed. Rows are vectors here: x @ A.",
            "Next: work the first case out by hand. Where does the 1 go?",
        ),
        Mistake(
            "without b",
            lambda residual, A, b: residual + residual @ A,
            "You leave b out.",
            "Next: where does `b` appear in your code?",
        ),
        Mistake(
            "b goes through A as well",
            lambda residual, A, b: residual + (residual + b) @ A,
            "You add b before the product. It is added as it is.",
            "Next: what should come out for a row of zeros?",
        ),
    ],
    hints=[
        "Three terms: the stream, what A makes of it, and b.",
        "`residual @ A` multiplies every row with A; b is added to every row by itself.",
        "result = residual + residual times A + b",
    ],
    first_step="Write down what should come out if A and b are zero.",
    accepted=[
        _translate_with_loop,
        _translate_as_matrix,
        lambda residual, A, b: residual + torch.einsum("rd,de->re", residual, A) + b,
    ],
)

# -- 02.10 train_translator ------------------------------------------------------------------------------------------


Readout = Callable[[Tensor], Tensor]


def _slope(residual: Tensor, end: Tensor, readout: Readout, A: Tensor, b: Tensor, loss: Any) -> tuple[Tensor, Tensor]:
    A, b = A.detach().requires_grad_(), b.detach().requires_grad_()
    value = loss(readout(end).log_softmax(-1).detach(), readout(translate(residual, A, b)).log_softmax(-1))
    slope_A, slope_b = torch.autograd.grad(value, [A, b])
    return slope_A, slope_b


def _forward(goal: Tensor, said: Tensor) -> Tensor:
    return (goal.exp() * (goal - said)).sum(-1).mean()


Train = Callable[[Tensor, Tensor, Readout, int, float], tuple[Tensor, Tensor]]


def _descended(loss: Any = _forward, up: bool = False, start: str = "zeros", extra: int = 0) -> Train:
    def train(residual: Tensor, end: Tensor, readout: Readout, steps: int, rate: float) -> tuple[Tensor, Tensor]:
        d = residual.shape[1]
        A, b = residual.new_zeros(d, d), residual.new_zeros(d)
        if start == "eye":
            A = torch.eye(d, dtype=residual.dtype, device=residual.device)
        for _ in range(steps + extra):
            slope_A, slope_b = _slope(residual, end, readout, A, b, loss)
            sign = 1 if up else -1
            A, b = A + sign * rate * slope_A, b + sign * rate * slope_b
        return A, b

    return train


def _only_b(residual: Tensor, end: Tensor, readout: Readout, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    A, b = residual.new_zeros(residual.shape[1], residual.shape[1]), residual.new_zeros(residual.shape[1])
    for _ in range(steps):
        b = b - rate * _slope(residual, end, readout, A, b, _forward)[1]
    return A, b


def _never_read_out(residual: Tensor, end: Tensor, readout: Readout, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    """What the end says is taken from the stream itself."""
    A, b = residual.new_zeros(residual.shape[1], residual.shape[1]), residual.new_zeros(residual.shape[1])
    goal = end.log_softmax(-1)
    for _ in range(steps):
        A, b = A.detach().requires_grad_(), b.detach().requires_grad_()
        loss = _forward(goal, readout(translate(residual, A, b)).log_softmax(-1))
        slope_A, slope_b = torch.autograd.grad(loss, [A, b])
        A, b = A.detach() - rate * slope_A, b.detach() - rate * slope_b
    return A, b


def _adding_up(residual: Tensor, end: Tensor, readout: Readout, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    """Gradients are never set back to zero."""
    d = residual.shape[1]
    A, b = residual.new_zeros(d, d), residual.new_zeros(d)
    sum_A, sum_b = torch.zeros_like(A), torch.zeros_like(b)
    for _ in range(steps):
        slope_A, slope_b = _slope(residual, end, readout, A, b, _forward)
        sum_A, sum_b = sum_A + slope_A, sum_b + slope_b
        A, b = A - rate * sum_A, b - rate * sum_b
    return A, b


def _train_with_sgd(residual: Tensor, end: Tensor, readout: Readout, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    d = residual.shape[1]
    A = torch.nn.Parameter(residual.new_zeros(d, d))
    b = torch.nn.Parameter(residual.new_zeros(d))
    optimizer = torch.optim.SGD([A, b], lr=rate)
    with torch.no_grad():
        goal = readout(end).softmax(-1)
    for _ in range(steps):
        optimizer.zero_grad()
        said = readout(residual + residual @ A + b).log_softmax(-1)
        torch.nn.functional.kl_div(said, goal, reduction="batchmean").backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return A.detach(), b.detach()


def _train_by_cross_entropy(
    residual: Tensor, end: Tensor, readout: Readout, steps: int, rate: float
) -> tuple[Tensor, Tensor]:
    """The entropy of the end has no slope, so the cross-entropy does as well."""
    return _descended(lambda goal, said: -(goal.exp() * said).sum(-1).mean())(residual, end, readout, steps, rate)


def _train_row_by_row(
    residual: Tensor, end: Tensor, readout: Readout, steps: int, rate: float
) -> tuple[Tensor, Tensor]:
    def loss(goal: Tensor, said: Tensor) -> Tensor:
        total = said.new_zeros(())
        for row in range(len(goal)):
            total = total + (goal[row].exp() * (goal[row] - said[row])).sum()
        return total / len(goal)

    return _descended(loss)(residual, end, readout, steps, rate)


def _training_case(
    rows: int, d: int, vocab: int, steps: int, rate: float, norm: bool = False, dtype: torch.dtype = torch.float64
) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        readout = Unembedding(randn(seed + 5, d, vocab, dtype=dtype).to(device), norm)
        residual = randn(seed, rows, d, dtype=dtype)
        end = residual.roll(1, -1) + 0.5 + 0.3 * randn(seed + 9, rows, d, dtype=dtype)
        return (*on(device, residual, end), readout, steps, rate)

    return make


def _simple(seed: int, device: torch.device) -> Arguments:
    return (*on(device, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])), AsItIs(), 1, 1.0)


TRAIN_TRANSLATOR = Exercise(
    id="02.10",
    title="Train it",
    points=3,
    minutes=25,
    lines=(7, 14),
    reference=train_translator,
    tolerance={"float32": (1e-4, 1e-4), "float64": (1e-6, 1e-6)},
    cases=[
        Case("one row of two numbers that are the logits; one step, rate 1", _simple),
        Case("as many tokens as numbers", _training_case(5, 4, 4, 2, 0.4)),
        Case("6 rows, d_model 3, one step", _training_case(6, 3, 5, 1, 0.5)),
        Case("9 rows, d_model 4, five steps", _training_case(9, 4, 6, 5, 0.3)),
        Case("with a norm before the logits", _training_case(8, 5, 7, 4, 0.5, norm=True)),
        Case("no step: zeros", _training_case(4, 3, 5, 0, 0.5)),
        Case("float32", _training_case(7, 4, 5, 3, 0.2, dtype=torch.float32)),
    ],
    mistakes=[
        Mistake(
            "uphill",
            _descended(up=True),
            "You go up the slope: the divergence grows. Descent subtracts the gradient.",
            "Next: print the loss at every step.",
        ),
        Mistake(
            "it starts at the identity",
            _descended(start="eye"),
            "Your A starts as the identity. The translator adds the stream itself, so A starts at zero.",
            "Next: what should the result be after no step at all?",
        ),
        Mistake(
            "the other way round",
            _descended(lambda goal, said: (said.exp() * (said - goal)).sum(-1).mean()),
            "You make KL(translated || end) small. The model's end is the truth: KL(end || translated).",
            "Next: whose probabilities stand in front of the logarithms?",
        ),
        Mistake(
            "the sum over the rows",
            _descended(lambda goal, said: (goal.exp() * (goal - said)).sum()),
            "Your loss is a sum over the rows. With the mean, a step does not grow with their number.",
            "Next: what happens to your step if every row is there twice?",
        ),
        Mistake(
            "averaged over the vocabulary too",
            _descended(lambda goal, said: (goal.exp() * (goal - said)).mean()),
            "You average over the vocabulary as well. (`kl_div` does that with reduction='mean'; 'batchmean' does "
            "not.)",
            "Next: a divergence is a sum over which axis?",
        ),
        Mistake(
            "the distance of the streams",
            lambda residual, end, readout, steps, rate: _descended_to(residual, end, steps, rate),
            "You make the two streams alike, as numbers. What counts is what is read from them.",
            "Next: where does `readout` appear in your loss?",
        ),
        Mistake(
            "the end is taken for logits",
            _never_read_out,
            "You take `end` for logits. It is a stream too: read it out, once, before the loop.",
            "Next: which shape has `end`, and which has `readout(end)`?",
        ),
        Mistake(
            "b alone",
            _only_b,
            "You only train b.",
            "Next: how many gradients do you ask for?",
        ),
        Mistake(
            "gradients that add up",
            _adding_up,
            "Your gradients add up from step to step. `backward` adds to what is in `.grad`.",
            "Next: what does `zero_grad` do, and where is it?",
        ),
        Mistake(
            "one step too many",
            _descended(extra=1),
            "You make one step too many.",
            "Next: how often does your loop run if steps is 0?",
        ),
        Mistake(
            "nothing is learned",
            lambda residual, end, readout, steps, rate: (
                residual.new_zeros(residual.shape[1], residual.shape[1]),
                residual.new_zeros(residual.shape[1]),
            ),
            "Your A and b are still zero.",
            "Next: does your loop change the tensors that you return?",
        ),
    ],
    hints=[
        "Start from zeros. In each step: translate, read out, the mean divergence, its gradients, and a step against "
        "them.",
        "`torch.zeros(..., requires_grad=True)` and `torch.autograd.grad(loss, [A, b])` give the slopes; or two "
        "Parameters and "
        "`torch.optim.SGD` with momentum left at 0. What the end says does not change: read it once, before the loop.",
        "A, b = zeros\ngoal = log-probabilities of readout(end)\nsteps times:\n    said = log-probabilities of the "
        "readout of "
        "the translated rows\n    loss = mean over rows of sum of exp(goal) * (goal - said)\n"
        "    A, b = each less rate * its gradient\nreturn A and b, without their history",
    ],
    first_step="Make A and b of zeros and work out the divergence of the first case.",
    accepted=[_train_with_sgd, _train_by_cross_entropy, _train_row_by_row],
)


def _descended_to(residual: Tensor, end: Tensor, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    A, b = residual.new_zeros(residual.shape[1], residual.shape[1]), residual.new_zeros(residual.shape[1])
    for _ in range(steps):
        off = 2 * (translate(residual, A, b) - end) / residual.numel()
        A, b = A - rate * residual.T @ off, b - rate * off.sum(0)
    return A, b


# -- 02.11 lens_bias -------------------------------------------------------------------------------------------------


def _bias_with_loop(logits: Tensor, end: Tensor) -> Tensor:
    rows = range(len(logits))
    said = sum((logits[row].softmax(-1) for row in rows), torch.zeros_like(logits[0])) / len(logits)
    truth = sum((end[row].softmax(-1) for row in rows), torch.zeros_like(end[0])) / len(end)
    return (truth * torch.log(truth / said)).sum()


def _bias_in_logs(logits: Tensor, end: Tensor) -> Tensor:
    truth, said = (each.log_softmax(-1).logsumexp(0).log_softmax(-1) for each in (end, logits))
    return torch.nn.functional.kl_div(said, truth, reduction="sum", log_target=True)


def _bias_with_einsum(logits: Tensor, end: Tensor) -> Tensor:
    truth, said = end.softmax(-1).mean(0), logits.softmax(-1).mean(0)
    return torch.einsum("v,v->", truth, truth.log() - said.log())


def _divergence(truth: Tensor, said: Tensor) -> Tensor:
    return (truth * (truth.log() - said.log())).sum()


def _biased(make: Make) -> Make:
    """Inputs that differ well on average: what is left of a small difference of sums is rounding."""

    def far(seed: int, device: torch.device) -> Arguments:
        drawn_ones = (make(again, device) for again in count(seed, 1_000))
        return next(each for each in drawn_ones if lens_bias(*each) > 0.05)

    return far


LENS_BIAS = Exercise(
    id="02.11",
    title="Is it biased?",
    points=2,
    minutes=10,
    lines=(2, 4),
    reference=lens_bias,
    cases=[
        Case(
            "two rows, two tokens: nearly the same on average",
            placed(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])),
        ),
        Case("two rows, three tokens", _biased(drawn((2, 3), (2, 3), shift=1.0))),
        Case("9 rows, vocabulary 6", _biased(drawn((9, 6), (9, 6), shift=0.3))),
        Case("as many rows as tokens", _biased(drawn((5, 5), (5, 5)))),
        Case("one row: the divergence itself", _biased(drawn((1, 4), (1, 4)))),
        Case("laid out the other way round", _biased(laid_out((7, 5), (7, 5)))),
        Case("float64", _biased(drawn((4, 7), (4, 7), dtype=torch.float64))),
    ],
    mistakes=[
        Mistake(
            "the mean of the divergences",
            lambda logits, end: (end.softmax(-1) * (end.log_softmax(-1) - logits.log_softmax(-1))).sum(-1).mean(),
            "You average the divergences of the rows. The bias compares two averages: first average, then compare.",
            "Next: what do both say on average in the first case?",
        ),
        Mistake(
            "the mean of the logits",
            lambda logits, end: _divergence(end.mean(0).softmax(-1), logits.mean(0).softmax(-1)),
            "You average logits. Probabilities are to be averaged: how often each token is said.",
            "Next: which comes first, softmax or mean?",
        ),
        Mistake(
            "the other way round",
            lambda logits, end: _divergence(logits.softmax(-1).mean(0), end.softmax(-1).mean(0)),
            "Yours is KL(lens || end). What the model says in the end is the truth, and comes first.",
            "Next: which of the two averages stands in front of the logarithms?",
        ),
        Mistake(
            "averaged over the vocabulary",
            lambda logits, end: _divergence(end.softmax(-1).mean(-1), logits.softmax(-1).mean(-1)),
            "You average over the vocabulary, where probabilities always make the same mean. The rows are axis 0.",
            "Next: which axis counts the rows?",
        ),
        Mistake(
            "a difference of averages",
            lambda logits, end: (end.softmax(-1).mean(0) - logits.softmax(-1).mean(0)).abs().sum(),
            "You add up differences of probabilities. A divergence, in nats, is asked.",
            "Next: where are the logarithms?",
        ),
        Mistake(
            "the mean over the vocabulary in the end",
            lambda logits, end: (
                end.softmax(-1).mean(0) * (end.softmax(-1).mean(0).log() - logits.softmax(-1).mean(0).log())
            ).mean(),
            "You average in the end. The probabilities are the weights already; the sum is asked.",
            "Next: do the probabilities of the truth sum to one?",
        ),
    ],
    hints=[
        "Average over all rows what the lens says; do the same with what the model says; then one divergence of the "
        "two.",
        "softmax(-1) makes probabilities, mean(0) averages them over the rows. Then the sum of p * (log p - log q).",
        "truth = mean over the rows of the probabilities of end\nsaid = mean over the rows of those of logits\n"
        "bias = sum of truth * (log truth - log said)",
    ],
    first_step="Work out what the two rows of the first case say on average.",
    accepted=[_bias_with_loop, _bias_in_logs, _bias_with_einsum],
)

# -- 02.12 ablate_direction ------------------------------------------------------------------------------------------


def _ablate_with_projector(residual: Tensor, direction: Tensor) -> Tensor:
    projector = torch.outer(direction, direction) / (direction @ direction)
    return residual + (residual.mean(0) - residual) @ projector


def _ablate_with_loop(residual: Tensor, direction: Tensor) -> Tensor:
    unit = direction / direction.square().sum().sqrt()
    along = torch.stack([row.dot(unit) for row in residual])
    return torch.stack([row - at * unit + along.mean() * unit for row, at in zip(residual, along, strict=True)])


def _ablate_with_einsum(residual: Tensor, direction: Tensor) -> Tensor:
    centred = residual - residual.mean(0)
    share = torch.einsum("rd,d->r", centred, direction) / direction.norm().square()
    return residual - torch.einsum("r,d->rd", share, direction)


def _all_alike(arguments: Arguments, result: Tensor) -> str | None:
    along = result @ (arguments[1] / arguments[1].norm())
    if bool((along - along.mean()).abs().max() < 1e-2 * (1 + along.abs().max())):
        return None
    return "Along the direction, all rows should be alike; yours still differ."


ABLATE_DIRECTION = Exercise(
    id="02.12",
    title="Take a direction out",
    points=2,
    minutes=12,
    lines=(3, 4),
    reference=ablate_direction,
    axes=("row", "d_model"),
    cases=[
        Case(
            "two rows, the first of two directions, of length 2",
            placed(torch.tensor([[1.0, 5.0], [3.0, 7.0]]), torch.tensor([2.0, 0.0])),
        ),
        Case("8 rows, d_model 5", drawn((8, 5), (5,), shift=0.5)),
        Case("as many rows as numbers", drawn((4, 4), (4,), shift=0.5)),
        Case("one row: it is its own mean", drawn((1, 3), (3,))),
        Case("laid out the other way round", laid_out((6, 4), (4,))),
        Case("float64", drawn((5, 3), (3,), dtype=torch.float64, shift=0.4)),
    ],
    mistakes=[
        Mistake(
            "the length counts",
            lambda residual, direction: (
                residual + ((residual @ direction).mean() - residual @ direction)[:, None] * direction
            ),
            "You use the direction with its length. A direction twice as long is the same direction: bring it to "
            "length 1.",
            "Next: in the first case, how far along the first axis is row 0?",
        ),
        Mistake(
            "zero, not the mean",
            lambda residual, direction: (
                residual - (residual @ direction / direction.norm())[:, None] * direction / direction.norm()
            ),
            "You take it out altogether. The mean over the rows should stay.",
            "Next: what is the mean of 1 and 3?",
        ),
        Mistake(
            "only the direction is left",
            lambda residual, direction: (
                (residual @ direction / direction.norm())[:, None] * direction / direction.norm()
            ),
            "You keep what is along the direction and lose the rest.",
            "Next: what should become of the second number of each row in the first case?",
        ),
        Mistake(
            "the mean of everything",
            lambda residual, direction: residual.mean(0).expand_as(residual).clone(),
            "Every row of yours is the mean row. Only what lies along the direction is to change.",
            "Next: what should become of the second number of each row in the first case?",
        ),
        Mistake(
            "the mean is added",
            lambda residual, direction: (
                residual + ((residual @ direction).mean() / direction.norm()) * direction / direction.norm()
            ),
            "You add the mean, but each row keeps its own share as well.",
            "Next: what has to be taken away from row 0 first?",
        ),
        Mistake(
            "the sum, not the mean",
            lambda residual, direction: (
                residual
                + (((residual @ direction).sum() - residual @ direction) / direction.norm())[:, None]
                * direction
                / direction.norm()
            ),
            "You put the sum over the rows there. The mean is asked.",
            "Next: what is the mean of 1 and 3?",
        ),
    ],
    hints=[
        "How far each row goes along the direction is one number. Replace these numbers by their mean.",
        "unit = the direction, of length 1. residual @ unit are the numbers. To change a number by c, add c * unit to "
        "its row.",
        "unit = direction / its length\nalong = residual @ unit\nresult = residual + (mean of along - along), for "
        "each row, "
        "times unit",
    ],
    first_step="Work out how far along the direction the two rows of the first case are.",
    properties=[Property("all rows alike along the direction", _all_alike)],
    accepted=[_ablate_with_projector, _ablate_with_loop, _ablate_with_einsum],
)
