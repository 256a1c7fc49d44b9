"""The transformer that learns to add on a clock: one layer, attention and an MLP, and no norm anywhere.

    from interpwidgets import load

    model = load("modadd113")
    ids = model.tokenizer("67 + 58 =", return_tensors="pt").input_ids       # [[67, 58, 113]]
    model(ids).logits[0, -1].argmax()                                       # 12, which is 125 - 113

What is computed. The answer is read at "=", the last of three positions::

    a, b, "=" ──> embed ─(+)─> resid_pre ─┬─> q, k, v ─> attention ─> o ─(+)─> resid_mid ─┬─> up ─> ReLU ─> down ─(+)─>
                         │                └──────────────────────────────┘                └────────────────────────┘
          positions ─────┘                                                                    resid_post ─> unembed

    embed, positions, residual stream   [batch, 3, d_model]
    q, k, v of one head                 [batch, 3, d_model / n_heads]
    logits                              [batch, 3, p]         an answer from 0 to p - 1

Without norms each arrow but the softmax and the ReLU is a matrix, and the waves in the embedding can be followed to the
logits. It saves, loads and opens to `interpwidgets.Tap` as any model of the transformers library does.

Source: Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability", the model of the mainline
run.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from interpwidgets.models.attention_only import Attention, Positions, causal_mask
from interpwidgets.models.numbers import NumberTokenizer


class ModularConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """The sizes of a model of addition modulo ``p``. Ids 0 to p - 1 are numbers, and p is "="."""

    model_type = "modular"
    attribute_map = {  # noqa: RUF012
        "hidden_size": "d_model",
        "num_attention_heads": "n_heads",
        "intermediate_size": "d_mlp",
        "max_position_embeddings": "context",
    }

    p: int = 113
    d_model: int = 128
    n_heads: int = 4
    d_head: int = 32
    d_mlp: int = 512
    context: int = 3
    num_hidden_layers: int = 1
    tie_word_embeddings: bool = False


class MLP(nn.Module):
    """Two matrices with biases, and a ReLU in between."""

    def __init__(self, config: ModularConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_mlp)
        self.down = nn.Linear(config.d_mlp, config.d_model)

    def forward(self, x: Float[Tensor, "batch position d_model"]) -> Float[Tensor, "batch position d_model"]:
        out: Tensor = self.down(self.up(x).relu())
        return out


class Layer(nn.Module):
    """Attention, then the MLP; each reads the residual stream and adds to it."""

    def __init__(self, config: ModularConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.mlp = MLP(config)

    def forward(
        self, x: Float[Tensor, "batch position d_model"], mask: Float[Tensor, "#batch 1 query key"]
    ) -> Float[Tensor, "batch position d_model"]:
        x = x + self.attention(x, mask)
        out: Tensor = x + self.mlp(x)
        return out


class ModularPreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """How these models start: random weights that keep lengths as they are, no biases."""

    config_class = ModularConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=module.embedding_dim**-0.5)


class ModularModel(ModularPreTrainedModel):  # type: ignore[no-untyped-call]
    """Everything up to the residual stream at the end."""

    def __init__(self, config: ModularConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.p + 1, config.d_model)
        self.positions = Positions(config.context, config.d_model)
        self.layers = nn.ModuleList([Layer(config)])
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed

    def forward(self, input_ids: Int[Tensor, "batch position"], **_: Any) -> BaseModelOutput:
        n = input_ids.shape[1]
        if n > self.config.context:
            raise ValueError(f"the question is {n} tokens long, but it has to be {self.config.context}: a, b and =.")
        x = self.embed(input_ids) + self.positions.weight[:n]
        mask = causal_mask(x)
        for layer in self.layers:
            x = layer(x, mask)
        return BaseModelOutput(last_hidden_state=x)


class ModularForCausalLM(ModularPreTrainedModel):  # type: ignore[no-untyped-call]
    """The whole drawing above: ``model(input_ids).logits[:, -1]`` are of shape [batch, p]."""

    def __init__(self, config: ModularConfig) -> None:
        super().__init__(config)
        self.model = ModularModel(config)
        self.unembed = nn.Linear(config.d_model, config.p, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Embedding:
        embed: nn.Embedding = self.model.embed
        return embed

    def get_output_embeddings(self) -> nn.Linear:
        return self.unembed

    def forward(self, input_ids: Int[Tensor, "batch position"], **_: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=self.unembed(self.model(input_ids).last_hidden_state))


AutoConfig.register(ModularConfig.model_type, ModularConfig)
AutoModel.register(ModularConfig, ModularModel)
AutoModelForCausalLM.register(ModularConfig, ModularForCausalLM)
AutoTokenizer.register(ModularConfig, fast_tokenizer_class=NumberTokenizer)  # type: ignore[no-untyped-call]
