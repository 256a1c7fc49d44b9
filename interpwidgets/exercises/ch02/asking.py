"""Exercises about asking the model itself, and about its gradients: 02.13 and 02.14."""

from copy import deepcopy
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from interpwidgets.course.exercise import Arguments, Case, Exercise, Mistake
from interpwidgets.exercises.ch02.inputs import Make, drawn, ids, laid_out, placed, randn
from interpwidgets.methods.lens_steps import ask_the_model, weight_gradient
from interpwidgets.models.taps import Tap

# -- 02.13 ask_the_model ---------------------------------------------------------------------------------------------

D_MODEL, VOCAB = 12, 11
_VISIBLE = 99  # seeds above are for grading: every one has a model of its own


@lru_cache(maxsize=16)
def small_model(seed: int) -> Any:
    """An untrained GPT-2 of 3 layers whose parts write enough to matter."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = GPT2Config(
            n_layer=3, n_head=2, n_embd=D_MODEL, vocab_size=VOCAB, n_positions=16, bos_token_id=None, eos_token_id=None
        )
        config.initializer_range = 0.4
        model: Any = GPT2LMHeadModel(config)
    return model.eval()


def _asked(
    model: Any,
    residual: Tensor,
    prompt: Tensor,
    where: tuple[str, int],
    positions: Any,
    said_at: Any = -1,
) -> Tensor:
    def put_in(stream: Tensor) -> Tensor:
        stream[:, positions] = residual if isinstance(positions, int) else residual[:, None]
        return stream

    with torch.no_grad(), Tap(model, edits={where: put_in}):
        logits: Tensor = model(prompt.expand(len(residual), -1)).logits
    return logits[:, said_at]


def _ask_one_by_one(model: Any, residual: Tensor, prompt: Tensor, at: int, layer: int) -> Tensor:
    return torch.cat([ask_the_model(model, row[None], prompt, at, layer) for row in residual])


def _ask_with_a_patch(model: Any, residual: Tensor, prompt: Tensor, at: int, layer: int) -> Tensor:
    prompts = prompt.repeat(len(residual), 1)
    with torch.no_grad(), Tap(model, "resid_pre") as tap:
        model(prompts)
    stream = tap["resid_pre", layer].clone()
    stream[:, at] = residual
    with torch.no_grad(), Tap(model, edits={("resid_pre", layer): stream}):
        return torch.as_tensor(model(prompts).logits)[:, -1]


def _ask_with_a_hook(model: Any, residual: Tensor, prompt: Tensor, at: int, layer: int) -> Tensor:
    """The library's own hooks, without a tap."""

    def put_in(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        stream = args[0].clone()
        stream[:, at] = residual
        return (stream, *args[1:])

    handle = model.transformer.h[layer].register_forward_pre_hook(put_in)
    try:
        with torch.no_grad():
            logits: Tensor = model(prompt.expand(len(residual), -1)).logits
    finally:
        handle.remove()
    return logits[:, -1]


def _question(rows: int, length: int, at: int, layer: int) -> Make:
    def make(seed: int, device: torch.device) -> Arguments:
        model = deepcopy(small_model(seed if seed > _VISIBLE else seed % 3)).to(device)
        residual = 2 * randn(seed, rows, D_MODEL)
        return model, residual.to(device), ids(seed + 1, VOCAB, length).to(device), at, layer

    return make


ASK_THE_MODEL = Exercise(
    id="02.13",
    title="Ask the model",
    points=3,
    minutes=20,
    lines=(5, 10),
    reference=ask_the_model,
    axes=("row", "vocab"),
    cases=[
        Case("2 rows, 3 tokens, position 1, layer 1", _question(2, 3, 1, 1)),
        Case("5 rows, 6 tokens, the last position, layer 1", _question(5, 6, -1, 1)),
        Case("layer 0: in the place of the embedding", _question(3, 5, 2, 0)),
        Case("the last layer, the last position", _question(4, 4, 3, 2)),
        Case("one row, position 0", _question(1, 4, 0, 1)),
        Case("a prompt of one token", _question(3, 1, 0, 1)),
    ],
    mistakes=[
        Mistake(
            "after the layer, not before it",
            lambda model, residual, prompt, at, layer: _asked(model, residual, prompt, ("resid_post", layer), at),
            "You put the rows in after the layer. They are to enter it, so that it reads them.",
            "Next: which of resid_pre and resid_post does a layer read?",
        ),
        Mistake(
            "it is added",
            lambda model, residual, prompt, at, layer: _added(model, residual, prompt, at, layer),
            "You add the rows to what stands there. They are to take its place.",
            "Next: which sign stands between the stream and the row, = or +=?",
        ),
        Mistake(
            "everywhere in the prompt",
            lambda model, residual, prompt, at, layer: _asked(
                model, residual, prompt, ("resid_pre", layer), slice(None)
            ),
            "You put the row into every position. Nothing is left of the prompt.",
            "Next: which index says at which position?",
        ),
        Mistake(
            "read where it was put in",
            lambda model, residual, prompt, at, layer: _asked(model, residual, prompt, ("resid_pre", layer), at, at),
            "You read the logits at the position of the row. What the model says at the end of the prompt is asked.",
            "Next: which entry of the logits belongs to the last token?",
        ),
        Mistake(
            "the last position, always",
            lambda model, residual, prompt, at, layer: _asked(model, residual, prompt, ("resid_pre", layer), -1),
            "You always put the row into the last position.",
            "Next: where does `at` appear in your code?",
        ),
        Mistake(
            "nothing is put in",
            lambda model, residual, prompt, at, layer: _plain(model, residual, prompt),
            "Your logits are those of the prompt as it is. Does the edit return what it has changed?",
            "Next: what does your edit return?",
        ),
        Mistake(
            "the first layer, always",
            lambda model, residual, prompt, at, layer: _asked(model, residual, prompt, ("resid_pre", 0), at),
            "You always put the rows in before layer 0.",
            "Next: where does `layer` appear in your code?",
        ),
        Mistake(
            "all positions come back",
            lambda model, residual, prompt, at, layer: _asked(
                model, residual, prompt, ("resid_pre", layer), at, slice(None)
            ),
            "You return the logits of all positions. Those at the end of the prompt are asked: [row, vocab].",
            "Next: which position belongs to the last token?",
        ),
    ],
    hints=[
        "One prompt for each row, side by side, and an edit that puts row i into prompt i.",
        '`prompt.expand(n, -1)` makes n of it. `Tap(model, edits={("resid_pre", layer): put_in})` calls your put_in '
        "with the "
        "stream, [row, position, d_model]; write into it and return it.",
        "prompts = the prompt, once for each row\nput_in(stream): stream at position `at`, all rows = residual; "
        "return stream\n"
        "with no gradients and a tap with that edit before the layer: logits = what the model says to prompts\n"
        "return the logits of the last position",
    ],
    first_step="Run the model on the prompt, once for each row, and look at the shape of the logits.",
    accepted=[_ask_one_by_one, _ask_with_a_patch, _ask_with_a_hook],
)


def _added(model: Any, residual: Tensor, prompt: Tensor, at: int, layer: int) -> Tensor:
    def add(stream: Tensor) -> Tensor:
        stream[:, at] += residual
        return stream

    with torch.no_grad(), Tap(model, edits={("resid_pre", layer): add}):
        return torch.as_tensor(model(prompt.expand(len(residual), -1)).logits)[:, -1]


def _plain(model: Any, residual: Tensor, prompt: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(prompt.expand(len(residual), -1)).logits)[:, -1]


# -- 02.14 weight_gradient -------------------------------------------------------------------------------------------


def _gradient_with_loops(x: Tensor, d: Tensor) -> Tensor:
    total = x.new_zeros(x.shape[-1], d.shape[-1])
    for text in range(x.shape[0]):
        for position in range(x.shape[1]):
            total = total + torch.outer(x[text, position], d[text, position])
    return total


def _gradient_with_autograd(x: Tensor, d: Tensor) -> Tensor:
    W = x.new_zeros(x.shape[-1], d.shape[-1], requires_grad=True)
    return torch.autograd.grad(x @ W, W, d)[0]


WEIGHT_GRADIENT = Exercise(
    id="02.14",
    title="A gradient is a sum over tokens",
    points=1,
    minutes=10,
    lines=(1, 4),
    reference=weight_gradient,
    axes=("inputs", "outputs"),
    cases=[
        Case(
            "one text of two tokens, two inputs, two outputs",
            placed(torch.tensor([[[1.0, 2.0], [0.0, 3.0]]]), torch.tensor([[[1.0, 0.0], [10.0, 1.0]]])),
        ),
        Case("2 texts of 4 tokens, 5 inputs, 3 outputs", drawn((2, 4, 5), (2, 4, 3))),
        Case("as many inputs as outputs", drawn((3, 2, 4), (3, 2, 4))),
        Case("one token: rank one", drawn((1, 1, 4), (1, 1, 3))),
        Case("as many tokens as inputs", drawn((2, 3, 3), (2, 3, 5))),
        Case("laid out the other way round", laid_out((2, 4, 3), (2, 4, 5))),
        Case("float64", drawn((2, 3, 4), (2, 3, 2), dtype=torch.float64)),
    ],
    mistakes=[
        Mistake(
            "outputs before inputs",
            lambda x, d: torch.einsum("bpi,bpo->oi", x, d),
            "Yours is [outputs, inputs]. W takes x from the left, x @ W, so it is [inputs, outputs].",
            "Next: which shape does W have in y = x @ W?",
        ),
        Mistake(
            "averaged over the tokens",
            lambda x, d: torch.einsum("bpi,bpo->io", x, d) / (x.shape[0] * x.shape[1]),
            "You average over the tokens. W is used at every one of them: its gradient is the sum.",
            "Next: add the two outer products of the first case by hand.",
        ),
        Mistake(
            "averaged over the texts",
            lambda x, d: torch.einsum("bpi,bpo->io", x, d) / x.shape[0],
            "You average over the texts. Their gradients add up, as those of the tokens do: d already holds "
            "the share of each in the loss.",
            "Next: which axes does your sum go over?",
        ),
        Mistake(
            "everybody with everybody",
            lambda x, d: torch.outer(x.sum((0, 1)), d.sum((0, 1))),
            "You add up x and d first and multiply then. What came in at one token then meets the slope of another.",
            "Next: in your einsum, is the position of x the position of d?",
        ),
        Mistake(
            "one matrix for each text",
            lambda x, d: torch.einsum("bpi,bpo->bio", x, d),
            "You keep the texts apart. There is one W, and its gradient sums over all of them.",
            "Next: which axes should be left?",
        ),
        Mistake(
            "downhill",
            lambda x, d: -torch.einsum("bpi,bpo->io", x, d),
            "You give the step, against the gradient. Here the gradient itself is asked.",
            "Next: what does `loss.backward()` put into `.grad`, the step or the slope?",
        ),
        Mistake(
            "the last token alone",
            lambda x, d: torch.einsum("bi,bo->io", x[:, -1], d[:, -1]),
            "You take the last token. Earlier ones have a part in the loss as well, through the attention of later "
            "layers.",
            "Next: which axes does your sum go over?",
        ),
    ],
    hints=[
        "At one token the gradient is an outer product: every input times every output's slope. Add up over tokens "
        "and texts.",
        "In an einsum, text and position are shared and go; inputs and outputs stay: which letters stand after the "
        "arrow?",
        "for each text and position: the outer product of x and d there, [inputs, outputs]\nresult = the sum of all "
        "of them",
    ],
    first_step="Write the outer product of [1, 2] and [1, 0], and that of [0, 3] and [10, 1].",
    accepted=[
        _gradient_with_loops,
        _gradient_with_autograd,
        lambda x, d: x.flatten(0, 1).T @ d.flatten(0, 1),
    ],
)
