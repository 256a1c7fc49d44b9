"""Tiny random models of each family, with biases and norms that are not what initialisation makes them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

from interpwidgets import load

VOCAB, D_MODEL, N_LAYERS, D_MLP, CONTEXT = 97, 48, 3, 80, 64
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
ROPE = {
    "vocab_size": VOCAB, "hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": CONTEXT, **IDS,
}  # fmt: skip
BERT = {
    "vocab_size": VOCAB, "hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "max_position_embeddings": CONTEXT, **IDS,
}  # fmt: skip
GPT2 = {"vocab_size": VOCAB, "n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, "n_positions": CONTEXT, **IDS}
FAMILIES: dict[str, Callable[..., Any]] = {
    "gpt2": lambda **more: tf.GPT2LMHeadModel(tf.GPT2Config(**{**GPT2, **more})),
    "llama": lambda **more: tf.LlamaForCausalLM(
        tf.LlamaConfig(**{**ROPE, "attention_bias": True, "mlp_bias": True, **more})
    ),
    "gemma2": lambda **more: tf.Gemma2ForCausalLM(
        tf.Gemma2Config(
            **{**ROPE, "sliding_window": 5, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 16, **more}
        )
    ),
    "bert": lambda **more: tf.BertForMaskedLM(tf.BertConfig(**{**BERT, **more})),
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """These models are so small that a second thread only gets in the way."""
    torch.set_num_threads(1)


@pytest.fixture
def build() -> Callable[..., Any]:
    """build("llama", num_key_value_heads=1) -> a tiny random model in evaluation mode."""

    def build(family: str, seed: int = 0, **config: Any) -> Any:
        torch.manual_seed(seed)
        model = FAMILIES[family](**config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        return model

    return build


@pytest.fixture(params=[*FAMILIES])
def model(request: pytest.FixtureRequest, build: Callable[..., Any]) -> Any:
    return build(request.param)


@pytest.fixture
def ids() -> torch.Tensor:
    """Two texts of ten tokens."""
    return torch.randint(3, VOCAB, (2, 10), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def demo() -> Any:
    return load("demo")


@pytest.fixture(scope="session")
def stories() -> Any:
    """A real pretrained model: 5 layers, 8 heads that share 4 keys and values."""
    beside = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
    directory = Path(os.environ.get("INTERPWIDGETS_STORIES260K", beside))
    if not (directory / "config.json").is_file():
        pytest.skip(f"no stories260K in {directory}; set INTERPWIDGETS_STORIES260K to the directory that has it")
    return load(directory)
