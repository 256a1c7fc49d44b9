"""Ask the model itself what a residual stream means: a patchscope.

    from interpwidgets.methods.lens import logit_lens
    from interpwidgets.methods.patchscope import patchscope

    prompt = ids("cat->cat; 1135->1135; hello->hello; ?")       # a text in which the model repeats what it reads
    lens = patchscope(model, prompt)
    logit_lens(model, tokens, lens=lens).top_tokens[layer, 0, 3]    # what stands in the stream, says the model

A lens reads the stream with the last norm and the unembedding. A patchscope lets the model go on reading: what stands
in the stream of one text is put into the same place of another text, the prompt, in the stead of what stood there, and
the answer is what the model then says at the end of the prompt::

    text      ─> layer 0 ─> layer 1 ─┬─> ...
                                     │  resid_post of one position
    prompt    ─> layer 0 ─> layer 1 ─┴─> layer 2 ─> ... ─> norm ─> W_U ─> logits of the last position

The stream brings along all that is in it, and where positions are added to it (GPT-2, attention-only) its own, too.
Put in after the last layer, into the last position, nothing is left to do, and this is the logit lens.

Source: Ghandeharioun et al. 2024, "Patchscopes: A Unifying Framework for Inspecting Hidden Representations of Language
Models", which has the prompt above.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.methods.lens import LensFunction, readout
from interpwidgets.methods.runs import expect_runnable
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.taps import Tap


def patchscope(model: Any, prompt: Int[Tensor, " position"], at: int = -1, into: int | None = None) -> LensFunction:
    """A lens that puts a row of the residual stream into ``prompt`` and returns the stream at the end of it.

    Arguments:
        model: a Hugging Face language model that `interpwidgets.methods.lens.logit_lens` reads.
        prompt: the ids of one text.
        at: the position of the prompt where the row is put in; negative ones count from the end.
        into: the layer where it is put in; the one that it comes from, unless given. The site is always the same.

    The lens runs the model once for every chunk of rows, on that many prompts side by side: `logit_lens` with a small
    ``chunk`` bounds the memory. Raises `ValueError` for a prompt that the model cannot read, a position or layer that
    there is not, a model in training mode and BERT.

    Source: Ghandeharioun et al. 2024.
    """
    readout(model)  # refuses models that have no end of the usual kind
    parts = anatomy(model)
    if prompt.ndim != 1:
        raise ValueError(f"the prompt of a patchscope is one text, [position]; this one is {list(prompt.shape)}.")
    expect_runnable(parts, prompt[None])
    if not -len(prompt) <= at < len(prompt):
        raise ValueError(
            f"the prompt has {len(prompt)} positions, 0 to {len(prompt) - 1}; nothing can be put in at {at}."
        )
    if into is not None:
        Tap(model, ("resid_post", into))  # says so if there is no such layer

    def lens(site: str, layer: int, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        def put_in(stream: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row position d_model"]:
            stream[:, at] = residual
            return stream

        end = ("resid_post", parts.n_layers - 1)
        where = site, layer if into is None else into
        with torch.no_grad(), Tap(model, end, edits={where: put_in}) as tap:
            model.base_model(prompt.to(residual.device).expand(len(residual), -1))
        return tap[end][:, -1]

    return lens
