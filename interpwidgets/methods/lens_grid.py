"""All that a picture of a lens shows, in one pass: top tokens, entropy, divergence, and how some tokens fare.

    from interpwidgets.methods.lens_grid import lens_grid

    tokens = tokenizer(" The capital of France is", return_tensors="pt").input_ids[0]
    grid = lens_grid(load("gpt2"), tokens, torch.tensor([[rome, paris]] * len(tokens)))
    grid.top_tokens[4, -1]              # after layer 3, at the last position: five ids
    grid.rank[:, -1, 0]                 # [row]: from where on Rome is on top

    lens_grid(model, tokens, followed, source="mlp")    # what each MLP alone says, not what the stream says after it

`interpwidgets.methods.lens` answers one question at a time. Its projections, rows x positions x vocabulary, are nearly
all of the work, so a picture that shows everything at once takes everything from the same logits.

**One half of a layer alone.** What attention or an MLP adds to the stream has a share in the logits, once the last
norm's scale is frozen at that of the run (`interpwidgets.methods.projections`). Read as logits, these shares say what
the addition speaks for. The probabilities made from them are no shares of a probability: they are what the model would
say if its stream were this addition alone.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits" (what is written into the stream adds up).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.methods.lens import LensFunction, Spot, join, readout, residual_streams, seen_through
from interpwidgets.methods.projections import frozen_scale, vocabulary_logits
from interpwidgets.methods.runs import expect_runnable
from interpwidgets.models.anatomy import anatomy

Source = Literal["residual", "attention", "mlp"]
SITES = {"residual": "resid_post", "attention": "attn_out", "mlp": "mlp_out"}


@dataclass(frozen=True, eq=False)
class LensGrid:
    """What `lens_grid` found, float32 on the model's device. The first row is the embedding, then one for each layer.

    ``kl`` is KL(what the model says in the end || what is said here). A rank counts the tokens that are more likely: 0
    is the top. Where the source is one half of a layer the first row is NaN (ids: 0): nothing was added yet.
    """

    top_tokens: Int[Tensor, "row position k"]  # the most likely first
    top_probs: Float[Tensor, "row position k"]
    entropy: Float[Tensor, "row position"]  # nats
    kl: Float[Tensor, "row position"]  # nats
    prob: Float[Tensor, "row position token"]
    rank: Float[Tensor, "row position token"]


def lens_grid(
    model: Any,
    tokens: Int[Tensor, " position"],
    followed: Int[Tensor, "position token"],
    source: Source = "residual",
    k: int = 5,
    lens: LensFunction | None = None,
    chunk: int = 64,
    on_chunk: Callable[[int, int], None] | None = None,
) -> LensGrid:
    """Read the stream before the first layer and after each, or what one half of each layer adds to it.

    Arguments:
        model: as in `interpwidgets.methods.lens.logit_lens`.
        tokens: ids of one text.
        followed: ids of tokens whose probability and rank are wanted; row i belongs to position i.
        source: "residual", "attention" or "mlp".
        k: how many of the most likely tokens to keep.
        lens: what to do with the stream before it is read; for the source "residual" only.
        chunk: for how many positions logits are held at a time, as in `logit_lens`.
        on_chunk: called as ``on_chunk(done, of)`` as the work goes on.

    Raises `ValueError` as `logit_lens` does, for a source that the model has not, and for a lens with another source.
    """
    to_logits = readout(model)
    expect_runnable(anatomy(model), tokens[None])
    spots = _spots(model, source, lens)
    end: Spot = ("resid_post", anatomy(model).n_layers - 1)
    vocab = len(model.get_output_embeddings().weight)
    if not 1 <= k <= vocab:
        raise ValueError(f"k has to be between 1 and {vocab}, the size of the vocabulary; it is {k}.")
    streams = residual_streams(model, tokens[None], {*spots, end})
    read = _reader(model, source, lens, vocab, to_logits)
    parts = _chunks(len(tokens), chunk)
    found = []
    with torch.no_grad():
        for done, rows in enumerate(parts, start=1):
            last = streams[end][rows]
            final = to_logits(last).float().softmax(-1)
            least = torch.xlogy(final, final).sum(-1)
            logits = (read(spot, streams[spot][rows], last).float() for spot in spots)
            found.append([_measures(each, final, least, followed[rows], k) for each in logits])
            if on_chunk is not None:
                on_chunk(done, len(parts))
    return _joined(found, empty_first=source != "residual")


def _spots(model: Any, source: str, lens: LensFunction | None) -> list[Spot]:
    if source not in SITES or SITES[source] not in anatomy(model).family.sites:
        there = [name for name, site in SITES.items() if site in anatomy(model).family.sites]
        raise ValueError(f"the sources of this model are {', '.join(there)}; {source!r} is not among them.")
    if lens is not None and source != "residual":
        raise ValueError(f"a lens reads the residual stream; what {source} alone adds is read without one.")
    layers: list[Spot] = [(SITES[source], layer) for layer in range(anatomy(model).n_layers)]
    return [("resid_pre", 0), *layers] if source == "residual" else layers


def _chunks(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _reader(
    model: Any, source: str, lens: LensFunction | None, vocab: int, to_logits: Callable[[Tensor], Tensor]
) -> Callable[[Spot, Tensor, Tensor], Tensor]:
    """From what stands at a spot, and the end of the stream at the same positions, to logits."""

    def through(spot: Spot, rows: Tensor, _: Tensor) -> Tensor:
        seen = rows if lens is None else seen_through(lens, spot, rows, vocab)
        return to_logits(seen) if seen.shape == rows.shape else seen

    def alone(_: Spot, rows: Tensor, end: Tensor) -> Tensor:
        return vocabulary_logits(model, rows, frozen_scale(model, end))

    return through if source == "residual" else alone


def _measures(
    logits: Float[Tensor, "row vocab"],
    final: Float[Tensor, "row vocab"],
    least: Float[Tensor, " row"],
    followed: Int[Tensor, "row token"],
    k: int,
) -> tuple[Tensor, ...]:
    """``least``: the negative entropy of the final probabilities, which no cross entropy comes below."""
    probs = logits.softmax(-1)
    top = probs.topk(k)
    # log p = logits - size; the size of a row follows from its likeliest token, without another pass
    first = top.indices[:, :1]
    size = (logits.gather(1, first) - top.values[:, :1].log())[:, 0]
    entropy = size - torch.linalg.vecdot(probs, logits)
    kl = size - torch.linalg.vecdot(final, logits) + least
    at = logits.gather(1, followed)
    likelier = torch.empty_like(logits)  # ones and zeros: as floats they are counted three times faster than as bools
    ranks = [torch.gt(logits, each[:, None], out=likelier).sum(-1) for each in at.T]
    rank = torch.stack(ranks, -1) if ranks else torch.empty_like(at)
    return top.indices, top.values, entropy.clamp(min=0), kl.clamp(min=0), (at - size[:, None]).exp(), rank


def _joined(found: list[list[tuple[Tensor, ...]]], empty_first: bool) -> LensGrid:
    """What was measured for each chunk and spot as one tensor for each measure, [row, position, ...]."""
    return LensGrid(*(_after_nothing(each) if empty_first else each for each in join(found)))


def _after_nothing(values: Tensor) -> Tensor:
    nothing = torch.zeros_like(values[:1]) if not values.is_floating_point() else torch.full_like(values[:1], torch.nan)
    return torch.cat([nothing, values])
