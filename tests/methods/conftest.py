"""Tiny random models of each family, and a way to see whether a method leaves a trace in one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

from interpwidgets import load
from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM

VOCAB, D_MODEL, N_LAYERS, T = 61, 32, 3, 7
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT2 = {"vocab_size": VOCAB, "n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, "n_positions": 24, **IDS}
ROPE = {
    "vocab_size": VOCAB, "hidden_size": D_MODEL, "intermediate_size": 48, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 24, **IDS,
}  # fmt: skip
BERT = {name: size for name, size in ROPE.items() if name not in ("num_key_value_heads", "head_dim")}
SOFT = {"attention_bias": True, "sliding_window": 5, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}
ATTENTION_ONLY = {
    "vocab_size": VOCAB, "d_model": D_MODEL, "d_head": 8, "n_layers": N_LAYERS, "n_heads": 4, "context": 24,
}  # fmt: skip
FAMILIES: dict[str, Callable[..., Any]] = {
    "gpt2": lambda **more: tf.GPT2LMHeadModel(tf.GPT2Config(**{**GPT2, **more})),
    "llama": lambda **more: tf.LlamaForCausalLM(
        tf.LlamaConfig(**{**ROPE, "attention_bias": True, "mlp_bias": True, **more})
    ),
    "gemma2": lambda **more: tf.Gemma2ForCausalLM(tf.Gemma2Config(**{**ROPE, **SOFT, **more})),
    "bert": lambda **more: tf.BertForMaskedLM(tf.BertConfig(**{**BERT, **more})),
    "attention_only": lambda **more: AttentionOnlyForCausalLM(AttentionOnlyConfig(**{**ATTENTION_ONLY, **more})),
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """tiny("llama", num_key_value_heads=1) -> a tiny model in evaluation mode, every weight of it random."""

    def build(family: str, seed: int = 0, **config: Any) -> Any:
        torch.manual_seed(seed)
        model = FAMILIES[family](**config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        return model

    return build


@pytest.fixture(scope="session")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Clean and corrupt: two texts of seven tokens each."""
    clean, corrupt = torch.randint(3, VOCAB, (2, 2, T), generator=torch.Generator().manual_seed(1))
    return clean, corrupt


@pytest.fixture(scope="session")
def trace() -> Callable[[Any], list[Any]]:
    """trace(model) -> everything about a model that a method could leave changed, but the numbers in its weights."""

    def trace(model: Any) -> list[Any]:
        modules = [
            (dict(module._forward_hooks), dict(module._forward_pre_hooks), sorted(vars(module)), module.training)
            for module in model.modules()
        ]
        return [modules, [(w.requires_grad, w.grad) for w in model.parameters()], model.config._attn_implementation]

    return trace


@pytest.fixture(scope="session")
def stories() -> Any:
    """A real pretrained model: 5 layers, 8 heads that share 4 keys and values."""
    beside = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
    directory = Path(os.environ.get("INTERPWIDGETS_STORIES260K", beside))
    if not (directory / "config.json").is_file():
        pytest.skip(f"no stories260K in {directory}; set INTERPWIDGETS_STORIES260K to the directory that has it")
    return load(directory)
