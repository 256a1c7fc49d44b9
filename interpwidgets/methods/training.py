"""One step of training a language model, written out.

from interpwidgets.methods.training import training_step

optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(100):
    loss = training_step(model, windows.next(32), optimizer)        # nats
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def training_step(model: Any, tokens: Int[Tensor, "batch position"], optimizer: Any) -> Float[Tensor, ""]:
    """Change the weights of ``model`` once, downhill, and return the loss before the change, in nats.

    The loss is that of predicting each token but the first, averaged over all of them. ``model(tokens).logits`` are
    [batch, position, vocab].

    Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training": the language model's
    objective, as a mean.
    """
    logits = model(tokens).logits
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()
