"""Ask Captum for gradient x input and integrated gradients of a logit difference with respect to the embeddings."""

from pathlib import Path

import torch
from asking import Answers, answer, hf_model
from captum.attr import InputXGradient, IntegratedGradients
from torch import Tensor

STEPS = 32


def ask(folder: Path, inputs: Answers) -> Answers:
    model = hf_model(folder)
    embedded, baseline = (model.get_input_embeddings()(inputs[name]).detach() for name in ("clean", "corrupt"))
    embedded.requires_grad_()
    right, wrong = inputs["right"].item(), inputs["wrong"].item()

    def metric(embeddings: Tensor) -> Tensor:
        last = model(inputs_embeds=embeddings).logits[:, -1]
        return last[:, right] - last[:, wrong]

    answers = {"gradient_x_input": InputXGradient(metric).attribute(embedded)}
    for name, start in (("zero", torch.zeros_like(embedded)), ("corrupt", baseline)):
        found, gap = IntegratedGradients(metric).attribute(
            embedded, start, n_steps=STEPS, return_convergence_delta=True
        )
        answers |= {f"integrated/{name}": found, f"gap/{name}": gap}
    return answers


if __name__ == "__main__":
    answer("captum", ("gpt2", "llama", "gemma2"), ask)
