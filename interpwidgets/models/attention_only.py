"""Transformers with attention and nothing else: the smallest ones in which an induction head can grow.

    from interpwidgets import load

    model = load("attn2l")                  # two layers, trained; also "attn1l" and "attn0l"
    model = AttentionOnlyForCausalLM(AttentionOnlyConfig(n_layers=2))       # the same, untrained

What is computed, for a text of T tokens. A layer reads the residual stream and adds to it; there is no MLP::

    tokens ──> embed ─(+)─> resid_pre ─┬─> norm ─> q, k, v ─> attention ─> o ─(+)─> resid_post ─ ... ─> norm ─> unembed
                       │               └───────────────────────────────────────┘                                  │
    positions ─────────┘               one of these for each layer                                             logits

    embed, positions, residual stream   [batch, T, d_model]
    q, k, v of one head                 [batch, T, d_head]
    logits                              [batch, T, vocab_size]    what comes next, at each position

It is an ordinary model of the transformers library: it saves and loads itself, runs the attention it is told to
(``attn_implementation``), and opens to `interpwidgets.Tap`. No projection has a bias, so that what a head does is in
two matrices, W_Q W_K^T (where it looks) and W_V W_O (what it copies).

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", zero-, one- and two-layer
attention-only transformers. Theirs adds positions to queries and keys alone; this one adds them at the start, as GPT-2.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class AttentionOnlyConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """The sizes of an attention-only transformer. ``n_layers`` may be 0: then the last token alone decides.

    Without ``norm`` every arrow of the drawing but the softmax is a matrix.
    """

    model_type = "attention_only"
    attribute_map = {  # noqa: RUF012
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "head_dim": "d_head",
        "max_position_embeddings": "context",
    }

    vocab_size: int = 65
    n_layers: int = 2
    n_heads: int = 2
    d_model: int = 64
    d_head: int = 32
    context: int = 48
    norm: bool = True
    bos_token_id: int | None = 0
    tie_word_embeddings: bool = False


def eager_attention_forward(
    module: nn.Module,
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch head key d_head"],
    value: Float[Tensor, "batch head key d_head"],
    attention_mask: Float[Tensor, "#batch 1 query key"],
    scaling: float,
    **_: Any,
) -> tuple[Float[Tensor, "batch query head d_head"], Float[Tensor, "batch head query key"]]:
    """Attention in three lines: scores, pattern, weighted values. Returns z and the pattern, whose rows sum to one."""
    scores = query @ key.mT * scaling + attention_mask
    pattern = scores.softmax(-1)
    return (pattern @ value).transpose(1, 2), pattern


class Attention(nn.Module):
    """The heads of one layer, side by side: head h has rows ``h * d_head`` to ``(h + 1) * d_head`` of q, k and v.

    Any configuration will do that has ``d_model``, ``n_heads`` and ``d_head``.
    """

    is_causal = True

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        width = config.n_heads * config.d_head
        self.q, self.k, self.v = (nn.Linear(config.d_model, width, bias=False) for _ in range(3))
        self.o = nn.Linear(width, config.d_model, bias=False)

    def forward(
        self, x: Float[Tensor, "batch position d_model"], mask: Float[Tensor, "#batch 1 query key"]
    ) -> Float[Tensor, "batch position d_model"]:
        batch, n, _ = x.shape
        shape = (batch, n, self.config.n_heads, self.config.d_head)
        q, k, v = (project(x).view(shape).transpose(1, 2) for project in (self.q, self.k, self.v))
        attend: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        z, _ = attend(self, q, k, v, mask, scaling=self.config.d_head**-0.5)
        out: Tensor = self.o(z.reshape(batch, n, -1))
        return out


class Layer(nn.Module):
    """Reads the residual stream through a norm, and adds what its heads write."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model) if config.norm else nn.Identity()
        self.attention = Attention(config)

    def forward(
        self, x: Float[Tensor, "batch position d_model"], mask: Float[Tensor, "#batch 1 query key"]
    ) -> Float[Tensor, "batch position d_model"]:
        heads: Tensor = self.attention(self.norm(x), mask)
        return x + heads


class AttentionOnlyPreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """How these models start: random weights, positions fainter than tokens."""

    config_class = AttentionOnlyConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.6 * module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.1 if isinstance(module, Positions) else 0.3)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


class Positions(nn.Embedding):
    """One learned vector for each position."""


class AttentionOnlyModel(AttentionOnlyPreTrainedModel):  # type: ignore[no-untyped-call]
    """Everything up to the last norm."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = Positions(config.context, config.d_model)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model) if config.norm else nn.Identity()
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed

    def forward(
        self, input_ids: Int[Tensor, "batch position"], attention_mask: Int[Tensor, "batch position"] | None = None
    ) -> BaseModelOutput:
        """``attention_mask``: 0 where a token is padding, to the right of the text."""
        n = input_ids.shape[1]
        if n > self.config.context:
            raise ValueError(f"the text is {n} tokens long, but this model's context holds {self.config.context}.")
        x = self.embed(input_ids) + self.positions.weight[:n]
        mask = causal_mask(x, attention_mask)
        for layer in self.layers:
            x = layer(x, mask)
        return BaseModelOutput(last_hidden_state=self.norm(x))


def causal_mask(
    x: Float[Tensor, "batch position d_model"], attention_mask: Int[Tensor, "batch position"] | None = None
) -> Float[Tensor, "#batch 1 query key"]:
    """What is added to the scores: 0 where a query may look, a very negative number at what comes later."""
    n = x.shape[1]
    hidden = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)[None, None]
    if attention_mask is not None:
        hidden = hidden | (attention_mask[:, None, None] == 0)
    return torch.zeros(hidden.shape, dtype=x.dtype, device=x.device).masked_fill(hidden, torch.finfo(x.dtype).min)


class AttentionOnlyForCausalLM(AttentionOnlyPreTrainedModel):  # type: ignore[no-untyped-call]
    """The whole drawing above: ``model(input_ids).logits`` are of shape [batch, position, vocab_size]."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__(config)
        self.model = AttentionOnlyModel(config)
        self.unembed = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Embedding:
        embed: nn.Embedding = self.model.embed
        return embed

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.unembed = new_embeddings

    def get_output_embeddings(self) -> nn.Linear:
        return self.unembed

    def forward(
        self, input_ids: Int[Tensor, "batch position"], attention_mask: Int[Tensor, "batch position"] | None = None
    ) -> CausalLMOutput:
        x = self.model(input_ids, attention_mask).last_hidden_state
        return CausalLMOutput(logits=self.unembed(x))


AutoConfig.register(AttentionOnlyConfig.model_type, AttentionOnlyConfig)
AutoModel.register(AttentionOnlyConfig, AttentionOnlyModel)
AutoModelForCausalLM.register(AttentionOnlyConfig, AttentionOnlyForCausalLM)
