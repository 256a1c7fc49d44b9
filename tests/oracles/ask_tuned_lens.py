"""Ask tuned-lens what its logit lens and its tuned lens, untrained and with some weights, say at every layer."""

from pathlib import Path

import torch
from asking import Answers, answer, hf_model
from tuned_lens.nn.lenses import LogitLens, TunedLens


@torch.no_grad()
def ask(folder: Path, inputs: Answers) -> Answers:
    model = hf_model(folder)
    entering = model(inputs["tokens"], output_hidden_states=True).hidden_states[
        :-1
    ]  # [layer][batch, position, d_model]
    plain, tuned = LogitLens.from_model(model), TunedLens.from_model(model)
    answers = {
        "logit_lens": torch.stack([plain(x, layer) for layer, x in enumerate(entering)]),
        "untrained": torch.stack([tuned(x, layer) for layer, x in enumerate(entering)]),
    }
    for layer, translator in enumerate(tuned.layer_translators):
        translator.weight.copy_(inputs["translator_weight"][layer])
        translator.bias.copy_(inputs["translator_bias"][layer])
    answers["tuned"] = torch.stack([tuned(x, layer) for layer, x in enumerate(entering)])
    return answers


if __name__ == "__main__":
    answer("tuned_lens", ("gpt2", "llama"), ask)  # it knows no Gemma 2
